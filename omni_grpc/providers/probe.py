"""Whether a provider is there, found out without a chat: its list of models, or a connection.

A probe costs nothing there and says one thing: something answers. Whether a chat would be answered
it does not know.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.spec import DialectName, ProviderSpec

PROBE_SECONDS_MAX: Final = 5.0
"""A provider that takes longer to list its models, or to be connected to, is not there."""

_SERVER_ERROR_MIN: Final = 500

_MODELS_PATHS: Final[dict[DialectName, str]] = {
    "openai": "models",
    "responses": "models",
    "anthropic": "v1/models?limit=1",
    "gemini": "models?pageSize=1",
    "cohere": "v1/models?page_size=1",
}
"""Where each dialect lists its models. Bedrock does so at another host, so it is connected to."""


async def is_there(upstreams: Sequence[Upstream], seconds: float = PROBE_SECONDS_MAX) -> bool:
    """Whether one at least of a provider's endpoints answers within so many seconds.

    Each in turn gets an equal share of the time that is left.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    for place, upstream in enumerate(upstreams):
        now = loop.time()
        if await _answers(upstream, now + (end - now) / (len(upstreams) - place)):
            return True
    return False


async def _answers(upstream: Upstream, due: float) -> bool:
    path = _models_path(upstream.spec)
    if path is None:
        return await _connects(upstream, due)
    try:
        await upstream.get(upstream.url(path), due)
    except ProviderFault as fault:
        return fault.status is not None and fault.status < _SERVER_ERROR_MIN
    return True


def _models_path(spec: ProviderSpec) -> str | None:
    """Where its models are listed; None where nobody says so, or a list would have to be signed."""
    if spec.models_path is not None:
        return spec.models_path
    if spec.auth in ("google", "aws") or spec.chat_path is not None:
        return None
    return _MODELS_PATHS.get(spec.dialect)


async def _connects(upstream: Upstream, due: float) -> bool:
    """Whether a connection is made, with TLS where the address wants it."""
    url = upstream.url("")
    try:
        async with asyncio.timeout_at(due):
            _, writer = await asyncio.open_connection(
                url.host, url.port, ssl=True if url.scheme == "https" else None
            )
    except (OSError, TimeoutError):  # no name, no listener, a certificate that nobody trusts
        return False
    with contextlib.suppress(RuntimeError):  # of a transport that is closed already
        writer.transport.abort()
    return True
