"""The OpenAI chat completions dialect, both ways."""

from omni_grpc.providers.openai.chat import OpenAIChat

__all__ = ["OpenAIChat"]
