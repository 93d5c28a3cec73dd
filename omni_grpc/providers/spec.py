"""Providers as data: what `providers.yaml` says of each, and what an operator sets.

A provider of a known dialect is a few lines in that file, not code. Nothing here reads the
environment: the settings do, and hand over `ProviderSettings` by provider id.
"""

from importlib import resources
from typing import Annotated, Final, Literal, Protocol

import msgspec

from omni_grpc.core.limits import PROVIDER_CONNECTIONS_MAX

Dialect = Literal["openai"]
RecordFormat = Literal["openrouter"]
OutputLimitField = Literal["max_completion_tokens", "max_tokens"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_600)]

_FILE: Final = "providers.yaml"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long we wait for a provider, in seconds.

    `connect_s` covers a free place in the pool, DNS, TCP and TLS. `first_byte_s` runs from the
    sending of a streamed request to its status line (a plain answer is awaited until the end of
    the call, since its status line comes with it). `between_bytes_s` runs while we wait for more
    of an answer, and `total_s` bounds the whole.
    """

    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 120.0
    between_bytes_s: Seconds = 180.0
    total_s: Seconds = 600.0


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider of the file.

    `base_url` None means that the operator must give one. `key_env` None means that the provider
    takes no key. `bills_after_cancel` says that a cancelled call goes on costing there. `records`
    is the format of the provider's own records of what it generated; None where it keeps none
    that can be asked for.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
    dialect: Dialect
    base_url: str | None = None
    key_env: str | None = None
    bills_after_cancel: bool
    output_limit_field: OutputLimitField = "max_completion_tokens"
    records: RecordFormat | None = None
    connections_max: Annotated[int, msgspec.Meta(gt=0)] = PROVIDER_CONNECTIONS_MAX
    timeouts: Timeouts = Timeouts()


class SecretText(Protocol):
    """A secret that shows itself only when asked; pydantic's SecretStr is one."""

    def get_secret_value(self) -> str:
        """The secret in clear."""
        ...


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sets for one provider; None leaves the file's value.

    Another `base_url` may be another company's, so what the file says of cancelling can be set too.
    """

    base_url: str | None = None
    bills_after_cancel: bool | None = None
    api_key: SecretText | None = None


def load_specs() -> tuple[ProviderSpec, ...]:
    """The providers of the file, in its order.

    Raises:
        msgspec.ValidationError: the file is not what this module describes.
        ValueError: an id stands twice.
    """
    text = (resources.files(__package__) / _FILE).read_bytes()
    specs = msgspec.yaml.decode(text, type=tuple[ProviderSpec, ...])
    if len({spec.id for spec in specs}) != len(specs):
        raise ValueError(f"{_FILE} names a provider twice.")
    return specs
