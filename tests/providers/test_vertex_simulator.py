"""Vertex AI against the simulator: the tokens of a service account."""

import json
from collections.abc import AsyncIterator

import pytest
from google_tokens import TokenEndpoint, key_file
from provider_calls import make_call
from pydantic import SecretStr
from streamed import read_choices

from omni_grpc.providers import (
    Misconfigured,
    Providers,
    ProviderSettings,
    ProviderSpec,
)
from omni_grpc.simulator import Simulator

VERTEX = ProviderSpec(
    id="p",
    dialect="gemini",
    auth="google",
    variables={"credentials": "GOOGLE_APPLICATION_CREDENTIALS"},
    bills_after_cancel=False,
)


async def providers_of(spec: ProviderSpec, settings: ProviderSettings) -> Providers:
    providers = Providers({"p": settings}, specs=(spec,))
    await providers.open()
    return providers


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    runner = await endpoint.start()
    yield endpoint
    await runner.cleanup()
    assert not endpoint.problems


async def vertex_of(simulator: Simulator, endpoint: TokenEndpoint, tmp_path) -> Providers:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key_file(endpoint.url)))
    base = f"{simulator.origin}/v1/projects/p/locations/europe-west4/publishers/google"
    settings = ProviderSettings(base_url=base, variables={"credentials": SecretStr(str(path))})
    return await providers_of(VERTEX, settings)


async def test_vertex_is_asked_by_a_token_of_a_service_account(endpoint, dispatched, tmp_path):
    async with Simulator(key="ya29.1") as simulator:
        providers = await vertex_of(simulator, endpoint, tmp_path)
        provider = providers.get("p")
        plain = await provider.complete(make_call(model="fast"), dispatched)
        streamed = await read_choices(
            await provider.open_stream(make_call(model="fast"), dispatched)
        )
        assert streamed[0].text == plain.choices[0].answer.text
        assert endpoint.asked == 1
        await providers.close()


async def test_a_token_that_vertex_does_not_take_is_not_the_callers_fault(
    endpoint, dispatched, tmp_path
):
    async with Simulator(key="another") as simulator:
        providers = await vertex_of(simulator, endpoint, tmp_path)
        with pytest.raises(Misconfigured) as caught:
            await providers.get("p").complete(make_call(model="fast"), dispatched)
        assert (caught.value.status, caught.value.code) == (401, "UNAUTHENTICATED")
        await providers.close()


async def test_without_a_token_nothing_is_sent(simulator, endpoint, dispatched, tmp_path):
    endpoint.status, endpoint.answer = 400, {"error": "invalid_grant"}
    providers = await vertex_of(simulator, endpoint, tmp_path)
    with pytest.raises(Misconfigured, match="invalid_grant") as caught:
        await providers.get("p").complete(make_call(model="fast"), dispatched)
    assert caught.value.dispatched is False
    assert dispatched.count == 0
    assert not simulator.log
    await providers.close()


def test_vertex_is_not_configured_without_a_key_file():
    base = "http://127.0.0.1:9/v1"
    assert not Providers({"p": ProviderSettings(base_url=base)}, specs=(VERTEX,)).ids()
