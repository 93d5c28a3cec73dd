"""The REST API: OpenAI's shapes over the same gates and the same completion as gRPC."""

from omni_grpc.rest_api.app import RestApp, build_app
from omni_grpc.rest_api.door import CallObserver
from omni_grpc.rest_api.protocol import RestProtocol
from omni_grpc.rest_api.responses_wire import SEAL_PURPOSE as REASONING_SEAL_PURPOSE

__all__ = ["REASONING_SEAL_PURPOSE", "CallObserver", "RestApp", "RestProtocol", "build_app"]
