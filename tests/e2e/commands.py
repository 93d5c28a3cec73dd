"""`omni-grpc` as an operator runs it, beside a gateway and on its database."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import KEY_HASH_SECRET, Gateway
from nursed import run


@dataclass(frozen=True)
class Command:
    """One run of `omni-grpc`."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(gateway: Gateway, *words: str | Path, **settings: str) -> Command:
    """Runs it on the gateway's database, with further settings by their variables."""
    ended = run(
        *map(str, words),
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(gateway.folder),
            "COLUMNS": "250",
            "DATABASE_URL": gateway.database_url,
            "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
            "OMNI_PROVIDER_SIM_BASE_URL": gateway.simulator_url,
        }
        | settings,
        folder=Path.cwd(),
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Command(ended.returncode, ended.stdout, ended.stderr)
