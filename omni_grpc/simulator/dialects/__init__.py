"""The wire formats that the simulator speaks, all on one socket."""

from typing import Final

from omni_grpc.simulator.dialect import SimDialect
from omni_grpc.simulator.dialects.anthropic_messages import AnthropicMessagesDialect
from omni_grpc.simulator.dialects.bedrock_chat import BedrockChatDialect
from omni_grpc.simulator.dialects.cohere_chat import CohereChatDialect
from omni_grpc.simulator.dialects.gemini_chat import GeminiDialect
from omni_grpc.simulator.dialects.openai_chat import OpenAIChatDialect
from omni_grpc.simulator.dialects.responses_chat import ResponsesDialect

__all__ = ("DIALECTS",)

DIALECTS: Final[tuple[SimDialect, ...]] = (
    OpenAIChatDialect(),
    ResponsesDialect(),
    CohereChatDialect(),
    AnthropicMessagesDialect(),
    BedrockChatDialect(),
    GeminiDialect(vertex=False),
    GeminiDialect(vertex=True),
)
