"""`omni-grpc users`: who may sign in to organisations, straight on the database."""

from omni_grpc.administration.users import (
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    UpdateUser,
    UserChange,
)
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, console, print_json
from omni_grpc.identity import Role

COLUMNS = ("name", "role", "email", "display_name", "issuer", "subject", "create_time")


def run_create(
    place: Place,
    org: str,
    issuer: str,
    subject: str,
    email: str,
    name: str,
    role: str,
    *,
    as_json: bool,
) -> None:
    """Lets somebody in."""
    asked = CreateUser(
        parent=f"orgs/{org}",
        issuer=issuer,
        subject=subject,
        email=email,
        display_name=name,
        role=_role(role),
    )
    made = administering.run(place, "omni-grpc users create", "CreateUser", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} may sign in ({made.role}).")


def run_list(place: Place, org: str, *, as_json: bool) -> None:
    """Lists all users of an organisation."""
    users = administering.rows(
        place, "omni-grpc users list", "ListUsers", ListUsers(parent=f"orgs/{org}")
    )
    administering.show_all(users, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a user."""
    found = administering.run(place, "omni-grpc users get", "GetUser", GetUser(name=name))
    administering.show(found, as_json=as_json)


def run_update(
    place: Place,
    name: str,
    email: str | None,
    display_name: str | None,
    role: str | None,
    *,
    as_json: bool,
) -> None:
    """Changes what is given."""
    given = {"email": email, "display_name": display_name, "role": role}
    mask = tuple(field for field, value in given.items() if value is not None)
    if not mask:
        raise CommandError("Nothing to change: give --email, --name or --role.")
    change = UserChange(
        name=name,
        email=email or "",
        display_name=display_name or "",
        role=None if role is None else _role(role),
    )
    changed = administering.run(
        place, "omni-grpc users update", "UpdateUser", UpdateUser(user=change, update_mask=mask)
    )
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Takes a user out."""
    administering.run(place, "omni-grpc users delete", "DeleteUser", DeleteUser(name=name))
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is out; its sessions end everywhere within 5 seconds.")


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise CommandError(f"--role must be one of {', '.join(Role)}.") from None
