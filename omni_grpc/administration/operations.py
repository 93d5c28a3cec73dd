"""All operations of a worker, by their RPCs: what the transports serve."""

from collections.abc import Iterable, Iterator
from typing import Any

from omni_grpc.administration.operation import Operation


class Operations:
    """The table. Two operations of one name are a mistake of ours, told at the start."""

    def __init__(self, *groups: Iterable[Operation[Any]]) -> None:
        self._by_rpc: dict[str, Operation[Any]] = {}
        for group in groups:
            for one in group:
                if one.rpc in self._by_rpc:
                    raise ValueError(f"two operations are named {one.rpc}")
                self._by_rpc[one.rpc] = one

    def __iter__(self) -> Iterator[Operation[Any]]:
        return iter(self._by_rpc.values())

    def get(self, rpc: str) -> Operation[Any] | None:
        """The operation of an RPC's name, without its service."""
        return self._by_rpc.get(rpc)
