"""One batch of operations as the arguments of `ledger_apply`, and its rows as outcomes.

Each argument is one column of a group, written as a PostgreSQL array literal: joining strings
costs a tenth of what a driver spends on lists of Python objects, and the server parses literals
as fast as its binary form.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from omni_grpc.billing.operations import (
    Code,
    FinalOp,
    HoldOp,
    Operation,
    Outcome,
    Requested,
    RequestEnd,
    RequestEndOp,
    RequestKey,
    TransferOp,
)
from omni_grpc.core.ids import call_id_of
from omni_grpc.core.usage import Usage, UsageSource

_NO_USAGE = Usage()
_T = TypeVar("_T")

_FINAL_COLUMNS: tuple[tuple[str, Callable[[FinalOp], str]], ...] = (
    ("uuid[]", lambda op: op.id.hex),
    ('"char"[]', lambda op: op.kind),
    ('"char"[]', lambda op: op.origin),
    ('"char"[]', lambda op: op.decider),
    ("bigint[]", lambda op: _number(op.wallet)),
    ("bigint[]", lambda op: str(op.cost)),
    ("text[]", lambda op: _numbers(op.leg_costs)),
    ('"char"[]', lambda op: op.outcome or "NULL"),
    ("boolean[]", lambda op: "t" if _usage(op).source is UsageSource.ESTIMATE else "f"),
    ("bigint[]", lambda op: _number(_usage(op).prompt)),
    ("bigint[]", lambda op: _number(_usage(op).cached_read)),
    ("bigint[]", lambda op: _number(_usage(op).cached_write)),
    ("bigint[]", lambda op: _number(_usage(op).prompt_audio)),
    ("bigint[]", lambda op: _number(_usage(op).completion)),
    ("bigint[]", lambda op: _number(_usage(op).reasoning)),
    ("bigint[]", lambda op: _number(_usage(op).completion_audio)),
    ("text[]", lambda op: _text(op.provider_ref)),
)
_HOLD_COLUMNS: tuple[tuple[str, Callable[[HoldOp], str]], ...] = (
    ("uuid[]", lambda op: op.id.hex),
    ('"char"[]', lambda op: op.origin),
    ("bigint[]", lambda op: str(op.wallet)),
    ("bigint[]", lambda op: str(op.amount_min)),
    ("bigint[]", lambda op: str(op.amount_max)),
    ("text[]", lambda op: _numbers(leg.account for leg in op.legs)),
    ("text[]", lambda op: _numbers(leg.amount_min for leg in op.legs)),
    ("text[]", lambda op: _numbers(leg.amount_max for leg in op.legs)),
    ("integer[]", lambda op: str(op.seconds)),
    ("bigint[]", lambda op: str(op.key_id)),
    ("text[]", lambda op: _text(op.model)),
    ("text[]", lambda op: _text(op.credential)),
    ("bigint[]", lambda op: _number(op.price_version)),
    ("integer[]", lambda op: _number(op.markup_ppm)),
)
_TRANSFER_COLUMNS: tuple[tuple[str, Callable[[TransferOp], str]], ...] = (
    ("uuid[]", lambda op: op.id.hex),
    ('"char"[]', lambda op: op.kind),
    ("bigint[]", lambda op: str(op.wallet)),
    ("bigint[]", lambda op: str(op.amount)),
    ("text[]", lambda op: _text(op.reference)),
    ("uuid[]", lambda op: "NULL" if op.of is None else op.of.hex),
    (
        "timestamptz[]",
        lambda op: "NULL" if op.expire_time is None else f'"{op.expire_time.isoformat()}"',
    ),
)
_Keyed = tuple[str, int, RequestKey, UUID]
_REQUEST_COLUMNS: tuple[tuple[str, Callable[[_Keyed], str]], ...] = (
    ('"char"[]', lambda row: row[0]),
    ("integer[]", lambda row: str(row[1])),
    ("bigint[]", lambda row: str(row[2].principal)),
    ("text[]", lambda row: _text(row[2].request_id)),
    ("bytea[]", lambda row: _bytes(row[2].fingerprint)),
    ('"char"[]', lambda row: row[2].operation),
    ("uuid[]", lambda row: row[3].hex),
)
_Ended = tuple[int | None, RequestEnd]
_END_COLUMNS: tuple[tuple[str, Callable[[_Ended], str]], ...] = (
    ("integer[]", lambda row: _number(row[0])),
    ("bigint[]", lambda row: str(row[1].principal)),
    ("text[]", lambda row: _text(row[1].request_id)),
    ("uuid[]", lambda row: row[1].call_id.hex),
    ('"char"[]', lambda row: row[1].end),
    ("bytea[]", lambda row: "NULL" if row[1].sealed is None else _bytes(row[1].sealed)),
)

_TYPES = [
    column[0]
    for columns in (
        _FINAL_COLUMNS,
        _HOLD_COLUMNS,
        _TRANSFER_COLUMNS,
        _REQUEST_COLUMNS,
        _END_COLUMNS,
    )
    for column in columns
]
APPLY_SQL = (
    # made of types, never of values
    "SELECT grp::text, ord, rc, target, amount, posted, pending, short_account, until"  # noqa: S608
    " FROM ledger_apply(%s::text, %s::bigint, %s::integer, "
    + ", ".join(f"%s::{kind}" for kind in _TYPES)
    + ")"
)
Row = tuple[str, int, int, UUID, int | None, int | None, int | None, int | None, Any]


def arguments(owner: str, epoch: int, lane: int, batch: Sequence[Operation]) -> list[object]:
    """The parameters of APPLY_SQL for `batch`."""
    groups = _Groups(batch)
    keyed: list[_Keyed] = [
        (group, position, op.request, _target(op, op.request))
        for group, ops in groups.by_letter.items()
        for position, op in enumerate(ops, 1)
        if op.request is not None
    ]
    ended: list[_Ended] = [(None, op.ends) for op in groups.finals if op.ends is not None]
    ended += [(position, op.ends) for position, op in enumerate(groups.ends, 1)]
    return [
        owner,
        epoch,
        lane,
        *_columns(_FINAL_COLUMNS, groups.finals),
        *_columns(_HOLD_COLUMNS, groups.holds),
        *_columns(_TRANSFER_COLUMNS, groups.transfers),
        *_columns(_REQUEST_COLUMNS, keyed),
        *_columns(_END_COLUMNS, ended),
    ]


def outcomes(batch: Sequence[Operation], rows: Iterable[Row]) -> list[Outcome]:
    """The outcome of each operation, in the order of `batch`.

    Raises:
        RuntimeError: the function left an operation unanswered, which is a fault of ours.
    """
    by_letter = _Groups(batch).by_letter
    found: dict[int, Outcome] = {}
    for group, position, code, target, amount, posted, pending, short_account, until in rows:
        op = by_letter[group][position - 1]
        found[id(op)] = Outcome(Code(code), target, amount, posted, pending, short_account, until)
    try:
        return [found[id(op)] for op in batch]
    except KeyError:
        raise RuntimeError("ledger_apply did not answer every operation of a batch") from None


class _Groups:
    """A batch by kind, each kind in the batch's order, under the letters of the function."""

    def __init__(self, batch: Sequence[Operation]) -> None:
        self.finals: list[FinalOp] = []
        self.holds: list[HoldOp] = []
        self.transfers: list[TransferOp] = []
        self.ends: list[RequestEndOp] = []
        self.by_letter: dict[str, Sequence[Operation]] = {
            "f": self.finals,
            "h": self.holds,
            "t": self.transfers,
            "r": self.ends,
        }
        for op in batch:
            if isinstance(op, HoldOp):
                self.holds.append(op)
            elif isinstance(op, FinalOp):
                self.finals.append(op)
            elif isinstance(op, TransferOp):
                self.transfers.append(op)
            else:
                self.ends.append(op)


def _target(op: Operation, request: RequestKey) -> UUID:
    """What a request id stands for: the call of a chat's hold, else the operation's own id."""
    return call_id_of(op.id) if request.operation is Requested.CHAT else op.id


def _columns(columns: tuple[tuple[str, Callable[[_T], str]], ...], ops: Sequence[_T]) -> list[str]:
    if not ops:
        return ["{}"] * len(columns)
    return ["{" + ",".join([write(op) for op in ops]) + "}" for _, write in columns]


def _usage(op: FinalOp) -> Usage:
    return op.usage or _NO_USAGE


def _number(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def _numbers(values: Iterable[int]) -> str:
    joined = ",".join(map(str, values))
    return f'"{{{joined}}}"' if joined else "NULL"


def _bytes(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


def _text(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
