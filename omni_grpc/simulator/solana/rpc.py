"""The JSON-RPC of a Solana node, as far as payers, payees and facilitators ask it.

It answers in the forms of a real node (`agave` 2), so that the SDKs' own clients read them. What
it does not know it refuses as a node does: -32601 for a method, -32602 for parameters.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

import msgspec
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from omni_grpc.simulator.solana.chain import FEE_LAMPORTS, USDC_DECIMALS, Chain, Refused, Transfer

__all__ = ("RpcNode",)

_METHOD_UNKNOWN: Final = -32601
_PARAMS_WRONG: Final = -32602
_PREFLIGHT_FAILED: Final = -32002
_LISTED_MAX: Final = 1_000
"""Signatures of an address that one answer lists, as on a real node."""

_TOKEN_PROGRAM: Final = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - an address
_MINT_BYTES: Final = 82
_DECIMALS_AT: Final = 44

_Params = list[Any]


class _RpcError(Exception):
    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message} | ({} if data is None else {"data": data})


class RpcNode:
    """Answers for a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._methods: dict[str, Callable[[_Params], object]] = {
            "getHealth": lambda _: "ok",
            "getSlot": lambda _: chain.height,
            "getBlockHeight": lambda _: chain.height,
            "getLatestBlockhash": self._latest_blockhash,
            "isBlockhashValid": self._blockhash_valid,
            "getAccountInfo": self._account_info,
            "getTokenAccountBalance": self._token_balance,
            "simulateTransaction": self._simulate,
            "sendTransaction": self._send,
            "getSignatureStatuses": self._statuses,
            "getSignaturesForAddress": self._signatures,
            "getTransaction": self._transaction,
        }

    def answer(self, body: bytes) -> bytes:
        """One request's answer; never an exception."""
        asked: object = None
        try:
            request = msgspec.json.decode(body, type=dict[str, Any])
            asked = request.get("id")
            method = self._methods.get(str(request.get("method")))
            if method is None:
                raise _RpcError(_METHOD_UNKNOWN, "Method not found")
            params = request.get("params", [])
            if not isinstance(params, list):
                raise _RpcError(_PARAMS_WRONG, "`params` should be an array")
            found: dict[str, object] = {"result": method(params)}
        except _RpcError as error:
            found = {"error": error.body}
        except (msgspec.DecodeError, IndexError, ValueError, TypeError, AttributeError) as error:
            found = {"error": {"code": _PARAMS_WRONG, "message": f"Invalid params: {error}"}}
        return msgspec.json.encode({"jsonrpc": "2.0", "id": asked} | found)

    def _at_now(self, value: object) -> dict[str, object]:
        return {"context": {"slot": self._chain.height, "apiVersion": "2.2.0"}, "value": value}

    def _latest_blockhash(self, _: _Params) -> object:
        name, last = self._chain.blockhash()
        return self._at_now({"blockhash": name, "lastValidBlockHeight": last})

    def _blockhash_valid(self, params: _Params) -> object:
        return self._at_now(self._chain.is_recent(str(params[0])))

    def _account_info(self, params: _Params) -> object:
        if str(params[0]) != self._chain.mint:
            return self._at_now(None)
        data = bytearray(_MINT_BYTES)
        data[_DECIMALS_AT] = USDC_DECIMALS
        data[_DECIMALS_AT + 1] = 1  # initialised
        return self._at_now(
            {
                "data": [base64.b64encode(data).decode(), "base64"],
                "executable": False,
                "lamports": 1_461_600,
                "owner": _TOKEN_PROGRAM,
                "rentEpoch": 18_446_744_073_709_551_615,
                "space": _MINT_BYTES,
            }
        )

    def _token_balance(self, params: _Params) -> object:
        return self._at_now(_ui_amount(self._chain.account_balance(str(params[0]))))

    def _simulate(self, params: _Params) -> object:
        error: object = None
        try:
            self._chain.simulate(_wire(params))
        except Refused as refused:
            error = refused.error
        return self._at_now(
            {"err": error, "logs": [], "accounts": None, "unitsConsumed": 0, "returnData": None}
        )

    def _send(self, params: _Params) -> object:
        try:
            return self._chain.send(_wire(params))
        except Refused as refused:
            text = f"Transaction simulation failed: {refused.message}"
            raise _RpcError(_PREFLIGHT_FAILED, text, {"err": refused.error, "logs": []}) from None

    def _statuses(self, params: _Params) -> object:
        found = [self._chain.landed(str(signature)) for signature in params[0]]
        return self._at_now([None if one is None else self._status(one) for one in found])

    def _status(self, one: Transfer) -> dict[str, object]:
        return {
            "slot": one.slot,
            "confirmations": None,
            "err": None,
            "status": {"Ok": None},
            "confirmationStatus": "finalized",
        }

    def _signatures(self, params: _Params) -> object:
        """The newest first; only those before `before` and after `until`."""
        options: dict[str, Any] = params[1] if len(params) > 1 else {}
        found = list(self._chain.touching(str(Pubkey.from_string(params[0]))))
        names = [one.signature for one in found]
        if options.get("until") in names:
            found = found[: names.index(options["until"])]
        if options.get("before") in names:
            found = found[names.index(options["before"]) + 1 :]
        limit = min(int(options.get("limit") or _LISTED_MAX), _LISTED_MAX)
        return [
            {
                "signature": one.signature,
                "slot": one.slot,
                "err": None,
                "memo": one.memo,
                "blockTime": one.block_time,
                "confirmationStatus": "finalized",
            }
            for one in found[:limit]
        ]

    def _transaction(self, params: _Params) -> object:
        options: dict[str, Any] = params[1] if len(params) > 1 else {}
        if options.get("encoding") != "base64":
            raise _RpcError(_PARAMS_WRONG, "Invalid params: this node writes base64 alone")
        one = self._chain.landed(str(params[0]))
        if one is None:
            return None
        transaction = VersionedTransaction.from_bytes(one.wire)
        keys = [str(key) for key in transaction.message.account_keys]
        return {
            "slot": one.slot,
            "blockTime": one.block_time,
            "version": 0,
            "transaction": [base64.b64encode(one.wire).decode(), "base64"],
            "meta": {
                "err": None,
                "status": {"Ok": None},
                "fee": FEE_LAMPORTS * len(transaction.signatures),
                "preBalances": [0] * len(keys),
                "postBalances": [0] * len(keys),
                "preTokenBalances": self._token_balances(keys, one.before),
                "postTokenBalances": self._token_balances(keys, one.after),
                "innerInstructions": [],
                "logMessages": [],
                "rewards": [],
                "loadedAddresses": {"readonly": [], "writable": []},
                "computeUnitsConsumed": 6_200,
            },
        }

    def _token_balances(self, keys: list[str], units: dict[str, int]) -> list[dict[str, object]]:
        return [
            {
                "accountIndex": keys.index(account),
                "mint": self._chain.mint,
                "owner": self._chain.owner(account),
                "programId": _TOKEN_PROGRAM,
                "uiTokenAmount": _ui_amount(amount),
            }
            for account, amount in units.items()
        ]


def _wire(params: _Params) -> bytes:
    """A transaction of the parameters. Base64 only: base58 is deprecated."""
    options: dict[str, Any] = params[1] if len(params) > 1 else {}
    if options.get("encoding") != "base64":
        raise _RpcError(_PARAMS_WRONG, "Invalid params: encode the transaction in base64")
    return base64.b64decode(str(params[0]), validate=True)


def _ui_amount(units: int) -> dict[str, object]:
    whole, rest = divmod(units, 10**USDC_DECIMALS)
    text = f"{whole}.{rest:06}".rstrip("0").rstrip(".")
    return {
        "amount": str(units),
        "decimals": USDC_DECIMALS,
        "uiAmount": units / 10**USDC_DECIMALS,
        "uiAmountString": text,
    }
