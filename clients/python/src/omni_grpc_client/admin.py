"""Organisations and their API keys. A key's secret is in one answer and never in a repr."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, resource, stamp_of, time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """A tenant: `name` is `orgs/{org}`, `account` is `accounts/{account}`."""

    name: str
    display_name: str
    account: str
    create_time: datetime | None
    raw: pb.Org = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret.

    Attributes:
        name: `orgs/{org}/apiKeys/{api_key}`; the last segment is the key's public prefix.
        display_name: its name for people.
        scopes: of `inference`, `billing`, `viewing`, `management`, `admin`.
        create_time: when it was created.
        revoke_time: when it was revoked; None while it is not.
        parent: `orgs/{org}`, or the team or the environment of it that it belongs to.
        models: the only models that it may call; all if empty.
        expire_time: when it ends by itself; None for never.
    """

    name: str
    display_name: str
    scopes: tuple[str, ...]
    create_time: datetime | None
    revoke_time: datetime | None
    parent: str
    models: tuple[str, ...]
    expire_time: datetime | None
    raw: pb.ApiKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key that was just made. `secret` is shown this once: keep it, it cannot be read again."""

    api_key: ApiKey
    secret: str = field(repr=False)
    raw: pb.CreateApiKeyResponse = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedApiKey:
    """A key that replaces another. `secret` is shown this once; `replaced` is the old key."""

    api_key: ApiKey
    secret: str = field(repr=False)
    replaced: ApiKey
    raw: pb.RotateApiKeyResponse = field(repr=False, compare=False)


def create_org(
    org_id: str, display_name: str
) -> Call[pb.CreateOrgRequest, pb.CreateOrgResponse, Org]:
    """CreateOrg."""
    return Call(
        request=pb.CreateOrgRequest(org_id=org_id, display_name=display_name),
        parse=lambda response: _org(response.org),
        kind=Kind.WRITE,
    )


def create_api_key(
    org: Org | str,
    display_name: str,
    scopes: Sequence[str] | str,
    models: Sequence[str],
    expire_time: datetime | None,
) -> Call[pb.CreateApiKeyRequest, pb.CreateApiKeyResponse, NewApiKey]:
    """CreateApiKey."""
    return Call(
        request=pb.CreateApiKeyRequest(
            parent=_org_name(org),
            display_name=display_name,
            scopes=[scopes] if isinstance(scopes, str) else scopes,
            models=models,
            expire_time=stamp_of(expire_time, "expire_time"),
        ),
        parse=lambda response: NewApiKey(
            api_key=_api_key(response.api_key), secret=response.secret, raw=response
        ),
        kind=Kind.WRITE,
    )


def list_api_keys(
    org: Org | str, page_size: int | None, page_token: str
) -> Call[pb.ListApiKeysRequest, pb.ListApiKeysResponse, Page[ApiKey]]:
    """ListApiKeys, one page."""
    return Call(
        request=pb.ListApiKeysRequest(
            parent=_org_name(org), page_size=page_size, page_token=page_token
        ),
        parse=lambda response: Page(
            [_api_key(raw) for raw in response.api_keys], response.next_page_token
        ),
        kind=Kind.READ,
    )


def revoke_api_key(
    api_key: ApiKey | str,
) -> Call[pb.RevokeApiKeyRequest, pb.RevokeApiKeyResponse, ApiKey]:
    """RevokeApiKey."""
    return Call(
        request=pb.RevokeApiKeyRequest(name=_key_name(api_key)),
        parse=lambda response: _api_key(response.api_key),
        kind=Kind.WRITE,
    )


def rotate_api_key(
    api_key: ApiKey | str, overlap: timedelta | None
) -> Call[pb.RotateApiKeyRequest, pb.RotateApiKeyResponse, RotatedApiKey]:
    """RotateApiKey."""
    request = pb.RotateApiKeyRequest(name=_key_name(api_key))
    if overlap is not None:
        request.overlap.FromTimedelta(overlap)
    return Call(
        request=request,
        parse=lambda response: RotatedApiKey(
            api_key=_api_key(response.api_key),
            secret=response.secret,
            replaced=_api_key(response.replaced_api_key),
            raw=response,
        ),
        kind=Kind.WRITE,
    )


def _key_name(api_key: ApiKey | str) -> str:
    return api_key.name if isinstance(api_key, ApiKey) else api_key


def _org_name(org: Org | str) -> str:
    return org.name if isinstance(org, Org) else resource("orgs", org)


def _org(raw: pb.Org) -> Org:
    return Org(
        name=raw.name,
        display_name=raw.display_name,
        account=raw.account,
        create_time=time_of(raw, "create_time"),
        raw=raw,
    )


def _api_key(raw: pb.ApiKey) -> ApiKey:
    return ApiKey(
        name=raw.name,
        display_name=raw.display_name,
        scopes=tuple(raw.scopes),
        create_time=time_of(raw, "create_time"),
        revoke_time=time_of(raw, "revoke_time"),
        parent=raw.parent,
        models=tuple(raw.models),
        expire_time=time_of(raw, "expire_time"),
        raw=raw,
    )
