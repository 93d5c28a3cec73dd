"""Steps that hurt the journal of a server, or start a server that is not as it should be."""

import contextlib
import fcntl
import os
import random
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.history import Step
from harness.play import Play
from harness.servers import Server, is_running, stopped
from omni_grpc.billing.journal_records import Opened, decode, encode
from omni_grpc.storage.journal_frames import HEAD_BYTES, frame

ABNORMAL = Path(__file__).with_name("abnormal")
OTHER_BOOT = "00000000-0000-4000-8000-000000000000"
_LENGTH_AT = 4


def journals_of(play: Play, server: Server) -> list[Path]:
    """The journal folders of a slot's last process, or of its workers."""
    root = play.world.folder / "journal"
    pids = [server.life.pid, *server.life.workers]
    return [folder for pid in pids for folder in root.glob(f"w-*-{pid}-*")]


def pid_in(folder: Path) -> int:
    return int(folder.name.split("-")[2])


@contextmanager
def adopted(folder: Path) -> Iterator[bool]:
    """Holds a dead worker's journal for the block, so that no recovery reads it meanwhile."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


@dataclass(frozen=True, kw_only=True)
class StartAbnormal(Step):
    """A replica is replaced by one with a wrong clock, slow syncs, or little patience."""

    replica: int = 0
    clock_s: int = 0
    sync_ms: int = 0
    first_byte_s: float = 0.0
    workers: int = 1

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        await play.world.kill(server)
        play.cleanups.append(lambda: self._undo(play, server))
        server.workers = self.workers
        patience: dict[str, str] = {}
        if self.first_byte_s:
            file = play.world.folder / f"providers-{server.number}.yaml"
            file.write_text(f"[{{id: sim, timeouts: {{first_byte_s: {self.first_byte_s}}}}}]")
            patience["OMNI_PROVIDERS_FILE"] = str(file)
        sync_log = play.world.folder / f"syncs-{server.number}-{len(server.lives)}"
        play.kept[f"syncs-{server.number}"] = sync_log
        await server.start(
            PYTHONPATH=os.pathsep.join([str(ABNORMAL), os.environ.get("PYTHONPATH", "")]),
            FAULTS_CLOCK_SKEW_S=str(self.clock_s),
            FAULTS_SYNC_MS=str(self.sync_ms),
            FAULTS_SYNC_LOG=str(sync_log),
            **patience,
        )
        if self.clock_s:
            play.overlap("ran an hour " + ("ahead" if self.clock_s > 0 else "behind"))
        play.overlap("synced slowly", self.sync_ms > 0)

    async def _undo(self, play: Play, server: Server) -> None:
        """Normal again at the end; the calls that still run there may finish first."""
        if server.alive:
            server.thaw()
            await play.let_end(server.life)
            await stopped(server.life)
        server.workers = 1


@dataclass(frozen=True, kw_only=True)
class FewerWorkers(Step):
    """A replica that was killed comes back with fewer workers than journals."""

    replica: int = 0
    workers: int = 2

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        left = len(journals_of(play, server))
        if server.alive or left <= self.workers:
            return
        server.workers = self.workers
        await server.start()
        play.overlap(f"{left} journals became {self.workers} workers'")


@dataclass(frozen=True, kw_only=True)
class FullDisk(Step):
    """There is room for so many more bytes in a server's journal, and no more."""

    replica: int = 0
    room_bytes: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        segments = [s for folder in journals_of(play, server) for s in folder.glob("*.log")]
        if not server.alive or not segments:
            return
        size = max(segment.stat().st_size for segment in segments)
        os.truncate(server.log_path, 0)  # the limit counts for every file
        _limit(server.life.pid, size + self.room_bytes)
        play.damaged.add(server.life.pid)
        play.cleanups.append(lambda: _unlimited(server.life.pid))
        play.overlap("no room for the journal")


@dataclass(frozen=True, kw_only=True)
class RoomAgain(Step):
    """The disk has room again."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        await _unlimited(play.server(self.replica).life.pid)


def _limit(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


async def _unlimited(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        _limit(pid, resource.RLIM_INFINITY)


@dataclass(frozen=True, kw_only=True)
class HurtJournal(Step):
    """What a killed server left is torn at its end, or has a byte flipped in its middle."""

    replica: int = 0
    how: str = "torn"
    seed: int = 0

    async def run(self, play: Play) -> None:
        server, rng = play.server(self.replica), random.Random(self.seed)
        if server.alive:
            return
        for folder in journals_of(play, server):
            with adopted(folder) as is_ours:
                segments = sorted(folder.glob("*.log")) if is_ours else []
                content = bytearray(segments[-1].read_bytes()) if segments else bytearray()
                if len(content) < 2 * HEAD_BYTES:
                    continue
                play.damaged.add(pid_in(folder))
                if self.how == "torn":
                    # A write that never returned: the start of one more record.
                    piece = frame(1 << 40, bytes(rng.randbytes(200)))
                    content += piece[: rng.randrange(1, len(piece))]
                else:
                    at = rng.randrange(HEAD_BYTES, len(content))
                    content[at] ^= 1 << rng.randrange(8)
                segments[-1].write_bytes(content)
                play.overlap("torn tail" if self.how == "torn" else "a byte was flipped")
            if self.how == "torn":
                play.damaged.discard(pid_in(folder))  # it loses nothing that was written


@dataclass(frozen=True, kw_only=True)
class PowerLoss(Step):
    """kill -9, and all that the journal had not synced is gone; the machine boots anew."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        log = play.kept.get(f"syncs-{server.number}")
        if log is None or not await play.world.kill(server):
            return
        synced: dict[Path, int] = {}
        for line in log.read_text().splitlines() if log.exists() else ():
            size, _, path = line.partition(" ")
            synced[Path(path)] = int(size)
        for folder in journals_of(play, server):
            with adopted(folder) as is_ours:
                if not is_ours or is_running(server.life.pid):
                    continue
                play.damaged.add(pid_in(folder))
                for segment in folder.glob("*.log"):
                    lost = segment.stat().st_size - synced.get(segment, 0)
                    play.overlap("power was lost before a sync", lost > 0)
                    os.truncate(segment, min(segment.stat().st_size, synced.get(segment, 0)))
                    _reboot(segment)
                play.overlap("power was lost")


def _reboot(segment: Path) -> None:
    """Names another boot in the first record, as if this one had not written it."""
    content = segment.read_bytes()
    if len(content) < HEAD_BYTES:
        return
    length, number = struct.unpack_from("<IQ", content, _LENGTH_AT)
    opened = decode(content[HEAD_BYTES : HEAD_BYTES + length])
    assert isinstance(opened, Opened), "a segment begins with whose it is"
    other = frame(number, encode(msgspec.structs.replace(opened, boot_id=OTHER_BOOT)))
    segment.write_bytes(other + content[HEAD_BYTES + length :])
