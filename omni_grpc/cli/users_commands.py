"""The commands of `omni-grpc users` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org

users_app = typer.Typer(
    help="Users of organisations, straight on the database.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="orgs/{org}/users/{user}")]
ROLES = "owner, admin, developer or viewer."


@users_app.command("create")
def users_create(
    org: Org,
    *,
    issuer: Annotated[
        str, typer.Option(help="Who vouches: an OIDC issuer's URL, or wallet:solana.")
    ],
    subject: Annotated[
        str, typer.Option(help="What the issuer calls the user; a wallet's address.")
    ],
    email: Annotated[str, typer.Option(help="An e-mail address.")] = "",
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    role: Annotated[str, typer.Option(help=ROLES)] = "viewer",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Let a person or a wallet into an organisation."""
    from omni_grpc.cli.users import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(Place(config, data_dir), org, issuer, subject, email, name, role, as_json=json_)


@users_app.command("list")
def users_list(
    org: Org, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """List an organisation's users."""
    from omni_grpc.cli.users import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), org, as_json=json_)


@users_app.command("get")
def users_get(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a user."""
    from omni_grpc.cli.users import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), name, as_json=json_)


@users_app.command("update")
def users_update(
    name: Name,
    email: Annotated[str | None, typer.Option(help="An e-mail address.")] = None,
    display_name: Annotated[str | None, typer.Option("--name", help="A name for people.")] = None,
    role: Annotated[str | None, typer.Option(help=ROLES)] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change a user; a new role holds everywhere within 5 seconds."""
    from omni_grpc.cli.users import run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), name, email, display_name, role, as_json=json_)


@users_app.command("delete")
def users_delete(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Take a user out of its organisation; its sessions end."""
    from omni_grpc.cli.users import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), name, as_json=json_)
