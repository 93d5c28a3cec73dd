"""Commands that run operations of the API, as the operator, straight on the database.

Nobody is asked for a key: who can reach the database and its secret is the operator. The audit log
names the command.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from omni_grpc.administration import Caller, Operations, Page
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.completion import PageTokens
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import NotFound
from omni_grpc.core.ids import AccountId, KeyId, OrgId
from omni_grpc.core.limits import PAGE_SIZE_MAX
from omni_grpc.core.money import usd_text
from omni_grpc.identity import OPERATOR_SLUG, Principal, Scope
from omni_grpc.settings import Settings
from omni_grpc.wiring.buying import buying_of
from omni_grpc.wiring.operations import Parts, operations_of

T = TypeVar("T")


class Desk:
    """Runs operations by the names of their RPCs."""

    def __init__(self, operations: Operations, caller: Caller) -> None:
        self._operations = operations
        self._caller = caller

    async def run(self, rpc: str, asked: msgspec.Struct) -> Any:
        """What the operation returns: the resource, the response, or a page of a list."""
        operation = self._operations.get(rpc)
        if operation is None:
            raise LookupError(f"no operation is named {rpc}")
        return await operation.run(self._caller, asked)

    async def rows(self, rpc: str, asked: msgspec.Struct) -> list[Any]:
        """All rows of a list, over all of its pages."""
        rows: list[Any] = []
        token = ""
        while True:
            page: Page[Any] = await self.run(
                rpc, msgspec.structs.replace(asked, page_size=PAGE_SIZE_MAX, page_token=token)
            )
            rows += page.items
            token = page.next_page_token
            if not token:
                return rows


def administer(place: Place, tool: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    """Runs `work` with a desk of the operator's; the audit log names `tool`."""

    async def at_desk(settings: Settings, rooms: Rooms) -> T:
        return await work(await desk_of(settings, rooms, tool))

    return work_in(place, at_desk)


def run(place: Place, tool: str, rpc: str, asked: msgspec.Struct) -> Any:
    """Runs one operation as the operator: its resource or response."""
    return administer(place, tool, lambda desk: desk.run(rpc, asked))


def rows(place: Place, tool: str, rpc: str, asked: msgspec.Struct) -> list[Any]:
    """All rows of a list, as the operator."""
    return administer(place, tool, lambda desk: desk.rows(rpc, asked))


async def desk_of(settings: Settings, rooms: Rooms, tool: str) -> Desk:
    """A desk on open rooms."""
    if settings.key_hash_secret is None:
        raise ValueError("rooms are open, so there is a key_hash_secret")
    clock = SystemClock()
    operations = operations_of(
        Parts(
            settings=settings,
            database=rooms.database,
            identity=rooms.identity,
            ledger=rooms.ledger,
            clock=clock,
            buying=buying_of(settings, rooms.database, rooms.ledger, clock),
            tokens=PageTokens(settings.key_hash_secret.get_secret_value().encode()),
        )
    )
    return Desk(operations, Caller(await _operator(rooms), peer="", call_id="", tool=tool))


async def _operator(rooms: Rooms) -> Principal:
    """Who may do everything; of the operator's organisation, once there is one."""
    try:
        own = await rooms.identity.get_org(OPERATOR_SLUG)
    except NotFound:
        org_id, account_id = OrgId(0), AccountId(0)
    else:
        org_id, account_id = own.org_id, own.account_id
    return Principal(
        key_id=KeyId(0),
        key_prefix="",
        org_id=org_id,
        org_slug=OPERATOR_SLUG,
        account_id=account_id,
        scopes=frozenset(Scope),
    )


def show(resource: msgspec.Struct, *, as_json: bool) -> None:
    """Prints a resource: its fields, one a line, amounts in dollars; or JSON, as the API has it."""
    if as_json:
        print_json(resource)
        return
    table = table_of("field", "value")
    for field in resource.__struct_fields__:
        table.add_row(_title(field), _cell(resource, field))
    console.print(table)


def show_all(rows: list[Any], columns: Sequence[str], *, as_json: bool) -> None:
    """Prints some fields of all rows of a list; all of them as JSON."""
    if as_json:
        print_json(rows)
        return
    table = table_of(*(_title(column).replace("_", " ") for column in columns))
    for row in rows:
        table.add_row(*(_cell(row, column) for column in columns))
    console.print(table)


def text_of(moment: datetime) -> str:
    """A time as tables show it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _title(field: str) -> str:
    return field.replace("_nanousd", "_usd")


def _cell(row: msgspec.Struct, field: str) -> str:
    value = getattr(row, field)
    return usd_text(value) if field.endswith("_nanousd") and value is not None else _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return text_of(value)
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(str(one) for one in value)
        case _:
            return str(value)
