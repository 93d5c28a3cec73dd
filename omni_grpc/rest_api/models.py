"""`GET /v1/models` and `GET /v1/models/{id}`: what can be called here, in OpenAI's shape.

Prices, limits and ratings stand beside OpenAI's fields, in the words of the gRPC contract.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Final

import msgspec

from omni_grpc.catalog import GLOBAL_SCOPE, CatalogSnapshot, Mode, Offer, Rating, scopes_of
from omni_grpc.completion import Call, OwnCredentials
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import ModelNotFound
from omni_grpc.core.money import Price
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.routing import AUTO, SpeedMeter

PATH: Final = "/v1/models"
PATH_ONE: Final = "/v1/models/{id:path}"

LISTED_SECONDS: Final = 15.0
"""How long the list may be told again: as often as workers learn each other's speeds."""

_JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode
_ROUTED: Final[dict[str, _JsonObject]] = {
    name: {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "omni",
        "display_name": title,
    }
    for name, title in (
        (AUTO, "The model that fits a request best"),
        ("omni/balanced", "The same: quality, cost and speed in balance"),
        ("omni/cheap", "The cheapest model that is good enough"),
        ("omni/best", "The model that is likeliest to do it well"),
        ("omni/fast", "The fastest model that is good enough"),
    )
}
"""The names that routing resolves for each request."""


class ModelRoutes:
    """Describes models for the door. Reads come from memory."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        own: OwnCredentials,
        speeds: Mapping[str, SpeedMeter],
        clock: Clock,
    ) -> None:
        self._snapshot = snapshot
        self._speeds = speeds
        self._clock = clock
        self._providers = providers
        self._own = own
        self._listed: tuple[int, float, bytes] | None = None

    async def list_models(self, exchange: Exchange, call: Call) -> None:
        """Every model that a chat can name by its own id, and the names that routing resolves."""
        snapshot = self._snapshot()
        providers = await self._own.callable_at(call, self._providers)
        if providers != self._providers:  # who brought accounts of its own reaches more
            await exchange.answer(200, _headers(call), self._list(snapshot, providers))
            return
        now, listed = self._clock.monotonic(), self._listed
        if listed is None or listed[0] != snapshot.version or listed[1] <= now:
            until = now + LISTED_SECONDS
            listed = self._listed = (snapshot.version, until, self._list(snapshot, providers))
        await exchange.answer(200, _headers(call), listed[2])

    async def get_model(self, exchange: Exchange, call: Call) -> None:
        """What a name means to the caller: an id, a bare model, an alias, or `omni/…`.

        Raises:
            ModelNotFound: nothing that can be called.
        """
        name = exchange.path_id
        found = _ROUTED.get(name)
        if found is None:
            snapshot = self._snapshot()
            providers = await self._own.callable_at(call, self._providers)
            offer = _meant(snapshot, name, _scopes(call), providers)
            found = _model(snapshot, offer, self._speeds)
        await exchange.answer(200, _headers(call), _encode(found))

    def _list(self, snapshot: CatalogSnapshot, providers: frozenset[str]) -> bytes:
        offers = [
            offer
            for provider in sorted(providers)
            for offer in snapshot.offers_of(provider)
            if _serves(offer, providers)
        ]
        described = [_model(snapshot, offer, self._speeds) for offer in offers]
        return _encode({"object": "list", "data": [*_ROUTED.values(), *described]})


def _meant(
    snapshot: CatalogSnapshot, name: str, scopes: tuple[str, ...], providers: frozenset[str]
) -> Offer:
    for offer in snapshot.resolve(name, scopes):
        if _serves(offer, providers):
            return offer
    near = snapshot.suggestions(name, providers, scopes)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ModelNotFound(
        f"There is no model {name!r} that can be called here.{hint} GET {PATH} lists them.",
        field="model",
    )


def _serves(offer: Offer, providers: frozenset[str]) -> bool:
    return offer.mode is Mode.CHAT and offer.callable_at(providers)


def _headers(call: Call) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", call.name.encode()), *JSON_HEADERS]


def _scopes(call: Call) -> tuple[str, ...]:
    """Whose aliases hold for a caller."""
    principal = call.principal
    return scopes_of(GLOBAL_SCOPE if principal is None else principal.place)


def _model(
    snapshot: CatalogSnapshot, offer: Offer, speeds: Mapping[str, SpeedMeter]
) -> _JsonObject:
    meter = speeds.get(offer.id)
    released = offer.release_date
    created = 0 if released is None else int(datetime.combine(released, time(), UTC).timestamp())
    return {
        "id": offer.id,
        "object": "model",
        "created": created,
        "owned_by": offer.provider,
        "display_name": offer.display_name,
        "context_token_count": offer.context_tokens_max,
        "output_token_count": offer.output_tokens_max,
        "input_modalities": sorted(offer.input_modalities),
        "output_modalities": sorted(offer.output_modalities),
        "tools": offer.tools,
        "structured_output": offer.structured_output,
        "reasoning": offer.reasoning,
        "free": offer.free,
        "deprecated": offer.deprecated,
        "deprecate_time": _day(offer.deprecation_date),
        "deprecation_reason": offer.deprecation_reason,
        "replacement": offer.replacement,
        "canonical_model": offer.model,
        "ratings": [_rating(rating) for rating in snapshot.rated_tasks(offer.model)],
        "tags": sorted(offer.tags),
        "regions": sorted(offer.regions),
        "pricing": None if offer.price is None else _pricing(offer.price),
        "measured_speed": None if meter is None else meter.measured,
    }


def _rating(rating: Rating) -> _JsonObject:
    return {
        "task": rating.task or "overall",
        "value": rating.value,
        "source": rating.source,
        "rate_time": _day(rating.date),
        "estimated": rating.estimated,
    }


def _day(day: date | None) -> str | None:
    """A day's beginning in UTC, as JSON has times; None where nobody said."""
    return None if day is None else f"{day.isoformat()}T00:00:00Z"


def _pricing(price: Price) -> _JsonObject:
    return {
        "version": price.version,
        "rates": [
            {
                "unit": rate.unit,
                "min_prompt_token_count": rate.prompt_tokens_min,
                "nanousd_per_mtok": rate.nanousd_per_mtok,
            }
            for rate in price.rates
        ],
    }
