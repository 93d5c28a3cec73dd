"""The harness's own PostgreSQL, and how it is killed, frozen, brought back and put back in time."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import psycopg

from harness.servers import Nursery, NurseryError, ended, is_running
from omni_grpc.storage.cluster import Cluster

SETTINGS = {
    # kill -9 takes nothing from the kernel's memory; what a power loss takes is another kind.
    "fsync": "off",
    "shared_buffers": "32MB",
    "wal_buffers": "4MB",
    "max_wal_size": "256MB",
    "max_connections": "60",
}
USER_URL = "postgresql://omni@/{name}?host={folder}&port=5432"
BACK_SECONDS_MAX = 30.0
RECOVERY_WAL_ROWS = 100_000
"""Rows of a table that nobody needs: their log keeps a recovery busy for a tenth of a second."""


class Postgres:
    """One server in a folder. All verbs are safe to repeat."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self.kills = 0
        self._frozen: set[int] = set()

    @property
    def _cluster(self) -> Path:
        return self._folder / "cluster"

    @property
    def socket_dir(self) -> Path:
        recorded = self._folder / "socket_dir"
        return Path(recorded.read_text()) if recorded.exists() else self._cluster

    @property
    def socket_path(self) -> str:
        return str(self.socket_dir / ".s.PGSQL.5432")

    def url(self, name: str = "omni") -> str:
        return USER_URL.format(name=name, folder=self.socket_dir)

    async def start(self) -> None:
        """Has it run and take sessions."""
        until = time.monotonic() + BACK_SECONDS_MAX
        while True:
            try:
                await self._nursery.ask(
                    "start_postgres", folder=str(self._folder), settings=SETTINGS
                )
            except NurseryError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    def postmaster(self) -> int | None:
        """The process id of the running postmaster."""
        return Cluster(self._cluster, self._folder / "postgres.log", None).postmaster()

    def backends(self) -> list[int]:
        """The processes that the postmaster started."""
        parent = self.postmaster()
        if parent is None:
            return []
        with contextlib.suppress(OSError):
            listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            return [int(pid) for pid in listed.split()]
        return []

    async def kill_postmaster(self) -> bool:
        """kill -9 of the postmaster; its backends end as they notice. Whether it ran."""
        pid = self.postmaster()
        if pid is None:
            return False
        self._frozen.clear()
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        return await ended(pid)

    async def kill_all(self) -> bool:
        """kill -9 of the postmaster and all its backends in one moment."""
        pid, children = self.postmaster(), self.backends()
        if pid is None:
            return False
        self._frozen.clear()
        for each in (pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.kills += 1
        return await ended(pid)

    def kill_backend(self, pid: int) -> bool:
        """kill -9 of one backend: the postmaster restarts all of them and recovers."""
        if not pid or not is_running(pid):
            return False
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        return True

    async def kill_in_recovery(self) -> bool:
        """kill -9, a start, and kill -9 again while it recovers; whether it was in recovery."""
        with contextlib.suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(
                self.url(), autocommit=True, connect_timeout=5
            ) as connection:
                await connection.execute("CREATE TABLE IF NOT EXISTS chaff (n bigint)")
                await connection.execute(
                    f"INSERT INTO chaff SELECT generate_series(1, {RECOVERY_WAL_ROWS})"
                )
        await self.kill_all()
        starting = asyncio.create_task(self.start())
        until = time.monotonic() + BACK_SECONDS_MAX
        recovering = False
        while not starting.done() and time.monotonic() < until:
            children = self.backends()
            if any(b"recovering" in _command_line(pid) for pid in children):
                recovering = await self.kill_all()
                break
            await asyncio.sleep(0)
        await starting
        return recovering

    def freeze(self, pids: list[int]) -> int:
        """SIGSTOP of some of its processes; how many."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._frozen.add(pid)
        return len(self._frozen)

    def thaw(self) -> None:
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen.clear()

    async def stop(self) -> None:
        """Ends it in order, with a last checkpoint."""
        pid = self.postmaster()
        if pid is not None:
            os.kill(pid, signal.SIGINT)
            await ended(pid, BACK_SECONDS_MAX)

    async def back_up(self, to: Path) -> None:
        """Copies the whole data folder, as of a stop in order, and goes on."""
        await self.stop()
        await asyncio.to_thread(_copy, self._cluster, to)
        await self.start()

    async def restore(self, backup: Path) -> None:
        """Goes back to a backup: what was committed after it is gone."""
        await self.kill_all()
        await asyncio.to_thread(shutil.rmtree, self._cluster)
        await asyncio.to_thread(_copy, backup, self._cluster)
        await self.start()


def _copy(source: Path, to: Path) -> None:
    shutil.copytree(source, to, symlinks=True, copy_function=shutil.copy2)
    for path in (source, *source.rglob("*")):
        stat, copied = path.lstat(), to / path.relative_to(source)
        if os.geteuid() == 0:
            os.lchown(copied, stat.st_uid, stat.st_gid)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
