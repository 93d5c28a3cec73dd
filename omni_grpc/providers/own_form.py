"""What an account at a provider consists of when a tenant brings its own, and where it is called.

The address is the operator's or the provider's own. A tenant's values may fill in a name in its
host or path, as in `{resource}.openai.azure.com`, and never a dot or a slash, so a tenant cannot
choose where this service connects. No fault here holds a part of a secret.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from yarl import URL

from omni_grpc.providers.aws_credentials import AwsCredentials
from omni_grpc.providers.credentials import Credentials, KeyHeader
from omni_grpc.providers.spec import ProviderSettings, ProviderSpec

SECRET_CHARS_MAX: Final = 8_192
"""A key file of Google's has some 2,400, a session token of AWS's some 1,000."""

VARIABLES_MAX: Final = 16
VARIABLE_CHARS_MAX: Final = 4_096
"""A session token of AWS's is the longest."""

GOOGLE_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
"""Where a tenant's key file is exchanged for tokens, whatever it says itself."""

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
"""What may stand for a name in an address: one label of a host's name."""

_ANCHORED: Final = re.compile(
    r"https?://[^/?#]*\}[A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+(?::\d+)?(?:[/?#]|$)"
)
"""An address whose host ends in names that are not filled in."""

_NAMES: Final = re.compile(r"\{(\w+)\}")
_SECRETS_OF: Final = {"aws": "secret_key", "google": "credentials"}
"""By scheme, which of a provider's variables is the secret itself."""

GOOGLE_KEY_BITS_MAX: Final = 2_048
"""Google's own keys have so many. Looking whether a key is one holds up every other call, for a
time that grows with the fourth power of this: with 6,144 bits for seconds."""

_GOOGLE_FIELDS: Final = ("private_key", "client_email")
_GOOGLE_KEPT: Final = ("type", "project_id", "private_key_id", "private_key", "client_email")


class OwnAccountFault(ValueError):
    """An account cannot be used; `field` is `provider`, `secret` or `variables`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class OwnForms:
    """What tenants may bring, by provider."""

    def __init__(
        self, specs: Sequence[ProviderSpec], settings: Mapping[str, ProviderSettings]
    ) -> None:
        """`settings` are the operator's: of them the addresses hold for tenants too."""
        self._forms = {
            spec.id: OwnForm(spec, settings.get(spec.id, ProviderSettings())) for spec in specs
        }

    def get(self, provider: str) -> "OwnForm":
        """The form of a provider.

        Raises:
            OwnAccountFault: there is no such provider, or nobody can bring an account of it.
        """
        form = self._forms.get(provider)
        if form is None:
            known = ", ".join(sorted(self.ids))
            raise OwnAccountFault(
                "provider", f"There is no provider {provider[:64]!r} here; there are {known}."
            )
        form.check_possible()
        return form

    @property
    def ids(self) -> frozenset[str]:
        """The providers of which an account can be brought."""
        return frozenset(name for name, form in self._forms.items() if form.is_possible)


class OwnForm:
    """What an account at one provider consists of."""

    def __init__(self, spec: ProviderSpec, settings: ProviderSettings) -> None:
        if settings.bills_after_cancel is not None:
            spec = msgspec.structs.replace(spec, bills_after_cancel=settings.bills_after_cancel)
        self.spec = spec
        self._address = settings.base_url or spec.base_url
        self._filled_in = tuple(dict.fromkeys(_NAMES.findall(self._address or "")))
        is_secret = _SECRETS_OF.get(spec.auth)
        self._named = {
            variable: name for name, variable in spec.variables.items() if name != is_secret
        }
        """Names of the file, by the variables that callers know them by."""

    @property
    def is_possible(self) -> bool:
        """Whether somebody can bring an account."""
        address = self._address
        return (
            address is not None
            and self.spec.auth != "none"
            and (not self._filled_in or _ANCHORED.match(address) is not None)
        )

    def check_possible(self) -> None:
        """Finds why nobody can bring an account.

        Raises:
            OwnAccountFault: it says why.
        """
        if not self.is_possible:
            raise OwnAccountFault(
                "provider",
                f"The provider {self.spec.id!r} takes no accounts of others here: it has no "
                "address of its own, or knows no keys.",
            )

    def address(self, variables: Mapping[str, str]) -> URL:
        """Where an account is called.

        Raises:
            OwnAccountFault: a variable that the address needs is missing, or cannot stand in it.
        """
        named = self._by_name(variables)
        for name in self._filled_in:
            if _LABEL.fullmatch(named.get(name, "")) is None:
                raise OwnAccountFault(
                    "variables",
                    f"The provider {self.spec.id!r} needs {self._variable(name)}: letters, digits "
                    "and hyphens.",
                )
        return URL((self._address or "").format_map(named))

    def credentials(self, secret: str, variables: Mapping[str, str]) -> Credentials:
        """The proof of an account.

        Raises:
            OwnAccountFault: the secret or a variable cannot be what it should be.
        """
        self._check_text(secret, variables)
        auth = self.spec.auth
        if auth == "google":
            return _google(secret)
        if auth == "aws" and self._is_signed(variables):
            named = self._by_name(variables)
            try:
                return AwsCredentials(
                    named.get("access_key", ""),
                    secret,
                    named.get("session_token") or None,
                    named.get("region", ""),
                )
            except ValueError as error:
                raise OwnAccountFault("variables", str(error)) from None
        if auth == "header" and self.spec.auth_header is not None:
            return KeyHeader(self.spec.auth_header, secret, secret)
        return KeyHeader("Authorization", f"Bearer {secret}", secret)

    @property
    def is_slow(self) -> bool:
        """Whether making its proof takes long, such as to import who signs."""
        return self.spec.auth in _SECRETS_OF

    def _is_signed(self, variables: Mapping[str, str]) -> bool:
        return "access_key" in self._by_name(variables)

    def _by_name(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {self._named[key]: text for key, text in variables.items() if key in self._named}

    def _variable(self, name: str) -> str:
        return f"the variable {self.spec.variables.get(name, name)}"

    def _check_text(self, secret: str, variables: Mapping[str, str]) -> None:
        if not 0 < len(secret) <= SECRET_CHARS_MAX:
            raise OwnAccountFault(
                "secret", f"The secret must have 1 to {SECRET_CHARS_MAX} characters."
            )
        if self.spec.auth != "google" and not _is_word(secret):
            raise OwnAccountFault(
                "secret", "The secret holds a blank or a character that no key has; copy it again."
            )
        if len(variables) > VARIABLES_MAX:
            raise OwnAccountFault("variables", f"There may be at most {VARIABLES_MAX} variables.")
        for key, text in variables.items():
            if key not in self._named:
                known = ", ".join(sorted(self._named)) or "none"
                raise OwnAccountFault(
                    "variables",
                    f"{key[:64]!r} is no variable of the provider {self.spec.id!r}; it has: "
                    f"{known}.",
                )
            if len(text) > VARIABLE_CHARS_MAX or not _is_word(text):
                raise OwnAccountFault(
                    "variables", f"{key} is empty, too long, or holds a blank; copy it again."
                )


def secrets_of(credentials: Credentials) -> tuple[str, ...]:
    """What must never be passed on of what a provider says: secrets, and long ones' halves."""
    found = dict.fromkeys(credentials.secrets)
    for secret in credentials.secrets:
        half = len(secret) // 2
        if half >= _HALF_CHARS_MIN:
            found |= dict.fromkeys((secret[:half], secret[half:]))
    return tuple(found)


_HALF_CHARS_MIN: Final = 8
"""A shorter half may be a word."""


def _is_word(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _google(secret: str) -> Credentials:
    try:
        info = msgspec.json.decode(secret, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        info = {}
    if not all(isinstance(info.get(name), str) for name in _GOOGLE_FIELDS):
        raise OwnAccountFault(
            "secret", "The secret must be the JSON of a service account's key file of Google's."
        )
    kept = {name: str(info[name]) for name in _GOOGLE_KEPT if isinstance(info.get(name), str)}
    from omni_grpc.providers.google_credentials import GoogleCredentials  # late: half a second

    try:
        _check_google_key(kept["private_key"])
        return GoogleCredentials(kept | {"token_uri": GOOGLE_TOKEN_URI})
    except OwnAccountFault:
        raise
    except ValueError:
        raise OwnAccountFault(
            "secret", "The secret is no service account's key file of Google's; make one anew."
        ) from None


def _check_google_key(pem: str) -> None:
    """Refuses a key that takes long to look at, before anybody looks whether its primes are some.

    Raises:
        OwnAccountFault: it is too long, or no RSA key.
        ValueError: it cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # late: with Google's own
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        # Nothing is computed with what is not checked: its numbers are read, and then it is gone.
        key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError from None
    if not isinstance(key, RSAPrivateKey):
        raise OwnAccountFault("secret", "The secret's private key is no RSA key.")
    found = key.private_numbers()
    numbers = (found.p, found.q, found.d, found.dmp1, found.dmq1, found.iqmp)
    if max(key.key_size, *(number.bit_length() for number in numbers)) > GOOGLE_KEY_BITS_MAX:
        raise OwnAccountFault(
            "secret",
            f"The secret's private key has more than {GOOGLE_KEY_BITS_MAX} bits, which no key of "
            "Google's has; make one with `gcloud iam service-accounts keys create`.",
        )
