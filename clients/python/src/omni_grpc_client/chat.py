"""The chat calls: one that returns the answer whole, and one that streams it.

Each carries a request id, so that it can be sent again without being paid twice.
"""

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc_client.answer import Completion
from omni_grpc_client.calls import Call, Kind, new_request_id
from omni_grpc_client.encoding import chat_prompt
from omni_grpc_client.prompt import ChatOptions, Messages


def complete_chat(
    model: str, messages: Messages, options: ChatOptions, request_id: str | None
) -> Call[pb.CompleteChatRequest, pb.CompleteChatResponse, Completion]:
    """CompleteChat."""
    request = pb.CompleteChatRequest(
        prompt=chat_prompt(model, messages, options), request_id=new_request_id(request_id)
    )
    return Call(
        request=request,
        parse=lambda response: Completion.from_proto(response.completion),
        kind=Kind.MODEL,
        request_id=request.request_id,
    )


def stream_chat(
    model: str, messages: Messages, options: ChatOptions, request_id: str | None
) -> pb.StreamChatRequest:
    """StreamChat; its events are read by `Gathering`."""
    return pb.StreamChatRequest(
        prompt=chat_prompt(model, messages, options), request_id=new_request_id(request_id)
    )
