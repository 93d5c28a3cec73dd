"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Every test begins with structlog as it comes: commands and fixtures that run in the tests'
    own process set a level, below which another test's expected lines would vanish."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
