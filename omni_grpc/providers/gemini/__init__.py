"""Google's dialect of the Gemini API and of Vertex AI, both ways."""

from omni_grpc.providers.gemini.chat import GeminiChat

__all__ = ["GeminiChat"]
