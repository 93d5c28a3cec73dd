"""Steps on whole machines: a replacement beside a stalled server, a backup that is restored."""

from dataclasses import dataclass
from pathlib import Path

from harness.history import Step
from harness.old_world import OldWorld
from harness.play import Play
from harness.servers import Life, stopped


@dataclass(frozen=True, kw_only=True)
class ReplaceFrozen(Step):
    """A stalled process gets a replacement; its journal is its own as long as it lives."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        if not server.freeze():
            return
        old = server.life
        play.kept["frozen"] = old
        for point in play.points(server):
            play.overlap(f"replaced while frozen {point}")
        await server.start()
        play.cleanups.append(lambda: _end(play, old))
        play.overlap("a replacement started beside a frozen server")


@dataclass(frozen=True, kw_only=True)
class ThawFrozen(Step):
    """The stalled process wakes beside its replacement."""

    async def run(self, play: Play) -> None:
        old = play.kept.get("frozen")
        if old is not None:
            old.thaw()
            play.overlap("woke beside its replacement")


async def _end(play: Play, old: Life) -> None:
    """The old one goes as an operator makes it go, when its calls have ended."""
    old.thaw()
    await play.let_end(old)
    await stopped(old)


@dataclass(frozen=True, kw_only=True)
class BackUp(Step):
    """A whole backup of the database, as of now."""

    async def run(self, play: Play) -> None:
        folder = play.world.folder / f"backup-{play.prefix}"
        await play.world.postgres.back_up(folder)
        for server in play.world.servers:
            await play.until_served(server)
        play.kept["backup"] = folder
        play.kept["before"] = set(play.calls)


@dataclass(frozen=True, kw_only=True)
class Restore(Step):
    """The database goes back to its backup: what was committed since then is gone from it."""

    async def run(self, play: Play) -> None:
        folder: Path | None = play.kept.pop("backup", None)
        if folder is None:
            return
        since = [call for name, call in play.calls.items() if name not in play.kept["before"]]
        settled = sum(call.seen.status == "answered" for call in since)
        play.overlap("restored after acknowledged settles", settled)
        play.overlap("restored while calls ran", play.running > 0)
        await play.world.postgres.restore(folder)


@dataclass(frozen=True, kw_only=True)
class Upgrade(Step):
    """The schema is migrated while the old version serves."""

    async def run(self, play: Play) -> None:
        if isinstance(play.world, OldWorld):
            running = play.running
            await play.world.upgrade()
            play.overlap("migrated while calls ran", running)


@dataclass(frozen=True, kw_only=True)
class StopServer(Step):
    """A replica is stopped in order; what starts in its place is of the new version."""

    replica: int = 0

    async def run(self, play: Play) -> None:
        server = play.server(self.replica)
        if not server.alive:
            return
        versions = {
            play.server(call.seen.server).code is None
            for call in play.calls.values()
            if call.seen.status == "answered"
        }
        play.overlap("old and new code served one wallet", len(versions) > 1)
        await stopped(server.life)
        server.code = None
        server.environment = play.server(self.replica + 1).environment
