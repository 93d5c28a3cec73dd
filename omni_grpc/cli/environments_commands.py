"""The commands of `omni-grpc envs` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org, parent_of

environments_app = typer.Typer(
    help="Environments of teams, straight on the database.", no_args_is_help=True
)

EnvironmentId = Annotated[str, typer.Argument(metavar="ENV", help="The environment's id.")]
TeamOfEnvironment = Annotated[str, typer.Option("--team", help="The team's id.")]


@environments_app.command("create")
def environments_create(
    environment: EnvironmentId,
    org: Org,
    team: TeamOfEnvironment,
    name: Annotated[str, typer.Option(help="Its name for people.")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make an environment."""
    from omni_grpc.cli.environments import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(
            Place(config, data_dir), parent_of(org, team, None), environment, name, as_json=json_
        )


@environments_app.command("list")
def environments_list(
    org: Org,
    team: TeamOfEnvironment,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List a team's environments."""
    from omni_grpc.cli.environments import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), parent_of(org, team, None), as_json=json_)


@environments_app.command("get")
def environments_get(
    environment: EnvironmentId,
    org: Org,
    team: TeamOfEnvironment,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show an environment."""
    from omni_grpc.cli.environments import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), parent_of(org, team, environment), as_json=json_)


@environments_app.command("update")
def environments_update(
    environment: EnvironmentId,
    org: Org,
    team: TeamOfEnvironment,
    name: Annotated[str, typer.Option(help="Its new name for people.")],
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give an environment another name for people."""
    from omni_grpc.cli.environments import run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), parent_of(org, team, environment), name, as_json=json_)


@environments_app.command("delete")
def environments_delete(
    environment: EnvironmentId,
    org: Org,
    team: TeamOfEnvironment,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Delete an environment without valid keys, with its limits, budgets and credentials."""
    from omni_grpc.cli.environments import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), parent_of(org, team, environment), as_json=json_)
