"""What a node of the chain is asked: did this payment land, what did it bring, can it still land.

A transaction is told by its message, which is all that its signers signed, and never by what
somebody says its signature is.
"""

import base64
import binascii
from typing import Any, Final

import msgspec
from solders.transaction import VersionedTransaction

from omni_grpc.topups.x402.signed import Signed
from omni_grpc.topups.x402.terms import Terms
from omni_grpc.topups.x402.wire import JsonService, ServiceAway

RPC_SECONDS_MAX: Final = 10.0

LISTED_MAX: Final = 1_000
"""Transactions that a node lists at once, at most."""

PAGES_MAX: Final = 10
"""Lists that are read in search of a payment: ten thousand payments within minutes are too many."""

EARLIER_SECONDS: Final = 600
"""So much older than its presentation is no transaction that is looked for."""

_OK: Final = 200
_COMMITMENT: Final = {"commitment": "confirmed"}
"""Voted for by two thirds of the stake: no confirmed block was ever rolled back."""


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction on the chain. `units` arrived at the payee; `failed` moved nothing."""

    signature: str
    units: int
    failed: bool


class SolanaNode:
    """Asks the node at `url`."""

    def __init__(self, service: JsonService, url: str, terms: Terms) -> None:
        self._service = service
        self._url = url
        self._terms = terms

    async def expired(self, signed: Signed) -> bool:
        """Whether the chain takes its blockhash no more. A new one may seem so for a moment.

        Raises:
            ServiceAway: the node does not say; so do all methods here.
        """
        found = await self._ask("isBlockhashValid", [signed.blockhash, _COMMITMENT])
        try:
            return not bool(found["value"])
        except (KeyError, TypeError):
            raise _unreadable() from None

    async def landed(self, signature: str, signed: Signed) -> Landed | None:
        """The payment by its signature; None where no node knows it, or it is another payment."""
        options = {"encoding": "base64", "maxSupportedTransactionVersion": 0, **_COMMITMENT}
        found = await self._ask("getTransaction", [signature, options])
        if found is None:
            return None
        try:
            wire = base64.b64decode(found["transaction"][0], validate=True)
            message = bytes(VersionedTransaction.from_bytes(wire).message)
            meta = found["meta"]
            failed = meta["err"] is not None
            units = self._units(meta["postTokenBalances"]) - self._units(meta["preTokenBalances"])
        except (KeyError, IndexError, TypeError, ValueError, binascii.Error):
            raise _unreadable() from None
        if message != signed.message:
            return None
        return Landed(signature=signature, units=0 if failed else units, failed=failed)

    async def find(self, signed: Signed, since: float) -> Landed | None:
        """The payment among all that moved something of the payee's account.

        None where it is not there: everything back to well before `since` (Unix seconds) was seen.
        """
        before: str | None = None
        for _ in range(PAGES_MAX):
            options: dict[str, object] = {"limit": LISTED_MAX, **_COMMITMENT}
            if before is not None:
                options["before"] = before
            listed = await self._ask("getSignaturesForAddress", [self._terms.account, options])
            try:
                for one in listed:
                    # A node writes a memo as `[36] text`; one without may be a node's own form.
                    if one["memo"] is None or one["memo"].endswith(signed.memo):
                        found = await self.landed(one["signature"], signed)
                        if found is not None:
                            return found
                if len(listed) < LISTED_MAX:
                    return None
                oldest, before = listed[-1]["blockTime"], listed[-1]["signature"]
            except (KeyError, TypeError, AttributeError):
                raise _unreadable() from None
            if oldest is not None and oldest < since - EARLIER_SECONDS:
                return None
        raise ServiceAway("too many payments came to be sure of one")

    def _units(self, balances: list[dict[str, Any]]) -> int:
        """What the payee has of the token, in units."""
        return sum(
            int(one["uiTokenAmount"]["amount"])
            for one in balances
            if one.get("owner") == self._terms.pay_to and one["mint"] == self._terms.asset
        )

    async def _ask(self, method: str, params: list[object]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, answer = await self._service.ask("POST", self._url, body, seconds=RPC_SECONDS_MAX)
        if status != _OK or not isinstance(answer, dict) or "result" not in answer:
            raise ServiceAway(f"the node does not answer {method}")
        return answer["result"]


def _unreadable() -> ServiceAway:
    return ServiceAway("the node's answer cannot be read")
