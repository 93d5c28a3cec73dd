"""Sign-in by a wallet's signature: each wallet has an organisation of its own, made at first.

A signature is good once, in all servers, and for five minutes. It is checked before the database
is asked anything, so nobody but a wallet can use up its nonces. Ed25519 keys of small order, for
which anyone can sign, are refused.
"""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from omni_grpc.audit import Actor
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import AlreadyExists, FieldInvalid
from omni_grpc.identity.authenticate import let_in
from omni_grpc.identity.model import Principal, Role
from omni_grpc.identity.names import check_slug
from omni_grpc.identity.org_store import Orgs
from omni_grpc.identity.orgs import Org
from omni_grpc.identity.presented import Presented, WalletHeaders
from omni_grpc.identity.siwx import (
    CLOCK_SECONDS_MAX,
    SIGN_IN_SECONDS_MAX,
    check_host,
    check_signature,
    check_times,
    public_key,
    read_sign_in,
    refused,
)
from omni_grpc.identity.user_principal_store import Profile, UserPrincipalStore
from omni_grpc.identity.users import WALLET_ISSUER
from omni_grpc.identity.wallet_store import NonceStore

NONCE_SECONDS: Final = SIGN_IN_SECONDS_MAX + CLOCK_SECONDS_MAX + 60.0
"""How long a nonce is remembered: longer than its signature is good by any server's clock."""

_SECONDS: Final = re.compile(r"[0-9]{10}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{13}", re.ASCII)
_LOOPBACK: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.ASCII)

Gift = Callable[[Org, str], Awaitable[None]]
"""Gives a new organisation of a wallet its first credits, once however often it is called."""

log = structlog.get_logger(__name__)


class SignedIn(msgspec.Struct, frozen=True):
    """Who signed in, and whether for the first time."""

    principal: Principal
    is_new: bool


class WalletSignIn:
    """Checks wallets' signatures. For one event loop.

    Args:
        users: where wallets' users are.
        orgs: where their organisations are.
        nonces: which of them were used.
        clock: the time.
        domain: the host that wallets sign in to. If empty, it is that of the request, and must be
            this machine's own, since whoever has a signature for another host could claim it.
        texts: whether SIGN-IN-WITH-X is taken.
        headers: whether the three headers are taken, which are bound to no host.
        gift: what a new organisation is given; None for nothing.
    """

    def __init__(
        self,
        users: UserPrincipalStore,
        orgs: Orgs,
        nonces: NonceStore,
        clock: Clock,
        *,
        domain: str,
        texts: bool = True,
        headers: bool = False,
        gift: Gift | None = None,
    ) -> None:
        self._users = users
        self._orgs = orgs
        self._nonces = nonces
        self._clock = clock
        self._domain = domain.lower()
        self._texts = texts
        self._headers = headers
        self._gift = gift

    async def authenticate(self, presented: Presented, address: str) -> SignedIn:
        """Whose signature it is.

        Args:
            presented: with `sign_in` or `wallet`.
            address: whence, for the audit log of a wallet that comes for the first time.

        Raises:
            ApiKeyInvalid: it is not valid, or was used before; or the wallet may not sign in.
            OrgSuspended: its organisation is suspended.
            LedgerUnavailable: it cannot be checked now.
        """
        if presented.sign_in is not None:
            wallet, nonce = self._signed_text(presented.sign_in, presented.host)
        elif presented.wallet is not None:
            wallet, nonce = self._signed_nonce(presented.wallet)
        else:
            raise ValueError("nothing of a wallet was presented")
        if not await self._nonces.use(nonce, NONCE_SECONDS):
            raise refused("it was used before; sign anew, with another nonce")
        own = own_org(wallet)
        org = self._org(presented.org) or own
        profile = Profile(issuer=WALLET_ISSUER, subject=wallet)
        principal, is_new = await self._users.principal(org, profile), False
        if principal is None and org == own:
            principal, is_new = await self._sign_up(wallet, org, address)
        if principal is None:
            raise refused(f"the wallet may not sign in to `orgs/{org}`")
        return SignedIn(let_in(principal, self._clock), is_new)

    def _signed_text(self, header: str, host: str) -> tuple[str, bytes]:
        if not self._texts:
            raise refused("this service does not take SIGN-IN-WITH-X")
        found = read_sign_in(header)
        key = public_key(found.address)
        check_host(found, self._domain or _own_host(found.domain.lower(), host))
        check_times(found, self._clock.now())
        check_signature(key, found.signature, found.text().encode())
        return found.address, _nonce_hash("siwx", found.address, found.nonce)

    def _signed_nonce(self, given: WalletHeaders) -> tuple[str, bytes]:
        if not self._headers:
            raise refused("this service does not take the headers x-wallet-…; use SIGN-IN-WITH-X")
        key = public_key(given.address)
        age_s = self._clock.now().timestamp() - _signed_at(given.nonce)
        if age_s >= SIGN_IN_SECONDS_MAX or age_s < -CLOCK_SECONDS_MAX:
            raise refused(f"x-wallet-nonce must be a time of the last {SIGN_IN_SECONDS_MAX:.0f} s")
        check_signature(key, given.signature, given.nonce.encode())
        return given.address, _nonce_hash("nonce", given.address, given.nonce)

    def _org(self, asked: str) -> str:
        if not asked:
            return ""
        try:
            return check_slug(asked, field="x-omni-org")
        except FieldInvalid:
            raise refused("x-omni-org is no organisation's id") from None

    async def _sign_up(self, wallet: str, org: str, address: str) -> tuple[Principal | None, bool]:
        """Makes the wallet's organisation and its user; None if an administrator took it out.

        The second says whether this call made the organisation.

        The user comes last: until then the next sign-in does all of it again, and each step is
        done once.
        """
        profile = Profile(
            issuer=WALLET_ISSUER, subject=wallet, display_name=wallet, role=Role.OWNER
        )
        if await self._users.is_taken_out(org, profile):
            return None, False
        actor = Actor(name=f"{WALLET_ISSUER} {wallet}", peer=address)
        is_new = True
        try:
            made = await self._orgs.create(actor, org, wallet)
        except (
            AlreadyExists
        ):  # by a sign-in beside this one, or by one that did not come to its end
            made, is_new = await self._orgs.get(org), False
        if self._gift is not None:
            await self._gift(made, wallet)
        principal = await self._users.enter(org, profile, address)
        log.info("wallet_signed_up", org=org, wallet=wallet)
        return principal, is_new


def own_org(wallet: str) -> str:
    """The slug of a wallet's own organisation: its key in base32, which has one case alone."""
    text = base64.b32encode(public_key(wallet)).decode().rstrip("=").lower()
    return f"w-{text}"


def _own_host(signed: str, host: str) -> str:
    """The host to be signed in to where none is set: this machine's own name of itself.

    gRPC does not tell the request's host; a page elsewhere can sign for none of these names.
    """
    if _LOOPBACK.fullmatch(signed) is None:
        raise refused("it is not known which host this service is; ask for OMNI_WALLET_DOMAIN")
    return host or signed


def _signed_at(nonce: str) -> float:
    """The time that a nonce is, in seconds since 1970."""
    if _MILLISECONDS.fullmatch(nonce):
        return int(nonce) / 1_000
    if _SECONDS.fullmatch(nonce):
        return float(nonce)
    raise refused("x-wallet-nonce must be the time, in seconds or milliseconds since 1970")


def _nonce_hash(form: str, wallet: str, nonce: str) -> bytes:
    return hashlib.sha256(f"{form}\n{wallet}\n{nonce}".encode()).digest()
