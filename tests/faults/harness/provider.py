"""The simulator as the provider: told what to do by the prompt, and its log kept by call and mark.

A prompt carries the mark of the client's call, so that what the provider generated for it is found
even when nobody ever learned the call's id.
"""

import re
from collections import defaultdict

from omni_grpc.simulator import CallRecord, Simulator
from omni_grpc.simulator.answer import Asked

_MARK = re.compile(r"\[mark: ([^\]]*)\]")


def prompt(mark: str, behaviour: str, filler: str = "Go on.") -> str:
    """A prompt that tells the provider what to do, and whose it is."""
    return f"{filler} [mark: {mark}] [sim {behaviour}]"


class Provider(Simulator):
    """Keeps its records by the marks in the last message."""

    def __init__(self) -> None:
        super().__init__()
        self.by_mark: defaultdict[str, list[CallRecord]] = defaultdict(list)

    def _understood(self, record: CallRecord, asked: Asked) -> None:
        mark = _MARK.search(asked.user_text)
        self.by_mark[mark[1] if mark else ""].append(record)

    def forget(self, prefix: str) -> None:
        """Drops the records of all marks that begin so."""
        for mark in [mark for mark in self.by_mark if mark.startswith(prefix)]:
            del self.by_mark[mark]


def call_id_in(record: CallRecord) -> str:
    """The gateway's own name of the call, which it tells the provider."""
    return record.headers.get("x-client-request-id", "")
