"""`omni-grpc teams`: teams, straight on the database."""

from omni_grpc.administration.teams import (
    CreateTeam,
    DeleteTeam,
    GetTeam,
    ListTeams,
    TeamChange,
    UpdateTeam,
)
from omni_grpc.cli import administering
from omni_grpc.cli.working import Place, console, print_json

COLUMNS = ("name", "display_name", "create_time")


def run_create(place: Place, parent: str, team: str, name: str, *, as_json: bool) -> None:
    """Makes a team."""
    asked = CreateTeam(parent=parent, team_id=team, display_name=name)
    made = administering.run(place, "omni-grpc teams create", "CreateTeam", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} is there.")


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Lists all teams."""
    rows = administering.rows(place, "omni-grpc teams list", "ListTeams", ListTeams(parent=parent))
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a team."""
    found = administering.run(place, "omni-grpc teams get", "GetTeam", GetTeam(name=name))
    administering.show(found, as_json=as_json)


def run_update(place: Place, name: str, display_name: str, *, as_json: bool) -> None:
    """Gives a team another name for people."""
    asked = UpdateTeam(team=TeamChange(name=name, display_name=display_name))
    changed = administering.run(place, "omni-grpc teams update", "UpdateTeam", asked)
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Takes a team away."""
    administering.run(place, "omni-grpc teams delete", "DeleteTeam", DeleteTeam(name=name))
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone, with its limits, budgets and credentials.")
