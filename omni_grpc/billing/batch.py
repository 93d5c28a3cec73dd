"""One batch of operations as the arguments of `ledger_apply`, and its rows as outcomes.

Each argument is one column of a group, written as a PostgreSQL array literal: joining strings
costs a tenth of what a driver spends on lists of Python objects, and the server parses literals
as fast as its binary form.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
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
from omni_grpc.core.usage import Usage, UsageSource, rare_counts

_NO_USAGE = Usage()
_T = TypeVar("_T")

_Columns = tuple[tuple[str, str, Callable[[_T], str]], ...]
"""A group's parameters: name, type, and how an operation's value is written."""

_FINAL_COLUMNS: _Columns[FinalOp] = (
    ("f_id", "uuid[]", lambda op: op.id.hex),
    ("f_kind", '"char"[]', lambda op: op.kind),
    ("f_origin", '"char"[]', lambda op: op.origin),
    ("f_decider", '"char"[]', lambda op: op.decider),
    ("f_wallet", "bigint[]", lambda op: _number(op.wallet)),
    ("f_cost", "bigint[]", lambda op: str(op.cost)),
    ("f_leg_costs", "text[]", lambda op: _numbers(op.leg_costs)),
    ("f_outcome", '"char"[]', lambda op: op.outcome or "NULL"),
    (
        "f_estimated",
        "boolean[]",
        lambda op: "t" if _usage(op).source is UsageSource.ESTIMATE else "f",
    ),
    ("f_prompt", "bigint[]", lambda op: _number(_usage(op).prompt)),
    ("f_cached_read", "bigint[]", lambda op: _number(_usage(op).cached_read)),
    ("f_cached_write", "bigint[]", lambda op: _number(_usage(op).cached_write)),
    ("f_prompt_audio", "bigint[]", lambda op: _number(_usage(op).prompt_audio)),
    ("f_completion", "bigint[]", lambda op: _number(_usage(op).completion)),
    ("f_reasoning", "bigint[]", lambda op: _number(_usage(op).reasoning)),
    ("f_completion_audio", "bigint[]", lambda op: _number(_usage(op).completion_audio)),
    ("f_provider_ref", "text[]", lambda op: _text(op.provider_ref)),
)
_RARE_COLUMNS: _Columns[FinalOp] = (
    ("f_rare_counts", "text[]", lambda op: _counts(rare_counts(_usage(op)))),
)
"""Sent only where an attempt of the batch has such counts."""
_HOLD_COLUMNS: _Columns[HoldOp] = (
    ("h_id", "uuid[]", lambda op: op.id.hex),
    ("h_origin", '"char"[]', lambda op: op.origin),
    ("h_wallet", "bigint[]", lambda op: str(op.wallet)),
    ("h_min", "bigint[]", lambda op: str(op.amount_min)),
    ("h_max", "bigint[]", lambda op: str(op.amount_max)),
    ("h_seconds", "integer[]", lambda op: str(op.seconds)),
    ("h_key", "bigint[]", lambda op: str(op.key_id)),
    ("h_model", "text[]", lambda op: _text(op.model)),
    ("h_credential", "text[]", lambda op: _text(op.credential)),
    ("h_price_version", "bigint[]", lambda op: _number(op.price_version)),
    ("h_markup_ppm", "integer[]", lambda op: _number(op.markup_ppm)),
)
_LEG_COLUMNS: _Columns[HoldOp] = (
    ("h_legs", "text[]", lambda op: _numbers(leg.account for leg in op.legs)),
    ("h_leg_mins", "text[]", lambda op: _numbers(leg.amount_min for leg in op.legs)),
    ("h_leg_maxs", "text[]", lambda op: _numbers(leg.amount_max for leg in op.legs)),
)
"""Sent only where a hold of the batch has budgets."""
_TRANSFER_COLUMNS: _Columns[TransferOp] = (
    ("t_network", "text[]", lambda op: _text(op.payment.network if op.payment else None)),
    ("t_payment", "text[]", lambda op: _text(op.payment.id if op.payment else None)),
    ("t_id", "uuid[]", lambda op: op.id.hex),
    ("t_kind", '"char"[]', lambda op: op.kind),
    ("t_wallet", "bigint[]", lambda op: str(op.wallet)),
    ("t_amount", "bigint[]", lambda op: str(op.amount)),
    ("t_reference", "text[]", lambda op: _text(op.reference)),
    ("t_of", "uuid[]", lambda op: "NULL" if op.of is None else op.of.hex),
    (
        "t_expires",
        "timestamptz[]",
        lambda op: "NULL" if op.expire_time is None else f'"{op.expire_time.isoformat()}"',
    ),
)
_Keyed = tuple[str, int, RequestKey, UUID]
_REQUEST_COLUMNS: _Columns[_Keyed] = (
    ("q_group", '"char"[]', lambda row: row[0]),
    ("q_ord", "integer[]", lambda row: str(row[1])),
    ("q_principal", "bigint[]", lambda row: str(row[2].principal)),
    ("q_request_id", "text[]", lambda row: _text(row[2].request_id)),
    ("q_fingerprint", "bytea[]", lambda row: _bytes(row[2].fingerprint)),
    ("q_operation", '"char"[]', lambda row: row[2].operation),
    ("q_target", "uuid[]", lambda row: row[3].hex),
)
_Ended = tuple[int | None, RequestEnd]
_END_COLUMNS: _Columns[_Ended] = (
    ("r_ord", "integer[]", lambda row: _number(row[0])),
    ("r_principal", "bigint[]", lambda row: str(row[1].principal)),
    ("r_request_id", "text[]", lambda row: _text(row[1].request_id)),
    ("r_call", "uuid[]", lambda row: row[1].call_id.hex),
    ("r_state", '"char"[]', lambda row: row[1].end),
    ("r_answer", "bytea[]", lambda row: "NULL" if row[1].sealed is None else _bytes(row[1].sealed)),
)

_VALUES = {"h_legs": "ledger_windows(%s::text[])"}
"""What is sent and what the function takes: budgets are sent, and their current windows taken."""

Row = tuple[str, int, int, UUID, int | None, int | None, int | None, int | None, Any]


def statement(
    owner: str, epoch: int, lane: int, batch: Sequence[Operation]
) -> tuple[str, list[object]]:
    """The call of `ledger_apply` for `batch`: its text, of which there are few, and parameters."""
    groups = _Groups(batch)
    keyed: list[_Keyed] = [
        (group, position, op.request, _target(op, op.request))
        for group, ops in groups.by_letter.items()
        for position, op in enumerate(ops, 1)
        if op.request is not None
    ]
    ended: list[_Ended] = [(None, op.ends) for op in groups.finals if op.ends is not None]
    ended += [(position, op.ends) for position, op in enumerate(groups.ends, 1)]
    rare = groups.finals if any(rare_counts(_usage(op)) for op in groups.finals) else []
    budgeted = groups.holds if any(op.legs for op in groups.holds) else []
    columns = [
        *_written(_FINAL_COLUMNS, groups.finals),
        *_written(_RARE_COLUMNS, rare),
        *_written(_HOLD_COLUMNS, groups.holds),
        *_written(_LEG_COLUMNS, budgeted),
        *_written(_TRANSFER_COLUMNS, groups.transfers),
        *_written(_REQUEST_COLUMNS, keyed),
        *_written(_END_COLUMNS, ended),
    ]
    present = (groups.finals, rare, groups.holds, budgeted, groups.transfers, keyed, ended)
    return _text_of(tuple(map(bool, present))), [owner, epoch, lane, *columns]


@cache
def _text_of(present: tuple[bool, ...]) -> str:
    """The statement with the parameters of those groups that are there; the rest are empty.

    Each parameter costs the driver and the server some microseconds, also an empty one.
    """
    tables = (
        _FINAL_COLUMNS,
        _RARE_COLUMNS,
        _HOLD_COLUMNS,
        _LEG_COLUMNS,
        _TRANSFER_COLUMNS,
        _REQUEST_COLUMNS,
        _END_COLUMNS,
    )
    named = [
        f"{name} => {_VALUES.get(name, '%s')}::{kind}"
        for columns, is_there in zip(tables, present, strict=True)
        if is_there
        for name, kind, _ in columns
    ]
    parameters = ["p_owner => %s::text", "p_epoch => %s::bigint", "p_lane => %s::integer", *named]
    if not present[tables.index(_TRANSFER_COLUMNS)]:
        # These two tell this version of the function from the one before.
        parameters += ["t_network => '{}'::text[]", "t_payment => '{}'::text[]"]
    return (
        # made of names and types, never of values
        "SELECT grp::text, ord, rc, target, amount, posted, pending, short_account, until"  # noqa: S608
        f" FROM ledger_apply({', '.join(parameters)})"
    )


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


def _written(columns: _Columns[_T], ops: Sequence[_T]) -> list[str]:
    if not ops:
        return []
    return ["{" + ",".join([write(op) for op in ops]) + "}" for _, _, write in columns]


def _usage(op: FinalOp) -> Usage:
    return op.usage or _NO_USAGE


def _number(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def _numbers(values: Iterable[int]) -> str:
    joined = ",".join(map(str, values))
    return f'"{{{joined}}}"' if joined else "NULL"


def _counts(values: Iterable[int | None] | None) -> str:
    if values is None:
        return "NULL"
    joined = ",".join(map(_number, values))
    return f'"{{{joined}}}"'


def _bytes(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


def _text(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
