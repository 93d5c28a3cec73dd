"""Segments on real files: killed writers, full disks, lost power, and who may read them."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from omni_grpc.storage import JournalError, JournalFolder, SegmentReader, SegmentWriter, abandoned

ROOT = str(Path(__file__).resolve().parents[2])

WRITER = """
import sys
from pathlib import Path
from omni_grpc.storage import JournalFolder, SegmentWriter
writer = SegmentWriter(JournalFolder.create(Path(sys.argv[1])))
writer.begin(b"head")
number = 0
while True:
    number += 1
    writer.append(b"%d " % number + b"x" * (number % 700))
    if writer.size > 20_000:
        writer.begin(b"head")
    print(number, flush=True)
"""

FULL = """
import resource, sys
from pathlib import Path
from omni_grpc.storage import JournalError, JournalFolder, SegmentWriter
writer = SegmentWriter(JournalFolder.create(Path(sys.argv[1])))
writer.begin(b"head")
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))
written = 0
try:
    while True:
        writer.append(b"%03d" % written * 30)
        written += 1
except JournalError as error:
    print(error)
writer.append(b"small") if writer.size < 2_970 else None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(b"after")
print(written)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[JournalFolder]:
    folder = JournalFolder.create(tmp_path / "journal")
    yield folder
    folder.release()


@pytest.fixture
def writer(folder: JournalFolder) -> Iterator[SegmentWriter]:
    writer = SegmentWriter(folder)
    writer.begin(b"head")
    yield writer
    writer.close()


def python(script: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


def read(folder: JournalFolder) -> list[bytes]:
    reader = SegmentReader(folder)
    records = list(reader.records())
    assert not reader.damage
    return records


def append_until_full(writer: SegmentWriter) -> int:
    for written in range(100):
        try:
            writer.append(bytes(1000))
        except JournalError as error:
            assert os.strerror(errno.ENOSPC) in str(error)
            return written
    raise AssertionError("the disk takes everything")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_records_are_read_in_their_order_over_all_segments(
    folder: JournalFolder, writer: SegmentWriter
) -> None:
    writer.append(b"one")
    writer.begin(b"head 2")
    writer.append(b"two")
    assert read(folder) == [b"head", b"one", b"head 2", b"two"]
    assert (writer.number, writer.records) == (2, 2)
    assert writer.size == folder.segments()[1].stat().st_size


def test_nobody_else_on_the_machine_can_read_a_journal(
    folder: JournalFolder, writer: SegmentWriter
) -> None:
    assert mode(folder.path) == 0o700
    assert mode(folder.path.parent) == 0o700
    assert [mode(path) for path in folder.path.iterdir()] == [0o600, 0o600]


def test_a_killed_writer_leaves_every_record_whose_write_returned(tmp_path: Path) -> None:
    with python(WRITER, tmp_path) as process:
        assert process.stdout is not None
        for _ in range(300):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout if line.endswith("\n")]
    (folder,) = abandoned(tmp_path)
    written = [record for record in read(folder) if record != b"head"]
    numbers = [int(record.split()[0]) for record in written]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= (told[-1] if told else 300)
    assert len(folder.segments()) > 1
    folder.remove()


def test_a_full_disk_is_an_error_and_leaves_no_piece_of_a_record(tmp_path: Path) -> None:
    with python(FULL, tmp_path) as process:
        assert process.stdout is not None
        said, count = process.stdout.read().splitlines()
    assert "journal cannot be written" in said
    (folder,) = abandoned(tmp_path)
    records = read(folder)
    assert records[0] == b"head"
    assert records[1 : int(count) + 1] == [b"%03d" % n * 30 for n in range(int(count))]
    assert records[-1] == b"after"
    folder.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_without_room_is_named_as_the_cause_and_serves_again_when_there_is(
    tmp_path: Path,
) -> None:
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        folder = JournalFolder.create(tmp_path / "journal")
        writer = SegmentWriter(folder)
        writer.begin(b"head")
        ballast = tmp_path / "ballast"
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            ballast.write_bytes(bytes(100_000))
        written = append_until_full(writer)
        with pytest.raises(JournalError, match=os.strerror(errno.ENOSPC)):
            writer.begin(b"another head")
        ballast.unlink()
        writer.append(b"after")
        assert read(folder) == [b"head", *[bytes(1000)] * written, b"after"]
        writer.close()
        folder.remove()
    finally:
        subprocess.run(["/bin/umount", "-l", str(tmp_path)], check=True)


def test_a_segment_that_cannot_begin_leaves_the_one_before_in_use(
    folder: JournalFolder, writer: SegmentWriter
) -> None:
    folder.segment(2).mkdir()
    with pytest.raises(JournalError):
        writer.begin(b"another head")
    folder.segment(2).rmdir()
    writer.append(b"one")
    assert writer.number == 1
    assert read(folder) == [b"head", b"one"]


def test_what_a_sync_was_begun_after_is_durable_when_it_has_ended(folder: JournalFolder) -> None:
    durable: dict[int, int] = {}

    def note(file: int) -> None:
        os.fdatasync(file)
        durable[os.fstat(file).st_ino] = os.fstat(file).st_size

    writer = SegmentWriter(folder, note)
    writer.begin(b"head")
    writer.append(b"one")
    writer.begin(b"head")
    writer.append(b"two")
    work = writer.sync()
    writer.append(b"not yet")
    sizes = {path.stat().st_ino: path.stat().st_size for path in folder.segments()}
    work()
    assert durable == sizes
    durable.clear()
    writer.sync()()
    assert list(durable) == [folder.segments()[1].stat().st_ino]
    writer.close()


def test_a_sync_that_fails_says_so_and_its_segments_can_be_given_up(
    folder: JournalFolder,
) -> None:
    def break_down(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer = SegmentWriter(folder, break_down)
    writer.begin(b"head")
    writer.append(b"one")
    with pytest.raises(JournalError, match=os.strerror(errno.EIO)):
        writer.sync()()
    writer.begin(b"head")
    writer.give_up_unsynced()
    writer.append(b"two")
    assert read(folder) == [b"head", b"one", b"head", b"two"]
    writer.close()


def test_a_segment_that_cannot_be_read_is_damage_and_the_others_are_read(
    folder: JournalFolder, writer: SegmentWriter
) -> None:
    writer.append(b"one")
    writer.begin(b"head")
    first, second = folder.segments()
    first.unlink()
    first.mkdir()
    reader = SegmentReader(folder)
    assert list(reader.records()) == [b"head"]
    assert reader.damage
    assert second.exists()


def test_appends_go_on_while_a_sync_takes_long(folder: JournalFolder) -> None:
    syncing, ended = threading.Event(), threading.Event()

    def hang(_file: int) -> None:
        syncing.set()
        assert ended.wait(10)

    writer = SegmentWriter(folder, hang)
    writer.begin(b"head")
    with ThreadPoolExecutor(1) as thread:
        sync = thread.submit(writer.sync())
        assert syncing.wait(10)
        for _ in range(100):
            writer.append(b"one")
        writer.begin(b"head")
        assert not sync.done()
        ended.set()
        sync.result(10)
    assert len(read(folder)) == 102
    writer.close()
