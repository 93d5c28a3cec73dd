"""The commands of `omni-grpc usage` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

usage_app = typer.Typer(
    help="What was used, cost and saved, straight on the database.", invoke_without_command=True
)


@usage_app.callback()
def usage(
    context: typer.Context,
    *,
    org: Annotated[str | None, typer.Option(help="The organisation's id.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A day or a time, widened to whole hours; UTC unless it says otherwise. "
            "[default: 30 days ago; 24 hours for hours, 365 days for months]",
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Until before when. [default: now]")
    ] = None,
    bucket: Annotated[str, typer.Option(help="hour, day, month or whole.")] = "day",
    by: Annotated[
        list[str] | None,
        typer.Option(help="Keep apart by provider, model, task, key or team; may be repeated."),
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="Whose days and months, such as Europe/Berlin.")
    ] = "UTC",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show what an organisation used, cost and saved."""
    if context.invoked_subcommand is not None:
        return
    from omni_grpc.cli.failures import CommandError
    from omni_grpc.cli.usage import run_usage
    from omni_grpc.cli.working import Place

    with told():
        if org is None:
            raise CommandError("Name the organisation: --org ID.")
        run_usage(
            Place(config, data_dir), org, start, end, bucket, by or (), time_zone, as_json=json_
        )


@usage_app.command("rebuild")
def usage_rebuild(config: Config = None, data_dir: DataDir = None, json_: Json = False) -> None:
    """Count all usage anew from the ledger, beside running servers."""
    from omni_grpc.cli.usage import run_usage_rebuild
    from omni_grpc.cli.working import Place

    with told():
        run_usage_rebuild(Place(config, data_dir), as_json=json_)
