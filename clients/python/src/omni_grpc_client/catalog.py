"""The models that can be called, what they can do, what they cost and how good they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from google.protobuf.field_mask_pb2 import FieldMask
from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc_client.aliases import Alias, alias_of
from omni_grpc_client.calls import (
    Call,
    Kind,
    Page,
    check_options,
    count_of,
    listed,
    stamp_of,
    time_of,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of a million of `unit`, for prompts of at least `min_prompt_tokens`.

    `unit` is `prompt`, `cached_read`, `cached_write`, `prompt_audio`, `completion`, `reasoning` or
    `completion_audio`. A part without a rate of its own costs what contains it.
    """

    unit: str
    min_prompt_tokens: int
    nanousd_per_mtok: int


@dataclass(frozen=True, slots=True)
class Pricing:
    """One immutable version of what an offer costs; usage records name the version."""

    version: int
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a name means: the offers that a call would try, in order.

    `alias` is the alias that the name is; `warning` says that the model is deprecated.
    """

    models: "tuple[Model, ...]"
    alias: Alias | None
    warning: str


@dataclass(frozen=True, slots=True)
class Rating:
    """How good a model is at a task, 0 to 100, and who says so; no task is everything.

    `estimated`: it was never measured, only inferred from the model's price and age.
    """

    task: str
    value: float
    source: str
    rate_time: datetime | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class OperatorFact:
    """Says that an operator set a fact of an offer.

    `source` is `models.yaml`, or `operator` for a call or a command; `pattern` is the entry of
    models.yaml, or the offer's id.
    """

    field: str
    source: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """One changed fact of the catalog. None on one side: it was added, or taken away."""

    subject: str
    field: str
    old_value: str | None
    new_value: str | None
    source: str
    actor: str
    create_time: datetime | None


class ModelUpdate(TypedDict, total=False):
    """What `update_model` says of an offer. None takes a word back: what was synced holds again.

    `price_override` is a discount in millionths, or rates.
    """

    enabled: bool | None
    tags: Sequence[str] | None
    regions: Sequence[str] | None
    quality_weight_ppm: int | None
    routing_weight: int | None
    replacement: str | None
    deprecate_time: datetime | None
    deprecation_reason: str | None
    price_override: int | Sequence[Rate] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSpeed:
    """How an offer answers, as calls measured it; those of ten minutes ago count half.

    Attributes:
        first_token_ms: milliseconds to the first token of a stream; None while none was measured.
        output_tokens_per_second: after the first; None while no call told.
        reasoning_ratio: tokens of reasoning for each token of the answer; None where its provider
            counts none.
        call_count: how many calls that rests on, faded as they are; at most 50.
        source: who measured: `traffic`.
    """

    first_token_ms: float | None
    output_tokens_per_second: float | None
    reasoning_ratio: float | None
    call_count: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A provider's offer of a model.

    Attributes:
        name: `providers/{provider}/models/{model}`.
        model: what a chat names it by: `{provider}/{model}`.
        display_name: its name for people.
        pricing: what it costs; None if that is not known, and then it cannot be called.
        context_tokens: most tokens of prompt and answer together; None if not known.
        output_tokens: most tokens of an answer; None if not known.
        input_modalities: of `text`, `image`, `audio`, `video`, `pdf`.
        output_modalities: the same, for what it writes.
        tools: whether it calls tools.
        structured_output: whether it follows a JSON schema.
        reasoning: whether it reasons before it answers.
        free: whether it is offered for nothing.
        deprecated: whether its maker advises against new use.
        callable: whether it can be called here: configured, priced and enabled.
        release_time: when the model was released; None if not known.
        canonical_model: the model, named alike for all who sell it.
        ratings: how good the model is: overall first, then at each task that is known.
        enabled: the operator's switch.
        tags: the operator's words for it.
        regions: where it is served; empty if not known.
        quality_weight_ppm: what its rating is multiplied by in routing, in millionths; None as
            1000000, which changes nothing.
        routing_weight: its share among others under a weighted policy; None as 1.
        replacement: what is called instead while it is deprecated; empty: nothing.
        deprecate_time: from when on it is deprecated, or was; None if nobody said.
        deprecation_reason: why.
        price_override: the operator's price, which `pricing` follows: a discount in millionths, or
            rates; None if there is none.
        operator_facts: which of these an operator set, and where.
        source: the source that lists it.
        etag: changes whenever the offer does.
        measured_speed: how it answers there, as calls measured it; None while none did.
    """

    name: str
    model: str
    display_name: str
    pricing: Pricing | None
    context_tokens: int | None
    output_tokens: int | None
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    tools: bool
    structured_output: bool
    reasoning: bool
    free: bool
    deprecated: bool
    callable: bool
    release_time: datetime | None
    canonical_model: str
    ratings: tuple[Rating, ...]
    enabled: bool
    tags: tuple[str, ...]
    regions: tuple[str, ...]
    quality_weight_ppm: int | None
    routing_weight: int | None
    replacement: str
    deprecate_time: datetime | None
    deprecation_reason: str
    price_override: int | tuple[Rate, ...] | None
    operator_facts: tuple[OperatorFact, ...]
    source: str
    etag: str
    measured_speed: MeasuredSpeed | None
    raw: pb.Model = field(repr=False, compare=False)


def get_model(name: str) -> Call[pb.GetModelRequest, pb.GetModelResponse, Model]:
    """GetModel, by resource name or as a chat names it."""
    return Call(
        request=pb.GetModelRequest(name=_resource_name(name)),
        parse=lambda response: _model(response.model),
        kind=Kind.READ,
    )


def list_models(
    where: str, page_size: int | None, page_token: str
) -> Call[pb.ListModelsRequest, pb.ListModelsResponse, Page[Model]]:
    """ListModels, one page."""
    return Call(
        request=pb.ListModelsRequest(filter=where, page_size=page_size, page_token=page_token),
        parse=lambda response: Page(
            [_model(raw) for raw in response.models], response.next_page_token
        ),
        kind=Kind.READ,
    )


def update_model(
    name: str, etag: str, update: ModelUpdate
) -> Call[pb.UpdateModelRequest, pb.UpdateModelResponse, Model]:
    """UpdateModel, with a mask of what `update` names.

    Raises:
        TypeError: what there is not, or a value of another type.
        ValueError: a moment without a time zone.
    """
    check_options(update, ModelUpdate.__annotations__, "an offer")
    listed(update.get("tags") or (), "tags")
    listed(update.get("regions") or (), "regions")
    said = {field: value for field, value in update.items() if value is not None}
    price, moment = said.pop("price_override", None), said.pop("deprecate_time", None)
    stamp = stamp_of(moment, "deprecate_time") if isinstance(moment, datetime) else None
    model = pb.Model(name=_resource_name(name), etag=etag, deprecate_time=stamp, **said)  # type: ignore[arg-type]  # as ModelUpdate has them
    if isinstance(price, int):
        model.price_override.discount_ppm = price
    elif price is not None:
        model.price_override.rates.extend(map(_raw_rate, update["price_override"]))  # type: ignore[arg-type]  # no int
    return Call(
        request=pb.UpdateModelRequest(model=model, update_mask=FieldMask(paths=list(update))),
        parse=lambda response: _model(response.model),
        kind=Kind.WRITE,
    )


def resolve_model(
    name: str, scope: str
) -> Call[pb.ResolveModelRequest, pb.ResolveModelResponse, Resolution]:
    """ResolveModel."""
    return Call(
        request=pb.ResolveModelRequest(model=name, scope=scope),
        parse=lambda response: Resolution(
            models=tuple(map(_model, response.models)),
            alias=alias_of(response.alias) if response.HasField("alias") else None,
            warning=response.warning,
        ),
        kind=Kind.READ,
    )


def list_model_changes(
    where: str, page_size: int | None, page_token: str
) -> Call[pb.ListModelChangesRequest, pb.ListModelChangesResponse, Page[ModelChange]]:
    """ListModelChanges, one page."""
    return Call(
        request=pb.ListModelChangesRequest(
            filter=where, page_size=page_size, page_token=page_token
        ),
        parse=lambda response: Page(
            [_change(raw) for raw in response.changes], response.next_page_token
        ),
        kind=Kind.READ,
    )


def _change(raw: pb.ModelChange) -> ModelChange:
    return ModelChange(
        subject=raw.subject,
        field=raw.field,
        old_value=raw.old_value if raw.HasField("old_value") else None,
        new_value=raw.new_value if raw.HasField("new_value") else None,
        source=raw.source,
        actor=raw.actor,
        create_time=time_of(raw, "create_time"),
    )


def _raw_rate(rate: Rate) -> pb.Rate:
    return pb.Rate(
        unit=rate.unit,
        min_prompt_token_count=rate.min_prompt_tokens,
        nanousd_per_mtok=rate.nanousd_per_mtok,
    )


def _resource_name(name: str) -> str:
    """`openai/gpt-4o` is `providers/openai/models/gpt-4o`; the service judges anything else."""
    provider, slash, model = name.partition("/")
    if not slash or provider == "providers":
        return name
    return f"providers/{provider}/models/{model}"


def _model(raw: pb.Model) -> Model:
    return Model(
        name=raw.name,
        model=raw.model,
        display_name=raw.display_name,
        pricing=_pricing(raw.pricing) if raw.HasField("pricing") else None,
        context_tokens=count_of(raw, "context_token_count"),
        output_tokens=count_of(raw, "output_token_count"),
        input_modalities=tuple(raw.input_modalities),
        output_modalities=tuple(raw.output_modalities),
        tools=raw.tools,
        structured_output=raw.structured_output,
        reasoning=raw.reasoning,
        free=raw.free,
        deprecated=raw.deprecated,
        callable=raw.callable,
        release_time=time_of(raw, "release_time"),
        canonical_model=raw.canonical_model,
        ratings=tuple(
            Rating(one.task, one.value, one.source, time_of(one, "rate_time"), one.estimated)
            for one in raw.ratings
        ),
        enabled=raw.enabled,
        tags=tuple(raw.tags),
        regions=tuple(raw.regions),
        quality_weight_ppm=count_of(raw, "quality_weight_ppm"),
        routing_weight=count_of(raw, "routing_weight"),
        replacement=raw.replacement,
        deprecate_time=time_of(raw, "deprecate_time"),
        deprecation_reason=raw.deprecation_reason,
        price_override=_override(raw.price_override) if raw.HasField("price_override") else None,
        operator_facts=tuple(
            OperatorFact(one.field, one.source, one.pattern) for one in raw.operator_facts
        ),
        source=raw.source,
        etag=raw.etag,
        measured_speed=_speed(raw.measured_speed) if raw.HasField("measured_speed") else None,
        raw=raw,
    )


def _speed(raw: pb.MeasuredSpeed) -> MeasuredSpeed:
    return MeasuredSpeed(
        first_token_ms=raw.first_token_ms if raw.HasField("first_token_ms") else None,
        output_tokens_per_second=(
            raw.output_tokens_per_second if raw.HasField("output_tokens_per_second") else None
        ),
        reasoning_ratio=raw.reasoning_ratio if raw.HasField("reasoning_ratio") else None,
        call_count=raw.call_count,
        source=raw.source,
    )


def _pricing(raw: pb.Pricing) -> Pricing:
    return Pricing(raw.version, _rates(raw.rates))


def _override(raw: pb.PriceOverride) -> int | tuple[Rate, ...]:
    return _rates(raw.rates) or raw.discount_ppm


def _rates(raw: Sequence[pb.Rate]) -> tuple[Rate, ...]:
    return tuple(Rate(one.unit, one.min_prompt_token_count, one.nanousd_per_mtok) for one in raw)
