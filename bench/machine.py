"""What the machine is, and what processes use of it, read from /proc."""

import os
import platform
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SYNCS: Final = 50


class ProcessTree:
    """A process and all that it started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_s(self) -> float:
        """Processor seconds that the processes which live now have used."""
        return sum(_cpu_s(pid) for pid in self._members())

    def memory_mb(self) -> float:
        """Resident memory of the largest process: the worker's."""
        return max(map(_resident_mb, self._members()))

    def _members(self) -> set[int]:
        children: dict[int, list[int]] = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        members, found = {self.pid}, [self.pid]
        while found:
            found = [child for pid in found for child in children.get(pid, ())]
            members.update(found)
        return members


def busy_s() -> float:
    """Processor seconds that everything on the machine has used, stolen ones included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / _TICKS


def describe(folder: Path, postgres_version: str) -> dict[str, str]:
    """The machine and the versions that the figures belong to."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "processor": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": postgres_version,
        "fdatasync": f"{_sync_ms(folder):.2f} ms median",
        **{name: metadata.version(name) for name in ("grpcio", "uvloop", "uvicorn", "aiohttp")},
    }


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/pid/stat after the name, from the state on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _sync_ms(folder: Path) -> float:
    """How long the disk takes to keep a page: the floor of a ledger transaction."""
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(8192), 0)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took)
