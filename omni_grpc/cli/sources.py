"""What the catalog is filled with: the packages' facts, the operator's, the simulator's models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from omni_grpc.catalog import (
    Modality,
    Mode,
    OfferFacts,
    Quote,
    SeedReport,
    fault_of,
    honest,
    packaged_facts,
    seed,
)
from omni_grpc.cli.media_sources import WRITES, simulated_media
from omni_grpc.core.money import Rate, Unit, nanousd_from_usd
from omni_grpc.providers import OwnModel, ProvidersFileError, load_specs
from omni_grpc.simulator import SIMULATED_MODELS, SimulatedModel
from omni_grpc.storage import Database

SIMULATOR_ID: Final = "sim"

_GENERAL: Final = frozenset({"demo", "small", "reasoner", "vision"})
"""What omni/auto may choose; the simulator's other models exist for those who name them."""

_MODALITIES: Final = {
    "text": Modality.TEXT,
    "image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "file": Modality.PDF,
}


def all_facts(providers_file: Path | None) -> list[OfferFacts]:
    """Everything that is known offline, and what an operator's file of providers says of models.

    Takes some hundred milliseconds of CPU.

    Raises:
        ProvidersFileError: a price there is none, or the catalog cannot take a model.
    """
    packaged = [
        *packaged_facts(datetime.now(UTC)).offers,
        *map(_simulated, SIMULATED_MODELS),
        *simulated_media(SIMULATOR_ID),
    ]
    facts = {one.id: honest(one) for one in packaged}
    for spec in load_specs(providers_file):
        for model in spec.models:
            own = _own(spec.id, model)
            if fault := fault_of(own):
                raise ProvidersFileError(f"{providers_file}: {own.id}: {fault}")
            facts[own.id] = own
    return [*facts.values()]


async def seed_catalog(database: Database, facts: list[OfferFacts]) -> SeedReport:
    """Brings the catalog to `facts`; changes nothing where it has them already."""
    return await seed(database, facts)


def _own(provider: str, model: OwnModel) -> OfferFacts:
    try:
        rates = [
            Rate(Unit(unit), 0, nanousd_from_usd(price))
            for unit, price in model.usd_per_million.items()
        ]
    except ValueError as error:
        raise ProvidersFileError(f"the prices of {provider}/{model.id}: {error}") from error
    return OfferFacts(
        provider=provider,
        provider_model=model.id,
        model=model.model or model.id,
        display_name=model.id,
        quote=Quote(rates=tuple(sorted(rates)), refusal="" if rates else "it has no price"),
        context_tokens_max=model.context_tokens_max,
        output_tokens_max=model.output_tokens_max,
        input_modalities=frozenset(_MODALITIES[name] for name in model.inputs),
        mode=Mode(model.mode),
        output_modalities=frozenset({WRITES.get(Mode(model.mode), Modality.TEXT)}),
        tools=model.tools,
        structured_output=model.structured_output,
        reasoning=model.reasoning,
        own=True,
    )


def _simulated(model: SimulatedModel) -> OfferFacts:
    rates = [
        Rate(Unit.PROMPT, 0, model.prompt_nanousd_per_mtok),
        Rate(Unit.CACHED_READ, 0, model.cached_read_nanousd_per_mtok),
        Rate(Unit.COMPLETION, 0, model.completion_nanousd_per_mtok),
    ]
    if "audio" in model.inputs:
        rates.append(Rate(Unit.PROMPT_AUDIO, 0, model.prompt_nanousd_per_mtok))
    return OfferFacts(
        provider=SIMULATOR_ID,
        provider_model=model.id,
        model=model.id,
        display_name=f"Simulator: {model.id}",
        quote=Quote(rates=tuple(sorted(rates))),
        context_tokens_max=model.context_tokens,
        output_tokens_max=model.output_tokens_max,
        input_modalities=frozenset(_MODALITIES[name] for name in model.inputs),
        output_modalities=frozenset({Modality.TEXT}),
        tools=model.tools,
        structured_output=model.structured,
        reasoning=model.reasoning,
        temperature=True,
        by_name_only=model.id not in _GENERAL,
    )
