"""What is said of a name that stands for nothing in the catalog."""

from collections.abc import Sequence

from omni_grpc.catalog.model import GLOBAL_SCOPE, RESERVED_PREFIX
from omni_grpc.catalog.snapshot import CatalogSnapshot


def absence(snapshot: CatalogSnapshot, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> str:
    """The message of an error: what there is not, what may have been meant, where to look.

    Args:
        snapshot: where the name was looked for.
        name: of a model, an offer or an alias.
        scopes: whose aliases may have been meant, the nearest first.
    """
    if name.startswith(RESERVED_PREFIX):
        return (
            f"{name!r} is no model of the catalog: names that begin with {RESERVED_PREFIX} are the "
            "router's, which chooses a model for each request. ExplainRoute and "
            "POST /v1/router/debug show which one, and why."
        )
    near = snapshot.suggestions(name, scopes=scopes)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return (
        f"{name!r} names no model and no alias.{hint} ListModels, ListAliases and "
        "`omni-grpc catalog list --filter ''` show what there is."
    )
