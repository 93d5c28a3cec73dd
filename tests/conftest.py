"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Gives the next test structlog as this one found it: commands that run in the tests' own
    process set a level, below which another test's expected lines would vanish."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
