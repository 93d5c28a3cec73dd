"""The gates as interceptors: what every RPC of ours passes on its way in and out.

Outermost first: lifetime, errors, context, deadline, auth, admission, ledger. Each wraps a handler
once a method, not once a call, and works on coroutines: a streaming servicer writes to its context
instead of yielding, so that a layer costs nothing a message, and every `finally` runs in the
handler's own task, also when the client is gone (grpc.aio never closes an async-generator
servicer). Health and reflection pass untouched.
"""

from __future__ import annotations  # grpc's own types are no generics at run time

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError

from omni_grpc.administration import Operations
from omni_grpc.completion import Call, Gates
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import FieldInvalid, Internal, OmniError
from omni_grpc.grpc_api.status import code_of, message_of, trailers
from omni_grpc.identity import Permission
from omni_grpc.identity.presented import (
    AUTHORIZATION,
    UNUSUAL_NAMES,
    Presented,
    bearer_token,
    presented_in,
)
from omni_grpc.limits import openai_headers
from omni_grpc.topups import WalletDesk

log = structlog.get_logger(__name__)

OUR_METHODS = "/omni."
LEDGER_METHODS = "/omni.router."

_PERMISSIONS = {
    "/omni.router.": Permission.INFER,
    "/omni.catalog.": Permission.SEE_MODELS,
    "/omni.billing.": Permission.SEE_MONEY,
    "/omni.admin.": Permission.OPERATE,
}
_METHOD_PERMISSIONS = (
    {
        f"/omni.billing.v1.BillingService/{method}": Permission.OPERATE
        for method in ("GrantCredits", "RefundCharge", "ListUnresolvedAttempts", "ResolveAttempt")
    }
    | {
        f"/omni.billing.v1.BillingService/{method}": Permission.SPEND
        for method in ("CreateHold", "SettleHold", "ReleaseHold")
    }
    | {
        f"/omni.catalog.v1.CatalogService/{method}": Permission.OPERATE
        for method in ("UpdateModel", "SyncCatalog", "ListModelChanges", "SetAlias", "DeleteAlias")
    }
    | {
        f"/omni.admin.v1.AdminService/{verb}{resource}": Permission.MANAGE
        for verb in ("Create", "Update", "Delete")
        for resource in ("RoutingPolicy", "Experiment")
    }
    | {
        f"/omni.admin.v1.AdminService/{method}": Permission.SEE
        for method in (
            "GetRoutingPolicy",
            "ListRoutingPolicies",
            "GetExperiment",
            "ListExperiments",
            "GetExperimentReport",
        )
    }
)
"""Methods that ask for another permission than their service does. Operations say their own."""

# What grpc.aio hands to a handler; its own types leave requests and responses open.
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time

_current: ContextVar[Call] = ContextVar("omni_call")
_aborted_for: ContextVar[str] = ContextVar("omni_aborted_for")


def current_call() -> Call:
    """The call that this task serves."""
    return _current.get()


class CallObserver(Protocol):
    """Is told of each call's end; the metrics are."""

    def call_ended(self, transport: str, method: str, reason: str, seconds: float) -> None:
        """`reason` is OK, CANCELLED, or an error's reason."""


class _Interceptor(grpc.aio.ServerInterceptor):
    """Wraps each of our methods' handlers once; subclasses say what happens around a call."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Answers with the method's wrapped handler; no request or context exists yet.

        A handler depends on its method alone, so that from the second call on the outermost gate
        has the whole chain at hand and asks nobody.
        """
        method = handler_call_details.method
        found = self._wrapped.get(method)
        if found is not None:
            return found
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(OUR_METHODS):
            return handler
        found = self._wrapped[method] = self._wrap(method, handler)
        return found

    def _wrap(self, method: str, handler: Handler) -> Handler:
        inner = _behaviour_of(handler)

        async def behaviour(request: Any, context: Context) -> Any:
            return await self.around(method, request, context, inner)

        return _handler(handler, behaviour, handler.request_deserializer)

    @abstractmethod
    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Runs `inner` with what this gate adds."""


class LifetimeInterceptor(_Interceptor):
    """Knows every running handler, so that a stopping server can wait for their last lines."""

    def __init__(self, clock: Clock, observer: CallObserver) -> None:
        super().__init__()
        self._clock = clock
        self._observer = observer
        self._running: set[asyncio.Task[Any]] = set()

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Keeps the task in the set and reports the call's end."""
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        started = self._clock.monotonic()
        ended = "CANCELLED"
        try:
            answer = await inner(request, context)
            ended = "OK"
            return answer
        except grpc.aio.AbortError:
            ended = _aborted_for.get()
            raise
        finally:
            if task is not None:
                self._running.discard(task)
            self._observer.call_ended("grpc", method, ended, self._clock.monotonic() - started)

    async def settled(self) -> None:
        """Waits until no handler runs any more; `Server.stop` alone does not."""
        while self._running:
            await asyncio.wait(set(self._running))


class ErrorsInterceptor(_Interceptor):
    """The one place where a call is aborted; no exception's text ever reaches a caller.

    It decodes the request too, since grpc would answer a malformed one with an exception's text.
    `wallets` offers credits to who has none; None where they cannot be bought so.
    """

    def __init__(self, wallets: WalletDesk | None = None) -> None:
        super().__init__()
        self._wallets = wallets

    def _wrap(self, method: str, handler: Handler) -> Handler:
        decode = cast("Callable[[bytes], Any]", handler.request_deserializer)
        inner = _behaviour_of(super()._wrap(method, handler))

        async def behaviour(data: bytes, context: Context) -> Any:
            return await inner(_Undecoded(data, decode), context)

        return _handler(handler, behaviour, None)

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Turns every failure into a status."""
        try:
            return await inner(request.decode(), context)
        except OmniError as error:
            return await self._abort(context, error)
        except asyncio.CancelledError:
            call = _current.get(None)
            if call is None or call.cancelled_by is None:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return await self._abort(context, call.cancelled_by)
        except Exception:
            log.exception("call_failed", method=method, call_id=_call_id())
            return await self._abort(
                context, Internal("The service failed; its log knows the call by its id.")
            )

    async def _abort(self, context: Context, error: OmniError) -> None:
        # grpc insists on seeing the very exception that `abort` raises, so the reason goes aside.
        _aborted_for.set(error.reason)
        call = _current.get(None)
        if self._wallets is not None and call is not None and call.principal is not None:
            error = await self._wallets.refusal(error, call.principal.account_id)
        limits = None if call is None else call.limits
        told = () if limits is None else openai_headers(limits)
        sent = (*trailers(error, _call_id()), *told)
        await context.abort(code_of(error), message_of(error), sent)


class _Undecoded:
    """The bytes of a request, and how to read them."""

    __slots__ = ("_data", "_decode")

    def __init__(self, data: bytes, decode: Callable[[bytes], Any]) -> None:
        self._data = data
        self._decode = decode

    def decode(self) -> Any:
        try:
            return self._decode(self._data)
        except DecodeError:
            raise FieldInvalid(
                "The request is not a message of this method: its bytes do not decode."
            ) from None


class ContextInterceptor(_Interceptor):
    """Names the call, for its caller and for the log."""

    def __init__(self, gates: Gates) -> None:
        super().__init__()
        self._gates = gates

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Makes the call, and tells its id in the trailers."""
        call = self._gates.open_call(None)
        _current.set(call)
        context.set_trailing_metadata((("x-request-id", call.name),))
        return await inner(request, context)


class DeadlineInterceptor(_Interceptor):
    """Gives the call the time that its caller's deadline leaves."""

    def __init__(self, gates: Gates) -> None:
        super().__init__()
        self._gates = gates

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Refuses what is over already; grpc itself cancels a handler at its deadline."""
        left = context.time_remaining()
        if left is not None:
            self._gates.limit(current_call(), left)
        return await inner(request, context)


class AuthInterceptor(_Interceptor):
    """Asks who is calling, and whether they may."""

    def __init__(self, gates: Gates, operations: Operations) -> None:
        super().__init__()
        self._gates = gates
        self._operations = operations

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Reads `authorization: Bearer …`, and all else that says who calls."""
        await self._gates.authenticate(current_call(), presented(context), self._permission(method))
        return await inner(request, context)

    def _permission(self, method: str) -> Permission:
        operation = self._operations.get(method.rpartition("/")[2])
        if operation is not None:
            return operation.permission
        service = method[: method.index(".", len(OUR_METHODS)) + 1]
        return _METHOD_PERMISSIONS.get(method) or _PERMISSIONS[service]


def presented(context: Context) -> Presented:
    """What a call's metadata says of who makes it.

    Raises:
        FieldInvalid: it contradicts itself.
    """
    authorization: str | None = None
    unusual: dict[str, list[str]] | None = None
    for key, value in context.invocation_metadata() or ():
        if key == AUTHORIZATION and authorization is None:
            authorization = _text(value)
        elif key in UNUSUAL_NAMES or key == AUTHORIZATION:
            unusual = {} if unusual is None else unusual
            unusual.setdefault(key, []).append(_text(value))
    peer = peer_address(context.peer())
    if unusual is None:
        return Presented(bearer_token(authorization) if authorization else None, peer)
    if authorization is not None:
        unusual[AUTHORIZATION] = [authorization, *unusual.get(AUTHORIZATION, ())]
    return presented_in(unusual, peer=peer)


def _text(value: str | bytes) -> str:
    """A value of metadata; what is not ASCII comes as bytes."""
    return value if isinstance(value, str) else value.decode("latin-1")


def peer_address(peer: str) -> str:
    """The network address in what grpc calls a peer (`ipv4:10.0.0.1:5000`), without its port."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


class AdmissionInterceptor(_Interceptor):
    """Lets as many calls in as the worker takes."""

    def __init__(self, gates: Gates) -> None:
        super().__init__()
        self._gates = gates

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Counts the call while it runs."""
        with self._gates.admitted():
            return await inner(request, context)


class LedgerInterceptor(_Interceptor):
    """Opens a meter for calls that cost, and ends every hold of theirs."""

    def __init__(self, gates: Gates) -> None:
        super().__init__()
        self._gates = gates

    async def around(self, method: str, request: Any, context: Context, inner: Behaviour) -> Any:
        """Meters the router's methods; the others move no credits by themselves."""
        if not method.startswith(LEDGER_METHODS):
            return await inner(request, context)
        call = current_call()
        with self._gates.metered(call):
            answer = await inner(request, context)
        if call.limits is not None:
            context.set_trailing_metadata(
                (("x-request-id", call.name), *openai_headers(call.limits))
            )
        return answer


def _behaviour_of(handler: Handler) -> Behaviour:
    # grpc's types know only synchronous handlers; ours are all coroutines.
    return cast(
        "Behaviour", handler.unary_stream if handler.response_streaming else handler.unary_unary
    )


def _handler(like: Handler, behaviour: Behaviour, decode: Callable[[bytes], Any] | None) -> Handler:
    make = (
        grpc.unary_stream_rpc_method_handler
        if like.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(cast("Any", behaviour), decode, like.response_serializer)  # as _behaviour_of


def _call_id() -> str | None:
    call = _current.get(None)
    return None if call is None else call.name
