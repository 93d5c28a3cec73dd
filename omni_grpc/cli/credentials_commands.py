"""The commands of `omni-grpc credentials` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Environment, Json, Org, Team, parent_of

credentials_app = typer.Typer(
    help="Tenants' own credentials of providers, straight on the database.", no_args_is_help=True
)

Name = Annotated[
    str, typer.Argument(help="As credentials list shows it: {parent}/providerCredentials/{id}")
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--var", help="NAME=VALUE, or NAME to take it from the environment; repeat it."),
]
Weight = Annotated[int | None, typer.Option(min=0, help="Its share of the calls; 1 if not said.")]
Fee = Annotated[
    str | None,
    typer.Option(help="What calls cost, in percent of the price, as 5; none: the whole price."),
]
Active = Annotated[bool | None, typer.Option(help="Whether calls use it.")]


@credentials_app.command("create")
def credentials_create(
    credential: Annotated[str, typer.Argument(metavar="CREDENTIAL", help="The credential's id.")],
    org: Org,
    provider: Annotated[str, typer.Option(help="The provider's id, such as openai.")],
    *,
    team: Team = None,
    env: Environment = None,
    var: Variables = None,
    weight: Weight = None,
    fee_percent: Fee = None,
    active: Active = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Seal a credential. Its secret is asked for, or read from standard input."""
    from omni_grpc.cli.credentials import Given, run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(
            Place(config, data_dir),
            parent_of(org, team, env),
            credential,
            provider,
            Given(var, weight, fee_percent, active),
            as_json=json_,
        )


@credentials_app.command("list")
def credentials_list(
    org: Org,
    team: Team = None,
    env: Environment = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List the credentials of an organisation, a team or an environment: its own alone."""
    from omni_grpc.cli.credentials import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), parent_of(org, team, env), as_json=json_)


@credentials_app.command("get")
def credentials_get(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a credential, without its secret."""
    from omni_grpc.cli.credentials import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), name, as_json=json_)


@credentials_app.command("update")
def credentials_update(
    name: Name,
    *,
    secret: Annotated[
        bool, typer.Option("--secret", help="Ask for a new secret, or read it.")
    ] = False,
    var: Variables = None,
    weight: Weight = None,
    fee_percent: Fee = None,
    active: Active = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change a credential: what is not named stays."""
    from omni_grpc.cli.credentials import Given, run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(
            Place(config, data_dir),
            name,
            Given(var, weight, fee_percent, active),
            new_secret=secret,
            as_json=json_,
        )


@credentials_app.command("delete")
def credentials_delete(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete a credential."""
    from omni_grpc.cli.credentials import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), name, as_json=json_)


@credentials_app.command("rotate")
def credentials_rotate(
    config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Put all credentials under the current master key; exits 1 where some stay behind."""
    from omni_grpc.cli.credentials import run_rotate
    from omni_grpc.cli.working import Place

    with told():
        run_rotate(Place(config, data_dir), as_json=json_)
