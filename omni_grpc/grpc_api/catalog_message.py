"""Between the catalog's values and its messages, both ways."""

import datetime as dt
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from google.protobuf import timestamp_pb2
from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc.catalog import (
    LAYER_NAMES,
    Alias,
    CatalogSnapshot,
    Offer,
    OwnPrice,
    Rating,
    RecordedChange,
    Words,
    etag_of,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.money import Rate, Unit
from omni_grpc.routing import Measured, SpeedMeter

MESSAGES_KEPT: Final = 4_096
"""More than there are different ratings or days in the catalog; a few hundred bytes each."""

UPDATED_FIELDS: Final[Mapping[str, str]] = {
    "enabled": "enabled",
    "tags": "tags",
    "regions": "regions",
    "quality_weight_ppm": "quality_weight_ppm",
    "routing_weight": "routing_weight",
    "price_override": "price",
    "replacement": "replacement",
    "deprecate_time": "deprecation_date",
    "deprecation_reason": "deprecation_reason",
}
"""What an update_mask may name, and the operator's word that it is."""


def model_message(
    snapshot: CatalogSnapshot,
    offer: Offer,
    providers: Collection[str],
    speeds: Mapping[str, SpeedMeter],
) -> pb.Model:
    """An offer with everything that is known of it; `speeds` are what calls measured."""
    meter = speeds.get(offer.id)
    words = snapshot.words(offer.id)
    own = snapshot.own_price(offer.id)
    price = offer.price
    return pb.Model(
        name=f"providers/{offer.provider}/models/{offer.provider_model}",
        model=offer.id,
        display_name=offer.display_name,
        pricing=None
        if price is None
        else pb.Pricing(version=price.version, rates=map(_rate, price.rates)),
        context_token_count=offer.context_tokens_max,
        output_token_count=offer.output_tokens_max,
        input_modalities=sorted(offer.input_modalities),
        output_modalities=sorted(offer.output_modalities),
        tools=offer.tools,
        structured_output=bool(offer.structured_output),
        reasoning=offer.reasoning,
        free=offer.free,
        deprecated=offer.deprecated,
        callable=offer.callable_at(providers),
        release_time=_day(offer.release_date),
        canonical_model=offer.model,
        ratings=map(_rating, snapshot.rated_tasks(offer.model)),
        tags=sorted(offer.tags),
        regions=sorted(offer.regions),
        enabled=offer.enabled,
        quality_weight_ppm=offer.quality_weight_ppm,
        routing_weight=offer.routing_weight,
        replacement=offer.replacement or "",
        deprecate_time=_day(offer.deprecation_date),
        deprecation_reason=offer.deprecation_reason,
        price_override=None
        if own is None
        else pb.PriceOverride(discount_ppm=own.discount_ppm, rates=map(_rate, own.rates)),
        operator_facts=[
            pb.OperatorFact(field=field, source=LAYER_NAMES[word.layer], pattern=word.pattern)
            for held in (words, snapshot.words(offer.model))
            for field, word in sorted(held.items())
        ],
        source=offer.source,
        etag=etag_of(offer),
        measured_speed=None if meter is None else _speed(meter.measured),
    )


def words_of(model: pb.Model) -> Words:
    """What an UpdateModel says, whatever its mask; what is unset is not said.

    Raises:
        FieldInvalid: a rate has a unit that there is not.
    """
    return Words(
        enabled=model.enabled if model.HasField("enabled") else None,
        tags=tuple(model.tags) or None,
        regions=tuple(model.regions) or None,
        quality_weight_ppm=(
            model.quality_weight_ppm if model.HasField("quality_weight_ppm") else None
        ),
        routing_weight=model.routing_weight if model.HasField("routing_weight") else None,
        price=_own_price(model.price_override) if model.HasField("price_override") else None,
        replacement=model.replacement or None,
        deprecation_date=_date(model.deprecate_time) if model.HasField("deprecate_time") else None,
        deprecation_reason=model.deprecation_reason or None,
    )


def updated_fields(paths: Collection[str]) -> tuple[str, ...]:
    """The operator's words that a mask names.

    Raises:
        FieldInvalid: it names none, or one that cannot be updated.
    """
    for path in paths:
        if path not in UPDATED_FIELDS:
            raise FieldInvalid(
                f"update_mask names {path!r}; what can be updated is {', '.join(UPDATED_FIELDS)}.",
                field="update_mask",
            )
    if not paths:
        raise FieldInvalid(
            f"update_mask must name what to update, of {', '.join(UPDATED_FIELDS)}.",
            field="update_mask",
        )
    return tuple(dict.fromkeys(UPDATED_FIELDS[path] for path in paths))


def alias_message(alias: Alias) -> pb.Alias:
    """An alias."""
    return pb.Alias(name=alias.name, scope=alias.scope, targets=alias.targets)


def change_message(change: RecordedChange) -> pb.ModelChange:
    """One recorded change."""
    moment = timestamp_pb2.Timestamp()
    moment.FromDatetime(change.create_time)
    return pb.ModelChange(
        subject=change.subject,
        field=change.field,
        old_value=change.old,
        new_value=change.new,
        source=change.source,
        actor=change.actor,
        create_time=moment,
    )


# Made once, since a page of a thousand offers holds few different ones; whoever uses one copies it.
@lru_cache(maxsize=MESSAGES_KEPT)
def _rating(rating: Rating) -> pb.Rating:
    return pb.Rating(
        task=rating.task.value if rating.task else "",
        value=rating.value,
        source=rating.source,
        rate_time=_day(rating.date),
        estimated=rating.estimated,
    )


def _speed(found: Measured | None) -> pb.MeasuredSpeed | None:
    if found is None:
        return None
    return pb.MeasuredSpeed(
        first_token_ms=found.first_token_ms,
        output_tokens_per_second=found.output_tokens_per_second,
        reasoning_ratio=found.reasoning_ratio,
        call_count=found.call_count,
        source=found.source,
    )


def _rate(rate: Rate) -> pb.Rate:
    return pb.Rate(
        unit=rate.unit,
        min_prompt_token_count=rate.prompt_tokens_min,
        nanousd_per_mtok=rate.nanousd_per_mtok,
    )


def _own_price(price: pb.PriceOverride) -> OwnPrice:
    try:
        rates = [
            Rate(Unit(rate.unit), rate.min_prompt_token_count, rate.nanousd_per_mtok)
            for rate in price.rates
        ]
    except ValueError as error:
        raise FieldInvalid(
            f"{error}; units are {', '.join(Unit)}.", field="model.price_override.rates"
        ) from None
    return OwnPrice(discount_ppm=price.discount_ppm, rates=tuple(sorted(rates)))


@lru_cache(maxsize=MESSAGES_KEPT)
def _day(date: dt.date | None) -> timestamp_pb2.Timestamp | None:
    if date is None:
        return None
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(dt.datetime.combine(date, dt.time(), dt.UTC))
    return found


def _date(moment: timestamp_pb2.Timestamp) -> dt.date:
    try:
        return moment.ToDatetime(dt.UTC).date()
    except (ValueError, OverflowError):
        raise FieldInvalid(
            "deprecate_time must be between the years 1 and 9999.", field="model.deprecate_time"
        ) from None
