"""Other names for models, of everybody or of one organisation."""

from collections.abc import Sequence
from dataclasses import dataclass

from omni.catalog.v1 import catalog_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, listed


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for models. `scope` is `global` or `orgs/{org}`; targets are tried in order."""

    name: str
    targets: tuple[str, ...]
    scope: str = "global"


def list_aliases(
    scope: str, page_size: int | None, page_token: str
) -> Call[pb.ListAliasesRequest, pb.ListAliasesResponse, Page[Alias]]:
    """ListAliases, one page."""
    return Call(
        request=pb.ListAliasesRequest(scope=scope, page_size=page_size, page_token=page_token),
        parse=lambda response: Page(
            [alias_of(raw) for raw in response.aliases], response.next_page_token
        ),
        kind=Kind.READ,
    )


def set_alias(
    name: str, targets: Sequence[str], scope: str
) -> Call[pb.SetAliasRequest, pb.SetAliasResponse, Alias]:
    """SetAlias.

    Raises:
        TypeError: the targets are one text.
    """
    alias = pb.Alias(name=name, scope=scope, targets=listed(targets, "targets"))
    return Call(
        request=pb.SetAliasRequest(alias=alias),
        parse=lambda response: alias_of(response.alias),
        kind=Kind.WRITE,
    )


def delete_alias(
    name: str, scope: str
) -> Call[pb.DeleteAliasRequest, pb.DeleteAliasResponse, None]:
    """DeleteAlias."""
    return Call(
        request=pb.DeleteAliasRequest(name=name, scope=scope),
        parse=lambda _: None,
        kind=Kind.WRITE,
    )


def alias_of(raw: pb.Alias) -> Alias:
    """Reads the contract's message."""
    return Alias(raw.name, tuple(raw.targets), raw.scope)
