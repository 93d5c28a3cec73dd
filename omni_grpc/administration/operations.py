"""All operations of a worker, by their RPCs: what the transports serve."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec

from omni_grpc.administration.operation import Caller, Operation, Page
from omni_grpc.administration.turns import Turns
from omni_grpc.core.errors import NotFound, OmniError
from omni_grpc.core.limits import PAGE_SIZE_MAX
from omni_grpc.core.missing import LISTINGS, missing
from omni_grpc.identity import Permission

_CHANGES: Final = frozenset({Permission.MANAGE, Permission.SIGNED_IN})
"""What operations that change an organisation ask of their callers, those about money apart: these
ask others, and may take a minute."""


class Operations:
    """The table. Two operations of one name are a mistake of ours, told at the start."""

    def __init__(self, *groups: Iterable[Operation[Any]]) -> None:
        self._turns = Turns()
        self._by_rpc: dict[str, Operation[Any]] = {}
        for group in groups:
            for one in group:
                if one.rpc in self._by_rpc:
                    raise ValueError(f"two operations are named {one.rpc}")
                changes = one.permission in _CHANGES
                self._by_rpc[one.rpc] = self._helpful(self._in_turn(one) if changes else one)

    def __iter__(self) -> Iterator[Operation[Any]]:
        return iter(self._by_rpc.values())

    def get(self, rpc: str) -> Operation[Any] | None:
        """The operation of an RPC's name, without its service."""
        return self._by_rpc.get(rpc)

    def _in_turn(self, operation: Operation[Any]) -> Operation[Any]:
        """The operation, which tenants run one after another; the operator changes many of them."""

        async def run(caller: Caller, asked: Any) -> msgspec.Struct:
            if caller.is_operator:
                return await operation.run(caller, asked)
            async with self._turns.of(caller.principal.org_id):
                return await operation.run(caller, asked)

        return replace(operation, run=run)

    def _helpful(self, operation: Operation[Any]) -> Operation[Any]:
        """The operation, which tells of what it does not find what resembles it."""

        async def run(caller: Caller, asked: Any) -> msgspec.Struct:
            try:
                return await operation.run(caller, asked)
            except NotFound as error:
                if not error.resource:
                    raise
                others = await self._others(caller, error.resource)
                raise missing(error.resource, error.field, others) from None

        return replace(operation, run=run)

    async def _others(self, caller: Caller, name: str) -> list[str]:
        """The names beside one, as far as the caller may list them."""
        parent, _, collection = name.rpartition("/")[0].rpartition("/")
        listing = self._by_rpc.get(LISTINGS[collection].rpc) if collection in LISTINGS else None
        if listing is None or (not parent and not caller.is_operator):
            return []  # of organisations a tenant knows none but its own
        fields = {"parent": parent} if parent else {}
        try:
            caller.principal.require(listing.permission)
            asked = msgspec.convert(fields | {"page_size": PAGE_SIZE_MAX}, listing.asked)
            page = await listing.run(caller, asked)
        except (OmniError, msgspec.ValidationError):
            return []  # the parent is not there either, or such things are not listed by it
        return [one.name for one in page.items] if isinstance(page, Page) else []
