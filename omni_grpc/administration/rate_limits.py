"""Rate limits over the API: of organisations, teams, environments and keys."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from omni_grpc.administration.access import SUBJECTS, Access
from omni_grpc.administration.operation import Caller, Nothing, Operation, Page, writable
from omni_grpc.audit import Change, append
from omni_grpc.completion import PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX
from omni_grpc.core.missing import missing
from omni_grpc.identity import Permission
from omni_grpc.limits.store import Owner, RateLimit, RateLimitStore, Record
from omni_grpc.storage import Connection

_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,62}", re.ASCII)
_NAME: Final = re.compile(r"(?P<parent>.+)/rateLimits/(?P<id>[^/]{1,64})")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]*?(/\*)?", re.ASCII)
_LIMITS: Final = {
    "requests_per_minute": "requests_per_minute",
    "tokens_per_minute": "tokens_per_minute",
    "concurrent_count": "concurrent",
}
"""The contract's names of what can be limited, and the table's."""

_ONE: Final = "|".join(f"{form}/rateLimits/*" for form in SUBJECTS.split("|"))

Models = Annotated[tuple[str, ...], msgspec.Meta(max_length=64)]
Requests = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Concurrent = Annotated[int, msgspec.Meta(ge=1, le=10**6)]


class RateLimitGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate limit to be created; its name is that of its parent and its id."""

    name: str = ""
    models: Models = ()
    requests_per_minute: Requests | None = None
    tokens_per_minute: Tokens | None = None
    concurrent_count: Concurrent | None = None


class RateLimitChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate limit as its change gives it."""

    name: str
    etag: str = ""
    models: Models = ()
    requests_per_minute: Requests | None = None
    tokens_per_minute: Tokens | None = None
    concurrent_count: Concurrent | None = None


class CreateRateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is created."""

    parent: str
    rate_limit_id: str
    rate_limit: RateLimitGiven


class GetRateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is got."""

    name: str


class ListRateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is asked for."""

    parent: str
    page_size: int = 0
    page_token: str = ""


class UpdateRateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is changed."""

    rate_limit: RateLimitChange
    update_mask: tuple[str, ...] = ()


class DeleteRateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is deleted."""

    name: str
    etag: str = ""


class RateLimitShown(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit as callers see it."""

    name: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_count: int | None
    etag: str
    create_time: datetime


class RateLimitOperations:
    """The operations of rate limits."""

    def __init__(self, store: RateLimitStore, access: Access, tokens: PageTokens) -> None:
        self._store = store
        self._access = access
        self._tokens = tokens

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateRateLimit",
            http=f"POST /v1/admin/{{parent={SUBJECTS}}}/rateLimits",
            permission=Permission.MANAGE,
            asked=CreateRateLimit,
            run=self.create,
            result="rate_limit",
        )
        yield Operation(
            rpc="GetRateLimit",
            http=f"GET /v1/admin/{{name={_ONE}}}",
            permission=Permission.SEE,
            asked=GetRateLimit,
            run=self.get,
            result="rate_limit",
        )
        yield Operation(
            rpc="ListRateLimits",
            http=f"GET /v1/admin/{{parent={SUBJECTS}}}/rateLimits",
            permission=Permission.SEE,
            asked=ListRateLimits,
            run=self.list_rate_limits,
            result="rate_limits",
        )
        yield Operation(
            rpc="UpdateRateLimit",
            http=f"PATCH /v1/admin/{{rate_limit.name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=UpdateRateLimit,
            run=self.update,
            result="rate_limit",
            body="rate_limit",
        )
        yield Operation(
            rpc="DeleteRateLimit",
            http=f"DELETE /v1/admin/{{name={_ONE}}}",
            permission=Permission.MANAGE,
            asked=DeleteRateLimit,
            run=self.delete,
        )

    async def create(self, caller: Caller, asked: CreateRateLimit) -> RateLimitShown:
        """Makes a rate limit, which holds everywhere within seconds."""
        owner = await self._owner(caller, asked.parent, field="parent")
        if _ID.fullmatch(asked.rate_limit_id) is None:
            raise FieldInvalid(
                "`rate_limit_id` must be a small letter and 1 to 62 more of small letters, digits "
                "and hyphens.",
                field="rate_limit_id",
            )
        given = asked.rate_limit
        values = {column: getattr(given, field) for field, column in _LIMITS.items()}
        _check_limits(values)
        _check_models(given.models)
        record = _record(caller, owner, asked.parent, "CreateRateLimit")
        made = await self._store.insert(
            owner, values | {"slug": asked.rate_limit_id, "models": list(given.models)}, record
        )
        return _shown(asked.parent, made)

    async def get(self, caller: Caller, asked: GetRateLimit) -> RateLimitShown:
        """A rate limit."""
        owner, parent, slug = await self._named(caller, asked.name, field="name")
        found = await self._store.find(owner, slug)
        if found is None:
            raise missing(asked.name, "name")
        return _shown(parent, found)

    async def list_rate_limits(self, caller: Caller, asked: ListRateLimits) -> Page[RateLimitShown]:
        """A page of the rate limits of one parent; those of its own parents are not among them."""
        owner = await self._owner(caller, asked.parent, field="parent")
        size = page_size(asked.page_size)
        query = ("rate_limits", asked.parent)
        after = self._tokens.open_text(query, asked.page_token) or ""
        found = await self._store.list_after(owner, after, size + 1)
        token = self._tokens.seal(query, found[size - 1].slug) if len(found) > size else ""
        return Page(tuple(_shown(asked.parent, one) for one in found[:size]), token)

    async def update(self, caller: Caller, asked: UpdateRateLimit) -> RateLimitShown:
        """Changes a rate limit; what was counted until now stays counted."""
        given = asked.rate_limit
        values = {
            _LIMITS.get(field, field): value
            for field, value in writable(given, asked.update_mask, "rate_limit").items()
        }
        _check_models(values.get("models", ()))
        owner, parent, slug = await self._named(caller, given.name, field="rate_limit.name")
        await self._access.check_loosened(caller, parent, field="rate_limit.name")

        def change(old: RateLimit) -> RateLimit:
            new = msgspec.structs.replace(old, **values)
            _check_limits({column: getattr(new, column) for column in _LIMITS.values()})
            return new

        record = _record(caller, owner, parent, "UpdateRateLimit")
        changed = await self._store.update(owner, slug, given.etag, change, record)
        if changed is None:
            raise missing(given.name, "rate_limit.name")
        return _shown(parent, changed)

    async def delete(self, caller: Caller, asked: DeleteRateLimit) -> Nothing:
        """Deletes a rate limit, which holds nobody any more within seconds."""
        owner, parent, slug = await self._named(caller, asked.name, field="name")
        await self._access.check_loosened(caller, parent, field="name")
        record = _record(caller, owner, parent, "DeleteRateLimit")
        if not await self._store.delete(owner, slug, asked.etag, record):
            raise missing(asked.name, "name")
        return Nothing()

    async def _owner(self, caller: Caller, parent: str, *, field: str) -> Owner:
        subject = await self._access.subject(caller, parent, field=field)
        return Owner(subject.kind.value, subject.id, subject.org_id)

    async def _named(self, caller: Caller, name: str, *, field: str) -> tuple[Owner, str, str]:
        """The owner, the owner's name, and the id of a rate limit's name."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise FieldInvalid(
                f"`{field}` must have the form `{{parent}}/rateLimits/{{rate_limit}}`.", field=field
            )
        owner = await self._owner(caller, match["parent"], field=field)
        return owner, match["parent"], match["id"]


def _check_limits(values: dict[str, int | None]) -> None:
    if all(value is None for value in values.values()):
        raise FieldInvalid(
            "A rate limit limits something: set at least one of `requests_per_minute`, "
            "`tokens_per_minute` and `concurrent_count`, or delete it.",
            field="rate_limit",
        )


def _check_models(models: tuple[str, ...]) -> None:
    for model in models:
        if len(model) > MODEL_ID_CHARS_MAX or _MODEL.fullmatch(model) is None:
            raise FieldInvalid(
                "`models` has ids, such as `openai/gpt-4o` or `gpt-4o`, and all of a provider, "
                f"such as `openai/*`; {model[:64]!r} is neither.",
                field="rate_limit.models",
            )


def _record(caller: Caller, owner: Owner, parent: str, action: str) -> Record:
    async def record(connection: Connection, old: RateLimit | None, new: RateLimit | None) -> None:
        slug = "" if (known := new or old) is None else known.slug
        change = Change(
            org_id=owner.org_id,
            action=action,
            resource=f"{parent}/rateLimits/{slug}",
            old=None if old is None else _shown(parent, old),
            new=None if new is None else _shown(parent, new),
        )
        await append(connection, caller.actor, change)

    return record


def _shown(parent: str, found: RateLimit) -> RateLimitShown:
    return RateLimitShown(
        name=f"{parent}/rateLimits/{found.slug}",
        models=found.models,
        requests_per_minute=found.requests_per_minute,
        tokens_per_minute=found.tokens_per_minute,
        concurrent_count=found.concurrent,
        etag=str(found.revision),
        create_time=found.create_time,
    )
