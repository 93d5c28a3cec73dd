"""The Anthropic Messages dialect, both ways."""

from omni_grpc.providers.anthropic.chat import AnthropicChat

__all__ = ["AnthropicChat"]
