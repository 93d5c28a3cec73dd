"""`/v1/admin/…` and other routes that are operations: JSON in and out, by the contract's names.

A path's variables, a read's query and a write's body together are what an operation is asked. A
list answers as lists do in this API; an update changes the fields that its body names.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from omni_grpc.administration import Caller, Operation, Page, check_text, field_invalid
from omni_grpc.completion import Call
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.rest_api.exchange import BASE_HEADERS, JSON_HEADERS, Exchange
from omni_grpc.rest_api.openai.json_body import read_json

_VARIABLE: Final = re.compile(r"\{(?P<field>[a-z_.]+)=(?P<forms>[^}]+)\}")
_GUARDS: Final = frozenset({"name", "etag"})
_CSV_TYPE: Final = b"text/csv; charset=utf-8; header=present"
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_read_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Found(NamedTuple):
    """An operation that a path leads to, and what its variables are."""

    operation: Operation[Any]
    variables: dict[str, str]


class OperationRoutes:
    """Which operation a method and a path mean, and its serving."""

    def __init__(self, operations: Iterable[Operation[Any]]) -> None:
        self._routes = [
            (_method(http), _pattern(http), one)
            for one in operations
            for http in (one.http, *one.also)
        ]

    def find(self, method: str, path: str) -> Found | None:
        """The operation, None where there is none; HEAD is no GET here."""
        for verb, pattern, operation in self._routes:
            if verb == method and (match := pattern.fullmatch(path)):
                return Found(operation, {_field(k): v for k, v in match.groupdict().items()})
        return None

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods that a path takes; none where there is no such path."""
        return tuple(sorted({verb for verb, pattern, _ in self._routes if pattern.fullmatch(path)}))

    async def serve(self, exchange: Exchange, call: Call, found: Found) -> None:
        """Runs an operation for the caller, who has passed the gates."""
        if call.principal is None:
            raise RuntimeError("an operation stands behind the auth gate")
        asked = await _asked(exchange, found)
        caller = Caller(call.principal, call.peer, call.name)
        done = await found.operation.run(caller, asked)
        named = (b"x-request-id", call.name.encode())
        field = found.operation.csv
        if field is not None and "text/csv" in exchange.header(b"accept"):
            text = str(getattr(done, field)).encode()
            await exchange.answer(200, [(b"content-type", _CSV_TYPE), *BASE_HEADERS, named], text)
            return
        await exchange.answer(200, [*JSON_HEADERS, named], _body(done))


async def _asked(exchange: Exchange, found: Found) -> Any:
    operation = found.operation
    strict = True
    if _method(operation.http) in ("GET", "DELETE"):
        values: dict[str, Any] = dict(exchange.query())
        for name, text in values.items():
            check_text(text, name)
        strict = False  # a query has only texts
    else:
        body = await exchange.body()
        values = read_json(body, _read_object, {})[0] if body.strip() else {}
        if operation.body is not None:
            mask = _mask(values) if operation.rpc.startswith("Update") else {}
            values = {operation.body: values, **mask}
    for path, value in found.variables.items():
        check_text(value, path)
        _put(values, path.split("."), value)
    try:
        return msgspec.convert(values, operation.asked, strict=strict)
    except msgspec.ValidationError as error:
        raise field_invalid(error, operation.asked) from None


def _mask(body: dict[str, Any]) -> dict[str, list[str]]:
    """What an update changes: the fields that its body has, but for what guards the change."""
    fields = [name for name in body if name not in _GUARDS]
    if not fields:  # an empty mask would be that of a full replacement
        raise FieldInvalid("The body names no field that shall be changed.")
    return {"update_mask": fields}


def _put(values: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    if values.setdefault(path[-1], value) != value:
        raise FieldInvalid(f"`{path[-1]}` says something else than the path.", field=path[-1])


def _body(done: msgspec.Struct) -> bytes:
    if isinstance(done, Page):
        return _encode(
            {
                "object": "list",
                "data": done.items,
                "has_more": bool(done.next_page_token),
                "next_page_token": done.next_page_token,
            }
        )
    return _encode(done)


def _method(http: str) -> str:
    return http.partition(" ")[0]


def _pattern(http: str) -> re.Pattern[str]:
    """The path as a regular expression, whose groups are the variables."""
    path = http.partition(" ")[2]
    text, at = "", 0
    for match in _VARIABLE.finditer(path):
        forms = "|".join(
            re.escape(form).replace(r"\*", "[^/:]+") for form in match["forms"].split("|")
        )
        text += re.escape(path[at : match.start()])
        text += f"(?P<{match['field'].replace('.', '__')}>{forms})"
        at = match.end()
    return re.compile(text + re.escape(path[at:]), re.ASCII)


def _field(group: str) -> str:
    return group.replace("__", ".")
