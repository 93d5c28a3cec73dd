"""Which sources there are, where they are by default, and how each is read.

A source is written `NAME` or `NAME=LOCATION`. The names of the public ones choose their reader;
any other name is an operator's own list.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from omni_grpc.catalog.difference import (
    GENAI_PRICES,
    LITELLM,
    MODELS_DEV,
    OPENROUTER,
    SEED,
    rank,
)
from omni_grpc.catalog.sources import genai_list, litellm, models_dev, openrouter, own_list
from omni_grpc.catalog.sources.document import SourceError
from omni_grpc.catalog.sources.fetch import check_location
from omni_grpc.catalog.sources.reading import Reader

_RAW: Final = "https://raw.githubusercontent.com"

DEFAULT_LOCATIONS: Final[Mapping[str, str]] = {
    MODELS_DEV: "https://models.dev/api.json",
    OPENROUTER: "https://openrouter.ai/api/v1/models",
    LITELLM: f"{_RAW}/BerriAI/litellm/main/model_prices_and_context_window.json",
    GENAI_PRICES: f"{_RAW}/pydantic/genai-prices/main/prices/new_data/v2/data.json",
}
DEFAULT_SOURCES: Final = tuple(DEFAULT_LOCATIONS)

_READERS: Final[Mapping[str, Reader]] = {
    MODELS_DEV: models_dev.read_live,
    OPENROUTER: openrouter.read,
    LITELLM: litellm.read,
    GENAI_PRICES: genai_list.read,
}

_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_RESERVED: Final = frozenset({SEED, "operator", "dearest", "models.yaml", "system"})
SOURCE_COUNT_MAX: Final = 16
"""Most sources of one sync: all of them are weighed in memory."""


class Source(msgspec.Struct, frozen=True):
    """A place that says something of models."""

    name: str
    location: str

    @property
    def reader(self) -> Reader:
        """How its document is read."""
        return _READERS.get(self.name, own_list.read)

    @property
    def own(self) -> bool:
        """Whether it is the operator's own list."""
        return self.name not in _READERS


def parse_sources(texts: Iterable[str]) -> tuple[Source, ...]:
    """The sources that texts name, the most trusted first; all public ones where none is named.

    Raises:
        SourceError: a text is no source, or a name stands twice.
    """
    found: dict[str, Source] = {}
    for text in [*texts] or DEFAULT_SOURCES:
        name, _, location = (part.strip() for part in text.partition("="))
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise SourceError(
                f"{text[:80]!r} names no source: a name has small letters, digits, `.`, `_` and "
                f"`-`, and is none of {', '.join(sorted(_RESERVED))}"
            )
        location = location or DEFAULT_LOCATIONS.get(name, "")
        if not location:
            raise SourceError(f"{name}: say where it is, as {name}=https://… or {name}=FILE")
        fault = check_location(location)
        if fault:
            raise SourceError(f"{name}: {location[:200]}: {fault}")
        if name in found:
            raise SourceError(f"the source {name} is named twice")
        found[name] = Source(name, location)
    if len(found) > SOURCE_COUNT_MAX:
        raise SourceError(f"there are {len(found)} sources; at most {SOURCE_COUNT_MAX} can be")
    return tuple(sorted(found.values(), key=lambda one: (rank(one.name), one.name)))
