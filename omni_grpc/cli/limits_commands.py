"""The commands of `omni-grpc limits` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Environment, Json, Key, Org, Team, subject_of

limits_app = typer.Typer(help="Rate limits, straight on the database.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="As limits list shows it: {parent}/rateLimits/{id}")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that it is for, or provider/*; repeat it."),
]
Requests = Annotated[int | None, typer.Option(min=0, help="Calls in any minute; 0: no limit.")]
Tokens = Annotated[int | None, typer.Option(min=0, help="Tokens in any minute; 0: no limit.")]
Concurrent = Annotated[int | None, typer.Option(min=0, help="Calls at once; 0: no limit.")]


@limits_app.command("create")
def limits_create(
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="The limit's id.")],
    org: Org,
    *,
    team: Team = None,
    env: Environment = None,
    key: Key = None,
    model: Models = None,
    requests: Requests = None,
    tokens: Tokens = None,
    concurrent: Concurrent = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Limit an organisation, a team, an environment or a key."""
    from omni_grpc.cli.limits import Given, run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(
            Place(config, data_dir),
            subject_of(org, team, env, key),
            limit,
            Given(model, requests, tokens, concurrent),
            as_json=json_,
        )


@limits_app.command("list")
def limits_list(
    org: Org,
    team: Team = None,
    env: Environment = None,
    key: Key = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List the limits of an organisation, a team, an environment or a key: its own alone."""
    from omni_grpc.cli.limits import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), subject_of(org, team, env, key), as_json=json_)


@limits_app.command("get")
def limits_get(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a limit."""
    from omni_grpc.cli.limits import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), name, as_json=json_)


@limits_app.command("update")
def limits_update(
    name: Name,
    *,
    model: Models = None,
    requests: Requests = None,
    tokens: Tokens = None,
    concurrent: Concurrent = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change a limit: what is not named stays."""
    from omni_grpc.cli.limits import Given, run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(
            Place(config, data_dir),
            name,
            Given(model, requests, tokens, concurrent),
            as_json=json_,
        )


@limits_app.command("delete")
def limits_delete(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete a limit."""
    from omni_grpc.cli.limits import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), name, as_json=json_)
