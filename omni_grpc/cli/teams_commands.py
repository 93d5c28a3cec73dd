"""The commands of `omni-grpc teams` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org, parent_of

teams_app = typer.Typer(
    help="Teams of organisations, straight on the database.", no_args_is_help=True
)

TeamId = Annotated[str, typer.Argument(metavar="TEAM", help="The team's id.")]


@teams_app.command("create")
def teams_create(
    team: TeamId,
    org: Org,
    name: Annotated[str, typer.Option(help="Its name for people.")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make a team."""
    from omni_grpc.cli.teams import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(Place(config, data_dir), parent_of(org, None, None), team, name, as_json=json_)


@teams_app.command("list")
def teams_list(
    org: Org,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List an organisation's teams."""
    from omni_grpc.cli.teams import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), parent_of(org, None, None), as_json=json_)


@teams_app.command("get")
def teams_get(
    team: TeamId,
    org: Org,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show a team."""
    from omni_grpc.cli.teams import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), parent_of(org, team, None), as_json=json_)


@teams_app.command("update")
def teams_update(
    team: TeamId,
    org: Org,
    name: Annotated[str, typer.Option(help="Its new name for people.")],
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give a team another name for people."""
    from omni_grpc.cli.teams import run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), parent_of(org, team, None), name, as_json=json_)


@teams_app.command("delete")
def teams_delete(
    team: TeamId,
    org: Org,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Delete a team without valid keys, with its limits, budgets and credentials."""
    from omni_grpc.cli.teams import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), parent_of(org, team, None), as_json=json_)
