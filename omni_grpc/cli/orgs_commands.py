"""The commands of `omni-grpc orgs` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

orgs_app = typer.Typer(help="Organisations, straight on the database.", no_args_is_help=True)

OrgId = Annotated[str, typer.Argument(metavar="ORG", help="The organisation's id.")]


@orgs_app.command("create")
def orgs_create(
    org: OrgId,
    name: Annotated[str, typer.Option(help="Its name for people.")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make an organisation with an empty account."""
    from omni_grpc.cli.orgs import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(Place(config, data_dir), org, name, as_json=json_)


@orgs_app.command("list")
def orgs_list(config: Config = None, data_dir: DataDir = None, json_: Json = False) -> None:
    """List all organisations."""
    from omni_grpc.cli.orgs import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), as_json=json_)


@orgs_app.command("get")
def orgs_get(
    org: OrgId, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show an organisation."""
    from omni_grpc.cli.orgs import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), org, as_json=json_)


@orgs_app.command("update")
def orgs_update(
    org: OrgId,
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    low_balance: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Below how much its webhooks are told; 0 for never."),
    ] = None,
    suspended: Annotated[
        bool | None,
        typer.Option("--suspend/--resume", help="Refuse all of its calls, or no longer."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change an organisation; it holds everywhere within 5 seconds."""
    from omni_grpc.cli.orgs import run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), org, name, low_balance, suspended, as_json=json_)
