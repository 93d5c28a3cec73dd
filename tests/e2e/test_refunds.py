"""Refunds and credits that expire, as the operator gives them and as the customer sees them."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gateway import Gateway, HttpConnection, Tenant, eventually
from omni_grpc_client import FieldInvalid, NotFound, Omni, RequestIdReused

from omni_grpc.core.ids import CallId, hold_id_of

GRANTED = 10**9


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[Omni]:
    with gateway.admin() as made:
        yield made


@pytest.fixture
def omni(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def transactions(gateway: Gateway, tenant: Tenant) -> list[dict[str, Any]]:
    with HttpConnection(gateway, tenant.api_key) as http:
        return http.ask("/v1/transactions").json["data"]


# --- refunds --------------------------------------------------------------------------------------
def test_a_call_is_refunded_in_parts_and_never_beyond_its_charge(
    gateway: Gateway, tenant: Tenant, admin: Omni, omni: Omni
) -> None:
    answer = omni.chat("sim/fast", "Hello")
    cost = answer.cost_nanousd
    first = admin.refund_charge(tenant.account, 1, call_id=answer.call_id, reason="goodwill")
    assert (first.kind, first.amount_nanousd, first.reference) == ("refund", 1, "goodwill")
    assert first.balance_after_nanousd == GRANTED - cost + 1
    with pytest.raises(FieldInvalid) as caught:
        admin.refund_charge(tenant.account, cost, call_id=answer.call_id)
    assert caught.value.field == "amount_nanousd"
    rest = admin.refund_charge(tenant.account, cost - 1, call_id=answer.call_id, attempt_number=1)
    assert rest.balance_after_nanousd == GRANTED
    with pytest.raises(FieldInvalid, match="Only 0 USD"):
        admin.refund_charge(tenant.account, 1, call_id=answer.call_id)
    # The charge stays as it is.
    assert omni.usage(answer.call_id).cost_nanousd == cost
    assert omni.balance().available_nanousd == GRANTED
    kinds = [entry.kind for entry in omni.ledger_entries()]
    assert kinds == ["refund", "refund", "charge", "grant"]
    shown = transactions(gateway, tenant)
    assert [one["kind"] for one in shown] == kinds
    assert shown[1]["amount_nanousd"] == 1
    assert shown[1]["reference"] == "goodwill"


def test_a_hold_is_refunded_by_its_name(tenant: Tenant, admin: Omni, omni: Omni) -> None:
    hold = omni.create_hold(1_000)
    with pytest.raises(NotFound):
        admin.refund_charge(tenant.account, 1, hold=hold)
    omni.settle_hold(hold, 400)
    assert admin.refund_charge(tenant.account, 400, hold=hold).amount_nanousd == 400
    assert omni.balance().available_nanousd == GRANTED


def test_refunds_at_once_do_not_exceed_the_charge(tenant: Tenant, admin: Omni, omni: Omni) -> None:
    hold = omni.create_hold(1_000)
    omni.settle_hold(hold, 1_000)

    def refund(_: int) -> int:
        try:
            return admin.refund_charge(tenant.account, 300, hold=hold).amount_nanousd
        except FieldInvalid:
            return 0

    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(refund, range(10))) == [0] * 7 + [300] * 3
    assert omni.balance().available_nanousd == GRANTED - 100


def test_a_repeated_refund_is_made_once(tenant: Tenant, admin: Omni, omni: Omni) -> None:
    call_id = omni.chat("sim/fast", "Hello").call_id
    first = admin.refund_charge(tenant.account, 7, call_id=call_id, request_id="r-1")
    assert admin.refund_charge(tenant.account, 7, call_id=call_id, request_id="r-1") == first
    with pytest.raises(RequestIdReused):
        admin.refund_charge(tenant.account, 8, call_id=call_id, request_id="r-1")


def test_what_was_not_charged_cannot_be_refunded(
    gateway: Gateway, tenant: Tenant, admin: Omni, omni: Omni
) -> None:
    answer = omni.chat("sim/fast", "Hello")
    other = gateway.tenant()
    hold_id = str(hold_id_of(CallId(uuid.UUID(answer.call_id)), 1))
    for account, what in (
        (other.account, {"call_id": answer.call_id}),
        (tenant.account, {"call_id": answer.call_id, "attempt_number": 2}),
        (tenant.account, {"call_id": str(uuid.UUID(int=0))}),
        (tenant.account, {"call_id": hold_id}),
        (tenant.account, {"hold": f"{tenant.account}/holds/{uuid.uuid4()}"}),
        ("accounts/nobody-at-all", {"call_id": answer.call_id}),
    ):
        with pytest.raises(NotFound):
            admin.refund_charge(account, 1, **what)
    assert omni.balance().available_nanousd == GRANTED - answer.cost_nanousd


# --- credits that expire --------------------------------------------------------------------------
def test_what_is_left_of_credits_is_taken_back_when_they_expire(
    gateway: Gateway, tenant: Tenant, admin: Omni, omni: Omni
) -> None:
    other = gateway.tenant(0)
    with Omni(gateway.grpc, api_key=other.api_key) as theirs:
        expires = datetime.now(UTC) + timedelta(seconds=4)
        admin.grant_credits(other.account, 1_000, expire_time=expires)
        admin.grant_credits(other.account, 10**7, expire_time=expires + timedelta(days=1))
        theirs.settle_hold(theirs.create_hold(300), 300)
        held = theirs.create_hold(500)  # of the same credits: it may still be charged
        assert theirs.balance().posted_nanousd == 10**7 + 700
        assert eventually(lambda: theirs.balance().posted_nanousd == 10**7 + 500, 30)
        theirs.release_hold(held)
        assert eventually(lambda: theirs.balance().posted_nanousd == 10**7, 30)
        entries = list(theirs.ledger_entries())
        assert [entry.kind for entry in entries] == ["expiry", "expiry", "charge"] + ["grant"] * 2
        assert [entry.amount_nanousd for entry in entries[:2]] == [-500, -200]
        assert transactions(gateway, other)[0]["kind"] == "expiry"
        answer = theirs.chat("sim/fast", "Hello")
        assert theirs.balance().available_nanousd == 10**7 - answer.cost_nanousd


def test_a_repeated_grant_is_the_first_one_also_after_it_expired(
    tenant: Tenant, admin: Omni
) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=2)
    first = admin.grant_credits(tenant.account, 5, expire_time=expires, request_id="g-1")
    assert eventually(lambda: time.time() > expires.timestamp() + 0.1)
    again = admin.grant_credits(tenant.account, 5, expire_time=expires, request_id="g-1")
    assert again == first
    with pytest.raises(FieldInvalid) as caught:
        admin.grant_credits(tenant.account, 5, expire_time=expires, request_id="g-2")
    assert caught.value.field == "expire_time"
    later = expires + timedelta(days=1)
    with pytest.raises(RequestIdReused):
        admin.grant_credits(tenant.account, 5, expire_time=later, request_id="g-1")
