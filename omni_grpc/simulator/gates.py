"""Gates: calls wait at a closed one until it is opened, so that a test decides the order.

A gate is open until someone closes it. A waiting call still notices at once when its peer goes.
"""

from typing import Final

from omni_grpc.simulator.connection import Connection

__all__ = ("Gates",)

CLOSED_GATES_MAX: Final = 1_000
"""Gates that may be closed at once: more is a leak in a test, and is refused."""


class Gates:
    """The closed gates and who waits at them."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Connection]] = {}

    def close(self, name: str) -> bool:
        """Hold back the calls that come to `name` from now on; false if too many are closed."""
        if name not in self._waiting and len(self._waiting) >= CLOSED_GATES_MAX:
            return False
        self._waiting.setdefault(name, set())
        return True

    def open(self, name: str) -> int:
        """Let everyone through; tells how many had waited."""
        waiting = self._waiting.pop(name, set())
        for connection in waiting:
            connection.wake()
        return len(waiting)

    def open_all(self) -> None:
        """Let everyone through everywhere."""
        for name in list(self._waiting):
            self.open(name)

    def is_closed(self, name: str) -> bool:
        """Whether calls wait at `name`."""
        return name in self._waiting

    def waiting(self, name: str) -> int:
        """How many calls wait at `name`."""
        return len(self._waiting.get(name, ()))

    async def enter(self, name: str, connection: Connection) -> bool:
        """Wait until `name` is open. False if the peer went meanwhile."""
        waiting = self._waiting.get(name)
        if waiting is None:
            return not connection.is_gone
        waiting.add(connection)
        try:
            # A gate closed anew is another set: who waited at the old one has been let through.
            while self._waiting.get(name) is waiting:
                if not await connection.pause(None):
                    return False
        finally:
            waiting.discard(connection)
        return not connection.is_gone
