"""The chat calls: one that returns the answer whole, and one that streams it."""

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.answer import Completion
from omni_grpc_client.calls import Call, Kind
from omni_grpc_client.encoding import chat_prompt
from omni_grpc_client.prompt import ChatOptions, Messages


def complete_chat(
    model: str, messages: Messages, options: ChatOptions
) -> Call[pb.CompleteChatRequest, pb.CompleteChatResponse, Completion]:
    """CompleteChat."""
    return Call(
        request=pb.CompleteChatRequest(prompt=chat_prompt(model, messages, options)),
        parse=lambda response: Completion.from_proto(response.completion),
        kind=Kind.CHAT,
    )


def stream_chat(model: str, messages: Messages, options: ChatOptions) -> pb.StreamChatRequest:
    """StreamChat; its events are read by `Gathering`."""
    return pb.StreamChatRequest(prompt=chat_prompt(model, messages, options))
