"""Sign-in by an OpenID Connect issuer's tokens: JWTs that it signed for this service.

A token says who it is of, in which organisation, and perhaps with which role. The organisation
must be there; the user is made at first sight, and stays out once an administrator took it out. A
token is checked once in a few seconds; between that a call costs microseconds.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import jwt
import msgspec
import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import ApiKeyInvalid, FieldInvalid, LedgerUnavailable
from omni_grpc.core.limits import DISPLAY_NAME_CHARS_MAX
from omni_grpc.identity.authenticate import (
    LOOKUP_SECONDS_MAX,
    PRINCIPAL_TTL_SECONDS,
    PRINCIPALS_KEPT_MAX,
    let_in,
)
from omni_grpc.identity.jwks import ALGORITHMS, IssuerKeys
from omni_grpc.identity.model import Principal, Role
from omni_grpc.identity.names import check_slug
from omni_grpc.identity.user_principal_store import Profile, UserPrincipalStore
from omni_grpc.storage import BoundedCache

TOKEN_CHARS_MAX: Final = 8_192
"""Longest token that is looked at; those of large issuers with many groups have some 3,000."""

LEEWAY_SECONDS: Final = 30.0
"""How far the issuer's clock may be from ours."""

SUBJECT_CHARS_MAX: Final = 255
EMAIL_CHARS_MAX: Final = 254

TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What a token may call itself; others (of a logout, say) are signed with the same keys."""

_PARTS: Final = 3
_HEADER_CHARS_MAX: Final = 1_024

log = structlog.get_logger(__name__)


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says of the issuer."""

    issuer: str
    audience: str
    jwks_url: str = ""
    org_claim: str = "org"
    role_claim: str = "role"
    roles: tuple[tuple[str, Role], ...] = ()
    """Values of the role claim and what they mean; each role's own name means itself."""


class Header(msgspec.Struct, frozen=True):
    """What stands before a token's claims, of all that may stand there."""

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: list[str] | None = None


class _Verified(msgspec.Struct, frozen=True):
    """A token that was checked, and until when it is valid, in seconds since 1970."""

    principal: Principal
    until: float


_read_header: Final = msgspec.json.Decoder(Header).decode


class OidcSignIn:
    """Checks tokens. For one event loop."""

    def __init__(
        self, settings: OidcSettings, keys: IssuerKeys, store: UserPrincipalStore, clock: Clock
    ) -> None:
        self._settings = settings
        self._roles = {role.value: role for role in Role} | dict(settings.roles)
        self._keys = keys
        self._store = store
        self._clock = clock
        self._verified = BoundedCache[_Verified](
            size_max=PRINCIPALS_KEPT_MAX, ttl_s=PRINCIPAL_TTL_SECONDS, clock=clock
        )

    async def authenticate(self, token: str, address: str) -> Principal:
        """Who the issuer says it is; without the database and the issuer while it is kept.

        Args:
            token: what was presented.
            address: whence, for the audit log of a user who comes for the first time.

        Raises:
            ApiKeyInvalid: it is none of the issuer's for us, or not now; or it names nobody here.
            OrgSuspended: the organisation is suspended.
            Busy: the issuer's keys cannot be had.
            LedgerUnavailable: the database does not answer.
        """
        if len(token) > TOKEN_CHARS_MAX:
            raise _invalid(f"it is longer than {TOKEN_CHARS_MAX} characters")
        found = await self._verified.get(token, lambda: self._verify(token, address))
        if self._clock.now().timestamp() >= found.until:
            raise _expired()
        return let_in(found.principal, self._clock)

    async def _verify(self, token: str, address: str) -> _Verified:
        header = header_of(token)
        key = await self._keys.find(header.kid, header.alg)
        if key is None:
            raise _invalid("its issuer has no such key")
        claims = self._claims(token, key, header.alg)
        until = self._until(claims)
        profile, org = self._profile(claims), self._org(claims)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS_MAX):
                principal = await self._store.enter(org, profile, address)
        except TimeoutError:
            raise LedgerUnavailable(
                f"The database did not answer within {LOOKUP_SECONDS_MAX:g} s, so the token could "
                "not be checked. Nothing is wrong with the request; try again shortly.",
                retry_after_s=1.0,
            ) from None
        if principal is None:
            log.info("token_refused", subject=profile.subject, org=org)
            raise _invalid("nobody of that name may sign in to the organisation that it names")
        return _Verified(principal, until)

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> Mapping[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                # Times are compared below, by the clock that all the rest goes by.
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
            raise _invalid("it is not meant for this service (its `aud`)") from None
        except jwt.InvalidIssuerError:
            raise _invalid("it is of another issuer (its `iss`)") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _invalid("its signature is wrong, or what is signed cannot be read") from None

    def _until(self, claims: Mapping[str, Any]) -> float:
        """When it ends, in seconds since 1970; it is valid now."""
        now = self._clock.now().timestamp()
        expires = _moment(claims, "exp")
        if expires is None:
            raise _invalid("it has no end (its `exp`)")
        until = expires + LEEWAY_SECONDS
        if until <= now:
            raise _expired()
        for name in ("nbf", "iat"):
            begins = _moment(claims, name)
            if begins is not None and begins > now + LEEWAY_SECONDS:
                raise _invalid(f"it is not valid yet (its `{name}`)")
        return until

    def _org(self, claims: Mapping[str, Any]) -> str:
        name = self._settings.org_claim
        found = _claim(claims, name)
        if not isinstance(found, str) or not found:
            raise _invalid(f"its claim `{name}` names no organisation")
        try:
            return check_slug(found.removeprefix("orgs/"), field=name)
        except FieldInvalid:
            raise _invalid(f"its claim `{name}` names no organisation") from None

    def _profile(self, claims: Mapping[str, Any]) -> Profile:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or not subject.isprintable():
            raise _invalid("it does not say who it is of (its `sub`)")
        if len(subject) > SUBJECT_CHARS_MAX:
            raise _invalid(f"its `sub` is longer than {SUBJECT_CHARS_MAX} characters")
        return Profile(
            issuer=self._settings.issuer,
            subject=subject,
            email=_text(claims.get("email"), EMAIL_CHARS_MAX),
            display_name=_text(claims.get("name"), DISPLAY_NAME_CHARS_MAX),
            role=self._role(claims),
        )

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        """The greatest role that the claim names; None where there is no such claim."""
        name = self._settings.role_claim
        found = _claim(claims, name)
        if found is None:
            return None
        values = found if isinstance(found, list) else [found]
        roles = {self._roles[one] for one in values if isinstance(one, str) and one in self._roles}
        for role in Role:  # the greatest comes first
            if role in roles:
                return role
        raise _invalid(f"its claim `{name}` names no role of this service")


def header_of(token: str) -> Header:
    """The header of what may be a JWT, of a form that can be checked.

    Raises:
        ApiKeyInvalid: it is not of the form.
    """
    parts = token.split(".")
    if len(parts) != _PARTS or len(parts[0]) > _HEADER_CHARS_MAX:
        raise _invalid("it is not a JWT")
    try:
        header = _read_header(jwt.utils.base64url_decode(parts[0]))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _invalid("its header cannot be read") from None
    if header.alg not in ALGORITHMS:
        raise _invalid(f"it is not signed with one of {', '.join(ALGORITHMS)}")
    if header.typ is not None and header.typ.lower() not in TYPES:
        raise _invalid("it is a token of another kind (its `typ`)")
    if header.crit is not None:
        raise _invalid("it asks for extensions that are not known here (its `crit`)")
    return header


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim of this name; else, of `a.b`, the member b of the claim a."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        return None
    try:
        seconds = math.nan if isinstance(found, bool | str) else float(found)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise _invalid(f"its `{name}` is no time")
    return seconds


def _text(value: object, chars_max: int) -> str:
    """A claim for people, as much of it as is kept; nothing where it is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(char for char in value if char.isprintable())[:chars_max]


def _invalid(why: str) -> ApiKeyInvalid:
    return ApiKeyInvalid(f"This token is not valid here: {why}. Get another from its issuer.")


def _expired() -> ApiKeyInvalid:
    return _invalid("it has expired")
