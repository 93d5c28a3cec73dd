"""Dead letters: ends of attempts that the database can never apply, kept with their cause.

They are rows of `dead_letter`, written by the lane and sent again by an operator's command, once
what was wrong is mended.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.billing.operations import FinalOp

INSERT_SQL: Final = (
    "INSERT INTO dead_letter (target, operation, sqlstate, cause)"
    " VALUES (%s::uuid, %s::text, %s::text, %s::text)"
    " ON CONFLICT (target, md5(operation)) WHERE replay_time IS NULL"
    " DO UPDATE SET sqlstate = EXCLUDED.sqlstate, cause = EXCLUDED.cause RETURNING id"
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One operation that could not be applied. `operation` is it as JSON."""

    id: int
    target: UUID
    operation: str
    sqlstate: str
    cause: str
    create_time: datetime
    replay_time: datetime | None

    def read(self) -> FinalOp:
        """The operation, to be sent again.

        Raises:
            msgspec.MsgspecError: it was not readable when it was written.
        """
        return msgspec.json.decode(self.operation, type=FinalOp)


def letter(op: FinalOp, sqlstate: str, cause: Exception) -> list[object]:
    """The parameters of INSERT_SQL."""
    try:
        text = msgspec.json.encode(op).decode()
    except (msgspec.MsgspecError, ValueError):  # text that is no text may be the very cause
        text = ascii(op)
    words = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return [op.id, text, sqlstate, words.replace("\0", "\\0").encode("ascii", "replace").decode()]
