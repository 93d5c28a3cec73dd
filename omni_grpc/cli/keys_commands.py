"""The commands of `omni-grpc keys` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Environment, Json, Org, Team, parent_of

keys_app = typer.Typer(help="API keys, straight on the database.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="orgs/{org}/apiKeys/{api_key}")]


@keys_app.command("bootstrap")
def keys_bootstrap(config: Config = None, json_: Json = False) -> None:
    """Make the first admin key; works once."""
    from omni_grpc.cli.keys import run_bootstrap

    with told():
        run_bootstrap(config, as_json=json_)


@keys_app.command("create")
def keys_create(
    org: Org,
    *,
    team: Team = None,
    env: Environment = None,
    name: Annotated[str, typer.Option(help="The key's name for people.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="inference, billing, viewing, management, admin; repeat it. "
            "[default: inference, billing]"
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model that it may call, or provider/*; repeat it. [default: all]"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends, such as 2030-12-31. [default: never]")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make an API key; its secret is shown this once."""
    from omni_grpc.cli.keys import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(
            Place(config, data_dir),
            parent_of(org, team, env),
            name,
            scope or [],
            model or [],
            expires,
            as_json=json_,
        )


@keys_app.command("list")
def keys_list(
    org: Org,
    team: Team = None,
    env: Environment = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List the keys in an organisation, a team or an environment."""
    from omni_grpc.cli.keys import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), parent_of(org, team, env), as_json=json_)


@keys_app.command("get")
def keys_get(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a key, without its secret."""
    from omni_grpc.cli.keys import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), name, as_json=json_)


@keys_app.command("rotate")
def keys_rotate(
    name: Name,
    overlap_hours: Annotated[
        float | None,
        typer.Option(min=0, max=720, help="How long the old key goes on. [default: 24]"),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make a key that may do the same; the old one ends after a while."""
    from omni_grpc.cli.keys import run_rotate
    from omni_grpc.cli.working import Place

    with told():
        run_rotate(Place(config, data_dir), name, overlap_hours, as_json=json_)


@keys_app.command("revoke")
def keys_revoke(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Revoke a key; every worker refuses it within 5 seconds."""
    from omni_grpc.cli.keys import run_revoke
    from omni_grpc.cli.working import Place

    with told():
        run_revoke(Place(config, data_dir), name, as_json=json_)
