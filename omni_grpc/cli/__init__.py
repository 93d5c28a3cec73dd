"""The command line: `omni-grpc dev`, `serve`, `chat` and the operator's commands."""

from omni_grpc.cli.app import main

__all__ = ["main"]
