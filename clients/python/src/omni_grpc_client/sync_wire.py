"""Sends calls over gRPC's synchronous API: the channel, the stubs, and the failures of both."""

import threading
from typing import TypeVar

import grpc
from omni.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from omni.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from omni.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from omni.router.v1.router_service_pb2_grpc import RouterServiceStub

from omni_grpc_client.calls import Call, Kind
from omni_grpc_client.connection import Connection
from omni_grpc_client.errors import OmniError
from omni_grpc_client.failures import cancelled, error_of
from omni_grpc_client.retrying import Retries, Throttle

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")


class Stubs:
    """A channel and the generated stubs over it."""

    def __init__(self, connection: Connection) -> None:
        self.channel = (
            grpc.insecure_channel(connection.target, connection.options)
            if connection.credentials is None
            else grpc.secure_channel(connection.target, connection.credentials, connection.options)
        )
        self.router = RouterServiceStub(self.channel)
        self.billing = BillingServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)
        self.admin = AdminServiceStub(self.channel)


class Wire:
    """Sends calls; safe to use from many threads. The channel connects at its first call."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.throttle = Throttle()
        self._stubs = Stubs(connection)
        self._closed = threading.Event()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @property
    def stubs(self) -> Stubs:
        """The stubs.

        Raises:
            RuntimeError: the client is closed.
        """
        if self.is_closed:
            raise RuntimeError("this client is closed")
        return self._stubs

    def run(
        self,
        # Quoted: subscriptable in its stub only.
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        call: Call[_Request, _Response, _Value],
        timeout: float | None,
    ) -> _Value:
        """Sends a call and reads its response; a model's is sent again where that is safe.

        Raises:
            OmniError: it failed.
        """
        timeout_s = self.connection.timeouts.of(call.kind, timeout)
        if call.kind is not Kind.MODEL:
            return self._try(method, call, timeout_s)
        retries = Retries(self.throttle, timeout_s)
        while True:
            try:
                value = self._try(method, call, retries.left_s())
            except OmniError as error:
                pause_s = retries.pause_s(error)
                if pause_s is None:
                    raise
                if self._closed.wait(pause_s):
                    raise cancelled(call.request_id) from error
            else:
                retries.succeeded()
                return value

    def _try(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        call: Call[_Request, _Response, _Value],
        timeout_s: float,
    ) -> _Value:
        try:
            response = method(
                call.request,
                timeout=timeout_s,
                metadata=self.connection.metadata,
                wait_for_ready=self.connection.wait_for_ready,
            )
        except grpc.RpcError as failure:
            raise error_of(failure, call.request_id, cancelled_here=self.is_closed) from failure
        return call.parse(response)

    def close(self) -> None:
        """Closes the channel; what runs on it is cancelled."""
        self._closed.set()
        self._stubs.channel.close()
