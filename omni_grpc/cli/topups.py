"""`omni-grpc topups list` and `show`: top-ups, straight on the database."""

from omni_grpc.administration.top_ups import GetTopUp, ListTopUps
from omni_grpc.cli import administering
from omni_grpc.cli.working import Place

COLUMNS = ("name", "state", "method", "amount_nanousd", "credited_nanousd", "message")


def run_list(place: Place, org: str, *, as_json: bool) -> None:
    """Lists the top-ups of an organisation's account."""
    asked = ListTopUps(parent=f"accounts/{org}")
    rows = administering.rows(place, "omni-grpc topups list", "ListTopUps", asked)
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_show(place: Place, name: str, *, as_json: bool) -> None:
    """Shows one."""
    asked = GetTopUp(name=name)
    found = administering.run(place, "omni-grpc topups show", "GetTopUp", asked)
    administering.show(found, as_json=as_json)
