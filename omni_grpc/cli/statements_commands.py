"""The commands of `omni-grpc statements` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org

statements_app = typer.Typer(
    help="Accounts' months and receipts, straight on the database.", no_args_is_help=True
)

Month = Annotated[str, typer.Argument(help="YYYY-MM, in UTC.")]


@statements_app.command("show")
def statements_show(
    month: Month, org: Org, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show what an organisation had, bought and used in a month."""
    from omni_grpc.cli.statements import run_show
    from omni_grpc.cli.working import Place

    with told():
        run_show(Place(config, data_dir), org, month, as_json=json_)


@statements_app.command("export")
def statements_export(
    month: Month,
    org: Org,
    out: Annotated[
        Path | None, typer.Option(help="A file that does not exist yet. [default: standard output]")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write a month as CSV: a row a day, model and key, and a row for each other entry."""
    from omni_grpc.cli.statements import run_export
    from omni_grpc.cli.working import Place

    with told():
        run_export(Place(config, data_dir), org, month, out)


@statements_app.command("receipt")
def statements_receipt(
    name: Annotated[str, typer.Argument(help="As topups list shows it.")],
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show the receipt of a top-up that was paid."""
    from omni_grpc.cli.statements import run_receipt
    from omni_grpc.cli.working import Place

    with told():
        run_receipt(Place(config, data_dir), name, as_json=json_)
