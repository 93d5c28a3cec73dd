"""`POST /v1/messages`, Anthropic's API of chats, over the models of any provider; and its counting.

Marks of what a provider shall keep come with nearly every request of this API, and they change a
price and no answer. Where the model's provider takes none, or their price is not known, the chat is
planned again without them, and its answer says so.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec

from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.completion import Call, ChatEvent, Chats, Gates
from omni_grpc.core.chat import ChatCompletion, ChatStarted
from omni_grpc.core.errors import FeatureUnsupported, ModelUnpriced, NoCapableModel, OmniError
from omni_grpc.providers.features import Feature
from omni_grpc.rest_api.anthropic import (
    MARKS,
    PING,
    EventWriter,
    MessagesOrder,
    Signatures,
    encode_message,
    fitted,
    has_marks,
    name_as_sent,
    own_names,
    read_messages,
    without_marks,
)
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.rest_api.responses_wire import ReasoningSeal
from omni_grpc.rest_api.streaming import completion_headers, send_stream
from omni_grpc.storage import Sealer

PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"

_FOR_MARKS: Final = (FeatureUnsupported, ModelUnpriced, NoCapableModel)
"""How a chat is refused for its marks: its provider takes none, or their price is not known."""


class MessageRoutes:
    """Completes chats for the door, and counts what would be asked."""

    def __init__(
        self,
        chats: Chats,
        gates: Gates,
        sealer: Sealer,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        *,
        ping_seconds: float,
    ) -> None:
        """`sealer` is that of reasoning; `providers` are the configured ones."""
        self._chats = chats
        self._gates = gates
        self._sealer = sealer
        self._snapshot = snapshot
        self._providers = providers
        self._ping_seconds = ping_seconds

    async def create(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, completes the chat, sends the answer."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            signatures = self._signatures(call)
            order = self._fitted(
                read_messages(await exchange.body(), signatures, exchange.optional_fields())
            )
            try:
                with exchange.watched():
                    if order.stream:
                        await send_stream(
                            exchange,
                            self._events(call, order),
                            partial(EventWriter, signatures=signatures),
                            ping_seconds=self._ping_seconds,
                            ping=PING,
                        )
                    else:
                        found = await self._complete(call, order)
                        body = encode_message(found, signatures)
                        await exchange.answer(200, completion_headers(found), body)
            except OmniError as error:
                name_as_sent(error, order.places)
                raise

    async def count_tokens(self, exchange: Exchange, call: Call) -> None:
        """Counts the prompt of a body, by our own count; it calls nobody and costs nothing."""
        body, optional = await exchange.body(), exchange.optional_fields()
        order = self._fitted(read_messages(body, self._signatures(call), optional, counts=True))
        try:
            count = await self._chats.count_prompt(call, without_marks(order.request))
        except OmniError as error:
            name_as_sent(error, order.places)
            raise
        headers = [(b"x-request-id", call.name.encode()), *JSON_HEADERS]
        await exchange.answer(200, headers, msgspec.json.encode({"input_tokens": count}))

    def _signatures(self, call: Call) -> Signatures:
        if call.principal is None:
            raise RuntimeError("the call did not come through the auth gate")
        return Signatures(ReasoningSeal(self._sealer, call.principal.account_id))

    def _fitted(self, order: MessagesOrder) -> MessagesOrder:
        """What the model that is named can take; a name that means none is left to the router."""
        for offer in self._snapshot().resolve(order.request.model):
            if offer.callable_at(self._providers):
                request, ignored = fitted(order.request, offer)
                return msgspec.structs.replace(
                    order, request=request, ignored=(*order.ignored, *ignored)
                )
        return order

    # --- with marks, else without -------------------------------------------------------------
    async def _complete(self, call: Call, order: MessagesOrder) -> ChatCompletion:
        more: tuple[str, ...] = ()
        try:
            found = await self._chats.complete(call, order.request)
        except _FOR_MARKS as error:
            if not _is_for_marks(error, order):
                raise
            found = await self._chats.complete(call, without_marks(order.request))
            more = (MARKS,)
        return msgspec.structs.replace(found, ignored=_ignored(order, found, more))

    async def _events(self, call: Call, order: MessagesOrder) -> AsyncGenerator[ChatEvent, None]:
        more: tuple[str, ...] = ()
        events = self._chats.stream(call, order.request)
        try:
            started = await anext(events)
        except _FOR_MARKS as error:
            if not _is_for_marks(error, order):
                raise
            more = (MARKS,)
            events = self._chats.stream(call, without_marks(order.request))
            started = await anext(events)
        async with aclosing(events):
            if isinstance(started, ChatStarted):
                ignored = _ignored(order, started, more)
                yield msgspec.structs.replace(started, ignored=ignored)
            async for event in events:
                yield event


def _is_for_marks(error: OmniError, order: MessagesOrder) -> bool:
    """Whether a chat may be refused for its marks alone; nothing was held or sent for it then."""
    if isinstance(error, FeatureUnsupported):
        return error.metadata.get("feature") == Feature.CACHE_MARKS.value
    return has_marks(order.request)


def _ignored(
    order: MessagesOrder, found: ChatStarted | ChatCompletion, more: tuple[str, ...]
) -> tuple[str, ...]:
    return own_names((*order.ignored, *more, *found.ignored))
