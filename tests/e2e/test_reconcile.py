"""What nobody knows, brought to an end: by the API, by commands, by providers' own records."""

import io
import re
import uuid
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from chat_ways import Asked, Refused, answered, refused
from commands import Command, command
from gateway import (
    Gateway,
    SimulatorThread,
    Tenant,
    asking,
    eventually,
    running,
)
from gateway_fixtures import check_books
from omni_grpc_client import (
    FieldInvalid,
    HoldFinal,
    NotFound,
    Omni,
    UnresolvedAttempt,
)

from omni_grpc.billing.operations import AttemptOutcome, Decider, Final, FinalOp, Origin
from omni_grpc.core.ids import AccountId, CallId, HoldId, hold_id_of
from omni_grpc.core.usage import Usage
from omni_grpc.storage import EmbeddedPostgres

CREDITS = 10**9
PROMPT_PRICE, COMPLETION_PRICE = 150, 600
"""Nano-USD a token of sim/fast."""

PER_IMAGE, PER_CHARACTER, PER_SECOND = 40_000_000, 15_000, 100_000
CUT = "[sim cut=rst,cut_after=headers] Hello"
"""Of an answer nothing came but its status: nobody knows what it cost."""


def sound(seconds: int) -> bytes:
    """A silent recording."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(seconds * 16_000))
    return file.getvalue()


@pytest.fixture(scope="module")
def gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """One whose provider bills calls to their end: whatever breaks off is unresolved."""
    name, admin_key = template
    url = postgres.create_database("e2e_reconcile", template=name)
    folder = tmp_path_factory.mktemp("reconcile")
    bills_on = {"OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true"}
    with running(Gateway(url, simulator.base_url, folder, admin_key, 1, bills_on)) as started:
        yield started
    check_books(url, folder)


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[Omni]:
    with gateway.admin() as made:
        yield made


@pytest.fixture
def omni(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def leave_unresolved(
    gateway: Gateway, tenant: Tenant, admin: Omni, where: str = "headers", **fields: Any
) -> UnresolvedAttempt:
    """A new attempt whose provider's connection broke before an answer.

    After the headers the answer has a name, after the request it has none.
    """
    asked = Asked(asking(f"cut=rst,cut_after={where}"), fields=tuple(fields.items()))
    call_id = refused("rest plain", gateway, tenant, asked, None).call_id
    (new,) = [one for one in admin.unresolved_attempts(tenant.account) if one.call_id == call_id]
    return new


def attempt_id(attempt: UnresolvedAttempt) -> str:
    return attempt.name.rpartition("/")[2]


# --- by the API -----------------------------------------------------------------------------------
def test_an_unresolved_attempt_is_listed_with_all_that_finds_it(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni, simulator: SimulatorThread
) -> None:
    found = leave_unresolved(gateway, tenant, admin)
    call_id = CallId(uuid.UUID(found.call_id))
    assert found.name == f"{tenant.account}/unresolvedAttempts/{hold_id_of(call_id, 1)}"
    assert (found.attempt_number, found.model, found.markup_ppm) == (1, "sim/fast", 0)
    assert found.provider_ref == simulator.record_of(found.call_id).id
    assert omni.balance().unresolved_nanousd == found.held_nanousd > 0
    (attempt,) = omni.usage(found.call_id).attempts
    assert (attempt.outcome, attempt.cost_nanousd) == ("unresolved", None)
    assert attempt.provider_ref == found.provider_ref
    unnamed = leave_unresolved(gateway, tenant, admin, "request")
    assert unnamed.provider_ref == ""
    mine = list(admin.unresolved_attempts(tenant.account))
    assert mine == [found, unnamed]  # in the order of their beginning
    everybodys = list(admin.unresolved_attempts(page_size=1))
    assert [one for one in everybodys if one.name.startswith(tenant.account)] == mine
    for one in mine:
        admin.void_attempt(one)


def test_a_settled_attempt_is_charged_at_its_pinned_price_once(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    found = leave_unresolved(gateway, tenant, admin)
    cost = 100 * PROMPT_PRICE + 20 * COMPLETION_PRICE
    ended = admin.settle_attempt(found, 100, 20, reasoning_tokens=5)
    assert (ended.outcome, ended.cost_nanousd, ended.estimated) == ("cancelled", cost, False)
    assert (ended.held_nanousd, ended.price_version) == (found.held_nanousd, found.price_version)
    assert (ended.prompt_tokens, ended.completion_tokens, ended.reasoning_tokens) == (100, 20, 5)
    assert ended.provider_ref == found.provider_ref
    assert admin.settle_attempt(found.name, 100, 20, reasoning_tokens=5) == ended
    for other in (
        lambda: admin.settle_attempt(found, 100, 21, reasoning_tokens=5),
        lambda: admin.void_attempt(found),
        lambda: admin.write_off_attempt(found),
    ):
        with pytest.raises(HoldFinal) as caught:
            other()
        assert caught.value.metadata["state"] == "settled"
    assert list(admin.unresolved_attempts(tenant.account)) == []
    balance = omni.balance()
    assert balance.posted_nanousd == balance.available_nanousd == CREDITS - cost
    assert [entry.kind for entry in omni.ledger_entries()] == ["charge", "grant"]
    assert omni.usage(found.call_id).attempts == (ended,)


def test_a_settle_is_never_above_its_hold(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    found = leave_unresolved(gateway, tenant, admin, max_completion_tokens=10)
    ended = admin.settle_attempt(found, 10**6, 10**6)
    assert ended.cost_nanousd == found.held_nanousd
    assert omni.balance().available_nanousd == CREDITS - found.held_nanousd


def test_a_voided_and_a_written_off_attempt_cost_the_customer_nothing(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    first, second, third = (leave_unresolved(gateway, tenant, admin) for _ in range(3))
    voided = admin.void_attempt(first)
    assert (voided.outcome, voided.cost_nanousd) == ("failed", 0)
    lost = admin.write_off_attempt(second)
    assert (lost.outcome, lost.cost_nanousd) == ("unknown", 0)
    admin.write_off_attempt(third, 7)
    assert admin.void_attempt(first) == voided
    assert admin.write_off_attempt(second) == lost
    assert admin.write_off_attempt(second, second.held_nanousd) == lost
    with pytest.raises(HoldFinal):
        admin.write_off_attempt(third, 8)
    with pytest.raises(HoldFinal):
        admin.void_attempt(third)
    balance = omni.balance()
    assert balance.available_nanousd == balance.posted_nanousd == CREDITS


def test_what_is_no_unresolved_attempt_of_the_account_is_not_found(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni, simulator: SimulatorThread
) -> None:
    other = gateway.tenant()
    found = leave_unresolved(gateway, tenant, admin)
    gate = f"runs-{tenant.org}"
    simulator.close_gate(gate)
    with omni.stream_chat("sim/fast", asking(f"gate={gate},gate_after=3")) as stream:
        runs = hold_id_of(CallId(uuid.UUID(stream.started.call_id)), 1)
        hold = omni.create_hold(5)
        for name in (
            f"{other.account}/unresolvedAttempts/{attempt_id(found)}",
            f"accounts/nobody-at-all/unresolvedAttempts/{attempt_id(found)}",
            f"{tenant.account}/unresolvedAttempts/{uuid.uuid4()}",
            f"{tenant.account}/unresolvedAttempts/{runs}",
            f"{tenant.account}/unresolvedAttempts/{hold.name.rpartition('/')[2]}",
            f"{tenant.account}/unresolvedAttempts/{found.call_id}",
        ):
            with pytest.raises(NotFound):
                admin.void_attempt(name)
        simulator.open_gate(gate)
        stream.result()
    settled = f"{other.account}/unresolvedAttempts/{attempt_id(found)}"
    admin.void_attempt(found)
    with pytest.raises(NotFound):
        admin.void_attempt(settled)


def test_a_refund_names_the_attempt_where_several_were_charged(
    tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    text = asking(f"cut=rst,cut_after=headers,once={uuid.uuid4().hex}")
    answer = omni.chat("omni/auto", text)
    assert [one.outcome for one in answer.usage.attempts][-1] == "answered"
    first = next(iter(admin.unresolved_attempts(tenant.account)))
    assert first.call_id == answer.call_id
    admin.settle_attempt(first, 10, 10)
    record = omni.usage(answer.call_id)
    costs = {one.attempt_number: one.cost_nanousd or 0 for one in record.attempts}
    assert len(costs) == 2
    assert all(costs.values())
    with pytest.raises(FieldInvalid) as caught:
        admin.refund_charge(tenant.account, 1, call_id=answer.call_id)
    assert caught.value.field == "attempt_number"
    for number, cost in costs.items():
        admin.refund_charge(tenant.account, cost, call_id=answer.call_id, attempt_number=number)
    assert omni.balance().available_nanousd == CREDITS


@pytest.mark.parametrize("is_billed", [True, False])
def test_a_repeat_of_a_call_that_nobody_knows_is_told_so_until_it_is_resolved(
    gateway: Gateway, tenant: Tenant, admin: Omni, simulator: SimulatorThread, is_billed: bool
) -> None:
    mark = f"once={uuid.uuid4().hex}"
    asked, request_id = Asked(asking(f"cut=rst,cut_after=headers,{mark}")), uuid.uuid4().hex
    first = refused("rest plain", gateway, tenant, asked, request_id)
    assert first.reason == "INTERRUPTED"

    def repeat() -> Refused:
        return refused("grpc stream", gateway, tenant, asked, request_id)

    assert eventually(lambda: repeat().reason == "INTERRUPTED")
    told = repeat()
    assert (told.call_id, told.charged, told.forbids_retry) == (first.call_id, 0, True)
    assert "not known yet" in told.message
    (attempt,) = admin.unresolved_attempts(tenant.account)
    if is_billed:
        admin.settle_attempt(attempt, 10, 10)
        cost = 10 * (PROMPT_PRICE + COMPLETION_PRICE)
        told = repeat()
        assert (told.reason, told.charged) == ("INTERRUPTED", cost)
    else:
        admin.void_attempt(attempt)
        answer = answered("grpc stream", gateway, tenant, asked, request_id)
        cost = answer.cost
        assert answer.call_id != first.call_id
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        assert omni.balance().available_nanousd == CREDITS - cost
    calls = sum(mark in record.behaviour for record in simulator.simulator.log)
    assert calls == (1 if is_billed else 2)


# --- by commands ----------------------------------------------------------------------------------
def reconcile(gateway: Gateway, *words: str | Path) -> Command:
    return command(gateway, "reconcile", *words)


def test_the_list_shows_what_is_unresolved_and_then_that_nothing_is(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    found = leave_unresolved(gateway, tenant, admin)
    shown = reconcile(gateway, "list")
    assert shown.code == 0
    for text in (attempt_id(found), found.call_id, tenant.account, "sim/fast", found.provider_ref):
        assert text in shown.out
    assert "reconcile lookup --all" in shown.out
    (told,) = reconcile(gateway, "list", "--json").json
    assert (told["name"], told["held_nanousd"]) == (found.name, found.held_nanousd)
    assert told["call_id"] == found.call_id
    admin.void_attempt(found)
    assert reconcile(gateway, "list").out == "No attempt is unresolved.\n"
    assert reconcile(gateway, "list", "--json").json == []


def test_commands_settle_void_and_write_off(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    first, second, third = (leave_unresolved(gateway, tenant, admin) for _ in range(3))
    cost = 10 * PROMPT_PRICE + 4 * COMPLETION_PRICE
    counts = ("--prompt", "10", "--completion", "4", "--cached-read", "0")
    settled = reconcile(gateway, "settle", attempt_id(first), *counts, "--json")
    assert (settled.code, settled.json["charged_nanousd"]) == (0, cost)
    again = reconcile(gateway, "settle", first.name, *counts)
    assert again.code == 0
    assert "settled" in again.out
    other = reconcile(gateway, "void", attempt_id(first))
    assert other.code == 1
    assert "HOLD_FINAL" in other.err
    assert reconcile(gateway, "void", second.name, "--json").json["outcome"] == "failed"
    lost = reconcile(gateway, "write-off", attempt_id(third), "--loss-usd", "0.000001")
    assert (lost.code, "written off" in lost.out) == (0, True)
    assert omni.balance().available_nanousd == CREDITS - cost
    for words, told in (
        (("void", "x"), "reconcile list"),
        (("void", str(uuid.uuid4())), "NOT_FOUND"),
        (("settle", attempt_id(first), "--prompt", "1", "--completion", "1", "--reasoning", "2"),
         "--completion is less"),
        (("settle", attempt_id(first), "--prompt", "1", "--completion", "1", "--cached-read", "2"),
         "--prompt is less"),
        (("write-off", attempt_id(third), "--loss-usd", "-1"), "--loss-usd"),
    ):  # fmt: skip
        failed = reconcile(gateway, *words)
        assert failed.code == 1
        assert told in failed.err


@pytest.mark.parametrize(
    ("path", "body", "counts", "cost"),
    [
        ("images/generations", {"model": "sim/image", "prompt": CUT}, ("--images", "1"), PER_IMAGE),
        (
            "audio/speech",
            {"model": "sim/voice", "voice": "alloy", "input": CUT},
            ("--characters", "7"),
            7 * PER_CHARACTER,
        ),
        ("audio/transcriptions", None, ("--seconds", "2"), 2 * PER_SECOND),
    ],
)
def test_media_are_settled_by_the_units_that_they_are_sold_by(
    gateway: Gateway,
    tenant: Tenant,
    omni: Omni,
    admin: Omni,
    path: str,
    body: dict[str, str] | None,
    counts: tuple[str, str],
    cost: int,
) -> None:
    form = {"model": "sim/scribe", "prompt": CUT}
    files = None if body else {"file": ("a.wav", sound(3), "audio/wav")}
    key = {"authorization": f"Bearer {tenant.api_key}"}
    answer = httpx.post(
        f"{gateway.rest}/v1/{path}",
        json=body,
        data=None if body else form,
        files=files,
        headers=key,
        timeout=30,
    )
    assert answer.status_code >= 400, answer.text
    assert eventually(lambda: any(admin.unresolved_attempts(tenant.account)))
    (found,) = admin.unresolved_attempts(tenant.account)
    nothing = reconcile(gateway, "settle", attempt_id(found))
    assert nothing.code == 1
    assert "--images, --seconds or --characters" in nothing.err
    settled = reconcile(gateway, "settle", attempt_id(found), *counts, "--json")
    assert (settled.code, settled.json["charged_nanousd"]) == (0, cost), settled.err
    assert omni.balance().available_nanousd == CREDITS - cost


def test_a_lookup_settles_by_the_providers_own_record(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni, simulator: SimulatorThread
) -> None:
    named = leave_unresolved(gateway, tenant, admin)
    billed = simulator.record_of(named.call_id)
    cost = (
        billed.billed_prompt_tokens * PROMPT_PRICE
        + billed.billed_completion_tokens * COMPLETION_PRICE
    )
    one = reconcile(gateway, "lookup", attempt_id(named), "--json")
    assert (one.code, one.json[0]["found"], one.json[0]["charged_nanousd"]) == (0, "settled", cost)
    assert omni.balance().available_nanousd == CREDITS - cost
    more = leave_unresolved(gateway, tenant, admin)
    unnamed = leave_unresolved(gateway, tenant, admin, "request")
    every = reconcile(gateway, "lookup", "--all", "--json")
    assert every.code == 1
    assert {one["attempt"]: one["found"] for one in every.json} == {
        attempt_id(more): "settled",
        attempt_id(unnamed): "no_id",
    }
    shown = reconcile(gateway, "lookup", "--all")
    assert (shown.code, "its answer was never named" in shown.out) == (1, True)
    assert "1 of 1 stay unresolved" in shown.out
    admin.void_attempt(unnamed)
    nothing = reconcile(gateway, "lookup", "--all")
    assert (nothing.code, nothing.out) == (0, "No attempt is unresolved.\n")
    for words in ((), (attempt_id(more), "--all")):
        assert "Name an attempt, or give --all" in reconcile(gateway, "lookup", *words).err


def test_a_lookup_waits_for_a_record_that_comes_later(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    asked = Asked(asking("cut=rst,cut_after=headers,record_ms=4000"))
    refused("rest plain", gateway, tenant, asked, None)
    (found,) = admin.unresolved_attempts(tenant.account)
    early = reconcile(gateway, "lookup", attempt_id(found), "--json")
    if early.code:  # a slow machine may be late already
        assert early.json[0]["found"] == "no_record"
    assert eventually(
        lambda: (
            not list(admin.unresolved_attempts(tenant.account))
            or reconcile(gateway, "lookup", attempt_id(found)).code == 0
        ),
        seconds=20,
    )
    assert list(admin.unresolved_attempts(tenant.account)) == []


# --- dead letters ---------------------------------------------------------------------------------
def bury(gateway: Gateway, target: str, operation: bytes | str) -> int:
    text = operation.decode() if isinstance(operation, bytes) else operation
    with psycopg.connect(gateway.database_url, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO dead_letter (target, operation, sqlstate, cause)"
            " VALUES (%s, %s, '22P02', 'it was not to be read') RETURNING id",
            [target, text],
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_dead_letters_are_shown_and_sent_again(
    gateway: Gateway, tenant: Tenant, omni: Omni, admin: Omni
) -> None:
    assert reconcile(gateway, "dead-letters").out == "There is no dead letter.\n"
    found = leave_unresolved(gateway, tenant, admin)
    usage = Usage(prompt=7, completion=3)
    cost = 7 * PROMPT_PRICE + 3 * COMPLETION_PRICE
    with psycopg.connect(gateway.database_url) as connection:
        row = connection.execute(
            "SELECT wallet FROM hold WHERE id = %s", [attempt_id(found)]
        ).fetchone()
    assert row is not None
    settle = FinalOp(
        id=HoldId(uuid.UUID(attempt_id(found))),
        kind=Final.SETTLE,
        origin=Origin.ROUTER,
        decider=Decider.OWNER,
        wallet=AccountId(row[0]),
        cost=cost,
        outcome=AttemptOutcome.ANSWERED,
        usage=usage,
    )
    good = bury(gateway, attempt_id(found), msgspec.json.encode(settle))
    bad = bury(gateway, str(uuid.uuid4()), "FinalOp(\\x00)")
    shown = reconcile(gateway, "dead-letters")
    assert shown.code == 0
    for text in (attempt_id(found), "22P02", "it was not to be read", "replay --all"):
        assert text in shown.out
    assert [one["number"] for one in reconcile(gateway, "dead-letters", "--json").json] == [
        good,
        bad,
    ]
    one = reconcile(gateway, "replay", str(good))
    assert (one.code, "done" in one.out) == (0, True)
    assert omni.balance().available_nanousd == CREDITS - cost
    gone = reconcile(gateway, "replay", str(good))
    assert (gone.code, f"no dead letter {good}" in gone.err) == (1, True)
    every = reconcile(gateway, "replay", "--all", "--json")
    assert (every.code, [one["applied"] for one in every.json]) == (1, [False])
    assert "it cannot be read" in every.json[0]["outcome"]
    assert "Name a dead letter" in reconcile(gateway, "replay").err
    with psycopg.connect(gateway.database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM dead_letter")


# --- credits --------------------------------------------------------------------------------------
def test_credits_are_granted_for_a_time_and_refunded_from_the_command_line(
    gateway: Gateway, tenant: Tenant, omni: Omni
) -> None:
    answer = omni.chat("sim/fast", "Hello")
    usd = f"{answer.cost_nanousd / 1e9:.9f}"
    words = ("credits", "refund", "--org", tenant.org, "--call", answer.call_id, "--usd", usd)
    first = command(gateway, *words, "--request-id", "r-1", "--json")
    assert (first.code, first.json["available_nanousd"]) == (0, CREDITS)
    assert command(gateway, *words, "--request-id", "r-1").code == 0
    assert omni.balance().available_nanousd == CREDITS
    above = command(gateway, *words)
    assert above.code == 1
    assert "Only 0 USD of this charge is left" in above.err
    hold = omni.create_hold(10)
    omni.settle_hold(hold, 10)
    words = ("credits", "refund", "--org", tenant.org, "--usd", "0.00000001")
    assert "Refunded 0.00000001 USD" in command(gateway, *words, "--hold", hold.name).out
    assert "either --call or --hold" in command(gateway, *words).err
    grant = ("credits", "grant", "--org", tenant.org, "--usd", "1", "--expires")
    told = command(gateway, *grant, "2099-12-31", "--json")
    assert told.json["expire_time"] == "2099-12-31T00:00:00Z"
    assert "until 2099-12-31 17:00 UTC" in command(gateway, *grant, "2099-12-31T18:00+01:00").out
    for text in ("yesterday", "2001-01-01"):
        late = command(gateway, *grant, text)
        assert late.code == 1
        assert re.search("no time, such as|must be in the future", late.err)
    assert omni.balance().available_nanousd == CREDITS + 2 * 10**9
