"""The commands of `omni-grpc routing` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

routing_app = typer.Typer(
    help="Routing policies and experiments, straight on the database.", no_args_is_help=True
)
policies_app = typer.Typer(help="How requests are routed, by scope.", no_args_is_help=True)
experiments_app = typer.Typer(help="A/B experiments and their reports.", no_args_is_help=True)
routing_app.add_typer(policies_app, name="policies")
routing_app.add_typer(experiments_app, name="experiments")

Scope = Annotated[
    str | None, typer.Option(help="Only of this scope: global, or orgs/{org}. [default: all]")
]
File = Annotated[
    str, typer.Argument(help="YAML or JSON as in policies.yaml; - reads standard input.")
]
PolicyName = Annotated[str, typer.Argument(help="{scope}/routingPolicies/{policy}")]
ExperimentName = Annotated[str, typer.Argument(help="{scope}/experiments/{experiment}")]


@policies_app.command("list")
def policies_list(
    scope: Scope = None, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """List policies, those of the policies file included."""
    from omni_grpc.cli.routing import run_policies_list
    from omni_grpc.cli.working import Place

    with told():
        run_policies_list(Place(config, data_dir), scope, as_json=json_)


@policies_app.command("set")
def policies_set(
    file: File, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Make the policies of a file, or replace those of the same names; nothing if one is wrong."""
    from omni_grpc.cli.routing import run_policies_set
    from omni_grpc.cli.working import Place

    with told():
        run_policies_set(Place(config, data_dir), file, as_json=json_)


@policies_app.command("delete")
def policies_delete(
    name: PolicyName, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete a policy; refused while something else needs it."""
    from omni_grpc.cli.routing import run_policies_delete
    from omni_grpc.cli.working import Place

    with told():
        run_policies_delete(Place(config, data_dir), name, as_json=json_)


@experiments_app.command("list")
def experiments_list(
    scope: Scope = None, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """List experiments, those of the policies file included."""
    from omni_grpc.cli.routing import run_experiments_list
    from omni_grpc.cli.working import Place

    with told():
        run_experiments_list(Place(config, data_dir), scope, as_json=json_)


@experiments_app.command("set")
def experiments_set(
    file: File, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Make the experiments of a file, or replace those of the same names; nothing if one is wrong.

    To end an experiment, give it an end_time.
    """
    from omni_grpc.cli.routing import run_experiments_set
    from omni_grpc.cli.working import Place

    with told():
        run_experiments_set(Place(config, data_dir), file, as_json=json_)


@experiments_app.command("delete")
def experiments_delete(
    name: ExperimentName, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Delete an experiment; its calls keep its name in their records."""
    from omni_grpc.cli.routing import run_experiments_delete
    from omni_grpc.cli.working import Place

    with told():
        run_experiments_delete(Place(config, data_dir), name, as_json=json_)


@experiments_app.command("report")
def experiments_report(
    name: ExperimentName, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show what an experiment found so far, with 95 % intervals over its units."""
    from omni_grpc.cli.routing import run_experiments_report
    from omni_grpc.cli.working import Place

    with told():
        run_experiments_report(Place(config, data_dir), name, as_json=json_)
