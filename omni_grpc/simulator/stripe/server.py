"""The simulated card processor: Stripe's API, its checkout page, its signed events.

`POST /sim/...` makes happen what people do: paying, refunding, disputing. Events go to the address
that was set with `send_events_to`, as often and in the order that the accidents say.
"""

import asyncio
import hashlib
import hmac
import html
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from aiohttp import web

from omni_grpc.simulator.stripe.books import Books, RefusedError, Thing, public
from omni_grpc.simulator.stripe.forms import read_form

EVENT_SECONDS_MAX: Final = 10.0
EVENT_TRIES_MAX: Final = 5
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Accidents:
    """What goes wrong from now on.

    Attributes:
        events: how often each event is sent; 0 sends none.
        reversed_order: whether the newest event is sent first.
        answers: how many seconds an answer of the API takes longer.
        failures: how many of the next requests fail with 500 after they were done.
    """

    events: int = 1
    reversed_order: bool = False
    answers: float = 0.0
    failures: int = 0


@dataclass
class StripeSimulator:
    """Use as `async with StripeSimulator() as stripe`, or `start` and `stop`."""

    api_key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(12)}")
    webhook_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(16)}")
    books: Books = field(default_factory=Books)
    accidents: Accidents = field(default_factory=Accidents)
    origin: str = ""
    requests: list[str] = field(default_factory=list)
    _events_to: str = ""
    _sent: int = 0
    _answers: dict[tuple[str, str], tuple[bytes, int, bytes]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listens; returns the origin, `http://host:port`."""
        app = web.Application(middlewares=[self._around])
        app.add_routes(
            [
                web.post("/v1/checkout/sessions", self._create_session),
                web.get("/v1/checkout/sessions/{id}", self._get_session),
                web.post("/v1/payment_intents", self._create_intent),
                web.get("/v1/payment_intents/{id}", self._get_intent),
                web.get("/v1/refunds", self._list_refunds),
                web.get("/v1/refunds/{id}", self._get_refund),
                web.get("/v1/disputes/{id}", self._get_dispute),
                web.get("/v1/events", self._list_events),
                web.get("/pay/{id}", self._page),
                web.post("/pay/{id}", self._paid_on_page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address = self._runner.addresses[0]
        self.origin = f"http://{host}:{address[1]}"
        return self.origin

    async def stop(self) -> None:
        """Closes the socket."""
        for task in self._sending:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- what people do -------------------------------------------------------------------------
    def send_events_to(self, url: str) -> None:
        """Where events go from now on; those that were not sent yet go too."""
        self._events_to = url
        self._send()

    def pay(self, session_id: str, card: str = "4242424242424242") -> Thing:
        """Somebody pays a checkout page."""
        session = self.books.pay(session_id, card)
        self._send()
        return session

    def refund(self, intent_id: str, amount: int | None = None) -> Thing:
        """The operator gives cents back, all of them by default."""
        refund = self.books.refund(intent_id, amount)
        self._send()
        return refund

    def dispute(self, intent_id: str) -> Thing:
        """The card's owner disputes a payment."""
        dispute = self.books.dispute(intent_id)
        self._send()
        return dispute

    def win(self, dispute_id: str) -> Thing:
        """The operator wins a dispute."""
        dispute = self.books.win(dispute_id)
        self._send()
        return dispute

    def signed(self, payload: bytes, at: float | None = None) -> str:
        """The header `Stripe-Signature` of an event."""
        moment = int(time.time() if at is None else at)
        text = b"%d.%s" % (moment, payload)
        mac = hmac.new(self.webhook_secret.encode(), text, hashlib.sha256).hexdigest()
        return f"t={moment},v1={mac}"

    async def settled(self) -> None:
        """Waits until no event is on its way."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    # --- events ----------------------------------------------------------------------------------
    def _send(self) -> None:
        if not self._events_to:
            return
        news = self.books.events[self._sent :]
        self._sent = len(self.books.events)
        if self.accidents.reversed_order:
            news.reverse()
        events = [event for event in news for _ in range(self.accidents.events)]
        if events:
            task = asyncio.create_task(self._deliver(events, self._events_to))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, events: list[Thing], url: str) -> None:
        timeout = aiohttp.ClientTimeout(total=EVENT_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for event in events:
                payload = msgspec.json.encode(event)
                for tried in range(EVENT_TRIES_MAX):
                    headers = {
                        "stripe-signature": self.signed(payload),
                        "content-type": "application/json",
                    }
                    try:
                        async with session.post(url, data=payload, headers=headers) as answer:
                            if answer.ok:
                                break
                    except (aiohttp.ClientError, TimeoutError):
                        pass
                    await asyncio.sleep(0.05 * 2**tried)

    # --- the API ---------------------------------------------------------------------------------
    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keys, idempotency, errors, accidents."""
        if not request.path.startswith("/v1/"):
            return await handler(request)
        self.requests.append(f"{request.method} {request.path}")
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.api_key}".encode()):
            return _refusal(401, {"type": "invalid_request_error", "message": "Invalid API Key"})
        key = request.headers.get(IDEMPOTENCY_HEADER)
        body = await request.read()
        place = (request.path, key or "")
        kept = self._answers.get(place) if key and request.method == "POST" else None
        if kept is not None:
            if kept[0] != body:
                return _refusal(
                    400,
                    {
                        "type": "idempotency_error",
                        "message": "Keys for idempotent requests can only be used with the same "
                        "parameters they were first used with.",
                    },
                )
            status, answer = kept[1], kept[2]
        else:
            status, answer = await self._answered(request, handler)
            if key and request.method == "POST":
                self._answers[place] = (body, status, answer)
        self._send()
        if self.accidents.answers:
            await asyncio.sleep(self.accidents.answers)
        if self.accidents.failures > 0:
            self.accidents.failures -= 1
            return _refusal(500, {"type": "api_error", "message": "An accident, after it was done"})
        return web.Response(status=status, body=answer, content_type="application/json")

    async def _answered(self, request: web.Request, handler: Handler) -> tuple[int, bytes]:
        try:
            response = await handler(request)
        except RefusedError as refused:
            return refused.status, msgspec.json.encode({"error": refused.error})
        except web.HTTPException:
            raise
        body = getattr(response, "body", b"")
        return response.status, bytes(body)

    async def _create_session(self, request: web.Request) -> web.Response:
        session = self.books.new_session(read_form(await request.read()), self.origin)
        return _json(public(session))

    async def _get_session(self, request: web.Request) -> web.Response:
        session = public(self.books.get(self.books.sessions, request.match_info["id"], "session"))
        expand = request.query.getall("expand[0]", [])
        if session["payment_intent"] and any(one.startswith("payment_intent") for one in expand):
            session["payment_intent"] = self._expanded(session["payment_intent"])
        return _json(session)

    async def _create_intent(self, request: web.Request) -> web.Response:
        return _json(public(self.books.new_intent(read_form(await request.read()))))

    async def _get_intent(self, request: web.Request) -> web.Response:
        return _json(self._expanded(request.match_info["id"]))

    def _expanded(self, intent_id: str) -> Thing:
        intent = public(self.books.get(self.books.intents, intent_id, "payment_intent"))
        charge = self.books.charges.get(intent["latest_charge"] or "")
        return intent | {"latest_charge": charge}

    async def _get_refund(self, request: web.Request) -> web.Response:
        return _json(self.books.get(self.books.refunds, request.match_info["id"], "refund"))

    async def _list_refunds(self, request: web.Request) -> web.Response:
        of = request.query.get("charge")
        found = [one for one in self.books.refunds.values() if of in (None, one["charge"])]
        return _json(_list("/v1/refunds", found, has_more=False))

    async def _get_dispute(self, request: web.Request) -> web.Response:
        return _json(self.books.get(self.books.disputes, request.match_info["id"], "dispute"))

    async def _list_events(self, request: web.Request) -> web.Response:
        kinds = {value for name, value in request.query.items() if name.startswith("types[")}
        since = int(request.query.get("created[gte]", "0"))
        limit = int(request.query.get("limit", "10"))
        newest_first = [
            one
            for one in reversed(self.books.events)
            if one["created"] >= since and (not kinds or one["type"] in kinds)
        ]
        after = request.query.get("starting_after")
        if after is not None:
            ids = [one["id"] for one in newest_first]
            newest_first = newest_first[ids.index(after) + 1 :] if after in ids else []
        page = newest_first[:limit]
        return _json(_list("/v1/events", page, has_more=len(newest_first) > limit))

    # --- the page --------------------------------------------------------------------------------
    async def _page(self, request: web.Request) -> web.Response:
        session = self.books.sessions.get(request.match_info["id"])
        if session is None:
            raise web.HTTPNotFound
        return web.Response(text=_checkout_page(session), content_type="text/html")

    async def _paid_on_page(self, request: web.Request) -> web.Response:
        form = await request.post()
        try:
            session = self.pay(request.match_info["id"], str(form.get("card", "4242")))
        except RefusedError as refused:
            raise web.HTTPConflict(text=str(refused)) from None
        if session["status"] != "complete":
            return web.Response(text="The card was refused. Go back and try another.", status=402)
        raise web.HTTPSeeOther(session["success_url"])


def _json(thing: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(thing), content_type="application/json")


def _refusal(status: int, error: Thing) -> web.Response:
    body = msgspec.json.encode({"error": error})
    return web.Response(status=status, body=body, content_type="application/json")


def _list(url: str, things: list[Thing], *, has_more: bool) -> Thing:
    return {"object": "list", "url": url, "has_more": has_more, "data": things}


def _checkout_page(session: Thing) -> str:
    amount = f"{session['amount_total'] / 100:.2f} {session['currency'].upper()}"
    return (
        "<!doctype html><meta charset=utf-8><title>Checkout (simulated)</title>"
        "<style>body{font:16px system-ui;max-width:24rem;margin:4rem auto}</style>"
        f"<h1>{html.escape(amount)}</h1><p>A simulated checkout: no money moves.</p>"
        f"<p>Status: {html.escape(session['status'])}</p>"
        '<form method=post><p><label>Card <input name=card value="4242 4242 4242 4242"></label></p>'
        "<button>Pay</button></form>"
        "<p>4242 pays, 0002 is refused, 0077 is disputed at once.</p>"
    )
