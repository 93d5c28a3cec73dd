"""Reads genai-prices' document, v1 or v2: prices for offers that others list.

A price holds from a day on, or in some hours of the day: the day's is taken, and of the hours the
dearest. Nothing but the price is said of an offer here, so that no offer exists by it alone.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from omni_grpc.catalog.facts import FACTS, OfferFacts
from omni_grpc.catalog.prices import Quote, quote
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.genai_prices import KEYS, PROVIDERS
from omni_grpc.catalog.sources.reading import Collected, Reading, Surroundings

_UNITS: Final = {name: key for key, name in KEYS.items()} | {
    "cache_write_5m_mtok": "cache_write",
}
"""genai-prices' price of a million tokens -> our cost key."""

_OWN_UNITS: Final = {"input_mchars": "character"}
_AUDIO_HOURS: Final = ("input_audio_hours", "audio_hours")
_SECONDS_PER_HOUR: Final = 3_600
_PER_HOUR_MAX: Final = 10_000

_NEVER_ASKED: Final = re.compile(
    r"cache_(audio|text|image|video)_(read|write)_mtok|(input|output)_video_mtok"
    r"|web_searches_kcount|(input|output)_text_mtok"
)
"""Prices of searches and of video, which no call through here asks for; of what a cache gave back
by kind, which counts as what a cache gave back; of text beside a price for all tokens."""

_DEPTH_MAX: Final = 16
_PATTERN_CHARS_MAX: Final = 100
_PATTERN: Final = re.compile(r"[\w^$./:\\@ {}-]*")
"""Regular expressions that cannot take long: classes and counts, no groups and no stars."""


class _Conditional(msgspec.Struct):
    prices: dict[str, object]
    constraint: dict[str, str] | None = None


class _Model(msgspec.Struct):
    id: str
    match: dict[str, object]
    prices: dict[str, object] | list[_Conditional]


class _Provider(msgspec.Struct):
    id: str
    models: list[object]
    fallback_model_providers: list[str] | None = None


class _Unpriced(ValueError):
    """Why no price of a model can be the whole price."""


def read(document: object, around: Surroundings) -> Reading:
    """What the document's prices are for each offer that is known.

    Raises:
        SourceError: the document has another form.
    """
    try:
        listed = msgspec.convert(document, list[_Provider])
    except msgspec.ValidationError as error:
        raise SourceError(f"it is no list of providers: {error}") from None
    found = Collected()
    models: dict[str, list[_Model]] = {}
    for provider in listed:
        if provider.id in models:
            raise SourceError(f"it lists the provider {provider.id} twice")
        models[provider.id] = _models(provider, found)
    others = {provider.id: provider.fallback_model_providers or [] for provider in listed}
    priced: dict[str, Mapping[str, object] | str] = {}
    for seller, name, mode in around.offers:
        theirs = PROVIDERS.get(seller, "")
        model = _found(name, [theirs, *others.get(theirs, ())], models)
        if model is None:
            continue
        key = f"{theirs}/{model.id}"
        if key not in priced:
            priced[key] = _priced(model, around.at)
        cost = priced[key]
        found.add(
            OfferFacts(
                provider=seller,
                provider_model=name,
                model=name,
                display_name=name,
                mode=mode,
                quote=Quote(refusal=cost, beyond=True)
                if isinstance(cost, str)
                else quote(cost, mode),
                unsaid=FACTS,
            )
        )
    return found.reading()


def _models(provider: _Provider, found: Collected) -> list[_Model]:
    models: list[_Model] = []
    for raw in provider.models:
        try:
            model = msgspec.convert(raw, _Model)
            _matches(model.match, "", 0)
        except (msgspec.ValidationError, ValueError) as error:
            name = raw.get("id") if isinstance(raw, dict) else raw
            found.fault(f"{provider.id}/{str(name)[:80]!r}: {error}")
        else:
            models.append(model)
    return models


def _found(
    name: str, providers: Sequence[str], models: Mapping[str, Sequence[_Model]]
) -> _Model | None:
    folded = name.lower()
    for provider in providers:
        for model in models.get(provider, ()):
            if _matches(model.match, folded, 0):
                return model
    return None


def _matches(clause: Mapping[str, object], name: str, depth: int) -> bool:
    """Whether a clause names a model.

    Raises:
        ValueError: it is none that is known.
    """
    if depth > _DEPTH_MAX:
        raise ValueError("its match is nested too deeply")
    match clause:
        case {"or": list(parts)} if len(clause) == 1:
            return any([_matches(_clause(part), name, depth + 1) for part in parts])  # noqa: C419 # all are checked
        case {"and": list(parts)} if len(clause) == 1:
            return all([_matches(_clause(part), name, depth + 1) for part in parts])  # noqa: C419 # likewise
        case {"equals": str(text)}:
            return name == text.lower()
        case {"starts_with": str(text)}:
            return name.startswith(text.lower())
        case {"ends_with": str(text)}:
            return name.endswith(text.lower())
        case {"contains": str(text)}:
            return text.lower() in name
        case {"regex": str(text)} if len(text) <= _PATTERN_CHARS_MAX and _PATTERN.fullmatch(text):
            try:
                return re.search(text, name) is not None
            except re.error as error:
                raise ValueError(f"its match is no regular expression: {error}") from None
    raise ValueError(f"its match is not known: {str(clause)[:80]}")


def _clause(part: object) -> Mapping[str, object]:
    if not isinstance(part, dict):
        raise ValueError("a part of its match is not an object")  # noqa: TRY004 # one kind of fault
    return part


def _priced(model: _Model, at: dt.datetime) -> Mapping[str, object] | str:
    """The cost of a model in models.dev's shape on a day; a text: why it has none."""
    try:
        if isinstance(model.prices, dict):
            return _cost(model.prices)
        days: list[Mapping[str, object]] = []
        for moment in _moments(model.prices, at):
            active = [one for one in model.prices if _active(one.constraint, moment)]
            if active:
                days.append(active[-1].prices)
        if not days:
            return "none of its prices holds today"
        return _dearest([_cost(prices) for prices in days])
    except _Unpriced as error:
        return str(error)[:200]


def _moments(prices: Sequence[_Conditional], at: dt.datetime) -> list[dt.datetime]:
    """Moments of the day in which each price that holds at some hour of it holds."""
    hours = {dt.time(0, tzinfo=dt.UTC)}
    for one in prices:
        for key in ("start_time", "end_time"):
            if one.constraint and key in one.constraint:
                hours.add(_time(one.constraint[key]))
    day = at.astimezone(dt.UTC).date()
    return [dt.datetime.combine(day, hour) for hour in sorted(hours)]


def _active(constraint: Mapping[str, str] | None, moment: dt.datetime) -> bool:
    match constraint:
        case None:
            return True
        case {"start_date": start} if len(constraint) == 1:
            try:
                return dt.date.fromisoformat(start) <= moment.date()
            except ValueError:
                raise _Unpriced(f"a price holds from {start[:40]!r} on, which is no day") from None
        case {"start_time": start, "end_time": end} if len(constraint) == 2:  # noqa: PLR2004 # these
            first, last, now = _time(start), _time(end), moment.timetz()
            return first <= now < last if first <= last else now >= first or now < last
    raise _Unpriced(f"a price has a condition that is not known: {sorted(constraint)}")


def _time(text: str) -> dt.time:
    try:
        found = dt.time.fromisoformat(text)
    except ValueError:
        raise _Unpriced(f"a price holds from {text[:40]!r} on, which is no hour") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _dearest(costs: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    """Of the prices of a day's hours the dearest for each unit; tiers cannot differ by the hour."""
    first = dict(costs[0])
    for other in costs[1:]:
        if other.get("tiers") != first.get("tiers"):
            raise _Unpriced("its price changes with the hour and the size of the prompt at once")
        for key, price in other.items():
            held = first.get(key)
            if isinstance(price, int | Decimal) and isinstance(held, int | Decimal | None):
                first[key] = price if held is None else _dearer(held, price)
    return first


def _dearer(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    """The higher of two prices; what is no number stays, so that it is refused."""
    for price in (one, other):
        if isinstance(price, Decimal) and not price.is_finite():
            return price
    return max(one, other)


def _cost(prices: Mapping[str, object]) -> dict[str, object]:
    steps: dict[str, dict[int, object]] = {}
    for name, price in prices.items():
        if _NEVER_ASKED.fullmatch(name):
            continue
        if name in _AUDIO_HOURS:
            amount = Decimal(price) if isinstance(price, int | Decimal) else Decimal("NaN")
            if not amount.is_finite() or not 0 < amount < _PER_HOUR_MAX:
                raise _Unpriced(f"an hour of sound costs {str(price)[:40]}")
            return {"second": Decimal(1_000_000) * amount / _SECONDS_PER_HOUR}
        key = _UNITS.get(name) or _OWN_UNITS.get(name)
        if key is None:
            raise _Unpriced(f"the source prices something unknown: {name[:80]!r}")
        steps[key] = _steps(name, price)
    starts = sorted({start for step in steps.values() for start in step if start})
    cost: dict[str, object] = {key: step[0] for key, step in steps.items()}
    if starts:
        cost["tiers"] = [
            {key: step[max(at for at in step if at <= start)] for key, step in steps.items()}
            | {"tier": {"type": "context", "size": start}}
            for start in starts
        ]
    return cost


def _steps(name: str, price: object) -> dict[int, object]:
    """A price by the prompt size that it holds above; 0 is the base."""
    match price:
        case {"base": base, "tiers": list(tiers)}:
            steps: dict[int, object] = {0: base}
            for tier in tiers:
                match tier:
                    case {"start": int(start), "price": above} if start > 0:
                        steps[start] = above
                    case _:
                        raise _Unpriced(f"{name[:80]} has a tier that is not known")
            return steps
        case dict():
            raise _Unpriced(f"{name[:80]} is of a form that is not known")
    return {0: price}
