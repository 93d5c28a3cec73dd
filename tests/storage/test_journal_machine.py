"""What a journal asks of its machine, asked of this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omni_grpc.storage import boot_id, make_durable, volatile_file_system
from omni_grpc.storage.journal_machine import _unescaped, sync_folder

linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")


def test_the_boot_has_one_name_for_all_processes() -> None:
    script = "from omni_grpc.storage import boot_id; print(boot_id())"
    other = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ).stdout.strip()
    assert boot_id()
    if not boot_id().startswith("unknown-"):
        assert boot_id() == other


@linux
def test_memory_is_named_as_a_place_that_loses_journals() -> None:
    assert volatile_file_system(Path("/dev/shm")) == "tmpfs"
    assert volatile_file_system(Path("/dev/shm/not/made/yet")) == "tmpfs"


@linux
def test_the_nearest_mount_decides() -> None:
    assert volatile_file_system(Path("/proc/self")) is None
    assert volatile_file_system(Path("/dev/shm/../..")) == volatile_file_system(Path("/"))


def test_mount_points_are_unescaped() -> None:
    assert _unescaped(r"/mnt/my\040disk\011x\134y") == "/mnt/my disk\tx\\y"


def test_files_and_folders_are_made_durable(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"one")
        make_durable(file.fileno())
    sync_folder(tmp_path)
    with pytest.raises(OSError, match="No such"):
        sync_folder(tmp_path / "missing")
