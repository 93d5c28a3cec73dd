"""The dialect `bedrock`: Converse and ConverseStream of Amazon Bedrock's runtime."""

from omni_grpc.providers.bedrock.chat import BedrockChat

__all__ = ("BedrockChat",)
