"""Structs and messages of the same field names, each way.

A struct's times are Timestamps, its durations Durations, its StrEnums enums whose values are named
by the enum and the word (`ROLE_OWNER` is `owner`), its masks tuples of paths. What a struct does
not have is left out of a message; None is a field that is not set.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from omni_grpc.administration import check_text, field_invalid
from omni_grpc.core.errors import FieldInvalid

S = TypeVar("S", bound=msgspec.Struct)

# A field's descriptor is typed as Any below: protobuf's two implementations have two types for it.


def fill(message: Message, value: msgspec.Struct) -> None:
    """Sets the message's fields from the struct's of the same names."""
    for field in message.DESCRIPTOR.fields:
        found = getattr(value, field.name, None)
        if found is not None:
            _set(message, field, found)


def set_field(message: Message, name: str, value: object) -> None:
    """Sets one field: a resource, or a sequence of them."""
    _set(message, message.DESCRIPTOR.fields_by_name[name], value)


def struct_of(message: Message, kind: type[S]) -> S:
    """The struct of a message.

    Raises:
        FieldInvalid: naming the field, where a value cannot be.
    """
    try:
        return msgspec.convert(_plain(message, kind), kind)
    except msgspec.ValidationError as error:
        raise field_invalid(error, kind) from None


def _set(message: Message, field: Any, value: Any) -> None:
    if field.is_repeated:
        if isinstance(value, Mapping):
            getattr(message, field.name).update(value)
            return
        target = getattr(message, field.name)
        for one in value:
            if field.message_type is None:
                target.append(_scalar(field, one))
            else:
                _fill_any(target.add(), one)
    elif field.message_type is None:
        setattr(message, field.name, _scalar(field, value))
    else:
        target = getattr(message, field.name)
        target.SetInParent()
        _fill_any(target, value)


def _fill_any(message: Any, value: Any) -> None:
    match value:
        case datetime():
            message.FromDatetime(value.astimezone(UTC))
        case timedelta():
            message.FromTimedelta(value)
        case _:
            fill(message, value)


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        word = value.value if isinstance(value, Enum) else value
        return field.enum_type.values_by_name[_prefix(field.enum_type) + str(word).upper()].number
    return value.value if isinstance(value, Enum) else value


def _plain(message: Message, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that the struct has, as msgspec converts them."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        descriptor = message.DESCRIPTOR.fields_by_name.get(field.encode_name)
        if descriptor is None:
            raise TypeError(f"{kind.__name__}.{field.name} is no field of the message")
        if descriptor.has_presence and not message.HasField(descriptor.name):
            if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
                raise FieldInvalid(f"`{descriptor.name}` is required.", field=descriptor.name)
            continue
        value = _value(message, descriptor, field.type)
        if value is not None:
            found[field.encode_name] = value
    return found


def _value(message: Message, field: Any, kind: Any) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for name, text in value.items():
                _check_text(name, field)
                _check_text(text, field)
            return dict(value)
        return [_one(field, one, kind) for one in value]
    return _one(field, value, kind)


def _one(field: Any, value: Any, kind: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        if known is None:
            words = ", ".join(one.name for one in field.enum_type.values if one.number)
            raise FieldInvalid(
                f"`{field.name}` has the value {value}, which this service does not know: it knows "
                f"{words}.",
                field=field.name,
            )
        word = known.name.removeprefix(_prefix(field.enum_type)).lower()
        return None if word == "unspecified" else word
    if field.message_type is None:
        _check_text(value, field)
        return value
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            return _in_range(field, lambda: value.ToDatetime(tzinfo=UTC))
        case "google.protobuf.Duration":
            return _in_range(field, value.ToTimedelta)
        case "google.protobuf.FieldMask":
            for path in value.paths:
                _check_text(path, field)
            return list(value.paths)
        case _:
            return _plain(value, _struct_in(kind))


def _check_text(value: Any, field: Any) -> None:
    if isinstance(value, str):
        check_text(value, field.name)


def _in_range(field: Any, read: Any) -> Any:
    try:
        return read()
    except (ValueError, OverflowError):
        raise FieldInvalid(f"`{field.name}` is out of range.", field=field.name) from None


@cache
def _prefix(enum: EnumDescriptor) -> str:
    """`ROLE_` of `ROLE_UNSPECIFIED`."""
    return str(enum.values[0].name).removesuffix("UNSPECIFIED")


def _struct_in(kind: Any) -> type[msgspec.Struct]:
    """The struct of a field's type, which may be optional or a tuple."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    for part in getattr(kind, "__args__", ()):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part
    raise TypeError(f"{kind} holds no struct")
