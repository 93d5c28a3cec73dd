"""`/v1/responses`, OpenAI's newer API of chats, over the models of any provider.

Made plain or streamed; read, listed and deleted where the operator keeps responses. What an answer
says of `store` is what is true: it is false wherever the response is not kept.
"""

from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.completion import Call, Chats, Gates, KeptResponse, StoredResponses, place_of
from omni_grpc.core.chat import ChatCompletion, ChatRequest, ChatStarted
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid, NotFound, OmniError
from omni_grpc.core.ids import AccountId, CallId
from omni_grpc.limits import Standings
from omni_grpc.rest_api.errors import OPENAI_ERRORS, Headers
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.rest_api.responses_wire import (
    Order,
    ReasoningSeal,
    ResponseFrame,
    ResponseWriter,
    call_id_of_response,
    in_callers_words,
    item_resources,
    output_of,
    read_order,
    response_id,
)
from omni_grpc.rest_api.streaming import completion_headers, send_stream
from omni_grpc.storage import Sealer

PATH: Final = "/v1/responses"
PATH_ONE: Final = "/v1/responses/{id}"
PATH_ITEMS: Final = "/v1/responses/{id}/input_items"

ITEMS_DEFAULT: Final = 20
ITEMS_MAX: Final = 100
"""Items of one page; both as at OpenAI."""

_DIGITS_MAX: Final = 3
_UNREAD: Final = ("include", "include[]")
"""What OpenAI's clients may ask a read to include, several at once: here nothing is left out."""

_encode: Final = msgspec.json.Encoder().encode


class ResponseRoutes:
    """Makes responses for the door, and shows those that are kept."""

    def __init__(
        self,
        chats: Chats,
        gates: Gates,
        stored: StoredResponses,
        sealer: Sealer,
        clock: Clock,
        *,
        ping_seconds: float,
    ) -> None:
        """`sealer` is that of reasoning."""
        self._chats = chats
        self._gates = gates
        self._stored = stored
        self._sealer = sealer
        self._clock = clock
        self._ping_seconds = ping_seconds

    # --- making -------------------------------------------------------------------------------
    async def create(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, completes the chat, sends the answer."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            order = read_order(await exchange.body(), exchange.optional_fields())
            seal = ReasoningSeal(self._sealer, _account(call))
            request, places = order.chat(await self._earlier(call, order), seal)
            errors = exchange.errors = _CallersErrors(places)
            with exchange.watched():
                if order.stream:
                    await self._stream(exchange, call, order, request, seal, errors)
                else:
                    await self._complete(exchange, call, order, request, seal)

    async def _complete(
        self,
        exchange: Exchange,
        call: Call,
        order: Order,
        request: ChatRequest,
        seal: ReasoningSeal,
    ) -> None:
        completion = await self._chats.complete(call, request)
        frame = self._frame(completion, order)
        choice = completion.choices[0]
        output = output_of(choice, frame, seal)
        whole = frame.ended(output, choice.finish_reason, completion, self._now())
        await self._keep(call, order, completion, whole)
        await exchange.answer(200, completion_headers(completion), _encode(whole))

    async def _stream(
        self,
        exchange: Exchange,
        call: Call,
        order: Order,
        request: ChatRequest,
        seal: ReasoningSeal,
        errors: "_CallersErrors",
    ) -> None:
        def open_writer(started: ChatStarted) -> ResponseWriter:
            errors.writer = ResponseWriter(self._frame(started, order), seal)
            return errors.writer

        async def before_end(completion: ChatCompletion) -> None:
            if errors.writer is not None:
                whole = errors.writer.conclude(completion, self._now())
                await self._keep(call, order, completion, whole)

        await send_stream(
            exchange,
            self._chats.stream(call, request),
            open_writer,
            ping_seconds=self._ping_seconds,
            before_end=before_end,
        )

    def _frame(self, found: ChatStarted | ChatCompletion, order: Order) -> ResponseFrame:
        return ResponseFrame(
            found.call_id,
            found.model,
            found.create_time,
            order,
            is_stored=self._stored.keeps and order.wire.store is not False,
        )

    async def _earlier(self, call: Call, order: Order) -> list[msgspec.Raw]:
        if order.wire.previous_response_id is None:
            return []
        return await self._stored.conversation(_account(call), _previous(order), _place(call))

    async def _keep(
        self, call: Call, order: Order, completion: ChatCompletion, whole: dict[str, object]
    ) -> None:
        if not whole["store"]:
            return
        previous = None if order.wire.previous_response_id is None else _previous(order)
        kept = KeptResponse(msgspec.Raw(_encode(whole)), order.items, _place(call))
        call_id = CallId(UUID(completion.call_id))
        whole["store"] = await self._stored.keep(_account(call), call_id, previous, kept)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    # --- what is kept -------------------------------------------------------------------------
    async def one(self, exchange: Exchange, call: Call) -> None:
        """Shows or deletes a response.

        Raises:
            NotFound: it is not kept, or not the caller's.
            FeatureUnsupported: it shall be streamed again.
        """
        call_id = _named(exchange)
        if exchange.scope["method"] == "DELETE":
            await self._stored.delete(_account(call), call_id, _place(call))
            gone = {"id": response_id(str(call_id)), "object": "response", "deleted": True}
            await _answer(exchange, call, _encode(gone))
            return
        if exchange.query(_UNREAD).get("stream", "false") != "false":
            raise FeatureUnsupported(
                "stream: a kept response is not streamed again; leave it out.", field="stream"
            )
        kept = await self._stored.get(_account(call), call_id, _place(call))
        await _answer(exchange, call, bytes(kept.response))

    async def input_items(self, exchange: Exchange, call: Call) -> None:
        """Lists the items that were new in a response's request, the last first.

        Raises:
            NotFound: the response is not kept, or not the caller's.
            FieldInvalid: of `limit`, `order` or `after`.
        """
        call_id = _named(exchange)
        fields = exchange.query(_UNREAD)
        limit = _limit(fields.get("limit", str(ITEMS_DEFAULT)))
        order = fields.get("order", "desc")
        if order not in ("asc", "desc"):
            raise FieldInvalid("order must be asc or desc.", field="order")
        kept = await self._stored.get(_account(call), call_id, _place(call))
        items = item_resources(kept.items, call_id)
        if order == "desc":
            items.reverse()
        if "after" in fields:
            places = [place for place, item in enumerate(items) if item["id"] == fields["after"]]
            if not places:
                raise FieldInvalid("after names no input item of this response.", field="after")
            items = items[places[0] + 1 :]
        page = items[:limit]
        listed = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else "",
            "last_id": page[-1]["id"] if page else "",
            "has_more": len(items) > len(page),
        }
        await _answer(exchange, call, _encode(listed))


class _CallersErrors:
    """OpenAI's form of errors, with fields as this API names them."""

    def __init__(self, places: list[str]) -> None:
        self._places = places
        self.writer: ResponseWriter | None = None
        """Of the stream, once it has begun; it knows where the stream stands."""

    def body(self, error: OmniError, call_id: str) -> bytes:
        """The error object."""
        return OPENAI_ERRORS.body(in_callers_words(error, self._places), call_id)

    def event(self, error: OmniError, call_id: str) -> bytes:
        """The last events of a stream that failed."""
        told = in_callers_words(error, self._places)
        if self.writer is None:
            return OPENAI_ERRORS.event(told, call_id)
        return self.writer.fail(told, call_id)

    def limit_headers(self, limits: Standings, now_s: float) -> Headers:
        """OpenAI's."""
        return OPENAI_ERRORS.limit_headers(limits, now_s)


def _account(call: Call) -> AccountId:
    if call.principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return call.principal.account_id


def _place(call: Call) -> tuple[int, ...]:
    if call.principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return place_of(call.principal)


def _previous(order: Order) -> CallId:
    field = "previous_response_id"
    found = call_id_of_response(order.wire.previous_response_id or "")
    if found is None:
        raise FieldInvalid(f"{field} must be the id of a response, such as resp_….", field=field)
    return found


def _named(exchange: Exchange) -> CallId:
    found = call_id_of_response(exchange.path_id)
    if found is None:
        raise NotFound(f"There is no response {exchange.path_id[:64]!r}.")
    return found


def _limit(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    if not is_number or not 1 <= int(text) <= ITEMS_MAX:
        raise FieldInvalid(f"limit must be a number from 1 to {ITEMS_MAX}.", field="limit")
    return int(text)


async def _answer(exchange: Exchange, call: Call, body: bytes) -> None:
    headers = [(b"x-request-id", call.name.encode()), *JSON_HEADERS]
    await exchange.answer(200, headers, body)
