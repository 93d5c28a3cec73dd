"""Whether a request was signed as AWS wants it, computed by botocore's own signer.

The simulator knows no accounts: whatever a caller takes as its access key id is its secret access
key too, and the simulator's key, where it has one, is both. botocore is imported with the first
signed request.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from omni_grpc.simulator.dialect import Rejected, SimRequest

__all__ = ("access_key_of", "check_signature")

SKEW_SECONDS_MAX: Final = 300
"""AWS's own limit between a signature's time and its own."""

_SCHEME: Final = "AWS4-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    rf"{_SCHEME} Credential=(?P<key>[^/,]+)/(?P<day>\d{{8}})/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-z0-9-]+)/aws4_request, ?SignedHeaders=(?P<names>[a-z0-9;-]+)"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME: Final = "%Y%m%dT%H%M%SZ"
_SERVICE: Final = "bedrock"


def access_key_of(headers: Mapping[str, str]) -> str:
    """The access key id of a signature, or the bearer; empty where there is neither."""
    said = headers.get("authorization", "")
    found = _AUTHORIZATION.fullmatch(said)
    return found["key"] if found else said.removeprefix("Bearer ")


def check_signature(request: SimRequest, route: str) -> None:
    """Check a signed request; `route` is the path after the model.

    Raises:
        Rejected: 403, it is not signed, or the signature is not of this request.
    """
    said = request.headers.get("authorization", "")
    if said.startswith("Bearer "):
        return
    if not said:
        raise Rejected(
            403, "Missing Authentication Token", code="MissingAuthenticationTokenException"
        )
    found = _AUTHORIZATION.fullmatch(said)
    if found is None:
        raise Rejected(
            403,
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
            code="IncompleteSignatureException",
        )
    _check_scope(found, request)
    signed = found["names"].split(";")
    needed = {"host", "x-amz-date", "content-type", "x-amz-security-token"}
    for name in sorted(needed.intersection(name.lower() for name in request.headers)):
        if name not in signed:
            raise _wrong(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    if not hmac.compare_digest(_signature(found, signed, request, route), found["signature"]):
        raise _wrong(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. The simulator's secret access key is "
            "the access key id itself."
        )


def _check_scope(found: re.Match[str], request: SimRequest) -> None:
    if found["service"] != _SERVICE:
        raise _wrong(f"Credential should be scoped to correct service: '{_SERVICE}'.")
    stamp = request.headers.get("x-amz-date", "")
    try:
        when = datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise _wrong("Date must be in ISO-8601 'basic format'.") from None
    if not stamp.startswith(found["day"]):
        raise _wrong("Date in Credential scope does not match YYYYMMDD from ISO-8601 version.")
    now = datetime.now(UTC)
    if abs((now - when).total_seconds()) > SKEW_SECONDS_MAX:
        raise _wrong(f"Signature expired: {stamp} is not now.")


def _signature(found: re.Match[str], signed: list[str], request: SimRequest, route: str) -> str:
    """What the signature of this request should be."""
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # botocore ships no types
    from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # no types
    from botocore.credentials import (  # type: ignore[import-untyped]  # no types
        ReadOnlyCredentials,
    )

    keys = ReadOnlyCredentials(found["key"], found["key"], None)
    auth = SigV4Auth(keys, found["service"], found["region"])
    model = quote(request.variables["model"], safe="")
    body_hash = request.headers.get("x-amz-content-sha256")
    if body_hash is not None and body_hash != hashlib.sha256(request.body).hexdigest():
        raise _wrong("The provided 'x-amz-content-sha256' header does not match what was computed.")
    again = AWSRequest(
        method=request.method,
        url=f"http://{request.headers.get('host', '')}/model/{model}/{route}",
        data=request.body,
        headers={name: request.headers.get(name, "") for name in signed},
    )
    again.context["timestamp"] = request.headers["x-amz-date"]
    return str(auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again))


def _wrong(message: str) -> Rejected:
    return Rejected(403, message, code="InvalidSignatureException")
