"""AdminService: organisations and their API keys; routing is in `policy_servicer`."""

from datetime import datetime
from typing import Any

import grpc
from google.protobuf import timestamp_pb2
from omni.admin.v1 import admin_service_pb2 as pb

from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.ids import KeyId
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.grpc_api.policy_servicer import PolicyServicer
from omni_grpc.identity import ApiKey, Identity, parse_org_name
from omni_grpc.routing import PolicyAdmin

_Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(PolicyServicer):
    """Serves identity, and what it inherits."""

    def __init__(self, identity: Identity, policies: PolicyAdmin, tokens: PageTokens) -> None:
        super().__init__(policies, identity, tokens)
        self._identity = identity
        self._tokens = tokens

    async def CreateOrg(
        self,
        request: pb.CreateOrgRequest,
        context: _Context,
    ) -> pb.CreateOrgResponse:
        """Makes an organisation with an empty account."""
        org = await self._identity.create_org(request.org_id, request.display_name)
        return pb.CreateOrgResponse(
            org=pb.Org(
                name=org.name,
                display_name=org.display_name,
                account=f"accounts/{org.slug}",
                create_time=_timestamp(org.create_time),
            )
        )

    async def CreateApiKey(
        self,
        request: pb.CreateApiKeyRequest,
        context: _Context,
    ) -> pb.CreateApiKeyResponse:
        """Makes a key, and shows its secret this once."""
        principal = current_call().principal
        new = await self._identity.create_api_key(
            parse_org_name(request.parent, field="parent"),
            display_name=request.display_name,
            scopes=request.scopes,
            created_by="" if principal is None else principal.key_prefix,
        )
        return pb.CreateApiKeyResponse(api_key=_key(new.key), secret=new.secret)

    async def ListApiKeys(
        self,
        request: pb.ListApiKeysRequest,
        context: _Context,
    ) -> pb.ListApiKeysResponse:
        """Lists keys, oldest first."""
        query = ("api_keys", request.parent)
        after = self._tokens.open_number(query, request.page_token)
        page = await self._identity.list_api_keys(
            parse_org_name(request.parent, field="parent"),
            after=KeyId(after or 0),
            limit=page_size(request.page_size),
        )
        return pb.ListApiKeysResponse(
            api_keys=[_key(key) for key in page.keys],
            next_page_token=(
                "" if page.next_after is None else self._tokens.seal(query, page.next_after)
            ),
        )

    async def RevokeApiKey(
        self,
        request: pb.RevokeApiKeyRequest,
        context: _Context,
    ) -> pb.RevokeApiKeyResponse:
        """Revokes a key."""
        return pb.RevokeApiKeyResponse(
            api_key=_key(await self._identity.revoke_api_key(request.name))
        )


def _key(key: ApiKey) -> pb.ApiKey:
    return pb.ApiKey(
        name=key.name,
        display_name=key.display_name,
        scopes=sorted(key.scopes),
        create_time=_timestamp(key.create_time),
        revoke_time=None if key.revoke_time is None else _timestamp(key.revoke_time),
    )


def _timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment)
    return found
