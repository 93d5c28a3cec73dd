"""`omni-grpc limits`: rate limits, straight on the database."""

from typing import NamedTuple

from omni_grpc.administration.rate_limits import (
    CreateRateLimit,
    DeleteRateLimit,
    GetRateLimit,
    ListRateLimits,
    RateLimitChange,
    RateLimitGiven,
    UpdateRateLimit,
)
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, console, print_json

COLUMNS = ("name", "models", "requests_per_minute", "tokens_per_minute", "concurrent_count")


class Given(NamedTuple):
    """What the options say; None was not said, and 0 is no limit."""

    models: list[str] | None
    requests: int | None
    tokens: int | None
    concurrent: int | None


def run_create(place: Place, parent: str, limit: str, given: Given, *, as_json: bool) -> None:
    """Makes a rate limit."""
    if not (given.requests or given.tokens or given.concurrent):
        raise CommandError("Say what it limits: --requests, --tokens or --concurrent.")
    asked = CreateRateLimit(
        parent=parent,
        rate_limit_id=limit,
        rate_limit=RateLimitGiven(
            models=tuple(given.models or ()),
            requests_per_minute=given.requests or None,
            tokens_per_minute=given.tokens or None,
            concurrent_count=given.concurrent or None,
        ),
    )
    made = administering.run(place, "omni-grpc limits create", "CreateRateLimit", asked)
    if as_json:
        print_json(made)
    else:
        console.print(f"{made.name} holds in every worker within 5 seconds.")


def run_list(place: Place, parent: str, *, as_json: bool) -> None:
    """Lists the rate limits of one parent."""
    asked = ListRateLimits(parent=parent)
    rows = administering.rows(place, "omni-grpc limits list", "ListRateLimits", asked)
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_get(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a rate limit."""
    asked = GetRateLimit(name=name)
    found = administering.run(place, "omni-grpc limits get", "GetRateLimit", asked)
    administering.show(found, as_json=as_json)


def run_update(place: Place, name: str, given: Given, *, as_json: bool) -> None:
    """Changes what the options name."""
    said = {
        "models": None if given.models is None else tuple(given.models),
        "requests_per_minute": given.requests,
        "tokens_per_minute": given.tokens,
        "concurrent_count": given.concurrent,
    }
    mask = tuple(field for field, value in said.items() if value is not None)
    if not mask:
        raise CommandError("Say what shall change: --model, --requests, --tokens or --concurrent.")
    asked = UpdateRateLimit(
        rate_limit=RateLimitChange(
            name=name,
            models=tuple(given.models or ()),
            requests_per_minute=given.requests or None,
            tokens_per_minute=given.tokens or None,
            concurrent_count=given.concurrent or None,
        ),
        update_mask=mask,
    )
    changed = administering.run(place, "omni-grpc limits update", "UpdateRateLimit", asked)
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Takes a rate limit away."""
    asked = DeleteRateLimit(name=name)
    administering.run(place, "omni-grpc limits delete", "DeleteRateLimit", asked)
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone; no worker heeds it after 5 seconds.")
