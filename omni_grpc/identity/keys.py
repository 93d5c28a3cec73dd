"""The text of an API key: how it is made, recognised and hashed. docs/keys.md says why so.

A key is `omni_`, a prefix of 12 characters that names it in public, `_`, and a secret of 43
characters with 256 random bits. Neither the text nor the secret is kept anywhere.
"""

import hmac
import re
import secrets
import string

from omni_grpc.core.errors import ApiKeyInvalid
from omni_grpc.identity.names import KEY_PREFIX_CHARS, KEY_PREFIX_PATTERN

HASH_SECRET_BYTES_MIN = 32
"""As many bits as the hash has; a shorter secret would be the weaker part of the two."""

_PREFIX_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SECRET_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_CHARS = 43
"""The least n with 62^n >= 2^256."""

_KEY = re.compile(f"omni_({KEY_PREFIX_PATTERN})_[0-9A-Za-z]{{{_SECRET_CHARS}}}")
_KEY_CHARS = len("omni_") + KEY_PREFIX_CHARS + len("_") + _SECRET_CHARS

# Other uses of the same server secret must not yield the same hashes.
_PURPOSE = b"omni-grpc api key v1"


def new_key_text() -> str:
    """A key that never was before: 60 random bits of prefix, 256 of secret."""
    prefix = new_prefix()
    secret = "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_SECRET_CHARS))
    return f"omni_{prefix}_{secret}"


def new_prefix() -> str:
    """A public name that never was before: 60 random bits."""
    return "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(KEY_PREFIX_CHARS))


def key_prefix(presented: str) -> str:
    """The prefix of a key of the right form. The work does not grow with what is presented.

    Raises:
        ApiKeyInvalid: it is not of the form.
    """
    match = _KEY.fullmatch(presented) if len(presented) == _KEY_CHARS else None
    if match is None:
        raise ApiKeyInvalid(
            f"This is not an API key of this service: one begins with `omni_` and has {_KEY_CHARS} "
            "characters. Check what was sent as the key."
        )
    return match[1]


class KeyHasher:
    """Hashes keys under the server's secret (at least 32 bytes)."""

    __slots__ = ("_secret",)

    def __init__(self, key_hash_secret: bytes) -> None:
        if len(key_hash_secret) < HASH_SECRET_BYTES_MIN:
            raise ValueError(
                f"the key hash secret has {len(key_hash_secret)} bytes; "
                f"it needs at least {HASH_SECRET_BYTES_MIN}"
            )
        self._secret = hmac.digest(key_hash_secret, _PURPOSE, "sha256")

    def digest(self, key_text: str) -> bytes:
        """HMAC-SHA256 of a whole key of the right form, prefix included: 32 bytes."""
        return hmac.digest(self._secret, key_text.encode("ascii"), "sha256")
