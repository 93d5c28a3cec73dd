"""All operations of a worker, by their RPCs: what the transports serve."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec

from omni_grpc.administration.operation import Caller, Operation
from omni_grpc.administration.turns import Turns
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
                self._by_rpc[one.rpc] = self._in_turn(one) if changes else one

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
