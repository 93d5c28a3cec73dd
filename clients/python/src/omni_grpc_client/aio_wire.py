"""Sends calls over grpc.aio: the channel, the stubs, and the failures of both."""

import asyncio
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


class AsyncStubs:
    """A channel and the generated stubs over it."""

    def __init__(self, connection: Connection) -> None:
        self.channel = (
            grpc.aio.insecure_channel(connection.target, connection.options)
            if connection.credentials is None
            else grpc.aio.secure_channel(
                connection.target, connection.credentials, connection.options
            )
        )
        self.router = RouterServiceStub(self.channel)
        self.billing = BillingServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)
        self.admin = AdminServiceStub(self.channel)


class AsyncWire:
    """Opens the channel at its first use, since grpc.aio binds it to the running event loop."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.throttle = Throttle()
        self._stubs: AsyncStubs | None = None
        self.is_closed = False

    @property
    def stubs(self) -> AsyncStubs:
        """The stubs.

        Raises:
            RuntimeError: the client is closed.
        """
        if self.is_closed:
            raise RuntimeError("this client is closed")
        if self._stubs is None:
            self._stubs = AsyncStubs(self.connection)
        return self._stubs

    async def run(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        call: Call[_Request, _Response, _Value],
        timeout: float | None,  # noqa: ASYNC109 - it travels as the call's deadline
    ) -> _Value:
        """Sends a call and reads its response; a model's is sent again where that is safe.

        Raises:
            OmniError: it failed.
        """
        timeout_s = self.connection.timeouts.of(call.kind, timeout)
        if call.kind is not Kind.MODEL:
            return await self._try(method, call, timeout_s)
        retries = Retries(self.throttle, timeout_s)
        while True:
            try:
                value = await self._try(method, call, retries.left_s())
            except OmniError as error:
                pause_s = retries.pause_s(error)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                if self.is_closed:
                    raise cancelled(call.request_id) from error
            else:
                retries.succeeded()
                return value

    async def _try(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        call: Call[_Request, _Response, _Value],
        timeout_s: float,
    ) -> _Value:
        try:
            response = await method(
                call.request,
                timeout=timeout_s,
                metadata=self.connection.metadata,
                wait_for_ready=self.connection.wait_for_ready,
            )
        except grpc.RpcError as failure:
            raise error_of(failure, call.request_id) from failure
        except asyncio.CancelledError:
            if task_is_cancelled():
                raise
            raise cancelled(call.request_id) from None
        return call.parse(response)

    async def close(self) -> None:
        """Closes the channel; what runs on it is cancelled."""
        self.is_closed = True
        if self._stubs is not None:
            await self._stubs.channel.close()


def task_is_cancelled() -> bool:
    """Whether a CancelledError is meant for this task.

    grpc.aio raises the same for a call that was cancelled by itself, as when its channel is
    closed; that must not look as if somebody had cancelled the caller.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
