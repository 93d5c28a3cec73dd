"""docs/adding-a-provider.md, done word for word: its file, its commands, its dialect."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from aiohttp import web
from gateway import KEY_HASH_SECRET, Gateway, SimulatorThread
from pydantic import SecretStr

from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.providers import Providers, ProviderSettings, ProviderSpec, UpstreamCall
from omni_grpc.providers.registry import DIALECTS

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-provider.md").read_text()
START_SECONDS_MAX = 60.0


def block(language: str, place: int = 0) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return textwrap.dedent(found[place])


def test_a_provider_of_a_known_dialect_is_added_by_what_the_page_says(
    own_gateway: Gateway, simulator: SimulatorThread, tmp_path: Path
) -> None:
    (tmp_path / "providers.yaml").write_text(block("yaml"))
    export, migrate, serve, chat = block("sh").strip().splitlines()
    name, _, _ = export.removeprefix("export ").partition("=")
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(tmp_path),
        "COLUMNS": "200",
        "DATABASE_URL": own_gateway.database_url,
        "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
        "OMNI_JOURNAL_DIR": str(tmp_path / "journal"),
        # The provider is at the simulator; nothing else differs from the page.
        "OMNI_PROVIDER_ACME_BASE_URL": simulator.base_url,
        name: "its-key",
    }

    def run(words: str, **more: str) -> str:
        ended = subprocess.run(
            words, shell=True, cwd=tmp_path, env=environment | more, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    run(migrate)
    ready = tmp_path / "ready.json"
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*serve.split(), "--grpc-addr=127.0.0.1:0", "--rest-addr=127.0.0.1:0",
             f"--ready-file={ready}"],
            cwd=tmp_path, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        own_gateway.folder = tmp_path
        own_gateway.grpc = json.loads(ready.read_text())["grpc"]
        tenant = own_gateway.tenant()
        answer = run(f"{chat} --addr {own_gateway.grpc}", OMNI_API_KEY=tenant.api_key)
    finally:
        server.terminate()
        server.wait(30)
    assert "acme/acme-large" in answer
    record = simulator.simulator.log[-1]
    assert record.model == "acme-large"
    assert record.outcome == "finished"


@pytest.fixture
def parrot() -> type:
    """The page's dialect, as it stands there."""
    module: dict[str, object] = {"__name__": "parrot"}
    exec(compile(block("python"), "docs/adding-a-provider.md", "exec"), module)
    return module["Parrot"]


async def test_the_dialect_of_the_page_is_one(
    parrot: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert asked == {"say": "Hello", "stream": asked["stream"], "limit": 9}
        if not asked["stream"]:
            return web.json_response({"said": "Hello!", "read": 1, "written": 2})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'data: {"said": "Hel", "is_last": false}\n\n')
        await answer.write(b'data: {"said": "lo!", "read": 1, "written": 2}\n\n')
        return answer

    app = web.Application()
    app.add_routes([web.post("/v9/say", say)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    monkeypatch.setitem(DIALECTS, "parrot", parrot)  # the line in the registry
    spec = ProviderSpec(id="bird", dialect="parrot", key_env="BIRD_KEY", bills_after_cancel=False)
    settings = ProviderSettings(base_url=f"http://127.0.0.1:{port}/v9", api_key=SecretStr("k"))
    providers = Providers({"bird": settings}, specs=(spec,))
    await providers.open()
    try:
        provider = providers.get("bird")
        request = ChatRequest(model="bird/p", messages=(Message(role="user", content="Hello"),))
        call = UpstreamCall(
            request=request, model="p", output_tokens_max=9, call_id="c", seconds_left=9
        )
        whole = await provider.complete(call, lambda: None)
        assert whole.choices[0].answer.text == "Hello!"
        assert (whole.usage.prompt, whole.usage.completion) == (1, 2)
        stream = await provider.open_stream(call, lambda: None)
        texts = [delta.text for deltas in [found async for found in stream] for delta in deltas]
        assert "".join(texts) == "Hello!"
        assert stream.usage == whole.usage
        assert providers.refusal("bird", request) is None
    finally:
        await providers.close()
        await runner.cleanup()
