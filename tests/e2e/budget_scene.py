"""Budgets as an operator makes and sees them, over REST."""

import json
import uuid
from typing import Any

from gateway import Gateway, HttpAnswer, HttpConnection


def asked(gateway: Gateway, path: str, body: dict[str, Any], *, method: str = "POST") -> HttpAnswer:
    """What the operator's key is answered."""
    with HttpConnection(gateway, gateway.admin_key) as admin:
        return admin.ask(f"/v1/admin/{path}", json.dumps(body).encode(), method=method)


def made(gateway: Gateway, path: str, body: dict[str, Any]) -> Any:
    answer = asked(gateway, path, body)
    assert answer.status == 200, answer.body
    return answer.json


def budget(gateway: Gateway, parent: str, **fields: Any) -> str:
    """A new budget's name."""
    body = {"budget_id": f"b-{uuid.uuid4().hex[:8]}", "budget": fields}
    return str(made(gateway, f"{parent}/budgets", body)["name"])


def got(gateway: Gateway, name: str) -> Any:
    with HttpConnection(gateway, gateway.admin_key) as admin:
        return admin.ask(f"/v1/admin/{name}").json


def settled(gateway: Gateway, name: str) -> Any:
    """A budget of which no call holds anything any more; None before that."""
    shown = got(gateway, name)
    return None if int(shown.get("held", 0)) else shown
