"""The table of stored responses, on a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterator

import pytest
from patient_database import patient_database
from psycopg.rows import scalar_row
from quick_clusters import MIGRATED, quick_server

from omni_grpc.completion import ResponseStore, StoredResponses
from omni_grpc.core.ids import AccountId, CallId, new_call_id
from omni_grpc.storage import Database, Sealer

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

OWN, OTHER = AccountId(7), AccountId(8)
HOUR = 3_600.0
LARGE = 10**9


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("responses")
    with quick_server(folder) as server:
        yield server.create_database("responses", template=MIGRATED)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with patient_database(database_url, "tests") as made:
        yield made


@pytest.fixture
def store(database: Database) -> ResponseStore:
    return ResponseStore(database)


async def chain(
    store: ResponseStore, call_id: CallId, account: AccountId = OWN, count: int = 99,
    size: int = LARGE,
) -> list[bytes]:  # fmt: skip
    rows = await store.chain(account, call_id, count_max=count, bytes_max=size)
    return [row.sealed for row in rows]


async def test_a_conversation_is_read_the_newest_first_within_its_bounds(
    store: ResponseStore,
) -> None:
    first, second, third = new_call_id(), new_call_id(), new_call_id()
    await store.insert(OWN, first, None, b"a", HOUR)
    await store.insert(OWN, second, first, b"bb", HOUR)
    await store.insert(OWN, third, second, b"ccc", HOUR)
    assert await chain(store, third) == [b"ccc", b"bb", b"a"]
    assert await chain(store, third, count=2) == [b"ccc", b"bb"]
    assert await chain(store, third, size=4) == [b"ccc", b"bb"]
    assert await chain(store, third, size=3) == [b"ccc"]
    assert await chain(store, first) == [b"a"]
    assert await chain(store, third, OTHER) == []
    assert await chain(store, new_call_id()) == []


async def test_a_conversation_never_goes_on_in_another_account(store: ResponseStore) -> None:
    first, second = new_call_id(), new_call_id()
    await store.insert(OTHER, first, None, b"theirs", HOUR)
    await store.insert(OWN, second, first, b"mine", HOUR)
    assert await chain(store, second) == [b"mine"]


async def test_the_first_of_two_under_one_call_stays(store: ResponseStore) -> None:
    call_id = new_call_id()
    await store.insert(OWN, call_id, None, b"first", HOUR)
    await store.insert(OTHER, call_id, None, b"second", HOUR)
    assert await chain(store, call_id) == [b"first"]


async def test_only_its_account_deletes_a_response_and_once(store: ResponseStore) -> None:
    call_id = new_call_id()
    await store.insert(OWN, call_id, None, b"a", HOUR)
    assert not await store.delete(OTHER, call_id)
    assert await store.delete(OWN, call_id)
    assert not await store.delete(OWN, call_id)


async def test_what_is_over_is_not_read_and_goes_in_steps(
    store: ResponseStore, database: Database
) -> None:
    await database.execute("DELETE FROM stored_response")
    lasting = new_call_id()
    await store.insert(OWN, lasting, None, b"a", HOUR)
    over = [new_call_id() for _ in range(5)]
    for call_id in over:
        await store.insert(OWN, call_id, None, b"b", -1.0)
    assert await chain(store, over[0]) == []
    later = new_call_id()
    await store.insert(OWN, later, over[0], b"c", HOUR)
    assert await chain(store, later) == [b"c"]
    assert await store.delete_expired(2) == 2
    kept = StoredResponses(store, Sealer(b"secret", b"kept"), hours=1)
    assert await kept.expire() == 3
    assert await kept.expire() == 0
    count = await database.fetch_one("SELECT count(*) FROM stored_response", row=scalar_row)
    assert count == 2
