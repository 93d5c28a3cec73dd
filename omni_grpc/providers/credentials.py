"""How a provider knows us: headers that are always the same, or a signature of each request."""

from collections.abc import Mapping
from typing import Protocol


class CredentialsError(Exception):
    """No proof could be made; the message says why, for operators, and holds no secret."""


class Credentials(Protocol):
    """The proof that a request is ours."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that every request carries."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never appear in a text of the provider's that is passed on."""
        ...

    @property
    def signs(self) -> bool:
        """Whether each request has a proof of its own."""
        ...

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """The headers that one request carries in addition.

        Raises:
            CredentialsError: none can be made now.
        """
        ...


class KeyHeader:
    """A key in a header, or none at all."""

    signs = False

    def __init__(self, header: str, value: str, secret: str) -> None:
        self.headers: Mapping[str, str] = {header: value}
        self.secrets: tuple[str, ...] = (secret,)

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """Nothing more."""
        del method, url, headers, body
        return {}


class NoCredentials(KeyHeader):
    """For providers that know nobody."""

    def __init__(self) -> None:
        self.headers = {}
        self.secrets = ()
