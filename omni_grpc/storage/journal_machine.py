"""What a journal asks of its machine: which boot this is, and what outlives the next one."""

import fcntl
import os
import subprocess
import sys
import uuid
from functools import cache
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "fuse.fuse-overlayfs"})
"""Gone with the power (the first two), or with the container."""

_F_FULLFSYNC: Final = 51
"""macOS: the fcntl command that empties the disk's own cache too, which fsync does not there."""


@cache
def boot_id() -> str:
    """A name of the time since this machine was started; the same for all its processes.

    Where the system tells none, each process makes one up, and so trusts no other's: records that
    were written in an unknown boot are taken for what a power loss left.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        pass
    try:
        found = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found = ""
    return found or f"unknown-{uuid.uuid4()}"


def make_durable(descriptor: int) -> None:
    """Returns when a file's content survives a loss of power.

    Raises:
        OSError: it does not; what was written since the last time may be lost.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, _F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes the names of a folder's files durable.

    Raises:
        OSError: it cannot.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def volatile_file_system(folder: Path) -> str | None:
    """The file system of `folder` if it is lost with the machine's power or with a container.

    None where it is kept, or where the system does not tell (only Linux does). The folder need not
    exist yet.
    """
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    place = folder.resolve()
    found, depth = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of two mounted on one point the later one is seen.
        if place.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = after.split(" ")[0], len(point.parts)
    return found if found in _VOLATILE else None


def _unescaped(text: str) -> str:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text
