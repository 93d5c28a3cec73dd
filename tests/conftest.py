"""What holds for every test."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

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


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """Every test begins with structlog as it comes: commands and fixtures that run in the tests'
    own process set a level, below which another test's expected lines would vanish."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
