"""Speeds that workers share, on a real PostgreSQL: what one measured, all know."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from patient_database import PATIENT, patient_database

from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.routing import Health, SpeedShare, SpeedStore
from omni_grpc.routing.speed_store import KNOWN_HOURS, OFFERS_AT_ONCE_MAX
from omni_grpc.routing.speeds import HALF_LIFE_SECONDS, WEIGHT_MAX, Sums, measured
from omni_grpc.storage import Database, EmbeddedPostgres, Timeouts, migrate

DATABASE = "speeds_tests"


class SteadyClock:
    """Each worker's own time, which means nothing to another."""

    def __init__(self, at: float) -> None:
        self.at = at

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


@pytest.fixture(scope="module")
def speeds_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("speeds")
    with EmbeddedPostgres(folder, settings={"fsync": "off"}) as server:
        migrate(server.create_database(DATABASE))
        yield server


@pytest.fixture
def url(speeds_server: EmbeddedPostgres) -> str:
    url = speeds_server.url(DATABASE)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM offer_speed")
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with patient_database(url, "speeds tests", Timeouts()) as database:
        yield database


class Worker:
    """One worker's health, and its share of what all know."""

    def __init__(self, database: Database, at: float) -> None:
        self.health = Health(SteadyClock(at))
        self.share = SpeedShare(self.health, SpeedStore(database), seconds=0.01)

    def call(self, offer: str, *, first_s: float = 0.5, token_ms: float = 10.0) -> None:
        whole_s = first_s + 0.1 * token_ms
        self.health.answered(offer, first_token_s=first_s, whole_s=whole_s, output_tokens=100)


@pytest.fixture
def workers(database: Database) -> list[Worker]:
    return [Worker(database, at) for at in (0.0, 7e4, 9e8)]


def aged(url: str, seconds: float) -> None:
    """As if the database had been left alone for so long."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE offer_speed SET update_time = update_time - make_interval(secs => %s)",
            (seconds,),
        )


def rows(url: str) -> dict[str, tuple[float, ...]]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT * FROM offer_speed ORDER BY offer").fetchall()
    return {row[0]: row[1:5] for row in found}


async def test_a_fresh_worker_starts_with_what_others_measured(workers):
    first, second, fresh = workers
    for _ in range(10):
        first.call("p/a", first_s=0.4)
        second.call("p/a", first_s=0.8)
        second.call("q/b")
    await first.share.share()
    await second.share.share()
    await fresh.share.load()
    speed = fresh.health.speeds["p/a"].speed
    assert speed.first_token_ms == pytest.approx(600, rel=0.01)  # of all twenty calls
    assert speed.token_ms == pytest.approx(10, rel=0.01)
    assert speed.weight == pytest.approx(20, rel=0.01)
    assert fresh.health.speeds["q/b"].speed.weight == pytest.approx(10, rel=0.01)
    await first.share.share()
    assert first.health.speeds["p/a"].speed.first_token_ms == pytest.approx(600, rel=0.01)


async def test_each_call_is_told_once(workers, url):
    worker = workers[0]
    for turn in range(1, 4):
        worker.call("p/a")
        await worker.share.share()
        await worker.share.share()
        assert rows(url)["p/a"][1] == pytest.approx(turn, rel=0.01)
    assert worker.health.speeds["p/a"].speed.weight == pytest.approx(3, rel=0.01)


async def test_what_was_measured_since_stays_when_others_are_learned_from(workers):
    ours, theirs = workers[:2]
    theirs.call("p/a", first_s=0.2)
    await theirs.share.share()
    for _ in range(3):
        ours.call("p/a", first_s=0.6)
    await ours.share.load()  # not told yet, and not lost
    assert ours.health.speeds["p/a"].speed.first_token_ms == pytest.approx(500, rel=0.01)
    await ours.share.share()
    assert ours.health.speeds["p/a"].speed.first_token_ms == pytest.approx(500, rel=0.01)


async def test_the_past_fades_and_a_crowd_of_old_calls_weighs_no_more_than_its_bound(workers, url):
    old, new = workers[:2]
    for _ in range(1_000):
        old.call("p/a", token_ms=10)
    await old.share.share()
    aged(url, HALF_LIFE_SECONDS)
    for _ in range(int(WEIGHT_MAX)):
        new.call("p/a", token_ms=30)
    await new.share.share()
    assert new.health.speeds["p/a"].speed.token_ms == pytest.approx(20, rel=0.01)
    aged(url, 6 * 3_600)
    new.call("p/a", token_ms=30)
    await new.share.share()
    assert new.health.speeds["p/a"].speed.token_ms == pytest.approx(30, rel=0.01)


async def test_plain_calls_alone_tell_nothing_of_first_tokens(workers):
    plain, streamed, fresh = workers
    plain.health.answered("p/a", first_token_s=None, whole_s=1.0, output_tokens=100)
    await plain.share.share()
    await fresh.share.load()
    found = fresh.health.speeds["p/a"].speed
    assert (found.first_token_ms, found.token_ms) == (0, pytest.approx(10))
    streamed.call("p/a")
    await streamed.share.share()
    await fresh.share.load()
    assert fresh.health.speeds["p/a"].speed.first_token_ms == pytest.approx(500, rel=0.01)


async def test_what_nobody_called_for_a_day_is_forgotten(workers, url):
    first, second = workers[:2]
    first.call("p/old")
    first.call("p/both")
    await first.share.share()
    aged(url, KNOWN_HOURS * 3_600 + 60)
    await second.share.load()
    assert "p/old" not in second.health.speeds
    second.call("p/both", token_ms=40)
    await second.share.share()
    assert set(rows(url)) == {"p/both"}
    assert second.health.speeds["p/both"].speed.token_ms == pytest.approx(40, rel=0.01)


async def test_many_offers_are_told_by_bounded_statements(workers, url):
    worker = workers[0]
    for number in range(OFFERS_AT_ONCE_MAX + 1):
        worker.call(f"p/{number}")
    await worker.share.share()
    assert len(rows(url)) == OFFERS_AT_ONCE_MAX
    await worker.share.share()
    assert len(rows(url)) == OFFERS_AT_ONCE_MAX + 1


async def test_workers_that_tell_the_same_offers_at_once_lose_nothing(database, url):
    workers = [Worker(database, at) for at in range(6)]
    for turn in range(5):
        for place, worker in enumerate(workers):
            names = range(40) if (place + turn) % 2 else reversed(range(40))
            for number in names:
                worker.call(f"p/{number}")
        await asyncio.gather(*(worker.share.share() for worker in workers))
    assert {round(found[1]) for found in rows(url).values()} == {30}


async def test_while_the_database_is_away_nothing_fails_and_nothing_is_lost(
    workers, speeds_server, database
):
    async def told() -> float:
        try:
            return (await SpeedStore(database).read())["p/a"].first_weight
        except (LedgerUnavailable, KeyError):
            return 0.0

    worker = workers[0]
    worker.call("p/a")
    running = asyncio.ensure_future(worker.share.run())
    while not await told():
        await asyncio.sleep(0.01)
    await asyncio.to_thread(speeds_server.stop)
    worker.call("p/a")
    with pytest.raises(LedgerUnavailable):
        await worker.share.share()
    worker.call("p/a")
    assert worker.health.speeds["p/a"].speed.weight == pytest.approx(3, rel=0.01)
    await asyncio.to_thread(speeds_server.start)
    async with asyncio.timeout(60):
        while await told() < 2.9:
            await asyncio.sleep(0.02)
    assert not running.done()
    running.cancel()


async def test_a_worker_tells_its_last_words_and_waits_for_no_database(url):
    async with patient_database(url, "speeds tests") as database:
        worker = Worker(database, 0.0)
        worker.call("p/a")
        await worker.share.close(20)
        assert "p/a" in rows(url)
        worker.call("p/a")
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE offer_speed")
            begun = asyncio.get_running_loop().time()
            await worker.share.close(0.1)
            assert asyncio.get_running_loop().time() - begun < PATIENT.lock_s / 2


async def test_how_much_is_reasoned_is_shared_as_one_ratio_of_sums(workers):
    first, second, fresh = workers
    for worker, reasoning in ((first, 300), (second, 100)):
        for _ in range(10):
            worker.health.answered(
                "p/r",
                first_token_s=0.5,
                whole_s=1.0,
                output_tokens=reasoning + 100,
                reasoning_tokens=reasoning,
            )
        worker.call("p/r")  # it tells nothing of reasoning, and moves nothing
        await worker.share.share()
    await fresh.share.load()
    reasoned = fresh.health.speeds["p/r"].reasoned
    assert reasoned.ratio == pytest.approx(2.0, rel=0.01)
    assert reasoned.weight == pytest.approx(20, rel=0.01)
    fresh.call("p/a")
    assert fresh.health.speeds["p/a"].reasoned is None


async def test_no_row_can_be_no_number(database):
    store = SpeedStore(database)
    for bad in (float("nan"), float("inf"), -1.0):
        with pytest.raises(psycopg.errors.CheckViolation):
            await store.add({"p/a": Sums(bad, 1.0, 1.0, 1.0)})
    assert await store.read() == {}


def test_what_people_are_shown_of_a_speed_is_rounded() -> None:
    shown = measured(Sums(1.584335497736085, 1.0, 0.3, 2.9912345, 1.0, 0.6000000000000001, 1.0))
    assert shown is not None
    assert (shown.first_token_ms, shown.output_tokens_per_second) == (1.584, 9970.8)
    assert (shown.reasoning_ratio, shown.call_count) == (0.6, 2.99)
