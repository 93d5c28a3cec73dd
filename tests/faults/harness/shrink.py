"""Finds the shortest history that still shows a violation, by leaving steps out."""

import time
from collections.abc import Awaitable, Callable

from harness.history import History

Fails = Callable[[History], Awaitable[list[str]]]
"""Performs a history in a world of its own; what is wrong."""

TRIES = 2
"""Races do not show each time: a shorter history is given so many chances."""

FIRST_TRIES = 4


async def shrink(
    history: History, fails: Fails, seconds: float, say: Callable[[str], None]
) -> tuple[History, list[str]]:
    """The shortest history found in that time, and what it shows; nothing if it never repeats."""
    until = time.monotonic() + seconds
    found = await _tried(history, fails, FIRST_TRIES)
    if not found:
        return history, []
    size = max(1, len(history.steps) // 2)
    while size and time.monotonic() < until:
        start, shorter = 0, False
        while start < len(history.steps) and time.monotonic() < until:
            candidate = history.without(range(start, start + size))
            shown = await _tried(candidate, fails, TRIES) if candidate.steps else []
            if shown:
                history, found, shorter = candidate, shown, True
                say(f"still shown by {len(history.steps)} steps")
            else:
                start += size
        if not shorter or size > 1:
            size //= 2
    return history, found


async def _tried(history: History, fails: Fails, tries: int) -> list[str]:
    for _ in range(tries):
        found = await fails(history)
        if found:
            return found
    return []
