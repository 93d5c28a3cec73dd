"""Commands run in this process print as wide as their tests read, whoever imported them first."""

import pytest

from omni_grpc.cli import working


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not its property `width`: what that was would be set for good, for every test that follows.
    monkeypatch.setattr(working.console, "_width", 300)
