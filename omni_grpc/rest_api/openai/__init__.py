"""OpenAI's wire format of chat completions, both ways; it knows bytes and nothing else."""

from omni_grpc.rest_api.openai.chat_chunks import ChunkWriter
from omni_grpc.rest_api.openai.chat_completion import encode_completion
from omni_grpc.rest_api.openai.chat_request import ChatOrder, read_chat

__all__ = ["ChatOrder", "ChunkWriter", "encode_completion", "read_chat"]
