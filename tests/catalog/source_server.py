"""A server of catalog sources on a real socket: what it answers is set by path."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

SAMPLES = Path(__file__).parent / "samples"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SourceServer:
    """Answers each path with what was put there; `asked` has the requests' headers by path."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: dict[str, list[dict[str, str]]] = {}
        self._answers: dict[str, Answer] = {}

    def put(
        self,
        path: str,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/json",
        **headers: str,
    ) -> str:
        """Answer with these bytes; returns the URL. `Etag` headers are honoured."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(request: web.Request) -> web.Response:
            if "ETag" in sent and request.headers.get("If-None-Match") == sent["ETag"]:
                return web.Response(status=304)
            return web.Response(
                body=body, status=status, headers={"Content-Type": content_type, **sent}
            )

        return self.answer(path, answer)

    def sample(self, path: str, name: str, **headers: str) -> str:
        """Answer with a sample file."""
        kind = "application/yaml" if name.endswith(".yaml") else "application/json"
        return self.put(path, (SAMPLES / name).read_bytes(), content_type=kind, **headers)

    def zipped(self, path: str, body: bytes) -> str:
        """Answer with a gzip-encoded body."""
        return self.put(path, gzip.compress(body), Content_Encoding="gzip")

    def answer(self, path: str, answer: Answer) -> str:
        """Answer by a function; returns the URL."""
        self._answers[path] = answer
        return f"{self.url}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.asked.setdefault(request.path, []).append(dict(request.headers))
        answer = self._answers.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)


@asynccontextmanager
async def serving() -> AsyncIterator[SourceServer]:
    """A server on a free port of this machine."""
    served = SourceServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        served.url = f"http://{host}:{port}"
        yield served
    finally:
        await asyncio.shield(runner.cleanup())
