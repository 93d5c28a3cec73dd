"""The migration runner on a real server, with folders of files made for each test."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from omni_grpc.storage import MigrationError, migrate, migrations_folder, pending, read_migrations

FIRST = "CREATE TABLE one (n int); INSERT INTO one VALUES (1);"
SECOND = """
-- A body with semicolons, quotes and a percent sign.
CREATE FUNCTION double(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RETURN n * 2; -- 100 %
END;
$$;
SET lock_timeout = '1ms';
"""
THIRD = "ALTER TABLE one ADD m int;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "0001_first.sql", FIRST)
    write(tmp_path, "0002_second.sql", SECOND)
    (tmp_path / "README.md").write_text("not a migration")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def recorded(url: str) -> list[tuple[object, ...]]:
    return rows(url, "SELECT number, name FROM schema_migration ORDER BY number")


def tables(url: str) -> set[object]:
    found = rows(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    return {name for (name,) in found}


def test_files_are_applied_once_and_in_order(database_url: str, folder: Path) -> None:
    assert [m.file_name for m in pending(database_url, folder)] == [
        "0001_first.sql",
        "0002_second.sql",
    ]
    assert "schema_migration" not in tables(database_url)
    applied = migrate(database_url, folder)
    assert [(step.number, step.name) for step in applied] == [(1, "first"), (2, "second")]
    assert all(step.duration_s > 0 for step in applied)
    assert rows(database_url, "SELECT double(n) FROM one") == [(2,)]
    assert pending(database_url, folder) == ()
    assert migrate(database_url, folder) == ()
    write(folder, "0003_third.sql", THIRD)
    assert [step.number for step in migrate(database_url, folder)] == [3]
    assert recorded(database_url) == [(1, "first"), (2, "second"), (3, "third")]


def test_a_file_that_fails_leaves_nothing_and_those_before_it_stay(
    database_url: str, folder: Path
) -> None:
    write(
        folder, "0003_bad.sql", "CREATE TABLE three (n int);\nSELECT 1;\nINSERT INTO no VALUES (1);"
    )
    with pytest.raises(MigrationError, match=r"0003_bad.sql failed in line 3.*\"no\""):
        migrate(database_url, folder)
    assert recorded(database_url) == [(1, "first"), (2, "second")]
    assert "three" not in tables(database_url)
    write(folder, "0003_bad.sql", "CREATE TABLE three (n int);")
    assert [step.number for step in migrate(database_url, folder)] == [3]


def test_a_file_changed_after_it_was_applied_is_refused(database_url: str, folder: Path) -> None:
    migrate(database_url, folder)
    write(folder, "0001_first.sql", FIRST + " ")
    write(folder, "0003_third.sql", THIRD)
    for look in (pending, migrate):
        with pytest.raises(MigrationError, match=r"0001_first.sql was changed after"):
            look(database_url, folder)
    assert len(recorded(database_url)) == 2


def test_a_database_newer_than_the_code_is_refused(database_url: str, folder: Path) -> None:
    write(folder, "0003_third.sql", THIRD)
    migrate(database_url, folder)
    (folder / "0003_third.sql").unlink()
    for look in (pending, migrate):
        with pytest.raises(MigrationError, match=r"newer than this code: it has .* 0003_third"):
            look(database_url, folder)


def test_a_record_with_a_hole_is_refused(database_url: str, folder: Path) -> None:
    migrate(database_url, folder)
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM schema_migration WHERE number = 1")
    with pytest.raises(MigrationError, match="changed by hand"):
        migrate(database_url, folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0004_gap.sql", "0004 but 0003 is missing"),
        ("0002_again.sql", "number 0002 twice"),
        ("0000_zero.sql", "number 0000"),
        ("3_short.sql", "not named NNNN_name.sql"),
        ("0003_Big.sql", "not named NNNN_name.sql"),
    ],
)
def test_numbers_and_names_that_do_not_fit_are_refused(
    folder: Path, name: str, message: str
) -> None:
    write(folder, name, "SELECT 1;")
    with pytest.raises(MigrationError, match=message):
        read_migrations(folder)


def test_runners_at_once_apply_each_file_once(database_url: str, folder: Path) -> None:
    for number in range(3, 9):
        write(folder, f"{number:04d}_more.sql", f"CREATE TABLE t{number}(); SELECT pg_sleep(0.01);")
    runners = 4
    together = threading.Barrier(runners)

    def run(_: int) -> list[int]:
        together.wait()
        return [step.number for step in migrate(database_url, folder)]

    with ThreadPoolExecutor(runners) as threads:
        applied = [number for numbers in threads.map(run, range(runners)) for number in numbers]
    assert sorted(applied) == list(range(1, 9))
    assert len(recorded(database_url)) == 8


def test_a_file_that_ends_its_own_transaction_is_refused(database_url: str, folder: Path) -> None:
    write(folder, "0003_commits.sql", "CREATE TABLE three (); COMMIT; CREATE TABLE four ();")
    with pytest.raises(MigrationError, match="ended its transaction itself"):
        migrate(database_url, folder)
    assert len(recorded(database_url)) == 2


def test_the_release_has_its_migrations_and_they_apply(database_url: str) -> None:
    ours = read_migrations(migrations_folder())
    assert ours
    assert len(migrate(database_url)) == len(ours)
    assert pending(database_url) == ()


def test_an_empty_folder_is_fine(database_url: str, tmp_path: Path) -> None:
    assert migrate(database_url, tmp_path) == ()


def test_a_database_out_of_reach_is_told() -> None:
    with pytest.raises(MigrationError, match="out of reach"):
        migrate("postgresql://omni@127.0.0.1:1/omni", Path(__file__).parent)


def test_a_role_that_may_not_make_tables_is_told(database_url: str, folder: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS poor")
        connection.execute("CREATE ROLE poor LOGIN")
    try:
        with pytest.raises(MigrationError, match="permission denied"):
            migrate(database_url.replace("omni@", "poor@"), folder)
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP ROLE poor")
