"""What is said of a resource that does not exist, or is not the caller's.

It names what was looked for, one that resembles it where its caller may see those, and where those
that exist are listed. Whoever lists nothing to the caller must not pass names: what is another's
answers as what does not exist.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from omni_grpc.core.errors import NotFound
from omni_grpc.core.likeness import did_you_mean


class Listing(NamedTuple):
    """How the resources of a collection are listed: by which RPC, route and command."""

    rpc: str
    route: str = "/v1/admin/{parent}/{collection}"
    """Empty where REST has none."""
    command: str = ""


LISTINGS: Final = {
    "orgs": Listing("ListOrgs", "/v1/admin/orgs", "orgs list"),
    "teams": Listing("ListTeams", command="teams list"),
    "environments": Listing("ListEnvironments", command="envs list"),
    "users": Listing("ListUsers", command="users list"),
    "apiKeys": Listing("ListApiKeys", command="keys list"),
    "rateLimits": Listing("ListRateLimits", command="limits list"),
    "budgets": Listing("ListBudgets", command="budgets list"),
    "providerCredentials": Listing("ListProviderCredentials", command="credentials list"),
    "webhooks": Listing("ListWebhooks", command="webhooks list"),
    "deliveries": Listing("ListWebhookDeliveries", command="webhooks deliveries"),
    "routingPolicies": Listing("ListRoutingPolicies", "", "routing policies list"),
    "experiments": Listing("ListExperiments", "", "routing experiments list"),
}
"""By the second last part of a resource's name."""

_OPTIONS: Final = {
    "orgs": "--org",
    "teams": "--team",
    "environments": "--env",
    "apiKeys": "--key",
}
"""How commands name a parent, by the parts of its name."""


def missing(name: str, field: str | None = None, near: Iterable[str] = ()) -> NotFound:
    """The error of what is not there.

    Args:
        name: of the resource, as `orgs/{org}/teams/{team}`.
        field: the request's field that names it.
        near: names of others of its collection that the caller may see; the likest is told.
    """
    before, _, _ = name.rpartition("/")
    parent, _, collection = before.rpartition("/")
    start = f"{before}/"
    known = (one.removeprefix(start) for one in near if one.startswith(start))
    hint = did_you_mean(name.removeprefix(start), known)
    listing = LISTINGS.get(collection)
    where = "" if listing is None else f" {_where(listing, parent, collection)}"
    error = NotFound(f"There is no `{name}`.{hint}{where}", field=field)
    error.resource = name
    return error


def no_account(name: str, field: str | None = None) -> NotFound:
    """The error of an account that is not there, or not the caller's."""
    return NotFound(
        f"There is no account {name!r}. An account has the id of its organisation, which ListOrgs, "
        "GET /v1/admin/orgs and `omni-grpc orgs list` show; the empty name is your own account.",
        field=field,
    )


def no_call(call_id: object) -> NotFound:
    """The error of a call that is not there, or not the caller's."""
    return NotFound(
        f"There is no usage record of a call {call_id}. A call's id is the `x-request-id` of its "
        "answer; ListUsageRecords lists the calls of an account."
    )


def no_top_up(top_up_id: object, field: str | None = None) -> NotFound:
    """The error of a top-up that is not there, or not the account's."""
    return NotFound(
        f"There is no top-up {top_up_id}. ListTopUps, GET /v1/top_ups and `omni-grpc topups list "
        "--org ORG` show what there is.",
        field=field,
    )


def _where(listing: Listing, parent: str, collection: str) -> str:
    route = listing.route.format(parent=parent, collection=collection)
    places = [listing.rpc, *([f"GET {route}"] if route else [])]
    command = f"omni-grpc {listing.command}{_options(parent, collection)}"
    return f"{', '.join(places)} and `{command}` show what there is."


def _options(parent: str, collection: str) -> str:
    if collection == "deliveries":
        return f" {parent}"
    if collection in ("routingPolicies", "experiments"):
        return f" --scope {parent}"
    parts = parent.split("/")
    named = zip(parts[::2], parts[1::2], strict=False)
    return "".join(f" {_OPTIONS[kind]} {one}" for kind, one in named if kind in _OPTIONS)
