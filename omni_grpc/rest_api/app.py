"""The REST API as one ASGI application: which path leads where, and what none of them takes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from omni_grpc.administration import Operations
from omni_grpc.billing import Ledger
from omni_grpc.billing.usage import UsageReports
from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.completion import (
    Accounts,
    AgentRuns,
    Call,
    Chats,
    Estimates,
    Gates,
    Media,
    OwnCredentials,
    PageTokens,
    StoredResponses,
)
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import NotFound, OmniError
from omni_grpc.core.ids import new_call_id
from omni_grpc.core.limits import STREAM_PING_SECONDS
from omni_grpc.identity import Permission
from omni_grpc.limits import ANTHROPIC_NAMES, OPENAI_NAMES
from omni_grpc.rest_api import (
    audio,
    billing,
    chat,
    completions,
    embeddings,
    images,
    messages,
    models,
    moderations,
    own_chat,
    responses,
    routes_asked,
    stripe_events,
    top_up,
)
from omni_grpc.rest_api.admin import Found, OperationRoutes
from omni_grpc.rest_api.anthropic import ANTHROPIC_ERRORS, AnthropicHeads
from omni_grpc.rest_api.audio import SpeechRoute, TranscriptionsRoute
from omni_grpc.rest_api.billing import BillingRoutes
from omni_grpc.rest_api.chat import ChatRoute
from omni_grpc.rest_api.completions import CompletionsRoute
from omni_grpc.rest_api.door import CallObserver, Door, Handler
from omni_grpc.rest_api.embeddings import EmbeddingsRoute
from omni_grpc.rest_api.errors import OPENAI_ERRORS, ErrorForm, MethodNotAllowed
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.images import ImageEditsRoute, ImagesRoute
from omni_grpc.rest_api.messages import MessageRoutes
from omni_grpc.rest_api.models import ModelRoutes
from omni_grpc.rest_api.moderations import ModerationsRoute
from omni_grpc.rest_api.operations import MetricsRoute, ProbeRoutes
from omni_grpc.rest_api.own_chat import OwnChatRoutes
from omni_grpc.rest_api.responses import ResponseRoutes
from omni_grpc.rest_api.routes_asked import RouteRoutes
from omni_grpc.rest_api.stripe_events import StripeEventsRoute
from omni_grpc.rest_api.top_up import TopUpRoute
from omni_grpc.rest_api.usage import USAGE_PATH, UsageRoutes
from omni_grpc.routing import SpeedMeter
from omni_grpc.storage import Sealer
from omni_grpc.topups import CardDesk, WalletDesk

_EXPOSED_HEADERS: Final = (
    "request-id",
    "x-request-id",
    "x-omni-model",
    "x-omni-provider",
    "x-omni-cost-usd",
    "x-omni-balance-usd",
    "x-omni-savings-usd",
    "x-omni-ignored",
    "x-should-retry",
    "retry-after",
    "retry-after-ms",
    "payment-required",
    "payment-response",
    "x-payment-response",
    *OPENAI_NAMES,
    *ANTHROPIC_NAMES,
)
_QUOTED_CHARS_MAX: Final = 200
_READ: Final = ("GET", "HEAD")
WRITE: Final = ("POST",)


def build_app(
    *,
    chats: Chats,
    media: Media,
    gates: Gates,
    ledger: Ledger,
    accounts: Accounts,
    tokens: PageTokens,
    stored: StoredResponses,
    estimates: Estimates,
    runs: AgentRuns,
    usage: UsageReports,
    operations: Operations,
    card_desk: CardDesk | None,
    wallets: WalletDesk | None,
    credits_per_usd: int,
    reasoning_sealer: Sealer,
    catalog: Callable[[], CatalogSnapshot],
    providers: frozenset[str],
    ready: Callable[[], Awaitable[bool]],
    metrics: Callable[[], tuple[bytes, str]] | None,
    observer: CallObserver,
    cors_origins: Sequence[str],
    clock: Clock,
    ping_seconds: float = STREAM_PING_SECONDS,
    own_credentials: OwnCredentials | None = None,
    speeds: Mapping[str, SpeedMeter] = MappingProxyType({}),
) -> "RestApp":
    """The application, for uvicorn.

    Args:
        chats: completes chats.
        media: serves what is no chat.
        gates: what every call passes.
        ledger: balances and entries.
        accounts: whose account a caller may see.
        tokens: seals page tokens.
        stored: responses that are kept.
        estimates: tells what chats would cost, and why which model.
        runs: sums of agents' runs.
        usage: reports of what was used.
        operations: what is served by its route alone.
        card_desk: takes Stripe's events; None where no cards are taken.
        wallets: takes payments in USDC; None where none are taken.
        credits_per_usd: in which unit estimates show credits too.
        reasoning_sealer: seals reasoning that callers carry back.
        catalog: the current snapshot.
        providers: the configured ones.
        ready: whether calls can be served now.
        metrics: the exposition and its content type; None for no such route.
        observer: is told of each call's end.
        cors_origins: web origins whose pages may call, `*` for all, none for no CORS.
        clock: the time.
        ping_seconds: a silent stream gets a comment after each of these.
        own_credentials: the accounts at providers that callers bring; None where none can.
        speeds: what calls measured, by offer.
    """
    bought = TopUpRoute(wallets)
    door = Door(gates, clock, observer, None if wallets is None else bought)
    model = ModelRoutes(catalog, providers, own_credentials or OwnCredentials(), speeds, clock)
    own = BillingRoutes(ledger, accounts, tokens, usage)
    used = UsageRoutes(usage, accounts, tokens)
    probe = ProbeRoutes(ready)
    made = ResponseRoutes(chats, gates, stored, reasoning_sealer, clock, ping_seconds=ping_seconds)
    asked = MessageRoutes(
        chats, gates, reasoning_sealer, catalog, providers, ping_seconds=ping_seconds
    )
    routed = RouteRoutes(estimates, credits_per_usd=credits_per_usd)
    short = OwnChatRoutes(chats, gates, runs, clock)
    texts = CompletionsRoute(chats, gates, ping_seconds=ping_seconds)

    def call(
        path: str,
        permission: Permission,
        handler: Handler,
        methods: Sequence[str] = _READ,
        errors: ErrorForm = OPENAI_ERRORS,
    ) -> Route:
        async def answer(exchange: Exchange) -> None:
            await door.enter(exchange, route=label, permission=permission, handler=handler)

        label = path.replace(":path", "")
        return Route(path, _Endpoint(answer, methods, errors))

    def anthropic(path: str, handler: Handler) -> Route:
        found = call(path, Permission.INFER, handler, WRITE, ANTHROPIC_ERRORS)
        return Route(path, AnthropicHeads(found.app))

    routes = [
        call(models.PATH, Permission.SEE_MODELS, model.list_models),
        call(models.PATH_ONE, Permission.SEE_MODELS, model.get_model),
        call(responses.PATH, Permission.INFER, made.create, methods=WRITE),
        call(responses.PATH_ONE, Permission.INFER, made.one, methods=("GET", "DELETE")),
        call(responses.PATH_ITEMS, Permission.INFER, made.input_items),
        call(completions.PATH, Permission.INFER, texts, methods=WRITE),
        anthropic(messages.PATH, asked.create),
        anthropic(messages.COUNT_PATH, asked.count_tokens),
        call(embeddings.PATH, Permission.INFER, EmbeddingsRoute(media, gates), WRITE),
        call(images.PATH, Permission.INFER, ImagesRoute(media, gates), WRITE),
        call(images.EDITS_PATH, Permission.INFER, ImageEditsRoute(media, gates), WRITE),
        call(audio.SPEECH_PATH, Permission.INFER, SpeechRoute(media, gates), WRITE),
        call(audio.PATH, Permission.INFER, TranscriptionsRoute(media, gates), WRITE),
        call(moderations.PATH, Permission.INFER, ModerationsRoute(media, gates), WRITE),
        call(own_chat.CHAT_PATH, Permission.INFER, short.chat, WRITE),
        call(own_chat.STEP_PATH, Permission.INFER, short.step, WRITE),
        call(routes_asked.ESTIMATE_PATH, Permission.INFER, routed.estimate, WRITE),
        call(routes_asked.DEBUG_PATH, Permission.INFER, routed.debug, WRITE),
        call(billing.BALANCE_PATH, Permission.SEE_MONEY, own.get_balance),
        call(billing.TRANSACTIONS_PATH, Permission.SEE_MONEY, own.list_transactions),
        call(billing.CALL_PATH, Permission.SEE_MONEY, own.get_call),
        call(USAGE_PATH, Permission.SEE_MONEY, used.summarize),
        call(top_up.PATH, Permission.SPEND, bought, WRITE),
        Route("/health", _Endpoint(probe.health)),
        Route("/ready", _Endpoint(probe.ready)),
    ]
    if card_desk is not None:
        events = StripeEventsRoute(card_desk)
        routes.append(Route(stripe_events.PATH, _Endpoint(events, WRITE)))
    if metrics is not None:
        routes.append(Route("/metrics", _Endpoint(MetricsRoute(metrics))))
    others = _Operations(OperationRoutes(operations), door)
    cold = Router(routes, redirect_slashes=False, default=others)
    app: ASGIApp = _HotPath(door, ChatRoute(chats, gates, ping_seconds=ping_seconds), cold)
    if cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=cors_origins,
            allow_methods=("GET", "POST", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=_EXPOSED_HEADERS,
        )
    return RestApp(app, door)


class RestApp:
    """The ASGI application, and how to end what runs in it."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        await self._app(scope, receive, send)

    async def cut_short(self, seconds: float) -> None:
        """Cancels the calls that still run, each with an error for its caller.

        Returns when all have ended, or after `seconds`. Their settles are then under way; a
        server that merely closes its connections would leave them to the leases.
        """
        await self._door.cut_short(seconds)


class _HotPath:
    """Sends chats straight to their handler, past the router."""

    def __init__(self, door: Door, chat_route: Handler, others: ASGIApp) -> None:
        self._door = door
        self._chat_route = chat_route
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == chat.PATH:
            exchange = Exchange(scope, receive, send)
            if scope["method"] == "POST":
                await self._door.enter(
                    exchange, route=chat.PATH, permission=Permission.INFER, handler=self._chat_route
                )
            else:
                await _refuse(exchange, _method_not_allowed(scope, WRITE))
        else:
            await self._others(scope, receive, send)


class _Endpoint:
    """A route that takes certain methods; one that reads by default."""

    def __init__(
        self,
        answer: Callable[[Exchange], Awaitable[None]],
        methods: Sequence[str] = _READ,
        errors: ErrorForm = OPENAI_ERRORS,
    ) -> None:
        self._answer = answer
        self._methods = methods
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._errors)
        if scope["method"] in self._methods:
            await self._answer(exchange)
        else:
            await _refuse(exchange, _method_not_allowed(scope, self._methods))


class _Operations:
    """Sends what no other route takes to the operation of its path."""

    def __init__(self, routes: OperationRoutes, door: Door) -> None:
        self._routes = routes
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._routes.methods(scope["path"]) if scope["type"] == "http" else ()
        if not methods:
            await _no_such_route(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        found = self._routes.find(scope["method"], scope["path"])
        if found is None:
            await _refuse(exchange, _method_not_allowed(scope, methods))
            return
        await self._door.enter(
            exchange,
            route=found.operation.http.partition(" ")[2],
            permission=found.operation.permission,
            handler=self._handler(found),
        )

    def _handler(self, found: Found) -> Handler:
        async def handle(exchange: Exchange, call: Call) -> None:
            await self._routes.serve(exchange, call, found)

        return handle


async def _no_such_route(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    path = scope["path"][:_QUOTED_CHARS_MAX]
    await _refuse(
        Exchange(scope, receive, send),
        NotFound(f"There is no route {path!r} here. The API's routes begin with /v1/."),
    )


async def _refuse(exchange: Exchange, error: OmniError) -> None:
    """Answers what is no call: no route takes it."""
    await exchange.fail(error, str(new_call_id()))


def _method_not_allowed(scope: Scope, allowed: Sequence[str]) -> MethodNotAllowed:
    return MethodNotAllowed(
        f"{scope['path'][:_QUOTED_CHARS_MAX]} does not take {scope['method']}; "
        f"use {' or '.join(allowed)}.",
        metadata={"allow": ", ".join(allowed)},
    )
