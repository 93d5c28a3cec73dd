"""The sender against receivers that take, fail, hang, redirect, go away, and never end."""

import json
import socket

import msgspec
import psycopg
import pytest
from webhook_receiver import (
    Outbox,
    Receiver,
    Reply,
    Told,
    answering,
    closing,
    endless,
    failing_first,
    hanging,
    no_record,
    no_replay,
    outbox_of,
    until,
    verified,
)

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.notices import DeliveryState, enqueue
from omni_grpc.notices.model import Outcome
from omni_grpc.notices.outbox_store import OutboxStore
from omni_grpc.notices.sender import RETRY_SECONDS
from omni_grpc.storage import Connection, Database


@pytest.fixture
async def outbox(database: Database) -> Outbox:
    return await outbox_of(database)


async def states(outbox: Outbox, slug: str = "hook") -> list[DeliveryState]:
    webhook = await outbox.store.find(outbox.org_id, slug)
    assert webhook is not None
    return [one.state for one in await outbox.store.deliveries(webhook, None, None, 1_000)]


async def all_are(outbox: Outbox, state: DeliveryState, count: int, slug: str = "hook") -> None:
    async def met() -> bool:
        return await states(outbox, slug) == [state] * count

    await until(met)


async def test_what_is_sent_is_signed_and_says_what_happened(
    outbox: Outbox, receiver: Receiver
) -> None:
    await outbox.webhook("hook", receiver.url)
    await outbox.tell("balance.low", 7)
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DELIVERED, 1)
    [request] = receiver.received
    body = verified(outbox.secrets["hook"], request.headers, request.body)
    assert request.line == "POST /hook HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == "balance.low"
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {"account": "accounts/acme", "n": 7}
    assert "." not in request.id


async def test_a_webhook_is_told_only_what_it_wants_and_while_it_is_active(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    await outbox.webhook("all", receiver.url)
    await outbox.webhook("budgets", receiver.url, ("budget.warning", "budget.exhausted"))
    await outbox.webhook("off", receiver.url)
    sql.execute("UPDATE webhook SET active = false WHERE slug = 'off'")
    await outbox.tell("balance.low")
    await outbox.tell("budget.warning")
    told = sql.execute(
        "SELECT w.slug, d.event FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id"
        " ORDER BY w.slug, d.event"
    ).fetchall()
    assert told == [
        ("all", "balance.low"),
        ("all", "budget.warning"),
        ("budgets", "budget.warning"),
    ]


async def test_nothing_is_told_of_what_was_rolled_back(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    await outbox.webhook("hook", receiver.url)

    async def work(connection: Connection) -> None:
        await enqueue(connection, outbox.org_id, "balance.low", Told("accounts/acme"))
        raise LookupError

    with pytest.raises(LookupError):
        await outbox.database.transaction(work)
    assert sql.execute("SELECT count(*) FROM webhook_delivery").fetchone() == (0,)


async def test_an_event_that_nobody_knows_is_our_own_mistake(outbox: Outbox) -> None:
    with pytest.raises(ValueError, match="no event"):
        await outbox.tell("balance.lower")


async def test_what_fails_is_sent_again_with_the_same_id_and_body(
    outbox: Outbox, receiver: Receiver
) -> None:
    receiver.reply = failing_first(2)
    await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DELIVERED, 1)
    assert len(receiver.received) == 3
    assert len({request.id for request in receiver.received}) == 1
    assert len({request.body for request in receiver.received}) == 1
    for request in receiver.received:
        verified(outbox.secrets["hook"], request.headers, request.body)


async def test_what_never_arrives_is_dead_after_its_last_attempt_and_says_why(
    outbox: Outbox, receiver: Receiver
) -> None:
    receiver.reply = answering(500, body=b"our secret page")
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DEAD, 1)
    [delivery] = await outbox.store.deliveries(webhook, DeliveryState.DEAD, None, 10)
    assert (delivery.attempt_count, delivery.last_status) == (3, 500)
    assert delivery.last_error == "It answered with the status 500."
    assert delivery.next_attempt_time is None


async def test_attempts_are_spread_over_three_days() -> None:
    assert len(RETRY_SECONDS) == 9
    assert 3 * 86_400 < sum(RETRY_SECONDS) < 4 * 86_400
    assert list(RETRY_SECONDS) == sorted(RETRY_SECONDS)


async def test_a_receiver_that_is_gone_turns_its_webhook_off_and_the_log_says_so(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    receiver.reply = answering(410)
    await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DEAD, 1)
    assert len(receiver.received) == 1
    assert sql.execute("SELECT active, revision FROM webhook").fetchone() == (False, 2)
    [(actor, action, resource, old, new)] = sql.execute(
        "SELECT actor, action, resource, old_json, new_json FROM audit_entry"
    ).fetchall()
    assert (actor, action) == ("omni-grpc webhooks", "UpdateWebhook")
    assert resource == "orgs/acme/webhooks/hook"
    assert json.loads(old)["active"] is True
    assert json.loads(new)["active"] is False
    assert outbox.secrets["hook"] not in old + new


async def test_a_webhook_that_is_turned_off_gives_up_what_it_was_not_told(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    off = await outbox.store.update(
        outbox.org_id, "hook", "", lambda old: msgspec.structs.replace(old, active=False), no_record
    )
    assert await states(outbox) == [DeliveryState.DEAD]
    [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
    assert delivery.last_error == "The webhook was turned off."
    with pytest.raises(FieldInvalid, match="turned off"):
        await outbox.store.replay(off, delivery.id, no_replay)
    # One that was written at the same moment is given up soon after.
    sql.execute("UPDATE webhook_delivery SET state = 'P', next_attempt_time = now()")
    assert await OutboxStore(outbox.database).is_due()
    await OutboxStore(outbox.database).forget()
    assert await states(outbox) == [DeliveryState.DEAD]
    assert not await OutboxStore(outbox.database).is_due()


async def test_a_webhook_that_was_led_elsewhere_meanwhile_stays_on(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    taken = await OutboxStore(outbox.database).take(after=0, looked=10, each=4, busy=[])
    sql.execute("UPDATE webhook SET url = 'https://example.com/new'")

    async def never(_: Connection, __: object, ___: object) -> None:
        raise AssertionError("it was turned off")

    await OutboxStore(outbox.database).gone(
        taken.due[0], Outcome(status=410, error="It is gone."), never
    )
    found = await outbox.store.find(outbox.org_id, webhook.slug)
    assert found is not None
    assert found.active


async def test_redirects_are_not_followed(outbox: Outbox, receiver: Receiver) -> None:
    elsewhere = Receiver()
    await elsewhere.start()
    receiver.reply = answering(307, f"location: {elsewhere.url}")
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DEAD, 1)
    await elsewhere.stop()
    assert elsewhere.received == []
    [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
    assert delivery.last_status == 307


@pytest.mark.parametrize(
    ("reply", "seconds", "words"),
    [(hanging, 0.5, "did not answer in time"), (closing, 30.0, "connection ended")],
    ids=["hangs", "closes"],
)
async def test_a_receiver_without_an_answer_is_a_failed_attempt(
    outbox: Outbox, receiver: Receiver, reply: Reply, seconds: float, words: str
) -> None:
    receiver.reply = reply
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending(retry_seconds=(), seconds_max=seconds):
        await all_are(outbox, DeliveryState.DEAD, 1)
    [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
    assert delivery.last_status is None
    assert words in delivery.last_error


async def test_an_answer_without_end_is_not_read(outbox: Outbox, receiver: Receiver) -> None:
    receiver.reply = endless
    await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DELIVERED, 1)


async def test_a_port_where_nobody_listens_is_a_failed_attempt(outbox: Outbox) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        webhook = await outbox.webhook("hook", f"http://127.0.0.1:{port}/")
        await outbox.tell()
        async with outbox.sending(retry_seconds=()):
            await all_are(outbox, DeliveryState.DEAD, 1)
    [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
    assert delivery.last_error == "It could not be connected to."


async def test_a_receiver_that_hangs_holds_up_no_other(outbox: Outbox, receiver: Receiver) -> None:
    dead = Receiver(reply=hanging)
    await dead.start()
    await outbox.webhook("adead", dead.url)
    await outbox.webhook("hook", receiver.url)
    for n in range(30):
        await outbox.tell(n=n)
    async with outbox.sending(seconds_max=30):
        await all_are(outbox, DeliveryState.DELIVERED, 30)
        # Of the one that hangs a few were begun, and no more than that.
        assert 1 <= len(dead.received) <= 4
    await dead.stop()


async def test_several_senders_send_each_delivery_once(outbox: Outbox, receiver: Receiver) -> None:
    for number in range(5):
        await outbox.webhook(f"hook-{number}", receiver.url)
    for n in range(40):
        await outbox.tell(n=n)
    async with outbox.sending(4):
        for number in range(5):
            await all_are(outbox, DeliveryState.DELIVERED, 40, f"hook-{number}")
    ids = [request.id for request in receiver.received]
    assert len(ids) == len(set(ids)) == 200


async def test_what_a_dead_sender_had_taken_is_sent_when_its_lease_ends(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    await outbox.webhook("hook", receiver.url)
    await outbox.tell()
    store = OutboxStore(outbox.database)
    assert len((await store.take(after=0, looked=10, each=4, busy=[])).due) == 1
    assert (await store.take(after=0, looked=10, each=4, busy=[])).due == ()
    sql.execute("UPDATE webhook_delivery SET next_attempt_time = now() - interval '1 second'")
    async with outbox.sending():
        await all_are(outbox, DeliveryState.DELIVERED, 1)
    assert sql.execute("SELECT attempt_count FROM webhook_delivery").fetchone() == (2,)


async def test_webhooks_take_turns_however_much_one_has_waiting(
    outbox: Outbox, receiver: Receiver
) -> None:
    first = await outbox.webhook("first", receiver.url)
    second = await outbox.webhook("second", receiver.url)
    third = await outbox.webhook("third", receiver.url)
    for n in range(10):
        await outbox.tell(n=n)
    store = OutboxStore(outbox.database)
    taken = await store.take(after=0, looked=2, each=3, busy=[])
    assert [due.webhook_id for due in taken.due] == [first.id] * 3 + [second.id] * 3
    assert taken.last == second.id
    taken = await store.take(after=second.id, looked=2, each=3, busy=[])
    assert [due.webhook_id for due in taken.due] == [third.id] * 3
    assert taken.last is None
    taken = await store.take(after=0, looked=5, each=3, busy=[first.id, third.id])
    assert {due.webhook_id for due in taken.due} == {second.id}


async def test_private_addresses_are_not_connected_to(outbox: Outbox, receiver: Receiver) -> None:
    by_address = await outbox.webhook("address", receiver.url)
    by_name = await outbox.webhook("name", f"http://localhost:{receiver.port}/")
    await outbox.tell()
    async with outbox.sending(private_hosts=False, retry_seconds=()):
        await all_are(outbox, DeliveryState.DEAD, 1, "address")
        await all_are(outbox, DeliveryState.DEAD, 1, "name")
    assert receiver.received == []
    for webhook in (by_address, by_name):
        [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
        assert delivery.last_error == "It leads to an address that is not public."


async def test_old_deliveries_and_those_of_deleted_webhooks_are_deleted(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    await outbox.webhook("hook", receiver.url)
    await outbox.webhook("other", receiver.url)
    await outbox.tell()
    sql.execute(
        "INSERT INTO webhook_delivery (id, webhook_id, event, body, state)"
        " SELECT (lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0')"
        "         || '7000b000000000000000')::uuid, w.id, 'balance.low', '{}', 'D'"
        " FROM webhook w, unnest(ARRAY[interval '29 days', interval '31 days']) age"
        " WHERE w.slug = 'hook'"
    )
    sql.execute("DELETE FROM webhook WHERE slug = 'other'")
    assert await OutboxStore(outbox.database).forget() == 2
    assert await OutboxStore(outbox.database).forget() == 0
    assert len(await states(outbox)) == 2


async def test_an_organisation_s_events_reach_no_other_organisation(
    outbox: Outbox, receiver: Receiver, database: Database
) -> None:
    other = await outbox_of(database, "other")
    await other.webhook("hook", receiver.url)
    await outbox.webhook("mine", receiver.url)
    await outbox.tell()
    assert await states(other) == []
    assert len(await states(outbox, "mine")) == 1


async def test_replaying_sends_anew_what_was_delivered(outbox: Outbox, receiver: Receiver) -> None:
    webhook = await outbox.webhook("hook", receiver.url)
    await outbox.tell()

    async with outbox.sending():
        await all_are(outbox, DeliveryState.DELIVERED, 1)
        [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
        await outbox.store.replay(webhook, delivery.id, no_replay)
        await until(lambda: len(receiver.received) == 2)
        await all_are(outbox, DeliveryState.DELIVERED, 1)
    assert receiver.received[0].id == receiver.received[1].id


async def test_a_secret_that_does_not_open_is_a_failed_attempt(
    outbox: Outbox, receiver: Receiver, sql: psycopg.Connection
) -> None:
    webhook = await outbox.webhook("hook", receiver.url)
    sql.execute("UPDATE webhook SET slug = 'moved'")
    await outbox.tell()
    async with outbox.sending(retry_seconds=()):
        await all_are(outbox, DeliveryState.DEAD, 1, "moved")
    assert receiver.received == []
    [delivery] = await outbox.store.deliveries(webhook, None, None, 10)
    assert "cannot be opened" in delivery.last_error
