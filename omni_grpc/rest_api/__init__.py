"""The REST API: OpenAI's shapes over the same gates and the same completion as gRPC."""

from omni_grpc.rest_api.app import RestApp, build_app
from omni_grpc.rest_api.door import CallObserver
from omni_grpc.rest_api.protocol import RestProtocol

__all__ = ["CallObserver", "RestApp", "RestProtocol", "build_app"]
