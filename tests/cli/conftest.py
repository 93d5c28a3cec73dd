"""Commands run in this process print as wide as their tests read, whoever imported them first."""

import pytest

from omni_grpc.cli import working


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working.console, "width", 300)
