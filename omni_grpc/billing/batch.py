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
    RequestKey,
    TransferOp,
)
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
    ("bigint[]", lambda op: str(op.wallet)),
    ("bigint[]", lambda op: str(op.amount)),
    ("text[]", lambda op: _text(op.reference)),
)
_Keyed = tuple[str, int, RequestKey]
_REQUEST_COLUMNS: tuple[tuple[str, Callable[[_Keyed], str]], ...] = (
    ('"char"[]', lambda row: row[0]),
    ("integer[]", lambda row: str(row[1])),
    ("bigint[]", lambda row: str(row[2].principal)),
    ("text[]", lambda row: _text(row[2].request_id)),
    ("bytea[]", lambda row: f'"\\\\x{row[2].fingerprint.hex()}"'),
)

_TYPES = [
    column[0]
    for columns in (_FINAL_COLUMNS, _HOLD_COLUMNS, _TRANSFER_COLUMNS, _REQUEST_COLUMNS)
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
    finals, holds, transfers = _groups(batch)
    groups: tuple[tuple[str, Sequence[Operation]], ...] = (
        ("f", finals),
        ("h", holds),
        ("t", transfers),
    )
    keyed: list[_Keyed] = [
        (group, position, op.request)
        for group, ops in groups
        for position, op in enumerate(ops, 1)
        if op.request is not None
    ]
    return [
        owner,
        epoch,
        lane,
        *_columns(_FINAL_COLUMNS, finals),
        *_columns(_HOLD_COLUMNS, holds),
        *_columns(_TRANSFER_COLUMNS, transfers),
        *_columns(_REQUEST_COLUMNS, keyed),
    ]


def outcomes(batch: Sequence[Operation], rows: Iterable[Row]) -> list[Outcome]:
    """The outcome of each operation, in the order of `batch`.

    Raises:
        RuntimeError: the function left an operation unanswered, which is a fault of ours.
    """
    finals, holds, transfers = _groups(batch)
    by_group: dict[str, Sequence[Operation]] = {"f": finals, "h": holds, "t": transfers}
    found: dict[int, Outcome] = {}
    for group, position, code, target, amount, posted, pending, short_account, until in rows:
        op = by_group[group][position - 1]
        found[id(op)] = Outcome(Code(code), target, amount, posted, pending, short_account, until)
    try:
        return [found[id(op)] for op in batch]
    except KeyError:
        raise RuntimeError("ledger_apply did not answer every operation of a batch") from None


def _groups(
    batch: Sequence[Operation],
) -> tuple[list[FinalOp], list[HoldOp], list[TransferOp]]:
    finals: list[FinalOp] = []
    holds: list[HoldOp] = []
    transfers: list[TransferOp] = []
    for op in batch:
        if isinstance(op, HoldOp):
            holds.append(op)
        elif isinstance(op, FinalOp):
            finals.append(op)
        else:
            transfers.append(op)
    return finals, holds, transfers


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


def _text(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
