"""One thing that can be done over the API: its names, its permission, its input, its work.

The input and the output are frozen structs with the contract's field names. gRPC fills and reads
them by those names from messages, REST from JSON; neither needs code of its own for an operation.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar, get_args

import msgspec

from omni_grpc.audit import Actor
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.likeness import did_you_mean
from omni_grpc.identity import Permission, Principal, Scope

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)

_NO_WORD: Final = re.compile(r"Invalid enum value (['\"])(.*)\1", re.DOTALL)
_NAMES: Final = re.compile(r"(?:^|\.)([^.\[]+)")
"""The fields of a path as msgspec writes it, without their places in lists."""
_WORD_CHARS_MAX: Final = 64
_NOT_CHANGED: Final = frozenset({"name", "etag"})
"""What names a resource and guards its change, and is no part of the change."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and from where. `peer` is a network address without its port."""

    principal: Principal
    peer: str
    call_id: str
    tool: str = ""
    """The command, where the operator works without a key."""

    @property
    def is_operator(self) -> bool:
        """Whether it reaches all organisations."""
        return Scope.ADMIN in self.principal.scopes

    def key_of(self, org_slug: str) -> int | None:
        """The id of the key that calls, where it is one of this organisation.

        None for users, for commands, and for the operator among others' things.
        """
        own = self.principal
        if self.tool or own.user_id is not None or own.org_slug != org_slug:
            return None
        return own.key_id

    @property
    def actor(self) -> Actor:
        """The caller, as the audit log names it."""
        name = self.tool or self.principal.actor
        return Actor(name=name, peer=self.peer, call_id=self.call_id)


class Page(msgspec.Struct, Generic[R], frozen=True):
    """Some rows of a list. `next_page_token` is empty on the last page, and only there."""

    items: tuple[R, ...]
    next_page_token: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """What a deletion returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[A]):
    """One RPC, and its route.

    Attributes:
        rpc: its name in the contract.
        http: its method and path, as `POST /v1/admin/{parent=orgs/*}/teams`. A variable is a field
            of what is asked, by its path; `*` is one segment, and `|` stands between forms.
        permission: what its caller needs.
        asked: the type of its input.
        run: does it. What it returns has the response's field names, or is that of `result`.
        result: the response's one field that `run` returns, a resource or a Page of them.
        body: the field of `asked` that is REST's body, where that is not all of it.
        csv: the field of what `run` returns that REST answers alone to whoever accepts text/csv.
        also: further methods and paths that do the same.
    """

    rpc: str
    http: str
    permission: Permission
    asked: type[A]
    run: Callable[[Caller, A], Awaitable[msgspec.Struct]]
    result: str | None = None
    body: str | None = None
    csv: str | None = None
    also: tuple[str, ...] = ()


def writable(change: msgspec.Struct, update_mask: Iterable[str], field: str) -> dict[str, Any]:
    """What an update changes: the fields that its mask names, all of them for the empty mask.

    Args:
        change: the part of the resource that can be changed, with its `name` and `etag`.
        update_mask: names of its fields.
        field: the request's name for the resource.

    Raises:
        FieldInvalid: the mask names what is no field, or cannot be changed.
    """
    known = [name for name in change.__struct_fields__ if name not in _NOT_CHANGED]
    asked = list(update_mask) or known
    for name in asked:
        if name not in known:
            raise FieldInvalid(
                f"`update_mask` names {name[:64]!r}; of `{field}` these can be changed: "
                f"{', '.join(known)}.",
                field="update_mask",
            )
    return {name: getattr(change, name) for name in asked}


def check_text(text: str, field: str) -> None:
    """Go on only if a text can be kept and looked for: the database knows no NUL.

    Raises:
        FieldInvalid: it holds one.
    """
    if "\0" in text:
        raise FieldInvalid(f"`{field}` contains the character NUL, which no name has.", field=field)


def field_invalid(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> FieldInvalid:
    """What is wrong with an input that is not a `kind`, in the field's name.

    Where the field takes one of some words, the message has these words.
    """
    why, at, path = str(error).rpartition(" - at `$")
    if not at:
        why, path = path, ""
    field = path.rstrip("`").lstrip(".") or None
    if field and (wrong := _NO_WORD.fullmatch(why)) and (words := _words_of(kind, field)):
        shown = wrong[2][:_WORD_CHARS_MAX]
        why = f"{shown!r} is not one of {', '.join(words)}.{did_you_mean(shown, words)}"
        return FieldInvalid(f"`{field}`: {why}", field=field)
    return FieldInvalid(f"`{field}`: {why}." if field else f"{why}.", field=field)


def _words_of(kind: Any, path: str) -> tuple[str, ...]:
    """The words that the field at `path` takes; none where it takes others than some words."""
    for name in _NAMES.findall(path):
        structs = [one for one in _kinds_in(kind) if issubclass(one, msgspec.Struct)]
        fields = [field for one in structs for field in msgspec.structs.fields(one)]
        kind = next((field.type for field in fields if field.encode_name == name), None)
    enums = [one for one in _kinds_in(kind) if issubclass(one, Enum)]
    return tuple(str(word.value) for one in enums for word in one)


def _kinds_in(kind: Any) -> Iterator[type]:
    """A type, or those that a union, a list or an annotated type is made of."""
    for part in get_args(kind):
        yield from _kinds_in(part)
    if isinstance(kind, type) and not get_args(kind):
        yield kind
