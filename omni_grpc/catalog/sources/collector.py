"""Keeps the garbage collector away while documents of many thousand objects are in memory.

It would look at all of them again and again, for a tenth of a second each time, in which nothing
else of the process runs [measured]; and they leave no cycles.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_paused = 0


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection happens inside. For the thread of the event loop; any number may be inside."""
    global _paused  # noqa: PLW0603 # the collector is the process's, and so is this count
    if not _paused and not gc.isenabled():
        yield
        return
    _paused += 1
    gc.disable()
    try:
        yield
    finally:
        _paused -= 1
        if not _paused:
            gc.enable()
