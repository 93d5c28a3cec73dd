"""The embedded server, on real processes: shared, adopted, replaced, and never in the way."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from quick_clusters import copy_cluster

from omni_grpc.storage import EmbeddedPostgres, EmbeddedPostgresError, binaries, cluster, embedded

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root runs the server as another account"
)

STARTER = """
import sys
from pathlib import Path
from omni_grpc.storage import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
"""


def starter_environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}


@contextmanager
def starter(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that starts the server and stops it at a line of input."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=starter_environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def url_line(process: subprocess.Popen[str]) -> str:
    """The URL that a starter prints (its log goes there too)."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("postgresql://"):
            return line.strip()
    raise AssertionError("the starter ended without a URL")


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    """Whether it runs; one that waits only for its parent to notice its end does not."""
    state = ["/bin/ps", "-o", "stat=", "-p", str(pid)]
    found = subprocess.run(state, capture_output=True, text=True, check=False).stdout.strip()
    return bool(found) and not found.startswith("Z")


def value(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_the_server_is_configured_for_a_ledger_and_listens_on_a_private_socket_only(
    shared_server: EmbeddedPostgres,
) -> None:
    url = shared_server.url()
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "jit": "off",
        "idle_in_transaction_session_timeout": "10s",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    assert {name: value(url, f"SHOW {name}") for name in expected} == expected
    assert value(url, "SELECT current_database() || current_user") == "omniomni"
    assert value(url, "SELECT datlocale FROM pg_database WHERE datname = 'omni'") == "C.UTF-8"
    folder = (shared_server.data_dir / "cluster").stat()
    assert stat.S_IMODE(folder.st_mode) == 0o700


def test_starting_again_finds_the_running_server(own_server: EmbeddedPostgres) -> None:
    before = postmaster_pid(own_server.data_dir)
    assert own_server.start() == own_server.url()
    with EmbeddedPostgres(own_server.data_dir) as other:
        assert other.url() == own_server.url()
    assert postmaster_pid(own_server.data_dir) == before


def test_the_server_stops_with_its_last_user_and_keeps_what_was_written(stopped: Path) -> None:
    first, second = EmbeddedPostgres(stopped), EmbeddedPostgres(stopped)
    url = first.start()
    second.start()
    pid = postmaster_pid(stopped)
    execute(url, "CREATE TABLE kept AS SELECT 7 AS n")
    first.stop()
    assert value(url, "SELECT n FROM kept") == 7
    second.stop()
    assert not is_running(pid)
    second.stop()
    with first:
        assert value(first.url(), "SELECT n FROM kept") == 7


def test_a_server_that_outlived_its_killed_starter_is_adopted(stopped: Path) -> None:
    with starter(stopped) as process:
        url = url_line(process)
        execute(url, "CREATE TABLE kept AS SELECT 7 AS n")
        pid = postmaster_pid(stopped)
        process.kill()
        process.wait()
    assert is_running(pid)
    server = EmbeddedPostgres(stopped)
    assert server.start() == url
    assert postmaster_pid(stopped) == pid
    server.stop()
    assert not is_running(pid)


def test_a_killed_postmaster_is_replaced_and_no_commit_is_lost(
    own_server: EmbeddedPostgres,
) -> None:
    execute(own_server.url(), "CREATE TABLE kept AS SELECT 7 AS n")
    before = postmaster_pid(own_server.data_dir)
    os.kill(before, signal.SIGKILL)
    url = own_server.start()
    assert postmaster_pid(own_server.data_dir) != before
    assert value(url, "SELECT n FROM kept") == 7


def test_a_busy_session_of_a_killed_postmaster_does_not_keep_the_next_from_starting(
    own_server: EmbeddedPostgres,
) -> None:
    endless = "DO $$ BEGIN LOOP END LOOP; END $$"
    with closing(psycopg.connect(own_server.url(), autocommit=True)) as connection:
        pid = connection.info.backend_pid
        connection.pgconn.send_query(endless.encode())
        look = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"
        while value(own_server.url(), look) != 1:
            pass
        os.kill(postmaster_pid(own_server.data_dir), signal.SIGKILL)
        began = time.monotonic()
        assert value(own_server.start(), "SELECT 1") == 1
        assert time.monotonic() - began < embedded.START_SECONDS_MAX / 2
        assert not is_running(pid)


def test_a_postmaster_killed_under_another_living_starter_is_replaced(stopped: Path) -> None:
    with starter(stopped) as process:
        url_line(process)
        before = postmaster_pid(stopped)
        os.kill(before, signal.SIGKILL)
        with EmbeddedPostgres(stopped) as server:
            assert value(server.url(), "SELECT 1") == 1
            assert postmaster_pid(stopped) != before
            process.communicate("\n", timeout=60)


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(stopped: Path) -> None:
    with EmbeddedPostgres(stopped) as server:
        pid_file = stopped / "cluster" / "postmaster.pid"
        words = pid_file.read_text().split("\n")
        owner = pid_file.stat()
    stranger = subprocess.Popen(
        ["/bin/sleep", "60"],
        user=owner.st_uid if os.geteuid() == 0 else None,  # one that PostgreSQL may signal
    )
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *words[1:]]))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        pid_file.chmod(0o600)
        with server:
            assert value(server.url(), "SELECT 1") == 1
            assert postmaster_pid(stopped) != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_hangs_is_reported_and_never_started_twice(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = postmaster_pid(own_server.data_dir)
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "START_SECONDS_MAX", 0.5)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedPostgresError, match=f"process {pid}.*has not answered"):
                EmbeddedPostgres(own_server.data_dir).start()
        finally:
            os.kill(pid, signal.SIGCONT)
    own_server.start()
    assert postmaster_pid(own_server.data_dir) == pid


def test_a_start_that_was_killed_half_way_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    half = tmp_path / "cluster.partial-abc"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert value(server.url(), "SELECT 1") == 1
    assert not half.exists()


def test_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    with starter(tmp_path) as one, starter(tmp_path) as two:
        with ThreadPoolExecutor() as threads:
            urls = set(threads.map(url_line, (one, two)))
        assert len(urls) == 1
        pid = postmaster_pid(tmp_path)
        for process in (one, two):
            assert value(urls.copy().pop(), "SELECT 1") == 1
            assert is_running(pid)
            process.communicate("\n", timeout=60)
    assert not is_running(pid)


def test_threads_that_start_one_object_share_one_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    with ThreadPoolExecutor() as threads:
        assert len(set(threads.map(lambda _: server.start(), range(4)))) == 1
    server.stop()


def test_a_folder_with_a_long_name_gets_its_socket_elsewhere_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / ("long" * 30) / "data"
    with EmbeddedPostgres(data_dir) as server:
        socket_dir = Path((data_dir / "socket_dir").read_text())
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
        assert value(server.url(), "SELECT 1") == 1
        with starter(data_dir) as other:
            assert url_line(other) == server.url()
            other.communicate("\n", timeout=60)
    assert not socket_dir.exists()
    with server:
        assert value(server.url(), "SELECT 1") == 1


def test_a_server_whose_socket_was_swept_away_is_replaced(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30) / "data"
    copy_cluster(data_dir)
    with EmbeddedPostgres(data_dir) as server:
        shutil.rmtree((data_dir / "socket_dir").read_text())
        assert value(server.start(), "SELECT 1") == 1


def test_the_folder_may_hold_spaces_and_quotes(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / 'it\'s a % "folder"') as server:
        assert value(server.url(), "SELECT 1") == 1


@needs_root
def test_root_runs_it_below_a_private_folder_whose_mode_stays(tmp_path: Path) -> None:
    private = tmp_path / "private"
    data_dir = private / "deeper" / "data"
    data_dir.mkdir(parents=True)
    private.chmod(0o700)
    above = [data_dir, *data_dir.parents]
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    with EmbeddedPostgres(data_dir) as server:
        assert value(server.url(), "SELECT 1") == 1
        pid = postmaster_pid(data_dir)
        assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before


@needs_root
def test_root_copies_programs_that_the_account_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = binaries.find_install(None, None).folder.parent
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for folder in (origin, origin.with_name(f"{origin.name}.libs")):
        if folder.exists():
            (hidden / folder.name).symlink_to(folder)
    monkeypatch.syspath_prepend(str(hidden))
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o755)
        monkeypatch.setattr(binaries, "SHARED_FOLDER", Path(shared) / "omni-grpc")
        for _ in range(2):
            with EmbeddedPostgres(tmp_path / "data") as server:
                assert value(server.url(), "SELECT 1") == 1
                pid = postmaster_pid(server.data_dir)
                program = Path(f"/proc/{pid}/exe").readlink()
                assert program.is_relative_to(shared)
        assert len(list((Path(shared) / "omni-grpc").iterdir())) == 1


@needs_root
def test_an_ordinary_user_runs_it_as_himself() -> None:
    nobody = pwd.getpwnam("nobody")
    account = binaries.Account("nobody", nobody.pw_uid, nobody.pw_gid)
    program = binaries.find_install(None, None).program("postgres")
    try:
        binaries.run_program([program, "--version"], account=account, cwd=Path("/"))
    except PermissionError:
        pytest.skip("another account cannot reach the programs of this environment")
    # The account may not reach Python itself: it is loaded first, then the privileges go.
    become = (
        "import os, omni_grpc.storage\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        ran = subprocess.run(
            [sys.executable, "-c", become + STARTER, f"{folder}/data"],
            input="\n",
            capture_output=True,
            text=True,
            env=starter_environment(),
            cwd="/",
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        assert "postgresql://" in ran.stdout
        assert (Path(folder) / "data" / "cluster").stat().st_uid == nobody.pw_uid
        assert stat.S_IMODE((Path(folder) / "data").stat().st_mode) == 0o700


def test_a_setting_that_postgresql_refuses_is_told_with_its_own_words(stopped: Path) -> None:
    server = EmbeddedPostgres(stopped, settings={"shared_buffers": "a lot"})
    with pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "shared_buffers"'):
        server.start()
    with EmbeddedPostgres(stopped, settings={"shared_buffers": "16MB"}) as mended:
        assert value(mended.url(), "SHOW shared_buffers") == "16MB"


@needs_root
def test_a_full_disk_is_told_and_leaves_no_half_made_folder(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=8m", "none", str(small)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a small disk")
    try:
        with pytest.raises(EmbeddedPostgresError, match=r"(?s)No space left.*Free disk space"):
            EmbeddedPostgres(small / "data").start()
        left = {path.name for path in (small / "data").iterdir()}
        assert left == {"start.lock"}
    finally:
        subprocess.run(["/bin/umount", str(small)], check=True)


def test_a_long_log_is_set_aside_at_the_next_start(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOG_BYTES_MAX", 10)
    for _ in range(3):
        with EmbeddedPostgres(stopped):
            pass
    logs = sorted(path.name for path in stopped.glob("postgres.log*"))
    assert logs == ["postgres.log", "postgres.log.old"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="cannot be used for PostgreSQL"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_an_unknown_major_version_of_the_data_is_told(stopped: Path) -> None:
    (stopped / "cluster" / "PG_VERSION").write_text("99\n")
    with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL 99.*pg_dump"):
        EmbeddedPostgres(stopped).start()


def test_a_url_is_refused_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="start"):
        EmbeddedPostgres(tmp_path).url()


def test_a_database_is_copied_from_another_and_dropped_with_its_sessions(
    shared_server: EmbeddedPostgres,
) -> None:
    execute(shared_server.create_database("origin"), "CREATE TABLE kept AS SELECT 7 AS n")
    url = shared_server.create_database('a "copy"', template="origin")
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT n FROM kept").fetchone()
        assert row == (7,)
        shared_server.drop_database('a "copy"')
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    shared_server.drop_database('a "copy"')
    shared_server.drop_database("origin")
