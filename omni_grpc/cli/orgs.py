"""`omni-grpc orgs`: organisations, straight on the database."""

from omni_grpc.administration.orgs import CreateOrg, GetOrg, ListOrgs, OrgChange, UpdateOrg
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, amount_of, console, print_json

COLUMNS = ("name", "display_name", "account", "create_time", "suspended", "low_balance_nanousd")


def run_create(place: Place, org: str, name: str, *, as_json: bool) -> None:
    """Makes an organisation."""
    asked = CreateOrg(org_id=org, display_name=name)
    made = administering.run(place, "omni-grpc orgs create", "CreateOrg", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} with the account {made.account}.")


def run_list(place: Place, *, as_json: bool) -> None:
    """Lists all organisations."""
    orgs = administering.rows(place, "omni-grpc orgs list", "ListOrgs", ListOrgs())
    administering.show_all(orgs, COLUMNS, as_json=as_json)


def run_get(place: Place, org: str, *, as_json: bool) -> None:
    """Shows an organisation."""
    found = administering.run(place, "omni-grpc orgs get", "GetOrg", GetOrg(name=f"orgs/{org}"))
    administering.show(found, as_json=as_json)


def run_update(
    place: Place,
    org: str,
    name: str | None,
    low_balance: str | None,
    suspended: bool | None,
    *,
    as_json: bool,
) -> None:
    """Changes what is given; a low balance of 0 is none."""
    mask = []
    if name is not None:
        mask.append("display_name")
    if low_balance is not None:
        mask.append("low_balance_nanousd")
    if suspended is not None:
        mask.append("suspended")
    if not mask:
        raise CommandError("Nothing to change: give --name, --low-balance, --suspend or --resume.")
    change = OrgChange(
        name=f"orgs/{org}",
        display_name=name or "",
        low_balance_nanousd=amount_of("--low-balance", low_balance, low=0) or None
        if low_balance is not None
        else None,
        suspended=suspended,
    )
    changed = administering.run(
        place, "omni-grpc orgs update", "UpdateOrg", UpdateOrg(org=change, update_mask=tuple(mask))
    )
    administering.show(changed, as_json=as_json)
