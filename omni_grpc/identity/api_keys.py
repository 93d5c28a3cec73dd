"""API keys: what is known of one, what a new one is given, and the moment when its secret is told.

Only `NewKey` ever holds a secret, and it does not show it when it is printed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX
from omni_grpc.identity.model import SCOPES_DEFAULT, Scope

MODELS_MAX: Final = 64
"""Models in one key's list, which every call of the key compares."""

LIFE_MAX: Final = timedelta(days=36_500)
"""A hundred years: further moments are mistakes, such as milliseconds for seconds."""

OVERLAP_DEFAULT: Final = timedelta(days=1)
OVERLAP_MAX: Final = timedelta(days=30)
"""How long a rotated key goes on: long enough for a release, short enough to be a rotation."""


_SPECIAL: Final = frozenset(" *?[]")
"""What a pattern gives a meaning to; no model's id has one of them."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told about a key."""

    name: str
    """`orgs/{org}/apiKeys/{prefix}`."""
    parent: str
    """`orgs/{org}`, or a team or an environment of it; the organisation once those are gone."""
    display_name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None

    @property
    def prefix(self) -> str:
        """Its public part, the last of its name."""
        return self.name.rpartition("/")[2]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its place in a list, and its hash."""

    key_id: int
    key: ApiKey
    secret_hash: bytes
    replaced_by: str | None
    """The prefix of the key that a rotation made for it."""


class KeyGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key is given."""

    display_name: str = ""
    scopes: frozenset[Scope] = SCOPES_DEFAULT
    models: tuple[str, ...] = ()
    expire_time: datetime | None = None


# A dataclass, since a Struct would show the secret to rich's pretty printer.
@dataclass(frozen=True, slots=True, eq=False)
class NewKey:
    """A key at the one moment when its secret is known. `secret` is the whole presented text."""

    key: ApiKey
    secret: str = field(repr=False)


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """A list of models: ids, bare ids, or `provider/*`; each once.

    Raises:
        FieldInvalid: too many, or one that cannot be a model.
    """
    if len(models) > MODELS_MAX:
        raise FieldInvalid(f"`models` may hold at most {MODELS_MAX}.", field="models")
    for one in models:
        plain = one.removesuffix("/*")
        if not 0 < len(one) <= MODEL_ID_CHARS_MAX or not plain or not _is_plain(plain):
            raise FieldInvalid(
                "`models` may hold models, as `openai/gpt-4o` or `gpt-4o`, and all of a "
                f"provider, as `openai/*`; each of at most {MODEL_ID_CHARS_MAX} characters.",
                field="models",
            )
    return tuple(dict.fromkeys(models))


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and not _SPECIAL.intersection(text)
