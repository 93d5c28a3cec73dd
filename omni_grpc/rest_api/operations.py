"""`/health`, `/ready` and `/metrics`: for load balancers and monitors, open to all who can connect.

None of them shows anything of a tenant.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from omni_grpc.rest_api.exchange import BASE_HEADERS, JSON_HEADERS, Exchange

READY_SECONDS_MAX: Final = 2.0
"""How long readiness may take to find out; probes give up after a few seconds."""

log = structlog.get_logger(__name__)


class ProbeRoutes:
    """Answers probes."""

    def __init__(self, ready: Callable[[], Awaitable[bool]]) -> None:
        self._ready = ready

    async def health(self, exchange: Exchange) -> None:
        """200 as long as the process serves."""
        await exchange.answer(200, JSON_HEADERS, b'{"status":"ok"}')

    async def ready(self, exchange: Exchange) -> None:
        """200 if calls can be served now, else 503."""
        if await self._is_ready():
            await exchange.answer(200, JSON_HEADERS, b'{"status":"ready"}')
        else:
            await exchange.answer(503, JSON_HEADERS, b'{"status":"not ready"}')

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                return await self._ready()
        except TimeoutError:
            return False
        except Exception:
            log.exception("readiness_unknown")
            return False


class MetricsRoute:
    """Shows the metrics of all workers: the exposition and its content type."""

    def __init__(self, metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._metrics = metrics

    async def __call__(self, exchange: Exchange) -> None:
        """Answers with them."""
        body, content_type = self._metrics()
        headers = [(b"content-type", content_type.encode("latin-1")), *BASE_HEADERS]
        await exchange.answer(200, headers, body)
