"""Cohere's chat API, version 2, both ways."""

from omni_grpc.providers.cohere.chat import CohereChat

__all__ = ["CohereChat"]
