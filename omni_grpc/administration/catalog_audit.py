"""What writes a change of the catalog into the audit log, in the transaction that makes it."""

import msgspec

from omni_grpc.audit import Actor, Change, append, log_of
from omni_grpc.catalog import Audit
from omni_grpc.storage import Connection


def catalog_audit(actor: Actor, action: str, resource: str, org: str = "") -> Audit:
    """The `audit` of a change that `actor` asks for.

    Args:
        actor: who.
        action: an RPC's name.
        resource: what is changed.
        org: whose log has it; the operator's if empty.
    """

    async def audit(
        connection: Connection, old: msgspec.Struct | None, new: msgspec.Struct | None
    ) -> None:
        change = Change(
            org_id=await log_of(connection, org),
            action=action,
            resource=resource,
            old=old,
            new=new,
        )
        await append(connection, actor, change)

    return audit


def alias_audit(actor: Actor, action: str, scope: str, name: str) -> Audit:
    """As `catalog_audit`, of an alias: in the log of whose calls it is for."""
    org = scope.split("/")[1] if scope.startswith("orgs/") else ""
    return catalog_audit(actor, action, f"{scope}/aliases/{name}", org)


def model_audit(actor: Actor, offer_id: str) -> Audit:
    """As `catalog_audit`, of what is said of an offer, `provider/model`."""
    provider, _, model = offer_id.partition("/")
    return catalog_audit(actor, "UpdateModel", f"providers/{provider}/models/{model}")


def sync_audit(actor: Actor) -> Audit:
    """As `catalog_audit`, of a sync."""
    return catalog_audit(actor, "SyncCatalog", "catalog")
