"""The reference model of billing calls: each request id has one outcome, the one that was told."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from harness.billing_log import UNKNOWN, Told
from harness.books import Books, Posting
from harness.play import Play
from harness.world import Tenant

REFUSALS = {
    "grant": {"REQUEST_ID_REUSED", "FIELD_INVALID"},
    "pay": {"ALREADY_EXISTS"},
    "refund": {"REQUEST_ID_REUSED", "FIELD_INVALID", "NOT_FOUND"},
    "hold": {"REQUEST_ID_REUSED", "FIELD_INVALID", "CREDITS_HELD", "CREDITS_EXHAUSTED"},
    "settle": {"REQUEST_ID_REUSED", "FIELD_INVALID", "NOT_FOUND", "HOLD_FINAL"},
    "release": {"REQUEST_ID_REUSED", "FIELD_INVALID", "NOT_FOUND", "HOLD_FINAL"},
}
"""The reasons by which each verb may be refused, beside those after which nobody knows."""


def billing_differences(play: Play, books: Books, tenant: Tenant) -> Iterator[str]:
    """In what a tenant's books differ from what its billing calls were told."""
    for (_, request_id), told in play.billing.by_request().items():
        mine = [each for each in told if each.wanted.account == tenant.slug]
        if not mine:
            continue
        verb = mine[0].wanted.verb
        answers = {(each.wanted.content, each.answer) for each in mine if each.answer is not None}
        if len(answers) > 1:
            yield f"request {request_id} was answered in {len(answers)} ways: {answers}"
        for each in mine:
            if each.reason == "INTERNAL" or (not each.reason and _ours(each)):
                yield f"request {request_id}: a fault of ours: {each.message}"
            elif each.answer is None and each.reason not in UNKNOWN | REFUSALS[verb]:
                yield f"request {request_id}: refused by {each.reason}: {each.message}"
        if verb in ("grant", "refund"):
            kind = "G" if verb == "grant" else "R"
            found = [r for r in books.postings if r.kind == kind and r.reference == request_id]
            yield from _movement(request_id, mine, found)
    yield from _payments(play, books, tenant)
    yield from _team_holds(play, books, tenant)
    yield from _refunds(books)


def _ours(told: Told) -> bool:
    """Whether a failure without a reason is no mere loss of the connection."""
    if told.answer is not None:
        return False
    return "UNAVAILABLE" not in told.message and "CANCELLED" not in told.message


def _movement(request_id: str, told: list[Told], found: list[Posting]) -> Iterator[str]:
    """A grant or refund that was told stands once; one that nobody was told of, at most once."""
    answered = next((each for each in told if each.answer is not None), None)
    amounts = [row.amount for row in found]
    if answered is not None:
        if amounts != [answered.wanted.amount]:
            yield f"{request_id}: {answered.wanted.amount} was told, the books have {amounts}"
    elif len(found) > any(each.is_unknown for each in told):
        yield f"{request_id} was refused, the books have {amounts}"


def _payments(play: Play, books: Books, tenant: Tenant) -> Iterator[str]:
    """A payment stands in the books once, for the account and amount that everybody was told."""
    by_payment: dict[str, list[Told]] = {}
    for told in play.billing.told:
        if told.wanted.verb == "pay":
            by_payment.setdefault(told.wanted.payment.lower(), []).append(told)
    for payment, presented in by_payment.items():
        answers = {
            (one.wanted.account, one.wanted.amount, one.answer)
            for one in presented
            if one.answer is not None
        }
        if len(answers) > 1:
            yield f"payment {payment} was answered in {len(answers)} ways: {answers}"
        for one in presented:
            is_first = (one.wanted.account, one.wanted.amount) in {each[:2] for each in answers}
            if one.reason == "ALREADY_EXISTS" and (is_first or not answers):
                yield f"payment {payment} was refused to whom it is for: {one.message}"
        ids = {one.wanted.request_id for one in presented}
        found = [row.amount for row in books.postings if row.kind == "G" and row.reference in ids]
        expected = [amount for account, amount, _ in answers if account == tenant.slug]
        if found != expected:
            yield f"payment {payment}: {expected} was told, the books have {found}"


def _team_holds(play: Play, books: Books, tenant: Tenant) -> Iterator[str]:
    """Holds of the API: at most one end each, which is the one that was told."""
    ends: dict[str, set[tuple[str, int]]] = {}
    for verb in ("settle", "release"):
        for told in play.billing.answered(verb):
            ends.setdefault(told.wanted.hold, set()).add((verb, told.wanted.amount))
    prefix = f"accounts/{tenant.slug}/holds/"
    by_name = {f"{prefix}{row.id}": row for row in books.postings}
    open_names = {f"{prefix}{row.id}" for row in books.holds}
    for told in play.billing.answered("hold"):
        name = str(told.answer[0]) if told.answer else ""
        if not name.startswith(prefix):
            continue
        end, row = ends.get(name, set()), by_name.get(name)
        if len(end) > 1:
            yield f"hold {name} ended in {len(end)} ways: {end}"
        if end and row is None:
            yield f"hold {name} was told to be {end}, and has no posting"
        if row is None and name not in open_names:
            yield f"hold {name} is gone"
        if row is not None and end:
            verb, amount = next(iter(end))
            expected = ("S", amount) if verb == "settle" else ("V", 0)
            if (row.kind, row.amount) != expected:
                yield f"hold {name} was told to be {end}, and is {row.kind} of {row.amount}"


def _refunds(books: Books) -> Iterator[str]:
    """Refunds of a charge never exceed it."""
    charged: Counter[UUID | None] = Counter()
    refunded: Counter[UUID | None] = Counter()
    for row in books.postings:
        if row.kind == "S":
            charged[row.id] += row.amount
        elif row.kind == "R":
            refunded[row.of] += row.amount
    for charge, amount in refunded.items():
        if amount > charged[charge]:
            yield f"charge {charge} of {charged[charge]} was refunded {amount}"


def sum_differences(play: Play, books: Books, tenant: Tenant) -> Iterator[str]:
    """The balance is what its entries give, covers its holds, and nobody's money is in it."""
    gained = sum(row.amount for row in books.postings if row.kind in "GR")
    paid = sum(row.amount for row in books.postings if row.kind in "SE")
    if books.posted != gained - paid:
        yield f"the balance is {books.posted}, its entries give {gained - paid}"
    if books.posted < books.pending:
        yield f"the balance of {books.posted} does not cover the {books.pending} held"
    asked = {told.wanted.request_id for told in play.billing.told}
    stray = [row.reference for row in books.postings if row.kind in "GR"]
    if extra := set(stray) - asked - play.kept.get("granted past the service", set()):
        yield f"{tenant.slug} got credits that nobody asked for: {sorted(extra)}"
