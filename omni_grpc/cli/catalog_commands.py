"""The commands of `omni-grpc catalog` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

catalog_app = typer.Typer(help="Models and prices, straight on the database.", no_args_is_help=True)


@catalog_app.command("seed")
def catalog_seed(config: Config = None, data_dir: DataDir = None, json_: Json = False) -> None:
    """Bring the catalog to the facts that this release's packages carry; needs no network."""
    from omni_grpc.cli.operate import run_catalog_seed

    with told():
        run_catalog_seed(config, data_dir, as_json=json_)


@catalog_app.command("list")
def catalog_list(
    filter_: Annotated[
        str, typer.Option("--filter", help='Such as: provider = "openai" AND tools = true')
    ] = "callable = true",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List models and their prices."""
    from omni_grpc.cli.operate import run_catalog_list

    with told():
        run_catalog_list(config, data_dir, filter_, limit, as_json=json_)
