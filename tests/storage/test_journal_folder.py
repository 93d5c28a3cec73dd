"""Whose a journal's folder is: its process's, and after that exactly one other's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omni_grpc.storage import (
    JournalError,
    JournalFolder,
    SegmentReader,
    SegmentWriter,
    abandoned,
    kept,
    take,
)
from omni_grpc.storage.journal_folder import BIRTH_SECONDS_MAX

ROOT = str(Path(__file__).resolve().parents[2])

OWNER = """
import sys
from pathlib import Path
from omni_grpc.storage import JournalFolder, SegmentWriter
folder = JournalFolder.create(Path(sys.argv[1]))
SegmentWriter(folder).begin(b"head")
print(folder.path.name, flush=True)
sys.stdin.readline()
"""

ADOPTER = """
import sys
from pathlib import Path
from omni_grpc.storage import abandoned
print("ready", flush=True)
sys.stdin.readline()
taken = []
for folder in abandoned(Path(sys.argv[1])):
    taken.append(folder.path.name)
    folder.remove()
print(*taken, flush=True)
"""


def python(script: str, root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def dead(root: Path) -> Path:
    """The folder of a worker that is gone."""
    folder = JournalFolder.create(root)
    SegmentWriter(folder).begin(b"head")
    folder.release()
    return folder.path


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_folder_is_its_process_s_until_that_is_killed(tmp_path: Path) -> None:
    with python(OWNER, tmp_path) as process:
        name = line(process)
        assert list(abandoned(tmp_path)) == []
        process.send_signal(signal.SIGSTOP)
        assert list(abandoned(tmp_path)) == []
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        (folder,) = abandoned(tmp_path)
    assert folder.path.name == name
    assert list(SegmentReader(folder).records()) == [b"head"]
    folder.release()


def test_one_s_own_folder_is_not_adopted(tmp_path: Path) -> None:
    own = JournalFolder.create(tmp_path)
    assert list(abandoned(tmp_path)) == []
    own.release()


def test_what_is_adopted_is_nobody_else_s_until_it_is_released(tmp_path: Path) -> None:
    dead(tmp_path)
    (folder,) = abandoned(tmp_path)
    assert list(abandoned(tmp_path)) == []
    folder.release()
    (again,) = abandoned(tmp_path)
    again.release()


def test_of_processes_that_race_for_folders_each_folder_goes_to_one(tmp_path: Path) -> None:
    made = sorted(dead(tmp_path).name for _ in range(20))
    processes = [python(ADOPTER, tmp_path) for _ in range(3)]
    try:
        for process in processes:
            assert line(process) == "ready"
        for process in processes:
            tell(process)
        taken = [name for process in processes for name in line(process).split()]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sorted(taken) == made
    assert names(tmp_path) == []


def test_folders_are_adopted_oldest_first_and_read_only_by_name(tmp_path: Path) -> None:
    made = [dead(tmp_path).name for _ in range(3)]
    (tmp_path / "something else").mkdir()
    found = list(abandoned(tmp_path))
    assert [folder.path.name for folder in found] == sorted(made)
    for folder in found:
        folder.release()


def test_a_removed_folder_is_gone_also_for_who_saw_it_before(tmp_path: Path) -> None:
    dead(tmp_path)
    late = abandoned(tmp_path)
    dead(tmp_path)
    first = next(late)
    for folder in abandoned(tmp_path):
        folder.remove()
    assert list(late) == []
    first.remove()
    assert names(tmp_path) == []


def test_a_folder_set_aside_is_kept_and_adopted_by_nobody(tmp_path: Path) -> None:
    path = dead(tmp_path)
    (folder,) = abandoned(tmp_path)
    kept = folder.set_aside()
    assert names(tmp_path) == [kept.name]
    assert kept.name == path.name.replace("w-", "damaged-", 1)
    assert (kept / "0000000001.log").exists()
    assert list(abandoned(tmp_path)) == []


def test_a_folder_that_is_kept_is_found_by_its_mark_until_its_time_is_over(tmp_path: Path) -> None:
    dead(tmp_path)
    (folder,) = abandoned(tmp_path)
    folder.keep("0af3")
    assert list(abandoned(tmp_path)) == []
    ((path, mark),) = kept(tmp_path, seconds=60, bytes_max=10**6).items()
    assert mark == "0af3"
    assert (path / "0000000001.log").exists()
    taken = take(path)
    assert taken is not None
    assert take(path) is None
    assert kept(tmp_path, seconds=-1, bytes_max=10**6) == {}
    assert names(tmp_path) == [path.name]
    taken.release()
    assert kept(tmp_path, seconds=-1, bytes_max=10**6) == {}
    assert names(tmp_path) == []


def test_a_folder_that_is_kept_again_has_its_new_mark_only(tmp_path: Path) -> None:
    path = dead(tmp_path)
    (folder,) = abandoned(tmp_path)
    folder.keep("0af3")
    again = take(folder.path)
    assert again
    again.keep("1b")
    ((found, mark),) = kept(tmp_path, seconds=60, bytes_max=10**6).items()
    assert (found.name, mark) == (path.name.replace("w-", "kept-", 1) + ".1b", "1b")
    last = take(found)
    assert last
    last.remove()
    assert names(tmp_path) == []


def test_what_killed_processes_left_half_made_or_half_removed_is_swept_away(tmp_path: Path) -> None:
    for name in ("gone-x", "new-old", "new-young"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    long_ago = (tmp_path / "gone-x").stat().st_mtime - BIRTH_SECONDS_MAX - 10
    os.utime(tmp_path / "new-old", (long_ago, long_ago))
    assert list(abandoned(tmp_path)) == []
    assert names(tmp_path) == ["new-young"]


def test_a_folder_without_its_lock_file_is_adopted_all_the_same(tmp_path: Path) -> None:
    (dead(tmp_path) / "lock").unlink()
    (folder,) = abandoned(tmp_path)
    folder.remove()


def test_no_journal_folder_at_all_means_nothing_to_adopt(tmp_path: Path) -> None:
    assert list(abandoned(tmp_path / "missing")) == []


def test_a_place_where_no_folder_can_be_made_is_named_in_the_error(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(JournalError, match=str(place)):
        JournalFolder.create(place / "journal")


def test_a_folder_of_another_account_is_passed_over(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open everything")
    dead(tmp_path).chmod(0)
    assert list(abandoned(tmp_path)) == []
