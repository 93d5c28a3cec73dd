"""The commands of `omni-grpc webhooks` and their options."""

from enum import StrEnum
from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org

webhooks_app = typer.Typer(
    help="Who is told what happens, straight on the database.", no_args_is_help=True
)

Name = Annotated[
    str, typer.Argument(help="As webhooks list shows it: orgs/{org}/webhooks/{webhook}")
]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="What it is told, such as balance.low; repeat it."),
]


class State(StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@webhooks_app.command("create")
def webhooks_create(
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id.")],
    url: Annotated[str, typer.Argument(help="Where to: an https URL of a public host.")],
    org: Org,
    event: Events = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Create a webhook, told of everything unless events are named; shows its secret once."""
    from omni_grpc.cli.webhooks import run_create
    from omni_grpc.cli.working import Place

    with told():
        run_create(Place(config, data_dir), org, webhook, url, event or [], as_json=json_)


@webhooks_app.command("list")
def webhooks_list(
    org: Org, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """List an organisation's webhooks."""
    from omni_grpc.cli.webhooks import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), org, as_json=json_)


@webhooks_app.command("show")
def webhooks_show(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show a webhook, without its secret."""
    from omni_grpc.cli.webhooks import run_show
    from omni_grpc.cli.working import Place

    with told():
        run_show(Place(config, data_dir), name, as_json=json_)


@webhooks_app.command("update")
def webhooks_update(
    name: Name,
    url: Annotated[str | None, typer.Option(help="Where to from now on.")] = None,
    event: Events = None,
    active: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether it is told at all.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Change a webhook: what is not named stays."""
    from omni_grpc.cli.webhooks import run_update
    from omni_grpc.cli.working import Place

    with told():
        run_update(Place(config, data_dir), name, url, event, active, as_json=json_)


@webhooks_app.command("delete")
def webhooks_delete(
    name: Name, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete a webhook with what was not delivered yet."""
    from omni_grpc.cli.webhooks import run_delete
    from omni_grpc.cli.working import Place

    with told():
        run_delete(Place(config, data_dir), name, as_json=json_)


@webhooks_app.command("deliveries")
def webhooks_deliveries(
    name: Name,
    state: Annotated[State | None, typer.Option(help="Only those that stand so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List what a webhook was told, newest first, and how that stands."""
    from omni_grpc.cli.webhooks import run_deliveries
    from omni_grpc.cli.working import Place
    from omni_grpc.notices import DeliveryState

    with told():
        wanted = None if state is None else DeliveryState(state.value)
        run_deliveries(Place(config, data_dir), name, wanted, limit, as_json=json_)


@webhooks_app.command("replay")
def webhooks_replay(
    name: Annotated[str, typer.Argument(help="As webhooks deliveries shows it.")],
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Send a delivery anew: one that was given up, or that arrived and got lost."""
    from omni_grpc.cli.webhooks import run_replay
    from omni_grpc.cli.working import Place

    with told():
        run_replay(Place(config, data_dir), name, as_json=json_)
