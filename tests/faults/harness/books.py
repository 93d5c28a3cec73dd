"""What the ledger says of one wallet, read in one moment."""

import json
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from psycopg.rows import tuple_row

from omni_grpc.core.ids import attempt_of, call_id_of
from omni_grpc.storage import Database

_QUERY = """
SELECT a.credits_posted, a.debits_posted, a.debits_pending,
       (SELECT coalesce(json_agg(to_jsonb(p)), '[]') FROM posting p WHERE p.wallet = a.id)::text,
       (SELECT coalesce(json_agg(to_jsonb(h)), '[]') FROM hold h WHERE h.wallet = a.id)::text,
       (SELECT coalesce(json_agg(to_jsonb(u)), '[]') FROM usage_record u
         WHERE u.wallet = a.id)::text
  FROM account a WHERE a.id = %s
"""


@dataclass(frozen=True, slots=True)
class Posting:
    """A movement. `amount` is what the wallet got or paid, never signed."""

    id: UUID
    n: int
    kind: str
    origin: str
    decider: str
    amount: int
    held: int
    loss: int
    reference: str
    of: UUID | None


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that is open (O) or unresolved (U)."""

    id: UUID
    state: str
    origin: str
    amount: int
    model: str
    owner: str

    @property
    def process(self) -> int:
        """Who made it: owners are named host:pid:epoch."""
        return int(self.owner.split(":")[1])


@dataclass(frozen=True, slots=True)
class Used:
    """A usage record."""

    hold_id: UUID
    model: str
    outcome: str
    estimated: bool
    prompt: int | None
    completion: int | None
    price_version: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that the books have of one attempt of a call."""

    number: int
    held: Held | None
    postings: tuple[Posting, ...]
    used: Used | None

    @property
    def model(self) -> str:
        found = self.used or self.held
        return found.model if found else ""

    @property
    def charged(self) -> int:
        return sum(posting.amount for posting in self.postings if posting.kind == "S")

    @property
    def cost(self) -> int:
        """What was reported or estimated, what is above the hold included."""
        settles = [posting for posting in self.postings if posting.kind == "S"]
        return sum(posting.amount + posting.loss for posting in settles)

    @property
    def kinds(self) -> str:
        """`O`, `U`, or the kinds of its postings in order: `S`, `V`, `VS`…"""
        if self.held is not None:
            return self.held.state
        return "".join(posting.kind for posting in self.postings)


@dataclass(frozen=True, slots=True)
class Books:
    """A wallet's rows."""

    credits: int
    debits: int
    pending: int
    postings: tuple[Posting, ...]
    holds: tuple[Held, ...]
    usage: tuple[Used, ...]

    @classmethod
    async def read(cls, database: Database, account_id: int) -> Self:
        """Reads them.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        row = await database.fetch_one(_QUERY, [account_id], row=tuple_row)
        assert row is not None, f"there is no account {account_id}"
        postings, holds, usage = (json.loads(text) for text in row[3:])
        return cls(
            row[0],
            row[1],
            row[2],
            tuple(sorted(map(_posting, postings), key=lambda row: (row.id, row.n))),
            tuple(map(_held, holds)),
            tuple(map(_used, usage)),
        )

    @property
    def posted(self) -> int:
        return self.credits - self.debits

    def calls(self) -> dict[UUID, dict[int, Attempt]]:
        """The router's attempts by call and number."""
        ids = {row.id for row in (*self.postings, *self.holds) if row.origin == "r"}
        used = {row.hold_id: row for row in self.usage}
        held = {row.id: row for row in self.holds}
        found: dict[UUID, dict[int, Attempt]] = {}
        for hold_id in sorted(ids):
            attempt = Attempt(
                attempt_of(hold_id),
                held.get(hold_id),
                tuple(row for row in self.postings if row.id == hold_id and row.kind in "SVW"),
                used.get(hold_id),
            )
            found.setdefault(call_id_of(hold_id), {})[attempt.number] = attempt
        return found


def _posting(row: dict[str, Any]) -> Posting:
    return Posting(
        UUID(row["id"]),
        row["n"],
        row["kind"],
        row["origin"],
        row["decider"],
        row["amount"],
        row["held"],
        row["loss"],
        row["reference"] or "",
        UUID(row["of"]) if row.get("of") else None,
    )


def _held(row: dict[str, Any]) -> Held:
    return Held(
        UUID(row["id"]),
        row["state"],
        row["origin"],
        row["amount"],
        row["model"] or "",
        row["owner"],
    )


def _used(row: dict[str, Any]) -> Used:
    return Used(
        UUID(row["hold_id"]),
        row["model"],
        row["outcome"],
        row["estimated"],
        row["prompt"],
        row["completion"],
        row["price_version"],
    )
