"""The commands of `omni-grpc catalog` and their options."""

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
