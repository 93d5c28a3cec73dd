"""OpenAI's Responses API as an upstream, both ways."""

from omni_grpc.providers.responses.chat import OpenAIResponses

__all__ = ["OpenAIResponses"]
