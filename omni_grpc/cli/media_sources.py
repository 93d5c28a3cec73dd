"""The simulator's models that are no chats, as the catalog takes them."""

from collections.abc import Iterator
from typing import Final

from omni_grpc.catalog import Modality, Mode, OfferFacts, Quote
from omni_grpc.core.money import Rate
from omni_grpc.simulator import SIMULATED_MEDIA

_READS: Final = {Mode.TRANSCRIPTION: Modality.AUDIO}
WRITES: Final = {Mode.IMAGE: Modality.IMAGE, Mode.SPEECH: Modality.AUDIO}
"""What those write that do not write text."""


def simulated_media(provider: str) -> Iterator[OfferFacts]:
    """The offers of `provider`, which is the simulator."""
    for model in SIMULATED_MEDIA:
        mode = Mode(model.mode)
        rates = tuple(sorted(Rate(unit, 0, price) for unit, price in model.rates.items()))
        reads = {_READS.get(mode, Modality.TEXT)} | ({Modality.IMAGE} if model.sees else set())
        yield OfferFacts(
            provider=provider,
            provider_model=model.id,
            model=model.model or model.id,
            display_name=f"Simulator: {model.id}",
            mode=mode,
            quote=Quote(rates=rates, free=not any(model.rates.values())),
            input_modalities=frozenset(reads),
            output_modalities=frozenset({WRITES.get(mode, Modality.TEXT)}),
            by_name_only=True,
        )
