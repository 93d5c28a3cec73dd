"""The commands of `omni-grpc catalog` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.catalog_model_commands import add_model_commands
from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

catalog_app = typer.Typer(help="Models and prices, straight on the database.", no_args_is_help=True)
add_model_commands(catalog_app)


@catalog_app.command("seed")
def catalog_seed(config: Config = None, data_dir: DataDir = None, json_: Json = False) -> None:
    """Bring the catalog to the facts that this release's packages carry; needs no network."""
    from omni_grpc.cli.operate import run_catalog_seed

    with told():
        run_catalog_seed(config, data_dir, as_json=json_)


@catalog_app.command("sync")
def catalog_sync(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, or NAME=LOCATION with an https URL or a file; repeat it. "
            "[default: OMNI_CATALOG_SOURCES]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; write nothing.")
    ] = False,
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Take also prices that move far and sources that shrank."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows of a table.")] = 50,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Ask the sources what they say now, and bring the catalog to it.

    Exits 1 where a source failed (the others count), 3 where something waits for --accept.
    """
    from omni_grpc.cli.catalog_sync import run_catalog_sync
    from omni_grpc.cli.working import Place

    with told():
        run_catalog_sync(
            Place(config, data_dir),
            source or [],
            dry_run=dry_run,
            accept=accept,
            limit=limit,
            as_json=json_,
        )


@catalog_app.command("validate")
def catalog_validate(
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1000, help="By how many percent rates may differ from another's."),
    ] = 1.0,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Look for what needs a person; exits 1 if anything does.

    That is a price that waits to be accepted, and a source that fails or has long said nothing.
    """
    from omni_grpc.cli.catalog_sync import run_catalog_validate
    from omni_grpc.cli.working import Place

    with told():
        run_catalog_validate(Place(config, data_dir), tolerance, as_json=json_)


@catalog_app.command("diff")
def catalog_diff(
    model: Annotated[
        str | None, typer.Argument(help="One offer, PROVIDER/MODEL: what each source says of it.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows of a table.")] = 50,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show where sources differ from what the catalog holds."""
    from omni_grpc.cli.catalog_sync import run_catalog_diff
    from omni_grpc.cli.working import Place

    with told():
        run_catalog_diff(Place(config, data_dir), model, limit, as_json=json_)
