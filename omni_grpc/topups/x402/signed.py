"""A payment that was signed: out of the text of a header, checked against nothing but itself.

The same transaction is the same payment, whichever version of x402 it is wrapped in and whoever
else signs it: its key is the hash of what its signers sign.
"""

import base64
import binascii
import hashlib
from typing import Any, Final
from uuid import UUID

import msgspec
from solders.transaction import VersionedTransaction
from x402.mechanisms.svm.constants import MEMO_PROGRAM_ADDRESS
from x402.mechanisms.svm.utils import extract_transaction_info

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.topups.x402.terms import SCHEME, Terms

FIELD: Final = "x402_payment"

TEXT_CHARS_MAX: Final = 16_384
"""A header of base64. A transaction has at most 1,232 bytes; what clients echo is a few kB."""

_VERSIONS: Final = (1, 2)
_FORWARDED: Final = ("x402Version", "scheme", "network", "payload", "accepted", "resource")
"""What a facilitator is told of a payment: some refuse what they do not know."""


class Kept(msgspec.Struct, frozen=True):
    """A payment as it is kept with its top-up. `at` is when it was presented, in Unix seconds."""

    version: int
    payment: dict[str, Any]
    at: float


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A signed payment.

    Attributes:
        version: of x402, in which it was presented.
        payment: as it was presented, without what no facilitator needs.
        message: what its signers sign.
        memo: which top-up it says that it is for.
        units: of the token, that it moves.
        destination: the token account that they go to; `asset` which token.
        payer: the wallet that they come from.
    """

    version: int
    payment: dict[str, Any]
    message: bytes
    blockhash: str
    memo: str
    units: int
    asset: str
    destination: str
    payer: str

    @property
    def key(self) -> str:
        """What tells this payment from every other."""
        return hashlib.sha256(self.message).hexdigest()

    @property
    def top_up_id(self) -> UUID | None:
        """The top-up that it is for; None where its memo names none."""
        try:
            found = UUID(self.memo)
        except ValueError:
            return None
        return found if str(found) == self.memo else None

    def pays(self, terms: Terms) -> bool:
        """Whether what it moves goes to us."""
        return self.asset == terms.asset and self.destination == terms.account

    def check(self, terms: Terms) -> None:
        """Whether it pays us, whatever it pays.

        Raises:
            FieldInvalid: it does not.
        """
        wanted = terms.network_of(self.version)
        part = self.payment if self.version == 1 else self.payment["accepted"]
        if part.get("scheme") != SCHEME or part.get("network") != wanted:
            raise _invalid(f"it is not of the scheme {SCHEME!r} on the network {wanted!r}")
        if not self.pays(terms):
            raise _invalid("it does not pay USDC to the wallet that the offer names")


def read_signed(text: str) -> Signed:
    """The payment in the text of `X-PAYMENT` or `PAYMENT-SIGNATURE`.

    Raises:
        FieldInvalid: it is none; the message says what is wrong with it.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise _invalid(f"it has more than {TEXT_CHARS_MAX} characters")
    try:
        found = msgspec.json.decode(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError):
        raise _invalid("it is not base64 of JSON") from None
    if not isinstance(found, dict) or found.get("x402Version") not in _VERSIONS:
        raise _invalid("its x402Version is neither 1 nor 2")
    version = int(found["x402Version"])
    if version != 1 and not isinstance(found.get("accepted"), dict):
        raise _invalid("it does not say what it accepted")
    payment = {name: found[name] for name in _FORWARDED if name in found}
    return of_payment(version, payment)


def of_payment(version: int, payment: dict[str, Any]) -> Signed:
    """The payment in what was presented, or kept.

    Raises:
        FieldInvalid: it holds no transaction that moves a token.
    """
    payload = payment.get("payload")
    wire = payload.get("transaction") if isinstance(payload, dict) else None
    if not isinstance(wire, str):
        raise _invalid("its payload has no transaction")
    try:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(wire, validate=True))
        transaction.sanitize()
        moved = extract_transaction_info(transaction)
    except Exception:  # noqa: BLE001 - solders raises kinds of its own for what it cannot read
        raise _invalid("its transaction cannot be read") from None
    if moved is None:
        raise _invalid("its transaction moves no token")
    message = transaction.message
    return Signed(
        version=version,
        payment=payment,
        message=bytes(message),
        blockhash=str(message.recent_blockhash),
        memo=_memo(transaction),
        units=moved.amount,
        asset=moved.mint,
        destination=moved.destination_ata,
        payer=moved.payer,
    )


def _memo(transaction: VersionedTransaction) -> str:
    """The one memo; empty where there is none, or more than one."""
    keys = transaction.message.account_keys
    found = [
        bytes(one.data)
        for one in transaction.message.instructions
        if one.program_id_index < len(keys)
        and str(keys[one.program_id_index]) == MEMO_PROGRAM_ADDRESS
    ]
    return found[0].decode("utf-8", "replace") if len(found) == 1 else ""


def _invalid(why: str) -> FieldInvalid:
    return FieldInvalid(f"This is no payment for it: {why}. Nothing was taken.", field=FIELD)
