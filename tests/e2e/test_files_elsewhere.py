"""Files that are elsewhere, by every surface: fetched by a provider, or refused by name."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from gateway import Gateway, SimulatorThread, Tenant
from omni_grpc_client import FeatureUnsupported, File, Image, Omni, user

TAKES = {
    "responses": "deep/thinker",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "google/gemini-2.5-flash",
}
REFUSES = {
    "openai": "openai/gpt-4o",
    "bedrock": "amazon-bedrock/anthropic.claude-haiku-4-5-20251001-v1:0",
}
URL = "https://example.com/a.pdf"
NAME = "files/one"
"""As Google names files; the others take any name."""

Ask = Callable[[str], object]


@pytest.fixture(scope="module")
def tenant(every_gateway: Gateway) -> Tenant:
    return every_gateway.tenant(10**11)


@pytest.fixture(scope="module")
def surfaces(every_gateway: Gateway, tenant: Tenant) -> Iterator[dict[str, Ask]]:
    """Each asks about a document by URL and an image by its id."""

    def by_messages(model: str) -> object:
        content: Any = [
            {"type": "document", "source": {"type": "url", "url": URL}},
            {"type": "image", "source": {"type": "file", "file_id": NAME}},
            {"type": "text", "text": "What is this?"},
        ]
        turns: Any = [{"role": "user", "content": content}]
        return claude.messages.create(model=model, max_tokens=100, messages=turns)

    def by_responses(model: str) -> object:
        content: Any = [
            {"type": "input_file", "file_url": URL},
            {"type": "input_image", "file_id": NAME, "detail": "auto"},
            {"type": "input_text", "text": "What is this?"},
        ]
        turns: Any = [{"role": "user", "content": content}]
        return client.responses.create(model=model, input=turns)

    def by_grpc(model: str) -> object:
        return omni.chat(model, [user(File(uri=URL), Image(file_id=NAME), "What is this?")])

    with (
        anthropic.Anthropic(
            base_url=every_gateway.rest, api_key=tenant.api_key, max_retries=0
        ) as claude,
        openai.OpenAI(
            base_url=f"{every_gateway.rest}/v1", api_key=tenant.api_key, max_retries=0
        ) as client,
        Omni(every_gateway.grpc, api_key=tenant.api_key) as omni,
    ):
        yield {"messages": by_messages, "responses": by_responses, "grpc": by_grpc}


SURFACES = pytest.mark.parametrize("surface", ["messages", "responses", "grpc"])


@SURFACES
@pytest.mark.parametrize("dialect", TAKES)
def test_a_provider_that_takes_them_is_told_where_they_are(
    surfaces: dict[str, Ask], simulator: SimulatorThread, surface: str, dialect: str
) -> None:
    surfaces[surface](TAKES[dialect])
    seen = simulator.simulator.log[-1].seen
    assert (seen["file_urls"], seen["image_ids"]) == (1, 1)


@SURFACES
@pytest.mark.parametrize("dialect", REFUSES)
def test_another_is_not_called(
    surfaces: dict[str, Ask], simulator: SimulatorThread, surface: str, dialect: str
) -> None:
    before = len(simulator.simulator.log)
    with pytest.raises(
        (anthropic.BadRequestError, openai.BadRequestError, FeatureUnsupported),
        match=r"files by URL",
    ):
        surfaces[surface](REFUSES[dialect])
    assert len(simulator.simulator.log) == before
