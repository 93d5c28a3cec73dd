"""What a run came to: counted, added up, written as JSON, and judged."""

import json
import platform
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from harness.kinds import KINDS

SEEDS_PER_OVERLAP = 25
"""From so many histories of a kind for each overlap that it wants, each must have been seen."""


@dataclass(eq=False)
class Totals:
    """Counts of a run. `overlaps` are by kind and name."""

    seeds: int = 0
    calls: int = 0
    server_kills: int = 0
    postgres_kills: int = 0
    violations: int = 0
    seconds: float = 0.0
    seeds_by_kind: Counter[int] = field(default_factory=Counter)
    overlaps: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, other: Self) -> None:
        self.seeds += other.seeds
        self.calls += other.calls
        self.server_kills += other.server_kills
        self.postgres_kills += other.postgres_kills
        self.violations += other.violations
        self.seconds += other.seconds
        self.seeds_by_kind += other.seeds_by_kind
        self.overlaps += other.overlaps

    def missing(self) -> list[str]:
        """Overlaps that were wanted and never happened: such a run has proved nothing of them."""
        found: list[str] = []
        for number, seeds in sorted(self.seeds_by_kind.items()):
            kind = KINDS[number]
            if not any(count for (owner, _), count in self.overlaps.items() if owner == number):
                found.append(f"kind {number} ({kind.name}): no overlap at all in {seeds} histories")
            elif seeds >= SEEDS_PER_OVERLAP * len(kind.wanted):
                found += [
                    f"kind {number} ({kind.name}): never «{name}» in {seeds} histories"
                    for name in kind.wanted
                    if not self.overlaps[number, name]
                ]
        return found

    def to_json(self) -> dict[str, Any]:
        by_kind: dict[str, Any] = {}
        for number in sorted(self.seeds_by_kind):
            mine = {
                name: count for (owner, name), count in sorted(self.overlaps.items())
                if owner == number
            }  # fmt: skip
            by_kind[str(number)] = {
                "name": KINDS[number].name,
                "histories": self.seeds_by_kind[number],
                "overlaps": mine,
            }
        return {
            "seeds": self.seeds,
            "calls": self.calls,
            "server_kills": self.server_kills,
            "postgres_kills": self.postgres_kills,
            "violations": self.violations,
            "seconds": round(self.seconds, 1),
            "kinds": by_kind,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        made = cls(*(told[name] for name in (
            "seeds", "calls", "server_kills", "postgres_kills", "violations", "seconds",
        )))  # fmt: skip
        for number, kind in told["kinds"].items():
            made.seeds_by_kind[int(number)] = kind["histories"]
            for name, count in kind["overlaps"].items():
                made.overlaps[int(number), name] = count
        return made


def provenance() -> dict[str, str]:
    """Which code was tested, and on what."""
    ran = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "code": ran.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    beside.replace(path)


def say(text: str, to: TextIO | None = None) -> None:
    """A line for whoever runs this."""
    stream = to or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()
