"""`omni-grpc envs`: environments, straight on the database."""

from omni_grpc.administration.environments import (
    CreateEnvironment,
    DeleteEnvironment,
    EnvironmentChange,
    GetEnvironment,
    ListEnvironments,
    UpdateEnvironment,
)
from omni_grpc.cli import administering
from omni_grpc.cli.working import Place, console, print_json

COLUMNS = ("name", "display_name", "create_time")


def run_create(place: Place, parent: str, environment: str, name: str, *, as_json: bool) -> None:
    """Makes an environment."""
    asked = CreateEnvironment(parent=parent, environment_id=environment, display_name=name)
    made = administering.run(place, "omni-grpc envs create", "CreateEnvironment", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} is there.")


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Lists all environments."""
    rows = administering.rows(
        place, "omni-grpc envs list", "ListEnvironments", ListEnvironments(parent=parent)
    )
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows an environment."""
    found = administering.run(
        place, "omni-grpc envs get", "GetEnvironment", GetEnvironment(name=name)
    )
    administering.show(found, as_json=as_json)


def run_update(place: Place, name: str, display_name: str, *, as_json: bool) -> None:
    """Gives an environment another name for people."""
    asked = UpdateEnvironment(environment=EnvironmentChange(name=name, display_name=display_name))
    changed = administering.run(place, "omni-grpc envs update", "UpdateEnvironment", asked)
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Takes an environment away."""
    administering.run(
        place, "omni-grpc envs delete", "DeleteEnvironment", DeleteEnvironment(name=name)
    )
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone, with its limits, budgets and credentials.")
