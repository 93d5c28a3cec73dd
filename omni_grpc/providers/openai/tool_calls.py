"""Which tool call a streamed fragment belongs to, and what of it is new.

The domain numbers a choice's calls 0, 1, 2 … and gives id and name once, in the first fragment.
Compatible providers leave the index out, give every parallel call the index 0, repeat the id in
each fragment, or give none at all; clients that concatenate must not notice.
"""

from omni_grpc.core.chat import ToolCallDelta
from omni_grpc.providers.openai.wire import TOOL_CALLS_MAX, WireToolCall


class ToolCallNumbers:
    """The tool calls of one choice of one stream."""

    __slots__ = ("_by_index", "_ids", "_named")

    def __init__(self) -> None:
        self._by_index: dict[int, int] = {}
        self._ids: list[str | None] = []
        self._named: list[bool] = []

    def place(self, wire: WireToolCall) -> ToolCallDelta | None:
        """The fragment in the domain's words; None where the choice has too many calls."""
        name = (wire.function and wire.function.name) or None
        arguments = (wire.function and wire.function.arguments) or ""
        number = self._number_of(wire, name)
        first = number is None
        if number is None:
            number = len(self._ids)
            if number >= TOOL_CALLS_MAX:
                return None
            self._ids.append(wire.id or None)
            self._named.append(False)
            if wire.index is not None:
                self._by_index[wire.index] = number
        show_name = name is not None and not self._named[number]
        if show_name:
            self._named[number] = True
        return ToolCallDelta(
            index=number,
            id=(wire.id or f"call_{number}") if first else None,
            name=name if show_name else None,
            arguments_json=arguments,
        )

    def _number_of(self, wire: WireToolCall, name: str | None) -> int | None:
        """The call that the fragment continues; None where it begins one."""
        if wire.index is None:
            number = len(self._ids) - 1
            if number < 0:
                return None
            # Without an index, an id of its own or a name begins the next call.
            begins = wire.id != self._ids[number] if wire.id else name is not None
            return None if begins else number
        number = self._by_index.get(wire.index, -1)
        if number < 0:
            return None
        # The index of an earlier call with another id and a name is a call of its own.
        known = self._ids[number]
        begins = bool(name and wire.id and known and wire.id != known)
        return None if begins else number
