"""What holds for every test."""

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from gateway_fixtures import postgres, template
from hypothesis import HealthCheck, settings

__all__ = ("log_configuration", "postgres", "pytest_collection_modifyitems", "template")
"""The server of whole gateways, and a database for each to copy: one of both, whichever folder."""

settings.register_profile(
    "fixed",
    derandomize=True,  # the same cases each time: a change is judged by what it changed
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # nor may a slow machine decide
    print_blob=True,
)
settings.register_profile("search", settings.get_profile("fixed"), derandomize=False)
settings.load_profile("fixed")
"""Other cases than the fixed ones are looked for with `--hypothesis-profile=search`."""

TESTS = Path(__file__).parent
SLOWEST = (
    "faults",
    "storage/test_embedded.py",
    "e2e/test_processes.py",
    "billing/test_hypothesis_lanes.py",
    "billing/test_hypothesis_ledger.py",
    "billing/test_doctor.py",
    "e2e/test_drain.py",
    "e2e/test_repeats.py",
    "e2e/test_database_away.py",
)
"""Files that take half a minute or more, and the folder of such."""

SLOW = ("e2e", "billing", "peers")
"""Folders whose files take several seconds each."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: nothing in it is looked for as garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files come first: one that begins last would leave the other workers idle."""

    def place(item: pytest.Item) -> int:
        inside = item.path.as_posix().removeprefix(f"{TESTS.as_posix()}/")
        return 0 if inside.startswith(SLOWEST) else 1 if inside.startswith(SLOW) else 2

    items.sort(key=place)  # stable: within each the order stays random


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Every test begins with structlog as it comes: commands and fixtures that run in the tests'
    own process set a level, below which another test's expected lines would vanish."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
