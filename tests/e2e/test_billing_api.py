"""The ledger over gRPC: what repeats do once, what cannot be, what is final, and pages."""

import base64
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from gateway import (
    Gateway,
    HttpConnection,
    Refusal,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    eventually,
    refusal,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from omni.admin.v1 import admin_service_pb2 as admin
from omni.admin.v1 import admin_service_pb2_grpc as admin_grpc
from omni.billing.v1 import billing_service_pb2 as pb
from omni.billing.v1 import billing_service_pb2_grpc as pb_grpc
from omni.catalog.v1 import catalog_service_pb2 as catalog
from omni.catalog.v1 import catalog_service_pb2_grpc as catalog_grpc
from omni.router.v1 import router_service_pb2 as router
from omni.router.v1 import router_service_pb2_grpc as router_grpc

from omni_grpc.core.ids import CallId, hold_id_of

GRANTED = 10**9
AT_ONCE = 20


OPERATORS = (
    pb.GrantCreditsRequest,
    pb.RefundChargeRequest,
    pb.ListUnresolvedAttemptsRequest,
    pb.ResolveAttemptRequest,
)


def new_id() -> str:
    return uuid.uuid4().hex


@dataclass
class Books:
    """One tenant's view of its account, and the operator's hand in it."""

    channel: grpc.Channel
    tenant: Tenant
    admin_key: str

    def __post_init__(self) -> None:
        self.stub = pb_grpc.BillingServiceStub(self.channel)

    def do(self, request: Message) -> Any:
        """Sends a request of the BillingService; with the operator's key what only that may do."""
        name = request.DESCRIPTOR.name.removesuffix("Request")
        key = self.admin_key if isinstance(request, OPERATORS) else self.tenant.api_key
        return getattr(self.stub, name)(request, metadata=bearer(key), timeout=20)

    def refused(self, request: Message) -> Refusal:
        return refusal(lambda: self.do(request))

    def balance(self) -> tuple[int, int]:
        """Posted and held."""
        balance = self.do(pb.GetBalanceRequest()).balance
        assert balance.unresolved_nanousd == 0
        assert balance.available_nanousd == balance.posted_nanousd - balance.held_nanousd
        return balance.posted_nanousd, balance.held_nanousd

    def entries(self, page_size: int = 0) -> list[pb.LedgerEntry]:
        """All entries, newest first, page by page."""
        found: list[pb.LedgerEntry] = []
        token = ""
        while True:
            page = self.do(pb.ListLedgerEntriesRequest(page_size=page_size, page_token=token))
            found += page.ledger_entries
            token = page.next_page_token
            if not token:
                return found

    def hold(self, nanousd: int = 1_000, ttl_s: int = 600) -> str:
        return self.do(self.create(nanousd, ttl_s=ttl_s)).hold.name

    def grant(self, nanousd: int = 5, request_id: str = "", reason: str = "") -> Message:
        return pb.GrantCreditsRequest(
            account=self.tenant.account,
            amount_nanousd=nanousd,
            reason=reason,
            request_id=request_id or new_id(),
        )

    def charge(self, nanousd: int = 1_000) -> str:
        """The name of a new hold that was charged so much."""
        name = self.hold(nanousd)
        self.do(self.settle(name, nanousd))
        return name

    def refund(self, hold: str, nanousd: int, request_id: str = "", reason: str = "") -> Message:
        return pb.RefundChargeRequest(
            account=self.tenant.account,
            hold=hold,
            amount_nanousd=nanousd,
            reason=reason,
            request_id=request_id or new_id(),
        )

    def create(self, nanousd: int, request_id: str = "", ttl_s: int = 600) -> Message:
        ttl = Duration(seconds=ttl_s)
        return pb.CreateHoldRequest(
            amount_nanousd=nanousd, ttl=ttl, request_id=request_id or new_id()
        )

    def settle(self, name: str, nanousd: int, request_id: str = "") -> Message:
        return pb.SettleHoldRequest(
            name=name, amount_nanousd=nanousd, request_id=request_id or new_id()
        )

    def release(self, name: str, request_id: str = "") -> Message:
        return pb.ReleaseHoldRequest(name=name, request_id=request_id or new_id())


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as made:
        yield made


@pytest.fixture
def books(gateway: Gateway, channel: grpc.Channel) -> Books:
    return Books(channel, gateway.tenant(GRANTED), gateway.admin_key)


# --- repeats --------------------------------------------------------------------------------------
Requests = Callable[[Books, str], tuple[Message, Sequence[Message]]]


def _grants(books: Books, request_id: str) -> tuple[Message, Sequence[Message]]:
    return books.grant(5, request_id, "a"), [
        books.grant(6, request_id, "a"),
        books.grant(5, request_id, "b"),
        pb.GrantCreditsRequest(
            account="accounts/operator", amount_nanousd=5, reason="a", request_id=request_id
        ),
    ]


def _creates(books: Books, request_id: str) -> tuple[Message, Sequence[Message]]:
    return books.create(5, request_id), [
        books.create(6, request_id),
        books.create(5, request_id, ttl_s=601),
        books.settle(books.hold(), 5, request_id),
    ]


def _settles(books: Books, request_id: str) -> tuple[Message, Sequence[Message]]:
    name = books.hold()
    return books.settle(name, 5, request_id), [
        books.settle(name, 6, request_id),
        books.settle(books.hold(), 5, request_id),
        books.release(name, request_id),
    ]


def _releases(books: Books, request_id: str) -> tuple[Message, Sequence[Message]]:
    name = books.hold()
    return books.release(name, request_id), [
        books.release(books.hold(), request_id),
        books.settle(name, 0, request_id),
        books.create(5, request_id),
    ]


def _refunds(books: Books, request_id: str) -> tuple[Message, Sequence[Message]]:
    name = books.charge()
    return books.refund(name, 5, request_id, "a"), [
        books.refund(name, 6, request_id, "a"),
        books.refund(name, 5, request_id, "b"),
        books.refund(books.charge(), 5, request_id, "a"),
        books.grant(5, request_id, "a"),
    ]


OPERATIONS: dict[str, tuple[Requests, int, int]] = {
    "GrantCredits": (_grants, 5, 0),
    "RefundCharge": (_refunds, 5, 0),
    "CreateHold": (_creates, 0, 5),
    "SettleHold": (_settles, -5, -1_000),
    "ReleaseHold": (_releases, 0, -1_000),
}
"""How each makes its requests, and what it adds to the posted balance and to what is held."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_repeat_has_the_first_outcome_and_no_effect(books: Books, name: str) -> None:
    requests, posts, holds = OPERATIONS[name]
    request, _ = requests(books, new_id())
    posted, held = books.balance()
    first = books.do(request)
    after = books.balance()
    assert after == (posted + posts, held + holds)
    assert books.do(request) == first
    assert books.do(request) == first
    assert books.balance() == after


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_request_id_never_stands_for_two_things(books: Books, name: str) -> None:
    requests, _, _ = OPERATIONS[name]
    request_id = new_id()
    request, others = requests(books, request_id)
    first = books.do(request)
    before = books.balance()
    for other in others:
        found = books.refused(other)
        assert (found.code, found.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        assert found.trailers["grpc-retry-pushback-ms"] == "-1"
        assert request_id in found.message
    assert books.balance() == before
    assert books.do(request) == first


@pytest.mark.parametrize("name", OPERATIONS)
def test_20_repeats_at_once_have_one_effect(books: Books, name: str) -> None:
    requests, posts, holds = OPERATIONS[name]
    request, _ = requests(books, new_id())
    posted, held = books.balance()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(books.do, [request] * AT_ONCE))
    assert all(answer == answers[0] for answer in answers)
    assert books.balance() == (posted + posts, held + holds)


def test_organisations_do_not_share_request_ids(gateway: Gateway, books: Books) -> None:
    other = Books(books.channel, gateway.tenant(GRANTED), gateway.admin_key)
    request_id = new_id()
    mine, theirs = (one.do(one.create(7, request_id)).hold for one in (books, other))
    assert mine.name.startswith(f"{books.tenant.account}/holds/")
    assert theirs.name.startswith(f"{other.tenant.account}/holds/")
    for one, hold in ((books, mine), (other, theirs)):
        assert one.do(one.settle(hold.name, 7, f"settle {request_id}")).hold.settled_nanousd == 7
        assert one.balance() == (GRANTED - 7, 0)


def test_the_first_outcome_is_told_also_after_the_hold_has_ended(books: Books) -> None:
    create = books.create(9, new_id())
    first = books.do(create)
    books.do(books.settle(first.hold.name, 9))
    assert books.do(create) == first
    assert books.balance() == (GRANTED - 9, 0)


def test_a_refused_request_id_is_free_again(books: Books) -> None:
    request_id = new_id()
    create = books.create(2 * GRANTED, request_id)
    assert books.refused(create).reason == "CREDITS_EXHAUSTED"
    books.do(books.grant(GRANTED))
    assert books.do(create).hold.amount_nanousd == 2 * GRANTED
    assert books.balance() == (2 * GRANTED, 2 * GRANTED)


# --- what cannot be -------------------------------------------------------------------------------
HOLD = f"accounts/t/holds/{uuid.UUID(int=0)}"
CALL = str(uuid.UUID(int=0))
ATTEMPT = f"accounts/t/unresolvedAttempts/{uuid.UUID(int=1)}"
MANY = "x" * 256


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.GrantCreditsRequest(account="accounts/t", request_id="a"), "amount_nanousd"),
        (pb.CreateHoldRequest(request_id="a"), "amount_nanousd"),
        (pb.SettleHoldRequest(name=HOLD, request_id="a"), "amount_nanousd"),
        (pb.GrantCreditsRequest(amount_nanousd=1, request_id="a"), "account"),
        *(
            (pb.CreateHoldRequest(amount_nanousd=amount, request_id="a"), "amount_nanousd")
            for amount in (0, -1, 10**15 + 1, -(2**63), 2**63 - 1)
        ),
        (pb.SettleHoldRequest(name=HOLD, amount_nanousd=-1, request_id="a"), "amount_nanousd"),
        *(
            (pb.CreateHoldRequest(amount_nanousd=1, request_id=bad), "request_id")
            for bad in ("", MANY, "a\0b", "a\nb", "ä")
        ),
        (pb.SettleHoldRequest(name=HOLD, amount_nanousd=1), "request_id"),
        (pb.ReleaseHoldRequest(name=HOLD), "request_id"),
        *(
            (pb.CreateHoldRequest(amount_nanousd=1, request_id="a", ttl=ttl), "ttl")
            for ttl in (
                Duration(),
                Duration(seconds=-1),
                Duration(seconds=86_401),
                Duration(seconds=1, nanos=1),
                Duration(seconds=2**63 - 1),
            )
        ),
        *(
            (pb.ReleaseHoldRequest(name=name, request_id="a"), "name")
            for name in ("", "holds/x", "accounts/t/holds/", HOLD[:-1], HOLD + "\0", f"/{HOLD}")
        ),
        *(
            (pb.GetBalanceRequest(account=name), "account")
            for name in ("t", "accounts/", "accounts/T", "accounts/t/x", "accounts/a\0b")
        ),
        *(
            (pb.GetUsageRecordRequest(call_id=call_id), "call_id")
            for call_id in ("", "x", "\0", "0" * 10_000)
        ),
        *(
            (
                pb.GrantCreditsRequest(
                    account="accounts/t", amount_nanousd=1, request_id="a", reason=reason
                ),
                "reason",
            )
            for reason in (MANY + "x", "\0")
        ),
        (pb.ListLedgerEntriesRequest(page_size=-1), "page_size"),
        *(
            (
                pb.GrantCreditsRequest(
                    account="accounts/t", amount_nanousd=1, request_id="a", expire_time=moment
                ),
                "expire_time",
            )
            for moment in (
                Timestamp(),
                Timestamp(seconds=1_600_000_000),
                Timestamp(seconds=2**62),
                Timestamp(seconds=-(2**62)),
            )
        ),
        (pb.RefundChargeRequest(account="accounts/t", amount_nanousd=1, request_id="a"), "charge"),
        *(
            (
                pb.RefundChargeRequest(
                    **{
                        "account": "accounts/t", "hold": HOLD, "amount_nanousd": 1,
                        "request_id": "a",
                    } | fields
                ),
                field,
            )
            for fields, field in (
                ({"account": ""}, "account"),
                ({"account": "t"}, "account"),
                ({"amount_nanousd": None}, "amount_nanousd"),
                ({"amount_nanousd": 0}, "amount_nanousd"),
                ({"amount_nanousd": -1}, "amount_nanousd"),
                ({"amount_nanousd": 10**15 + 1}, "amount_nanousd"),
                ({"request_id": ""}, "request_id"),
                ({"reason": "\0"}, "reason"),
                ({"hold": "holds/x"}, "hold"),
                ({"hold": HOLD.replace("/t/", "/operator/")}, "hold"),
                ({"attempt_number": 1}, "attempt_number"),
                ({"hold": None, "call_id": "x"}, "call_id"),
                ({"hold": None, "call_id": CALL, "attempt_number": 0}, "attempt_number"),
                ({"hold": None, "call_id": CALL, "attempt_number": 16}, "attempt_number"),
            )
        ),
        (pb.ListUnresolvedAttemptsRequest(page_size=-1), "page_size"),
        (pb.ListUnresolvedAttemptsRequest(page_token="x"), "page_token"),
        (pb.ListUnresolvedAttemptsRequest(parent="t"), "parent"),
        (pb.ResolveAttemptRequest(name=ATTEMPT), "resolution"),
        (pb.ResolveAttemptRequest(name=HOLD, voiding=pb.Voiding()), "name"),
        (pb.ResolveAttemptRequest(voiding=pb.Voiding()), "name"),
        *(
            (
                pb.ResolveAttemptRequest(name=ATTEMPT, settlement=pb.Settlement(**counts)),
                f"settlement.{field}",
            )
            for counts, field in (
                ({}, "prompt_token_count"),
                ({"prompt_token_count": 1}, "completion_token_count"),
                ({"completion_token_count": 1}, "prompt_token_count"),
                ({"prompt_token_count": -1, "completion_token_count": 1}, "prompt_token_count"),
                (
                    {"prompt_token_count": 1, "completion_token_count": 10**9 + 1},
                    "completion_token_count",
                ),
                (
                    {
                        "prompt_token_count": 5, "completion_token_count": 1,
                        "cached_read_token_count": 3, "cached_write_token_count": 3,
                    },
                    "prompt_token_count",
                ),
                (
                    {
                        "prompt_token_count": 5, "completion_token_count": 1,
                        "reasoning_token_count": 2,
                    },
                    "completion_token_count",
                ),
            )
        ),
        *(
            (
                pb.ResolveAttemptRequest(name=ATTEMPT, write_off=pb.WriteOff(loss_nanousd=loss)),
                "write_off.loss_nanousd",
            )
            for loss in (-1, 10**15 + 1)
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_field(
    books: Books, request_: Message, field: str
) -> None:
    request = type(request_)()
    request.CopyFrom(request_)
    # What is named belongs to an account that exists, so that the field alone is wrong.
    for name in ("account", "name", "hold"):
        if name in request.DESCRIPTOR.fields_by_name:
            value = getattr(request, name)
            if value.startswith("accounts/t"):
                setattr(request, name, value.replace("accounts/t", books.tenant.account, 1))
    found = books.refused(request)
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)
    assert books.balance() == (GRANTED, 0)
    assert len(books.entries()) == 1


def test_a_hold_says_what_is_needed_and_what_is_there(books: Books) -> None:
    found = books.refused(books.create(GRANTED + 1))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "CREDITS_EXHAUSTED")
    assert set(found.details) == {"ErrorInfo", "PreconditionFailure"}
    assert int(found.metadata["needed_nanousd"]) == GRANTED + 1
    assert int(found.metadata["available_nanousd"]) == GRANTED
    books.hold(GRANTED)
    held = books.refused(books.create(1))
    assert (held.code, held.reason) == ("RESOURCE_EXHAUSTED", "CREDITS_HELD")
    assert set(held.details) == {"ErrorInfo", "RetryInfo"}
    assert int(held.metadata["held_nanousd"]) == GRANTED
    assert int(held.metadata["available_nanousd"]) == 0


# --- what is final --------------------------------------------------------------------------------
def test_a_settle_charges_its_amount_and_frees_the_rest(books: Books) -> None:
    name = books.hold(1_000)
    hold = books.do(books.settle(name, 400)).hold
    assert (hold.name, hold.state) == (name, pb.HOLD_STATE_SETTLED)
    assert (hold.amount_nanousd, hold.settled_nanousd) == (1_000, 400)
    assert not hold.HasField("expire_time")
    assert books.balance() == (GRANTED - 400, 0)
    newest = books.entries()[0]
    assert newest.kind == pb.LEDGER_ENTRY_KIND_CHARGE
    assert (newest.amount_nanousd, newest.balance_after_nanousd) == (-400, GRANTED - 400)
    assert newest.reference == name


def test_a_settle_of_nothing_ends_the_hold_without_an_entry(books: Books) -> None:
    hold = books.do(books.settle(books.hold(), 0)).hold
    assert hold.state == pb.HOLD_STATE_SETTLED
    assert hold.HasField("settled_nanousd")
    assert hold.settled_nanousd == 0
    assert books.balance() == (GRANTED, 0)
    assert len(books.entries()) == 1


def test_more_than_was_held_is_refused_and_the_hold_stays(books: Books) -> None:
    name = books.hold(1_000)
    request_id = new_id()
    found = books.refused(books.settle(name, 1_001, request_id))
    assert (found.reason, found.field) == ("FIELD_INVALID", "amount_nanousd")
    assert books.balance() == (GRANTED, 1_000)
    assert books.do(books.settle(name, 1_000, request_id)).hold.settled_nanousd == 1_000


@pytest.mark.parametrize(
    ("first", "second"),
    [("settle", "release"), ("release", "settle"), ("settle", "settle other")],
)
def test_a_final_hold_stays_as_it_is(books: Books, first: str, second: str) -> None:
    name = books.hold()
    ends = {
        "settle": lambda: books.settle(name, 7),
        "release": lambda: books.release(name),
        "settle other": lambda: books.settle(name, 8),
    }
    books.do(ends[first]())
    before = books.balance()
    found = books.refused(ends[second]())
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "HOLD_FINAL")
    assert found.metadata["state"] == {"settle": "settled", "release": "voided"}[first]
    assert books.balance() == before
    again = books.do(ends[first]()).hold  # the same end, asked for anew, is no contradiction
    assert again.settled_nanousd == (7 if first == "settle" else 0)
    assert books.balance() == before


def test_a_hold_frees_itself_when_its_time_is_over(books: Books) -> None:
    made = books.do(books.create(1_000, ttl_s=3)).hold
    assert made.state == pb.HOLD_STATE_OPEN
    assert 0 < made.expire_time.ToMilliseconds() / 1000 - time.time() < 4
    assert books.balance() == (GRANTED, 1_000)
    assert eventually(lambda: books.balance() == (GRANTED, 0))
    found = books.refused(books.settle(made.name, 1))
    assert (found.reason, found.metadata["state"]) == ("HOLD_FINAL", "voided")
    assert books.do(books.release(made.name)).hold.state == pb.HOLD_STATE_VOIDED
    assert books.balance() == (GRANTED, 0)


def test_the_hold_of_a_running_chat_cannot_be_touched(
    books: Books, simulator: SimulatorThread
) -> None:
    gate = f"touch-{books.tenant.org}"
    simulator.close_gate(gate)
    parts = [router.Part(text=asking(f"gate={gate},gate_after=3"))]
    prompt = router.ChatPrompt(
        model="sim/fast", messages=[router.Message(role=router.ROLE_USER, parts=parts)]
    )
    stream = router_grpc.RouterServiceStub(books.channel).StreamChat(
        router.StreamChatRequest(prompt=prompt), metadata=bearer(books.tenant.api_key), timeout=30
    )
    call_id = next(stream).started.call_id
    hold_id = hold_id_of(CallId(uuid.UUID(call_id)), 1)
    name = f"{books.tenant.account}/holds/{hold_id}"
    _, held = books.balance()
    assert held > 0
    for request in (books.release(name), books.settle(name, 0), books.settle(name, held)):
        found = books.refused(request)
        assert (found.code, found.reason) == ("NOT_FOUND", "NOT_FOUND")
    assert books.balance() == (GRANTED, held)
    simulator.open_gate(gate)
    cost = list(stream)[-1].completion.cost_nanousd
    assert cost > 40 * 600
    assert books.balance() == (GRANTED - cost, 0)
    assert books.refused(books.release(name)).reason == "NOT_FOUND"
    record = books.do(pb.GetUsageRecordRequest(call_id=call_id)).usage_record
    assert record.cost_nanousd == cost
    assert books.refused(pb.GetUsageRecordRequest(call_id=str(hold_id))).reason == "NOT_FOUND"


# --- entries and pages ----------------------------------------------------------------------------
def test_entries_are_in_the_order_of_their_commits_whoever_makes_them(
    gateway: Gateway, books: Books
) -> None:
    def work(number: int) -> None:
        match number % 3:
            case 0:
                books.do(books.grant(number + 1, reason=f"grant {number}"))
            case 1:
                books.do(books.settle(books.hold(), number))
            case _:
                with HttpConnection(gateway, books.tenant.api_key) as http:
                    assert http.chat().status == 200

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(90)))
    entries = books.entries(page_size=7)
    assert len(entries) == 91
    oldest_first = entries[::-1]
    balance = 0
    for position, entry in enumerate(oldest_first, 1):
        balance += entry.amount_nanousd
        assert entry.balance_after_nanousd == balance
        assert entry.name == f"{books.tenant.account}/ledgerEntries/{position}"
    times = [entry.create_time.ToNanoseconds() for entry in oldest_first]
    assert times == sorted(times)
    assert books.balance() == (balance, 0)
    with HttpConnection(gateway, books.tenant.api_key) as http:
        shown = http.ask("/v1/transactions?page_size=1000").json["data"]
    assert [(one["amount_nanousd"], one["reference"]) for one in shown] == [
        (entry.amount_nanousd, entry.reference) for entry in entries
    ]


def test_pages_neither_skip_nor_repeat_while_the_list_grows(books: Books) -> None:
    for _ in range(5):
        books.do(books.grant())
    first = books.do(pb.ListLedgerEntriesRequest(page_size=2))
    books.do(books.grant())
    second = books.do(pb.ListLedgerEntriesRequest(page_size=2, page_token=first.next_page_token))
    third = books.do(
        pb.ListLedgerEntriesRequest(page_size=1_000_000, page_token=second.next_page_token)
    )
    pages = [first, second, third]
    positions = [int(e.name.rpartition("/")[2]) for page in pages for e in page.ledger_entries]
    assert positions == [6, 5, 4, 3, 2, 1]
    assert third.next_page_token == ""
    whole = books.do(pb.ListLedgerEntriesRequest(page_size=7))
    assert (len(whole.ledger_entries), whole.next_page_token) == (7, "")


def test_a_page_token_opens_its_own_list_only(gateway: Gateway, books: Books) -> None:
    books.do(books.grant())
    other = gateway.tenant()
    models = catalog_grpc.CatalogServiceStub(books.channel)
    keys = admin_grpc.AdminServiceStub(books.channel)
    own, operator = bearer(books.tenant.api_key), bearer(books.admin_key)
    with gateway.admin() as client:
        client.create_api_key(f"orgs/{books.tenant.org}")

    def list_entries(token: str) -> Any:
        return books.do(pb.ListLedgerEntriesRequest(page_size=1, page_token=token))

    def list_others(token: str) -> Any:
        request = pb.ListLedgerEntriesRequest(parent=other.account, page_size=1, page_token=token)
        return books.stub.ListLedgerEntries(request, metadata=operator)

    def list_keys(token: str) -> Any:
        request = admin.ListApiKeysRequest(
            parent=f"orgs/{books.tenant.org}", page_size=1, page_token=token
        )
        return keys.ListApiKeys(request, metadata=operator)

    def list_models(token: str, where: str = "") -> Any:
        request = catalog.ListModelsRequest(filter=where, page_size=1, page_token=token)
        return models.ListModels(request, metadata=own)

    def list_simulated(token: str) -> Any:
        return list_models(token, 'provider = "sim"')

    lists = [list_entries, list_keys, list_models, list_simulated]
    tokens = [ask("").next_page_token for ask in lists]
    assert all(tokens)
    for ask, token in zip(lists, tokens, strict=True):
        ask(token)
        foreign = [list_others, *(one for one in lists if one is not ask)]
        broken = [token[:-1], token + "A", token[::-1], "!", "\0", "é", "A" * 10_000, token + "\n"]
        tampered = bytearray(base64.urlsafe_b64decode(token + "=="[: -len(token) % 4]))
        tampered[-1] ^= 1
        broken.append(base64.urlsafe_b64encode(tampered).decode().rstrip("="))
        for wrong, bad in [*((one, token) for one in foreign), *((ask, text) for text in broken)]:
            found = refusal(lambda wrong=wrong, bad=bad: wrong(bad))
            assert (found.reason, found.field) == ("FIELD_INVALID", "page_token"), bad
    # Opaque: the position is not to be read off, nor is one token made from another.
    with HttpConnection(gateway, books.tenant.api_key) as http:
        answer = http.ask(f"/v1/transactions?page_token={tokens[1]}")
        assert (answer.status, answer.error["param"]) == (400, "page_token")
