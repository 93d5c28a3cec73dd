"""Who is calling, however it is said: by key or session, by an issuer's token, by a wallet.

Addresses that fail too often are refused before anything of theirs is looked at, but for tokens
that were good before: others behind the same address lock nobody out. What cannot be checked at the
moment is never taken for wrong, and counts against nobody.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from omni_grpc.core.errors import ApiKeyInvalid, ApiKeyMissing
from omni_grpc.identity.addresses import AddressLimits, TrustedProxies
from omni_grpc.identity.model import Principal
from omni_grpc.identity.presented import Presented

if TYPE_CHECKING:  # what checks signatures costs a tenth of a second to import
    from omni_grpc.identity.oidc import OidcSignIn
    from omni_grpc.identity.wallets import SignedIn, WalletSignIn

GOOD_TOKENS_MAX: Final = 16_384
"""Tokens of which it is remembered that they were good, some 2 MB; the one that was silent longest
is forgotten first."""

JWT_START: Final = "ey"
"""How the base64 of a JSON object begins; an API key begins otherwise."""


class Keys(Protocol):
    """Checks keys and sessions: `Identity` does."""

    async def authenticate(self, presented: str | None) -> Principal:
        """Who holds the presented key."""
        ...


class Callers:
    """Finds out who calls. For one event loop.

    Args:
        keys: checks API keys and sessions.
        tokens: checks an issuer's tokens; None where no issuer is set.
        wallets: checks wallets' signatures; None where they do not sign in.
        proxies: whose word is taken for who is behind them; None where there are none.
        limits: how often addresses may come; None where that is not limited.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        tokens: "OidcSignIn | None" = None,
        wallets: "WalletSignIn | None" = None,
        proxies: TrustedProxies | None = None,
        limits: AddressLimits | None = None,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._wallets = wallets
        self._proxies = proxies
        self._limits = limits
        # By Python's own hash, which is another in each process; what it means is checked anew.
        self._good: OrderedDict[int, None] = OrderedDict()

    def address(self, presented: Presented) -> str:
        """The network address that calls."""
        if self._proxies is None:
            return presented.peer
        return self._proxies.caller(presented.peer, presented.forwarded_for)

    async def authenticate(self, presented: Presented, address: str) -> Principal:
        """Who is calling.

        Raises:
            RateLimited: the address came or failed too often.
            ApiKeyMissing: nothing was presented.
            ApiKeyInvalid: what was presented is not valid.
            FieldInvalid: a wallet's sign-in cannot be read.
            OrgSuspended: the organisation is suspended.
            LedgerUnavailable, Busy: it cannot be checked now.
        """
        if self._limits is None:
            return await self._who(presented, address)
        token = None if presented.token is None else hash(presented.token)
        self._limits.admit(address, was_good=token in self._good)
        try:
            found = await self._who(presented, address)
        except ApiKeyMissing:  # also ApiKeyInvalid
            if token is not None:
                self._good.pop(token, None)
            self._limits.failed(address)
            raise
        if token is not None:
            self._good[token] = None
            self._good.move_to_end(token)
            if len(self._good) > GOOD_TOKENS_MAX:
                self._good.popitem(last=False)
        return found

    async def _who(self, presented: Presented, address: str) -> Principal:
        token = presented.token
        if token is not None:
            if self._tokens is not None and token.startswith(JWT_START):
                return await self._tokens.authenticate(token, address)
            return await self._keys.authenticate(token)
        if presented.sign_in is None and presented.wallet is None:
            return await self._keys.authenticate(None)
        if self._wallets is None:
            raise ApiKeyInvalid("Wallets do not sign in to this service; send an API key.")
        signed_in = await self._wallets.authenticate(presented, address)
        return self._counted(signed_in, address)

    def _counted(self, signed_in: "SignedIn", address: str) -> Principal:
        # Whoever makes wallet after wallet is as unknown as who fails again and again.
        if signed_in.is_new and self._limits is not None:
            self._limits.failed(address)
        return signed_in.principal
