"""The models that each client library is tried with: one for each dialect behind the service."""

from typing import Final

CHAT_MODELS: Final = ("sim/fast",)
REASONING_MODELS: Final = ("sim/reasoner",)
EMBEDDING_MODELS: Final = ("sim/embed",)
