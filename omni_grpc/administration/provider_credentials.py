"""Tenants' credentials of providers over the API: written, never read.

What comes back, and what the audit log has, is who has one for which provider and on which terms;
a secret goes in and nowhere else.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from omni_grpc.administration.access import TENANTS, Access
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.audit import Change, append
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid, ScopeMissing
from omni_grpc.core.missing import missing
from omni_grpc.identity import Permission, Scope
from omni_grpc.providers import OwnAccountFault, OwnForms
from omni_grpc.storage import Connection
from omni_grpc.vault import Owner, Secret, Stored, Told, Vault

_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,62}", re.ASCII)
_NAME: Final = re.compile(r"(?P<parent>.+)/providerCredentials/(?P<id>[^/]{1,64})")
_ONE: Final = "|".join(f"{form}/providerCredentials/*" for form in TENANTS.split("|"))
_WEIGHT_DEFAULT: Final = 1

Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000)]
Fee = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class _Silent(msgspec.Struct, frozen=True):
    """Shows nothing of itself to whoever prints it, since it holds a secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class CredentialGiven(_Silent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential to be created; its name is that of its parent and its id."""

    name: str = ""
    provider: str
    secret: str
    variables: dict[str, str] = {}
    weight: Weight | None = None
    fee_ppm: Fee | None = None
    active: bool | None = None


class CredentialChange(_Silent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential as its change gives it."""

    name: str
    etag: str = ""
    secret: str = ""
    variables: dict[str, str] = {}
    weight: Weight | None = None
    fee_ppm: Fee | None = None
    active: bool | None = None


class CreateProviderCredential(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What is created."""

    parent: str
    provider_credential_id: str
    provider_credential: CredentialGiven


class GetProviderCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is got."""

    name: str


class ListProviderCredentials(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateProviderCredential(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What is changed."""

    provider_credential: CredentialChange
    update_mask: tuple[str, ...] = ()


class DeleteProviderCredential(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What is deleted."""

    name: str
    etag: str = ""


class CredentialShown(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as callers see it."""

    name: str
    provider: str
    weight: int
    fee_ppm: int | None
    active: bool
    hint: str
    etag: str
    create_time: datetime


class CredentialAudited(CredentialShown, frozen=True, kw_only=True):
    """A credential as the audit log has it: also whether its secret was set anew."""

    secret: str


class ProviderCredentialOperations:
    """The operations of providers' credentials."""

    def __init__(
        self,
        vault: Vault,
        forms: OwnForms,
        access: Access,
        tokens: PageTokens,
        *,
        fee_ppm: int | None = None,
    ) -> None:
        """`fee_ppm` is what calls with a new credential cost, unless the operator says so."""
        self._fee_ppm = fee_ppm
        self._vault = vault
        self._forms = forms
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateProviderCredential",
            http=f"POST /v1/admin/{{parent={TENANTS}}}/providerCredentials",
            permission=Permission.MANAGE,
            asked=CreateProviderCredential,
            run=self.create,
            result="provider_credential",
        )
        yield Operation(
            rpc="GetProviderCredential",
            http=f"GET /v1/admin/{{name={_ONE}}}",
            permission=Permission.SEE,
            asked=GetProviderCredential,
            run=self.get,
            result="provider_credential",
        )
        yield Operation(
            rpc="ListProviderCredentials",
            http=f"GET /v1/admin/{{parent={TENANTS}}}/providerCredentials",
            permission=Permission.SEE,
            asked=ListProviderCredentials,
            run=self.list_credentials,
            result="provider_credentials",
        )
        yield Operation(
            rpc="UpdateProviderCredential",
            http=f"PATCH /v1/admin/{{provider_credential.name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=UpdateProviderCredential,
            run=self.update,
            result="provider_credential",
            body="provider_credential",
        )
        yield Operation(
            rpc="DeleteProviderCredential",
            http=f"DELETE /v1/admin/{{name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=DeleteProviderCredential,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateProviderCredential) -> CredentialShown:
        """Seals a credential; its owner's calls use it within seconds."""
        owner = await self._owner(caller, asked.parent, field="parent")
        if _ID.fullmatch(asked.provider_credential_id) is None:
            raise FieldInvalid(
                "`provider_credential_id` must be a small letter and 1 to 62 more of small "
                "letters, digits and hyphens.",
                field="provider_credential_id",
            )
        given = asked.provider_credential
        if given.fee_ppm is not None and not caller.is_operator:
            raise _price_is_the_operators()
        secret = Secret(given.secret.strip(), dict(given.variables))
        await self._check(given.provider, secret)
        made = await self._vault.create(
            owner,
            asked.provider_credential_id,
            given.provider,
            secret,
            weight=_WEIGHT_DEFAULT if given.weight is None else given.weight,
            fee_ppm=self._fee_ppm if given.fee_ppm is None else given.fee_ppm,
            active=given.active is not False,
            told=_told(caller, owner, "CreateProviderCredential"),
        )
        return _shown(owner, made)

    async def get(self, caller: Caller, asked: GetProviderCredential) -> CredentialShown:
        """A credential, without its secret."""
        owner, slug = await self._named(caller, asked.name, field="name")
        found = await self._vault.get(owner, slug)
        if found is None:
            raise missing(asked.name, "name")
        return _shown(owner, found)

    async def list_credentials(
        self, caller: Caller, asked: ListProviderCredentials
    ) -> Page[CredentialShown]:
        """A page of one parent's credentials; those of its own parents are not among them."""
        owner = await self._owner(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("provider_credentials", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._vault.page(owner, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].slug) if len(found) > size else ""
        return Page(tuple(_shown(owner, one) for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateProviderCredential) -> CredentialShown:
        """Changes a credential, or replaces its secret."""
        given = asked.provider_credential
        changes = writable(given, asked.update_mask, "provider_credential")
        if "fee_ppm" in changes and not caller.is_operator:
            if "fee_ppm" in asked.update_mask:
                raise _price_is_the_operators()
            del changes["fee_ppm"]
        if "secret" in changes:
            changes["secret"] = given.secret.strip()
        if "weight" in changes and given.weight is None:
            changes["weight"] = _WEIGHT_DEFAULT
        if "active" in changes:
            changes["active"] = given.active is not False
        owner, slug = await self._named(caller, given.name, field="provider_credential.name")
        changed = await self._vault.update(
            owner,
            slug,
            given.etag,
            changes,
            check=self._check,
            told=_told(caller, owner, "UpdateProviderCredential", changes),
        )
        return _shown(owner, changed)

    async def delete(self, caller: Caller, asked: DeleteProviderCredential) -> Nothing:
        """Forgets a credential; calls that run with it go on to their ends."""
        owner, slug = await self._named(caller, asked.name, field="name")
        told = _told(caller, owner, "DeleteProviderCredential")
        await self._vault.delete(owner, slug, asked.etag, told)
        return Nothing()

    async def _check(self, provider: str, secret: Secret) -> None:
        """Refuses what the provider's calls could not be made with.

        Raises:
            FieldInvalid: it says which part, and nothing of what is in it.
        """
        try:
            form = self._forms.get(provider)
            form.address(secret.variables)
            if form.is_slow:
                await asyncio.to_thread(form.credentials, secret.text, secret.variables)
            else:
                form.credentials(secret.text, secret.variables)
        except OwnAccountFault as fault:
            raise FieldInvalid(fault.message, field=f"provider_credential.{fault.field}") from None

    async def _owner(self, caller: Caller, parent: str, *, field: str) -> Owner:
        subject = await self._access.subject(caller, parent, field=field, keys=False)
        return Owner(subject.kind.value, subject.id, subject.org_id, subject.name)

    async def _named(self, caller: Caller, name: str, *, field: str) -> tuple[Owner, str]:
        match = _NAME.fullmatch(name)
        if match is None:
            raise FieldInvalid(
                f"`{field}` must have the form "
                "`{parent}/providerCredentials/{provider_credential}`.",
                field=field,
            )
        return await self._owner(caller, match["parent"], field=field), match["id"]


def _price_is_the_operators() -> ScopeMissing:
    return ScopeMissing(
        "Only whoever runs the service says what calls with one's own credentials cost: setting "
        f"`fee_ppm` needs the scope `{Scope.ADMIN}`.",
        metadata={"scope": Scope.ADMIN.value},
    )


def _told(
    caller: Caller, owner: Owner, action: str, changes: Mapping[str, object] | None = None
) -> Told:
    is_new = action == "CreateProviderCredential" or not {"secret", "variables"}.isdisjoint(
        changes or ()
    )

    async def told(connection: Connection, old: Stored | None, new: Stored | None) -> None:
        slug = "" if (known := new or old) is None else known.slug
        change = Change(
            org_id=owner.org_id,
            action=action,
            resource=f"{owner.name}/providerCredentials/{slug}",
            old=None if old is None else _audited(owner, old, "kept"),
            new=None if new is None else _audited(owner, new, "set" if is_new else "kept"),
        )
        await append(connection, caller.actor, change)

    return told


def _shown(owner: Owner, row: Stored) -> CredentialShown:
    return CredentialShown(
        name=f"{owner.name}/providerCredentials/{row.slug}",
        provider=row.provider,
        weight=row.weight,
        fee_ppm=row.fee_ppm,
        active=row.active,
        hint=row.hint,
        etag=str(row.revision),
        create_time=row.create_time,
    )


def _audited(owner: Owner, row: Stored, secret: str) -> CredentialAudited:
    shown = _shown(owner, row)
    return CredentialAudited(**msgspec.structs.asdict(shown), secret=secret)
