"""`omni-grpc webhooks`: who is told what happens, straight on the database."""

from omni_grpc.administration.webhook_forms import (
    CreateWebhook,
    DeleteWebhook,
    GetWebhook,
    ListDeliveries,
    ListWebhooks,
    ReplayDelivery,
    UpdateWebhook,
    WebhookChange,
    WebhookGiven,
)
from omni_grpc.cli import administering
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import Place, console, plain, print_json
from omni_grpc.notices import DeliveryState

COLUMNS = ("name", "url", "events", "active")
TOOL = "omni-grpc webhooks"


def run_create(
    place: Place, org: str, webhook: str, url: str, events: list[str], *, as_json: bool
) -> None:
    """Makes a webhook, and shows its secret this once."""
    asked = CreateWebhook(
        parent=f"orgs/{org}",
        webhook_id=webhook,
        webhook=WebhookGiven(url=url, events=tuple(events)),
    )
    made = administering.run(place, f"{TOOL} create", "CreateWebhook", asked)
    if as_json:
        print_json(made)
        return
    console.print(f"{made.webhook.name} is told {', '.join(made.webhook.events) or 'everything'}.")
    console.print(f"Its signing secret, shown this once: {made.secret}", soft_wrap=True)


def run_list(place: Place, org: str, *, as_json: bool) -> None:
    """Lists an organisation's webhooks."""
    asked = ListWebhooks(parent=f"orgs/{org}")
    rows = administering.rows(place, f"{TOOL} list", "ListWebhooks", asked)
    administering.show_all(rows, COLUMNS, as_json=as_json)


def run_show(place: Place, name: str, *, as_json: bool) -> None:
    """Shows a webhook."""
    found = administering.run(place, f"{TOOL} show", "GetWebhook", GetWebhook(name=name))
    administering.show(found, as_json=as_json)


def run_update(
    place: Place,
    name: str,
    url: str | None,
    events: list[str] | None,
    active: bool | None,
    *,
    as_json: bool,
) -> None:
    """Changes what the options name."""
    said = {"url": url, "events": events, "active": active}
    mask = tuple(field for field, value in said.items() if value is not None)
    if not mask:
        raise CommandError("Say what shall change: --url, --event, --on or --off.")
    change = WebhookChange(
        name=name, url=url or "", events=tuple(events or ()), active=active is not False
    )
    asked = UpdateWebhook(webhook=change, update_mask=mask)
    changed = administering.run(place, f"{TOOL} update", "UpdateWebhook", asked)
    administering.show(changed, as_json=as_json)


def run_delete(place: Place, name: str, *, as_json: bool) -> None:
    """Deletes a webhook."""
    administering.run(place, f"{TOOL} delete", "DeleteWebhook", DeleteWebhook(name=name))
    if as_json:
        print_json({"deleted": name})
    else:
        console.print(f"{name} is gone, with what was not delivered yet.")


def run_deliveries(
    place: Place, name: str, state: DeliveryState | None, limit: int, *, as_json: bool
) -> None:
    """Lists a webhook's deliveries, newest first; not as a table, for which names are too long."""
    asked = ListDeliveries(parent=name, state=state, page_size=limit)
    page = administering.run(place, f"{TOOL} deliveries", "ListWebhookDeliveries", asked)
    if as_json:
        print_json(list(page.items))
        return
    for one in page.items:
        tries = f"{one.attempt_count} attempt{'' if one.attempt_count == 1 else 's'}"
        facts = (one.event, one.state.value, tries, administering.text_of(one.create_time))
        console.print(plain(one.name), soft_wrap=True)
        console.print(plain(f"  {' · '.join(facts)}"), soft_wrap=True)
        if one.last_error:
            console.print(plain(f"  {one.last_error}"), soft_wrap=True)
    if not page.items:
        console.print("No deliveries.")


def run_replay(place: Place, name: str, *, as_json: bool) -> None:
    """Sends a delivery anew."""
    asked = ReplayDelivery(name=name)
    found = administering.run(place, f"{TOOL} replay", "ReplayWebhookDelivery", asked)
    if as_json:
        print_json(found)
    else:
        console.print(f"{found.name} is sent anew by a running server.")
