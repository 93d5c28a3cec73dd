"""omni-grpc: an AI gateway with typed gRPC, OpenAI REST and an exact double-entry ledger."""

__version__ = "0.1.0"
