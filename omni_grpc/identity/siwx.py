"""Sign-In-With-X for Solana: what a wallet signed, rebuilt from what it sent, and checked.

The text is Sign-In-With-Solana's (CAIP-122), as x402's SDKs build it. Whatever is in the text was
signed; whatever is not is not looked at. A field with a line break is refused, since one text must
not be read in two ways.
"""

import base64
import binascii
import re
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from omni_grpc.core.errors import ApiKeyInvalid

SIGN_IN_SECONDS_MAX: Final = 300.0
"""How long a signature is good after it was made."""

CLOCK_SECONDS_MAX: Final = 5.0
"""How far a wallet's clock may be ahead of ours."""

HEADER_CHARS_MAX: Final = 8_192
"""Longest header; one without resources has some 700 characters."""

RESOURCES_MAX: Final = 32
ADDRESS_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_CHARS_MAX: Final = 88
"""The longest base58 of 64 bytes; its decoding is quadratic."""

SMALL_ORDER_KEYS: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Points of small order in all their encodings, their sign bit apart: anyone can sign for them."""

_CHAIN: Final = re.compile(r"solana:[-_a-zA-Z0-9]{1,32}", re.ASCII)
_NONCE: Final = re.compile(r"[!-~]{8,128}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class SignIn(msgspec.Struct, frozen=True, rename="camel"):
    """What the header SIGN-IN-WITH-X holds."""

    domain: str
    address: str
    uri: str
    version: str
    chain_id: str
    type: str
    nonce: str
    issued_at: str
    signature: str
    statement: str | None = None
    expiration_time: str | None = None
    not_before: str | None = None
    request_id: str | None = None
    resources: tuple[str, ...] | None = None

    def text(self) -> str:
        """What the wallet signed."""
        lines = [f"{self.domain} wants you to sign in with your Solana account:", self.address, ""]
        if self.statement:
            lines += [self.statement, ""]
        lines += [
            f"URI: {self.uri}",
            f"Version: {self.version}",
            f"Chain ID: {self.chain_id.partition(':')[2]}",
            f"Nonce: {self.nonce}",
            f"Issued At: {self.issued_at}",
        ]
        for title, value in (
            ("Expiration Time", self.expiration_time),
            ("Not Before", self.not_before),
            ("Request ID", self.request_id),
        ):
            if value:
                lines.append(f"{title}: {value}")
        if self.resources:
            lines += ["Resources:", *(f"- {one}" for one in self.resources)]
        return "\n".join(lines)


_read: Final = msgspec.json.Decoder(SignIn).decode


def read_sign_in(header: str) -> SignIn:
    """The header's content, of a form that can be checked.

    Raises:
        ApiKeyInvalid: it is not of the form; the text says where.
    """
    if len(header) > HEADER_CHARS_MAX:
        raise refused(f"the header is longer than {HEADER_CHARS_MAX} characters")
    try:
        found = _read(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise refused("the header is not the base64 of its JSON object") from None
    if found.type != "ed25519" or found.version != "1":
        raise refused('`type` must be "ed25519" and `version` "1"')
    if _CHAIN.fullmatch(found.chain_id) is None:
        raise refused("`chainId` must be a Solana network, such as solana:5eykt4…")
    if _NONCE.fullmatch(found.nonce) is None:
        raise refused("`nonce` must have 8 to 128 characters without spaces")
    resources = found.resources or ()
    if len(resources) > RESOURCES_MAX:
        raise refused(f"it names more than {RESOURCES_MAX} resources")
    for text in (found.domain, found.uri, found.statement, found.request_id, *resources):
        if text and not text.isprintable():
            raise refused("a field has a line break or a control character")
    return found


def check_host(found: SignIn, domain: str) -> None:
    """Go on only if it was signed for this host.

    Raises:
        ApiKeyInvalid: it was signed for another.
    """
    try:
        there = urlsplit(found.uri).netloc.lower()
    except ValueError:
        there = ""
    if found.domain.lower() != domain or there != domain:
        raise refused(f"it was signed for another host: `domain` and `uri` must name {domain}")


def check_times(found: SignIn, now: datetime) -> None:
    """Go on only if it was signed a moment ago, and holds now.

    Raises:
        ApiKeyInvalid: it is too old, of the future, or expired.
    """
    age_s = now.timestamp() - _moment(found.issued_at, "issuedAt")
    if age_s >= SIGN_IN_SECONDS_MAX:
        raise refused(f"it was signed more than {SIGN_IN_SECONDS_MAX:.0f} s ago; sign anew")
    if age_s < -CLOCK_SECONDS_MAX:
        raise refused("`issuedAt` is in the future; check the clock")
    if (
        found.expiration_time
        and _moment(found.expiration_time, "expirationTime") <= now.timestamp()
    ):
        raise refused("it has expired; sign anew")
    if found.not_before and _moment(found.not_before, "notBefore") > now.timestamp():
        raise refused("it is not valid yet (`notBefore`)")


def public_key(address: str) -> bytes:
    """The 32 bytes of a wallet's address, of which each address is the one spelling.

    Raises:
        ApiKeyInvalid: it is no address.
    """
    key = _base58(address)
    if key is None or len(key) != ADDRESS_BYTES:
        raise refused("the address is not the base58 of 32 bytes")
    if key[:-1] + bytes((key[-1] & 0x7F,)) in SMALL_ORDER_KEYS:
        raise refused("the address is no wallet's: anyone could sign for it")
    return key


def check_signature(key: bytes, signature: str, message: bytes) -> None:
    """Go on only if the wallet signed the message.

    Raises:
        ApiKeyInvalid: it did not.
    """
    given = _base58(signature)
    if given is None or len(given) != SIGNATURE_BYTES:
        raise refused("the signature is not the base58 of 64 bytes")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(given, message)
    except (InvalidSignature, ValueError):
        raise refused("the signature is not this wallet's over this text") from None


def refused(why: str) -> ApiKeyInvalid:
    """The error of a sign-in that is not valid."""
    return ApiKeyInvalid(f"This wallet's sign-in is not valid: {why}.")


def _moment(text: str, name: str) -> float:
    """A time of RFC 3339 in seconds since 1970."""
    if _TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            pass
    raise refused(f"`{name}` is no time such as 2026-01-31T12:00:00Z")


def _base58(text: str) -> bytes | None:
    """The bytes of a base58 text; None where it is none. Leading ones are bytes of zero."""
    if len(text) > _BASE58_CHARS_MAX:
        return None
    number = 0
    for letter in text:
        digit = _BASE58.find(letter)
        if digit < 0:
            return None
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
