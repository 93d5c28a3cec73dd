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
Team = Annotated[str | None, typer.Option(help="A team of the organisation, by its id.")]
Environment = Annotated[
    str | None, typer.Option("--env", help="An environment of the team, by its id.")
]

Key = Annotated[
    str | None, typer.Option(help="A key of the organisation, by the last part of its name.")
]


def parent_of(org: str, team: str | None, env: str | None) -> str:
    """The name of what `--org`, `--team` and `--env` say.

    Raises:
        typer.BadParameter: an environment without its team.
    """
    if env is not None and team is None:
        raise typer.BadParameter("--env needs --team: whose environment it is.")
    name = f"orgs/{org}"
    if team is not None:
        name += f"/teams/{team}"
    return name if env is None else f"{name}/environments/{env}"


def subject_of(org: str, team: str | None, env: str | None, key: str | None) -> str:
    """The name of what `--org`, `--team`, `--env` and `--key` say.

    Raises:
        typer.BadParameter: an environment without its team, or a key with either.
    """
    if key is None:
        return parent_of(org, team, env)
    if team is not None or env is not None:
        raise typer.BadParameter("--key names a key of the organisation: leave out the others.")
    return f"orgs/{org}/apiKeys/{key}"
