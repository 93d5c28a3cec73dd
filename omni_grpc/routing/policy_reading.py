"""Policies and experiments out of plain values (YAML, JSON): every fault is told, by its path.

msgspec stops at the first fault; who mends a file by hand wants all of them.
"""

import difflib
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

FAULTS_TOLD_MAX: Final = 50
"""Nobody reads more at once; a file of another kind altogether would give thousands."""

_VALUE_CHARS_MAX: Final = 60


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and where: a path such as `policies[2].rule.weight`."""

    path: str
    message: str

    def __str__(self) -> str:
        """`path: message`."""
        return f"{self.path}: {self.message}" if self.path else self.message


def read(value: object, kind: type[T], path: str, faults: list[Fault]) -> T | None:
    """A struct of `kind` from a mapping, with all that is in it.

    Args:
        value: from YAML or JSON.
        kind: a struct of the room's policies.
        path: where it stands, for the faults.
        faults: takes what is wrong; None is returned if anything is.
    """
    before = len(faults)
    found = _struct(value, kind, path, faults)
    return found if len(faults) == before else None


def _struct(value: object, kind: type[T], path: str, faults: list[Fault]) -> T | None:
    if not isinstance(value, Mapping):
        faults.append(Fault(path, f"must be a mapping, not {_shown(value)}"))
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    before = len(faults)
    tag_field = kind.__struct_config__.tag_field
    for key in value:
        if key not in fields and key != tag_field:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(fields)}"
            faults.append(Fault(_join(path, str(key)[:64]), f"there is no such field{hint}"))
    found: dict[str, Any] = {}  # of as many types as fields
    for name, field in fields.items():
        if name in value:
            found[name] = _any(value[name], field.type, _join(path, name), faults)
        elif field.required:
            faults.append(Fault(_join(path, name), "is missing"))
    return kind(**found) if len(faults) == before else None


def _any(value: object, kind: Any, path: str, faults: list[Fault]) -> Any:  # as typing gives types
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if _is_struct(kind):
        return _struct(value, kind, path, faults)
    if origin in (typing.Union, types.UnionType) and all(map(_is_struct, arguments)):
        return _one_of(value, arguments, path, faults)
    if origin in (tuple, frozenset) and (_is_struct(arguments[0]) or _is_enum(arguments[0])):
        if not isinstance(value, list | tuple):
            faults.append(Fault(path, f"must be a list, not {_shown(value)}"))
            return None
        return origin(
            _any(one, arguments[0], f"{path}[{number}]", faults) for number, one in enumerate(value)
        )
    if _is_enum(kind):
        return _enum(value, kind, path, faults)
    if isinstance(value, datetime) and datetime in arguments:
        return value  # YAML's own; as a text msgspec reads it
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        faults.append(_leaf_fault(error, path))
        return None


def _one_of(
    value: object, kinds: tuple[type[msgspec.Struct], ...], path: str, faults: list[Fault]
) -> msgspec.Struct | None:
    """One of several structs, by its tag."""
    by_tag = {kind.__struct_config__.tag: kind for kind in kinds}
    names = ", ".join(map(str, by_tag))
    if not isinstance(value, Mapping):
        faults.append(Fault(path, f"must be a mapping with `kind` ({names}), not {_shown(value)}"))
        return None
    tag = value.get("kind")
    if not isinstance(tag, str) or tag not in by_tag:
        what = "is missing" if tag is None else f"there is no kind {_shown(tag)}"
        faults.append(Fault(_join(path, "kind"), f"{what}: one of {names}"))
        return None
    return _struct(value, by_tag[tag], path, faults)


def _enum(value: object, kind: type[StrEnum], path: str, faults: list[Fault]) -> StrEnum | None:
    try:
        return kind(cast("str", value))
    except ValueError:
        names = ", ".join(kind)
        faults.append(
            Fault(path, f"there is no {kind.__name__.lower()} {_shown(value)}: one of {names}")
        )
        return None


def _leaf_fault(error: msgspec.ValidationError, path: str) -> Fault:
    """Msgspec's words, with its path behind ours."""
    message, _, inner = str(error).partition(" - at `")
    return Fault(path + inner.rstrip("`").removeprefix("$"), message.replace("Expected", "must be"))


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: object) -> str:
    """A value for people: what it is, not all of it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value[:_VALUE_CHARS_MAX])
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return str(value)[:_VALUE_CHARS_MAX]
