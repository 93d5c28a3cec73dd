"""Where the catalog's facts come from: packages of the release, public lists, operators' own."""

import datetime as dt

import msgspec

from omni_grpc.catalog.facts import fault_of
from omni_grpc.catalog.sources import models_dev, openai_media, other_media
from omni_grpc.catalog.sources.genai_prices import Supplement
from omni_grpc.catalog.sources.reading import Reading

__all__ = ["Reading", "packaged_facts"]


def packaged_facts(at: dt.datetime) -> Reading:
    """All offers that the packages models-dev and genai-prices know, priced as of `at`.

    Takes some hundred milliseconds of CPU: run it in a thread beside a live event loop.
    """
    found = models_dev.read(models_dev.packaged(), Supplement(at))
    # How these are called is said by this release alone, and no public source knows it better.
    media = tuple(
        msgspec.structs.replace(one, own=True)
        for one in (*openai_media.read(at, found.offers), *other_media.read(at, found.offers))
    )
    faults = tuple(fault for fault in map(fault_of, media) if fault)
    named = {one.id for one in media}
    return Reading(
        offers=(*(one for one in found.offers if one.id not in named), *media),
        faults=found.faults + faults,
    )
