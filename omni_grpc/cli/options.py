"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Config = Annotated[
    Path | None, typer.Option(help="Settings file; omni.yaml of this folder, if there is one.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where dev keeps its database and keys. [default: ~/.local/share/omni-grpc]"),
]
Addr = Annotated[str | None, typer.Option(metavar="HOST:PORT")]
Org = Annotated[str, typer.Option(help="The organisation's id.")]
