"""The schedule: one sync of all replicas when it is due, and nothing accepted by itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from catalog_offers import Rows
from structlog.testing import capture_logs

from omni_grpc.catalog import Catalog, Schedule, SourceStore, Syncer, parse_sources
from omni_grpc.storage import Database

Query = Callable[[str], Rows]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Replica:
    """One worker's share of the schedule."""

    def __init__(self, database: Database, path: Path) -> None:
        self.catalog = Catalog(database)
        self.schedule = Schedule(
            database,
            self.catalog,
            Syncer(database, price_change_max_ppm=500_000),
            parse_sources([f"prices={path}"]),
            hours=6,
            poll_s=0.02,
        )


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return priced(tmp_path / "own.json", 1)


def priced(path: Path, prompt: int) -> Path:
    entry = {"provider": "lab", "id": "a", "usd_per_million": {"prompt": prompt, "completion": 2}}
    path.write_text(json.dumps({"models": [entry]}))
    return path


def damage(path: Path) -> None:
    path.write_text("{")


async def test_of_all_replicas_one_syncs_when_it_is_due_and_none_before(
    database: Database, own: Path, query: Query
):
    replicas = [Replica(database, own) for _ in range(4)]
    reports = await asyncio.gather(*(one.schedule.turn() for one in replicas))
    done = [one for one in reports if one is not None]
    assert [one.added for one in done] == [1]
    # Who synced has it at once, whatever the others' polls do.
    synced = next(one for one, report in zip(replicas, reports, strict=True) if report)
    assert synced.catalog.snapshot.get("lab/a") is not None
    assert [await one.schedule.turn() for one in replicas] == [None] * 4
    assert query(
        "SELECT due_time - clock_timestamp() BETWEEN interval '5.9 h' AND interval '6 h', holder "
        "FROM catalog_schedule"
    ) == [(True, "")]
    assert query("SELECT DISTINCT actor FROM model_change") == [("schedule",)]


async def test_a_replica_that_died_in_a_sync_is_waited_for_and_then_replaced(
    database: Database, own: Path, query: Query
):
    assert await SourceStore(database).take_turn("dead", 900)
    replica = Replica(database, own)
    assert await replica.schedule.turn() is None
    query("UPDATE catalog_schedule SET lease_time = clock_timestamp()")
    assert await replica.schedule.turn() is not None
    # It comes back to life, and takes nobody else's turn away.
    await SourceStore(database).end_turn("dead", 0)
    assert await replica.schedule.turn() is None


async def test_a_failing_source_is_tried_again_sooner(database: Database, own: Path, query: Query):
    replica = Replica(database, own)
    await replica.schedule.turn()
    damage(own)
    query("UPDATE catalog_schedule SET due_time = clock_timestamp()")
    report = await replica.schedule.turn()
    assert report is not None
    assert report.failed
    assert replica.catalog.snapshot.get("lab/a") is not None
    assert query(
        "SELECT due_time - clock_timestamp() BETWEEN interval '14 min' AND interval '15 min' "
        "FROM catalog_schedule"
    ) == [(True,)]


async def test_it_runs_by_itself_and_accepts_nothing(
    database: Database, own: Path, query: Query, eventually: Eventually
):
    replica = Replica(database, own)
    with capture_logs() as logs:
        running = asyncio.create_task(replica.schedule.run())
        await eventually(lambda: replica.catalog.snapshot.get("lab/a"))
        priced(own, 9)
        query("UPDATE catalog_schedule SET due_time = clock_timestamp()")
        await eventually(lambda: "catalog_needs_acceptance" in [entry["event"] for entry in logs])
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    offer = replica.catalog.snapshot.get("lab/a")
    assert offer is not None
    assert offer.price is not None
    assert {rate.nanousd_per_mtok for rate in offer.price.rates} == {10**9, 2 * 10**9}
