"""The models that each client library is tried with: one for each dialect behind the service."""

from typing import Final

CHAT_MODELS: Final = (
    "sim/fast",
    "anthropic/claude-sonnet-4-5",
    "google/gemini-2.5-flash",
    "cohere/command-a-03-2025",
)
REASONING_MODELS: Final = ("sim/reasoner",)
EMBEDDING_MODELS: Final = ("sim/embed",)
