"""The commands of `omni-grpc budgets` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Environment, Json, Key, Org, Team, subject_of

budgets_app = typer.Typer(
    help="What may be spent in a day, a week, a month or in all; straight on the database.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="As budgets list shows it: {parent}/budgets/{id}")]
Usd = Annotated[str | None, typer.Option(help="The limit in dollars, as 12.50.")]
Tokens = Annotated[
    int | None, typer.Option(min=0, help="The limit in tokens of prompts and answers.")
]
Title = Annotated[str | None, typer.Option(help="Its name for people.")]


@budgets_app.command("create")
def budgets_create(
    budget: Annotated[str, typer.Argument(metavar="BUDGET", help="The budget's id.")],
    org: Org,
    period: Annotated[str, typer.Option(help="day, week, month or total.")],
    *,
    usd: Usd = None,
    tokens: Tokens = None,
    zone: Annotated[
        str, typer.Option("--time-zone", help="In which days begin and end, as Europe/Berlin.")
    ] = "UTC",
    name: Title = None,
    team: Team = None,
    env: Environment = None,
    key: Key = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give an organisation, a team, an environment or a key a budget."""
    from omni_grpc.cli.budgets import Given, run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(
            Place(config, data_dir),
            subject_of(org, team, env, key),
            budget,
            period,
            zone,
            Given(usd, tokens, name),
            as_json=json_,
        )


@budgets_app.command("list")
def budgets_list(
    org: Org,
    team: Team = None,
    env: Environment = None,
    key: Key = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show the budgets of an organisation, a team, an environment or a key: its own alone."""
    from omni_grpc.cli.budgets import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), subject_of(org, team, env, key), as_json=json_)


@budgets_app.command("get")
def budgets_get(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a budget."""
    from omni_grpc.cli.budgets import run_get
    from omni_grpc.cli.working import Place

    with told():
        run_get(Place(config, data_dir), name, as_json=json_)


@budgets_app.command("update")
def budgets_update(
    budget: Name,
    *,
    usd: Usd = None,
    tokens: Tokens = None,
    name: Title = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change a budget: what is not named stays. A new limit holds at once."""
    from omni_grpc.cli.budgets import Given, run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), budget, Given(usd, tokens, name), as_json=json_)


@budgets_app.command("delete")
def budgets_delete(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete a budget: it limits nothing any more."""
    from omni_grpc.cli.budgets import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), name, as_json=json_)
