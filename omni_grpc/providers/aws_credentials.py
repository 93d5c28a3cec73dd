"""AWS's signature, version 4: each request proves itself with keys that never leave this process.

botocore's own signer computes it, imported with the first keys, so that a process without AWS does
not pay for it. What is signed is what is sent: the headers that `sign` adds it also returns.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from omni_grpc.providers.credentials import CredentialsError

if TYPE_CHECKING:
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore ships no types

_CONTENT_TYPE: Final = "application/json"
_AMAZON: Final = "x-amz"


class AwsCredentials:
    """The keys of one AWS account, or of a role for as long as its session token is good.

    Args:
        access_key: the access key id.
        secret_key: the secret access key.
        session_token: what comes with temporary keys; None for lasting ones.
        region: where the service is called, such as `us-east-1`.
        service: the name under which AWS checks the signature.

    Raises:
        ValueError: a value is empty or holds what no header can carry.
    """

    signs = True

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        session_token: str | None,
        region: str,
        service: str = "bedrock",
    ) -> None:
        for name, value in (
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", secret_key),
            ("AWS_SESSION_TOKEN", "-" if session_token is None else session_token),
            ("AWS_REGION", region),
        ):
            if not (value and value.isascii() and value.isprintable() and " " not in value):
                raise ValueError(f"{name} is empty or holds a blank; copy it again.")
        self.headers: Mapping[str, str] = {}
        self.secrets: tuple[str, ...] = (
            secret_key,
            access_key,
            *(() if session_token is None else (session_token,)),
        )
        self._auth = _signer(access_key, secret_key, session_token, service, region)

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """The signature's headers: it covers host, content type, date, token and body.

        Of `headers` those of Amazon's own are covered; others may be changed on the way.

        Raises:
            CredentialsError: the address has no host.
        """
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # no types

        if not urlsplit(url).hostname:
            raise CredentialsError("its address has no host to sign")
        signed = {
            name: value for name, value in headers.items() if name.lower().startswith(_AMAZON)
        }
        signed["Content-Type"] = _CONTENT_TYPE
        request = AWSRequest(method=method, url=url, data=body, headers=signed)
        self._auth.add_auth(request)
        return {str(name): str(value) for name, value in request.headers.items()}


def _signer(
    access_key: str, secret_key: str, session_token: str | None, service: str, region: str
) -> "SigV4Auth":
    from botocore.auth import SigV4Auth
    from botocore.credentials import (  # type: ignore[import-untyped]  # no types
        ReadOnlyCredentials,
    )

    # At DEBUG it logs what it signs, the session token included.
    logging.getLogger("botocore.auth").setLevel(logging.INFO)
    keys = ReadOnlyCredentials(access_key, secret_key, session_token)
    return SigV4Auth(keys, service, region)
