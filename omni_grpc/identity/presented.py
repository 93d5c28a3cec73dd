"""What a request says of who sends it, before any of it is believed; both transports make it.

A request says it in one way: two tokens that differ, a repeated header, or a token beside a
wallet's signature are refused, since another server on the way may have read the other one.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid

AUTHORIZATION: Final = "authorization"
API_KEY: Final = "x-api-key"
SIGN_IN_WITH_X: Final = "sign-in-with-x"
WALLET_ADDRESS: Final = "x-wallet-address"
WALLET_SIGNATURE: Final = "x-wallet-signature"
WALLET_NONCE: Final = "x-wallet-nonce"
ORG: Final = "x-omni-org"
FORWARDED_FOR: Final = "x-forwarded-for"

_WALLET: Final = (WALLET_ADDRESS, WALLET_SIGNATURE, WALLET_NONCE)
_ONCE: Final = (AUTHORIZATION, API_KEY, SIGN_IN_WITH_X, *_WALLET, ORG)

UNUSUAL_NAMES: Final = frozenset({API_KEY, SIGN_IN_WITH_X, *_WALLET, ORG, FORWARDED_FOR})
"""A request with one of these, or with two `authorization`, is read by `presented_in`."""


class WalletHeaders(msgspec.Struct, frozen=True):
    """The three headers of a signed nonce."""

    address: str
    signature: str
    nonce: str


class Presented(msgspec.Struct, frozen=True):
    """What a request presents. It shows nothing of that when it is printed."""

    token: str | None = None
    """An API key, a session's token or a JWT; any text."""
    peer: str = ""
    """The address at the other end of the connection; empty where there is none."""
    forwarded_for: str = ""
    """The addresses that X-Forwarded-For names, comma-separated."""
    host: str = ""
    """The host that the request names, lower-case; empty over gRPC, which does not tell it."""
    sign_in: str | None = None
    """The header SIGN-IN-WITH-X."""
    wallet: WalletHeaders | None = None
    org: str = ""
    """Which of its organisations a wallet means, by its id; its own if empty."""

    def __repr__(self) -> str:
        return f"<Presented from {self.peer}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("peer", self.peer)]


def bearer_token(authorization: str) -> str:
    """The token of `Bearer <token>`; of another form all of it."""
    kind, _, rest = authorization.partition(" ")
    return rest.strip() if kind.lower() == "bearer" else authorization


def presented_in(values: Mapping[str, Sequence[str]], *, peer: str, host: str = "") -> Presented:
    """What headers of any number present.

    Args:
        values: all values of each header that stands above, by its name.
        peer: the address at the other end.
        host: the host that the request names.

    Raises:
        FieldInvalid: they contradict each other, or a wallet's are not complete.
    """
    given = {name: _only(name, values[name]) for name in _ONCE if name in values}
    token = _token(given.get(AUTHORIZATION, ""), given.get(API_KEY, ""))
    sign_in = given.get(SIGN_IN_WITH_X)
    wallet = _wallet(given)
    if (token is not None) + (sign_in is not None) + (wallet is not None) > 1:
        raise FieldInvalid(
            "The request says in several ways who sends it. Send one of them: a token or a key, "
            f"{SIGN_IN_WITH_X}, or the headers x-wallet-….",
            field=SIGN_IN_WITH_X if sign_in is not None else WALLET_ADDRESS,
        )
    return Presented(
        token=token,
        peer=peer,
        forwarded_for=",".join(values.get(FORWARDED_FOR, ())),
        host=host.lower(),
        sign_in=sign_in,
        wallet=wallet,
        org=given.get(ORG, "").removeprefix("orgs/"),
    )


def _only(name: str, found: Sequence[str]) -> str:
    if len(found) > 1:
        raise FieldInvalid(
            f"The header {name} stands there {len(found)} times; send it once.", field=name
        )
    return found[0].strip()


def _token(authorization: str, api_key: str) -> str | None:
    # `Basic …` beside a key is of somebody on the way, and says nothing to us.
    kind, _, rest = authorization.partition(" ")
    if api_key and (not authorization or (rest and kind.lower() != "bearer")):
        return api_key
    token = bearer_token(authorization)
    if api_key and not hmac.compare_digest(token.encode(), api_key.encode()):
        raise FieldInvalid(
            f"The headers {AUTHORIZATION} and {API_KEY} have different keys; send one of them.",
            field=API_KEY,
        )
    return token or None


def _wallet(given: Mapping[str, str]) -> WalletHeaders | None:
    found = [name for name in _WALLET if name in given]
    if not found:
        return None
    for name in _WALLET:
        if not given.get(name):
            raise FieldInvalid(f"The header {name} is missing beside {found[0]}.", field=name)
    return WalletHeaders(*(given[name] for name in _WALLET))
