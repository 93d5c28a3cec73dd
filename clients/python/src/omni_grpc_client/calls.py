"""One call as a value: its request, what kind of call it is, and how its response is read.

The two clients differ only in how they send such a value; everything else about a method is said
once, where its `Call` is made (chat, routes, media_calls, billing, usage, catalog, admin, …).
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from omni_grpc_client.errors import Internal

Request = TypeVar("Request")
Response = TypeVar("Response")
Value = TypeVar("Value")
Item_co = TypeVar("Item_co", covariant=True)


class Kind(StrEnum):
    """Which default timeout a call has."""

    READ = "read"
    WRITE = "write"
    MODEL = "model"
    SYNC = "sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Request, Response, Value]):
    """A call that has not been sent. `request_id` is set where the call moves or costs money."""

    request: Request
    parse: Callable[[Response], Value]
    kind: Kind
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Item_co]):
    """One page of a list; `next_page_token` is empty on the last."""

    items: Sequence[Item_co]
    next_page_token: str


def new_request_id(given: str | None) -> str:
    """The caller's idempotency key, or a new one that the call keeps over its retries."""
    return str(uuid.uuid4()) if given is None else given


def check_options(given: Mapping[str, object], known: Mapping[str, object], what: str) -> None:
    """Refuses what there is not; `what` names the thing that has the options.

    Raises:
        TypeError: an option that there is not.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(f"{what} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")


def listed(names: Sequence[str], what: str) -> Sequence[str]:
    """The names as they are.

    Raises:
        TypeError: one text alone, which as a sequence would be its letters.
    """
    if isinstance(names, str):
        raise TypeError(f"{what} is one text, {names!r}; give a list of them")
    return names


def resource(collection: str, name: str) -> str:
    """A resource name from a bare id: `acme` in `orgs` is `orgs/acme`. Whole names stay."""
    return name if not name or "/" in name else f"{collection}/{name}"


def time_of(message: Message, field: str) -> datetime | None:
    """A timestamp field in UTC; None where it is unset."""
    if not message.HasField(field):
        return None
    stamp = getattr(message, field)
    if not isinstance(stamp, Timestamp):
        raise TypeError(f"{field} is no timestamp")
    return stamp.ToDatetime(tzinfo=UTC)


def stamp_of(moment: datetime | None, field: str) -> Timestamp | None:
    """A moment as the contract has it; None stays None.

    Raises:
        ValueError: it has no time zone, so that nobody knows which moment is meant.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"{field} needs a time zone: datetime.now(UTC) + timedelta(…)")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def count_of(message: Message, field: str) -> int | None:
    """An optional integer field; None where it is unset, which is not zero."""
    return int(getattr(message, field)) if message.HasField(field) else None


def amount_of(message: Message, field: str) -> int:
    """An amount that the contract always sets.

    Raises:
        Internal: it is unset. Reading that as zero would invent an amount.
    """
    found = count_of(message, field)
    if found is None:
        raise Internal(f"The service's answer lacks {message.DESCRIPTOR.name}.{field}.")
    return found


def word_of(enum: EnumTypeWrapper, prefix: str, value: int) -> str | None:
    """An enum value as a word: FINISH_REASON_STOP is `stop`; None where it is unspecified.

    A value that is newer than this client is `unknown_7`, so that nothing breaks on it.
    """
    if value == 0:
        return None
    if value not in enum.values():
        return f"unknown_{value}"
    return enum.Name(value).removeprefix(prefix).lower()
