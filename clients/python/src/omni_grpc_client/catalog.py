"""The models that can be called, what they can do and what they cost."""

from dataclasses import dataclass, field
from datetime import datetime

from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, count_of, time_of


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
        raw=raw,
    )


def _pricing(raw: pb.Pricing) -> Pricing:
    return Pricing(
        raw.version,
        tuple(
            Rate(one.unit, one.min_prompt_token_count, one.nanousd_per_mtok) for one in raw.rates
        ),
    )
