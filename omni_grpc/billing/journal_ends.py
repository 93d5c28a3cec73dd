"""How the holds of a journal end: what the ledger is told of each, and what it answered."""

from typing import Final as Constant
from typing import NamedTuple

from omni_grpc.billing.journal_content import Attempt, JournalContent
from omni_grpc.billing.model import OwnedHold
from omni_grpc.billing.operations import (
    POSTED,
    AttemptOutcome,
    Code,
    Final,
    FinalOp,
    Origin,
    Outcome,
)
from omni_grpc.core.ids import HoldId


class End(NamedTuple):
    """How a hold ends, and the field of `Recovered` that counts it."""

    op: FinalOp
    word: str


class Told:
    """What the ledger was told of a journal, and what it answered."""

    def __init__(self, words: dict[HoldId, str]) -> None:
        self.words = words
        """By hold the field of `Recovered` that counts it; also of the times before this one."""
        self.there: dict[HoldId, bool] = {}
        """Holds that ended, in the order of the answers, and whether they were posted."""
        self.believed: set[HoldId] = set()
        """Those that were not told: the journal alone knows them."""

    def believe(self, read: JournalContent) -> None:
        """Notes what is not told again, since the database had acknowledged it."""
        if read.last_posted is not None:
            self.there[read.last_posted] = True
        if read.last_acknowledged and read.last_acknowledged.kind is Final.UNRESOLVED:
            self.there[read.last_acknowledged.id] = False
        self.believed.update(self.there)

    def note(self, end: End, outcome: Outcome | BaseException) -> None:
        """Notes one answer."""
        hold_id, kind = end.op.id, end.op.kind
        if isinstance(outcome, BaseException) or (
            outcome.code is Code.UNKNOWN and kind is Final.SETTLE
        ):
            self.words[hold_id] = "refused"
            return
        if outcome.code is Code.DONE:
            self.words[hold_id] = end.word
        else:
            self.words.setdefault(hold_id, "known")
        if outcome.code in (Code.DONE, Code.ALREADY, Code.DECIDED):
            is_posted = kind in POSTED or outcome.code is Code.DECIDED
            self.there.pop(hold_id, None)
            self.there[hold_id] = is_posted
            self.believed.discard(hold_id)


_WORDS: Constant = {
    Final.SETTLE: "settled",
    Final.VOID: "voided",
    Final.UNRESOLVED: "unresolved",
}


def end_of(hold_id: HoldId, attempt: Attempt) -> End:
    """How a hold ends of which the journal tells."""
    op = attempt.end(hold_id)
    is_estimate = attempt.final is None and op.kind is Final.SETTLE
    return End(op, "estimated" if is_estimate else _WORDS.get(op.kind, "known"))


def silent_end(held: OwnedHold, *, is_free: bool) -> End:
    """How a hold ends of which the journal tells nothing; its call is over."""
    kind = Final.VOID if is_free else Final.UNRESOLVED
    op = FinalOp(
        id=held.hold_id,
        kind=kind,
        origin=Origin.ROUTER,
        wallet=held.account_id,
        outcome=AttemptOutcome.FAILED if is_free else None,
        ends=held.ends,
    )
    return End(op, _WORDS[kind])
