"""Gives tenants rate limits."""

import json
import uuid
from typing import Any

from gateway import Gateway, HttpConnection, Tenant


def limit(gateway: Gateway, tenant: Tenant, part: str = "", **fields: Any) -> str:
    """Gives a tenant's organisation, or a part of it, a limit; its name.

    It holds at once where no worker knows the tenant's key yet.
    """
    with HttpConnection(gateway, gateway.admin_key) as admin:
        body = {"rate_limit_id": f"r-{uuid.uuid4().hex[:8]}", "rate_limit": fields}
        made = admin.ask(f"/v1/admin/orgs/{tenant.org}{part}/rateLimits", json.dumps(body).encode())
    assert made.status == 200, made.body
    return str(made.json["name"])
