"""The harness itself: it sees what is wrong, shrinks to what shows it, and counts what it saw."""

from collections import Counter
from pathlib import Path

import pytest
from harness.director import Director
from harness.history import History
from harness.model import differences
from harness.registry import KINDS, history_of
from harness.runner import Run
from harness.shrink import shrink
from harness.steps import Chat, Sleep
from harness.totals import SEEDS_PER_OVERLAP, Totals
from psycopg.rows import tuple_row

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHATS = tuple(
    (1, Chat(name=f"c{number}", replica=number, over=over, stream=stream, awaited=True))
    for number, (over, stream) in enumerate(
        [("grpc", True), ("grpc", False), ("rest", True), ("rest", False)]
    )
)
PLANTED = {
    "a charge is lost": (
        (
            "WITH g AS (DELETE FROM posting WHERE id = $id RETURNING amount)"
            " UPDATE account SET debits_posted = debits_posted - g.amount FROM g WHERE id = $wallet"
        ),
        "the client was told a cost",
    ),
    "a charge is one nano-dollar low": (
        ("UPDATE posting SET amount = amount - 1 WHERE id = $id"),
        "in the books",
    ),
    "a call is charged twice": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount, held, entry,"
            " balance_after) SELECT gen_random_uuid(), kind, origin, decider, wallet, amount, held,"
            " entry + 1000, balance_after FROM posting WHERE id = $id"
        ),
        "was charged (S), and no provider called for it",
    ),
    "a settle became a void": (
        (
            "UPDATE posting SET kind = 'V', amount = 0, entry = NULL, balance_after = NULL"
            " WHERE id = $id"
        ),
        "the provider generated",
    ),
    "a charge was given back": (
        ("UPDATE account SET credits_posted = credits_posted + 5 WHERE id = $wallet"),
        "the balance is",
    ),
    "a grant is there twice": (
        (
            "INSERT INTO posting (id, kind, origin, decider, wallet, amount, entry, balance_after,"
            " reference) SELECT gen_random_uuid(), 'G', 'o', 'o', wallet, 7, entry + 2000, 7,"
            " 'nobody' FROM posting WHERE id = $id"
        ),
        "got credits that nobody asked for",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
async def test_what_is_wrong_in_the_books_is_found(director: Director, planted: str) -> None:
    play = await director.begin(History(1, CHATS))
    for _, step in CHATS:
        await step.run(play)
    await play.finish()
    play.note_owners()
    assert await director.settled(play) == []
    books = await director.world.books(play.tenant)
    charge = next(row for row in books.postings if row.kind == "S")
    sql, expected = PLANTED[planted]
    session = await director.world.session()
    async with session:
        statement = sql.replace("$id", f"'{charge.id}'")
        await session.execute(statement.replace("$wallet", str(play.tenant.account_id)))  # type: ignore[arg-type]  # of this list
    found = differences(play, [await director.world.books(play.tenant)])
    assert any(expected in text for text in found), found
    await director.world.database.fetch_one("SELECT 1", row=tuple_row)


async def test_the_shortest_history_is_found_that_shows_a_violation() -> None:
    steps = tuple((1, Sleep(ms=number)) for number in range(12))
    tried: list[int] = []

    async def fails(history: History) -> list[str]:
        tried.append(len(history.steps))
        there = {step.ms for _, step in history.steps if isinstance(step, Sleep)}
        return ["wrong"] if {3, 9} <= there else []

    shortest, shown = await shrink(History(1, steps), fails, 60, lambda _: None)
    assert [step for _, step in shortest.steps] == [Sleep(ms=3), Sleep(ms=9)]
    assert shown == ["wrong"]
    assert len(tried) < 60


async def test_a_violation_that_never_repeats_is_told_with_its_whole_history() -> None:
    async def never(_: History) -> list[str]:
        return []

    history = History(1, CHATS)
    assert await shrink(history, never, 60, lambda _: None) == (history, [])


async def test_a_seed_stands_for_one_history_whenever_it_is_drawn() -> None:
    for seed in range(200):
        assert str(history_of(seed)) == str(history_of(seed))
    assert {kind for seed in range(2_000) for kind in history_of(seed).kinds} == set(KINDS)


async def test_a_wanted_overlap_that_never_happened_fails_the_run() -> None:
    wanted = KINDS[2].wanted
    enough = SEEDS_PER_OVERLAP * len(wanted)
    seen = Counter({(2, name): 1 for name in wanted[1:]})
    totals = Totals(seeds_by_kind=Counter({2: enough}), overlaps=seen)
    assert [text for text in totals.missing() if wanted[0] in text]
    assert Totals(seeds_by_kind=Counter({2: 1})).missing()
    assert not Totals(seeds_by_kind=Counter({2: 1}), overlaps=seen).missing()


async def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    first = Run(count=10, first=5, only=None, jobs=1, folder=tmp_path)
    first.totals = Totals(seeds=3, calls=9, seeds_by_kind=Counter({1: 3}))
    first.totals.overlaps[1, "killed mid-stream"] = 2
    first.done = {5, 6, 9}
    first.save()
    second = Run(count=10, first=5, only=None, jobs=1, folder=tmp_path)
    second.resume()
    assert second.done == {5, 6, 9}
    assert second.totals.to_json() == first.totals.to_json()
    other = Run(count=10, first=5, only=3, jobs=1, folder=tmp_path)
    other.resume()
    assert other.done == set()
