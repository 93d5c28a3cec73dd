"""RPCs of the contract by their requests: for what the client has no method of its own."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from omni.admin.v1 import admin_service_pb2
from omni.billing.v1 import billing_service_pb2
from omni.catalog.v1 import catalog_service_pb2
from omni.router.v1 import router_service_pb2

from omni_grpc_client.calls import Call, Kind

_FILES: tuple[FileDescriptor, ...] = (
    admin_service_pb2.DESCRIPTOR,
    billing_service_pb2.DESCRIPTOR,
    catalog_service_pb2.DESCRIPTOR,
    router_service_pb2.DESCRIPTOR,
)
_READS = ("Get", "List", "ResolveModel", "Summarize", "Verify", "Estimate", "Explain")


@dataclass(frozen=True, slots=True)
class Rpc:
    """A unary RPC."""

    path: str
    response: type[Message]
    kind: Kind

    def over(self, channel: Any) -> Any:  # of either of grpc's APIs, and what it makes
        """The callable that sends its requests over a channel."""
        return channel.unary_unary(
            self.path,
            request_serializer=_serialized,
            response_deserializer=self.response.FromString,
        )

    def call(self, request: Message) -> Call[Message, Message, Message]:
        """The call of a request."""
        return Call(request=request, parse=lambda response: response, kind=self.kind)


def rpc_of(request: Message) -> Rpc:
    """The RPC that takes a message.

    Raises:
        TypeError: none does, or it streams.
    """
    found = _rpcs().get(request.DESCRIPTOR.full_name)
    if found is None:
        raise TypeError(f"{request.DESCRIPTOR.full_name} is no request of a unary RPC")
    return found


def _serialized(request: Message) -> bytes:
    return request.SerializeToString()


@cache
def _rpcs() -> dict[str, Rpc]:
    """All unary RPCs, by the full names of their requests."""
    found: dict[str, Rpc] = {}
    for file in _FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                if method.server_streaming or method.client_streaming:
                    continue
                asked: Descriptor = method.input_type
                found[asked.full_name] = Rpc(
                    f"/{service.full_name}/{method.name}",
                    GetMessageClass(method.output_type),
                    Kind.READ if method.name.startswith(_READS) else Kind.WRITE,
                )
    return found
