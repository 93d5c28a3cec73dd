"""What the simulator has beside chats, by the SDKs of Google, Cohere and AWS pointed at it."""

import asyncio
import json
from typing import Any

import boto3
import cohere
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cohere.core.api_error import ApiError
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from omni_grpc.catalog.tokens import count_text
from omni_grpc.simulator import Simulator

# The SDK's own way to use aiohttp.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
)

TEXTS = ["a cat", "a dog", "a cat"]
KEY = "AKIDEXAMPLE"


def google(simulator: Simulator) -> genai.Client:
    options = types.HttpOptions(base_url=simulator.origin)
    return genai.Client(api_key="unused", http_options=options)


def vertex(simulator: Simulator) -> genai.Client:
    return genai.Client(
        vertexai=True,
        project="a-project",
        location="europe-west1",
        credentials=Credentials(token="unused"),
        http_options=types.HttpOptions(base_url=simulator.origin),
    )


def bedrock(simulator: Simulator) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=simulator.origin,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        config=Config(retries={"max_attempts": 0}),
    )


def speaking(voice: str) -> types.GenerateContentConfig:
    chosen = types.PrebuiltVoiceConfig(voice_name=voice)
    return types.GenerateContentConfig(
        response_modalities=["AUDIO"],
        speech_config=types.SpeechConfig(
            voice_config=types.VoiceConfig(prebuilt_voice_config=chosen)
        ),
    )


def blobs(answer: types.GenerateContentResponse) -> list[types.Blob]:
    return [part.inline_data for part in answer.parts or [] if part.inline_data]


# --- embeddings -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "tells"), [("gemini-embedding-001", False), ("gemini-x", True)])
async def test_google_embeds_the_same_text_the_same_way(
    simulator: Simulator, model: str, tells: bool
) -> None:
    async with google(simulator).aio as client:
        config = types.EmbedContentConfig(output_dimensionality=8)
        # A list of texts is one content to the SDK, but for the oldest model.
        contents: Any = [types.UserContent(text) for text in TEXTS]
        found = await client.models.embed_content(model=model, contents=contents, config=config)
    vectors = [one.values for one in found.embeddings or []]
    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0] or []) == 8
    assert (found.usage_metadata is not None) == tells


async def test_vertex_tells_the_tokens_of_each_text_and_takes_one_of_gemini(
    simulator: Simulator,
) -> None:
    async with vertex(simulator).aio as client:
        found = await client.models.embed_content(model="text-embedding-005", contents=TEXTS)
        with pytest.raises(errors.ClientError):
            await client.models.embed_content(model="gemini-embedding-001", contents=TEXTS)
    (first, *_) = found.embeddings or []
    assert first.statistics is not None
    assert first.statistics.token_count == count_text("a cat")


async def test_cohere_embeds_texts_and_bills_their_tokens(simulator: Simulator) -> None:
    async with cohere.AsyncClientV2(
        api_key="unused", base_url=simulator.origin, max_retries=0
    ) as client:
        found = await client.embed(
            model="embed-v4.0",
            texts=TEXTS,
            input_type="search_document",
            embedding_types=["float"],
            output_dimension=256,
        )
        with pytest.raises(ApiError):
            await client.embed(model="embed-v4.0", texts=[], input_type="search_document")
    vectors = found.embeddings.float_
    assert vectors is not None
    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0]) == 256
    assert found.meta is not None
    assert found.meta.billed_units is not None
    assert found.meta.billed_units.input_tokens == sum(map(count_text, TEXTS))


async def test_bedrock_embeds_by_titan_and_by_cohere(simulator: Simulator) -> None:
    client = bedrock(simulator)

    def invoke(model: str, **body: Any) -> Any:
        return client.invoke_model(modelId=model, body=json.dumps(body))

    titan = await asyncio.to_thread(
        invoke, "amazon.titan-embed-text-v2:0", inputText="a cat", dimensions=256
    )
    found = json.loads(titan["body"].read())
    assert len(found["embedding"]) == 256
    assert found["inputTextTokenCount"] == count_text("a cat")
    other = await asyncio.to_thread(
        invoke, "cohere.embed-v4:0", texts=TEXTS, input_type="search_document"
    )
    headers = other["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == str(sum(map(count_text, TEXTS)))
    assert len(json.loads(other["body"].read())["embeddings"]["float"]) == 3
    with pytest.raises(ClientError, match="Malformed input"):
        await asyncio.to_thread(invoke, "cohere.embed-v4:0", texts=TEXTS)


# --- pictures and speech --------------------------------------------------------------------------
async def test_google_paints_in_a_chat_and_says_what_it_took(simulator: Simulator) -> None:
    async with google(simulator).aio as client:
        config = types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"],
            image_config=types.ImageConfig(aspect_ratio="3:2"),
        )
        given = types.Part.from_bytes(data=b"x", mime_type="image/png")
        found = await client.models.generate_content(
            model="gemini-2.5-flash-image", contents=["a cat", given], config=config
        )
        with pytest.raises(errors.ClientError, match="modalities"):
            await client.models.generate_content(
                model="gemini-2.5-flash", contents="a cat", config=config
            )
    (picture,) = blobs(found)
    assert (picture.data or b"").startswith(b"\x89PNG")
    usage = found.usage_metadata
    assert usage is not None
    assert usage.candidates_token_count == 1_290
    assert usage.prompt_token_count == count_text("a cat") + 258


async def test_google_speaks_whole_and_in_pieces_the_same(simulator: Simulator) -> None:
    async with google(simulator).aio as client:
        asked: Any = {"model": "gemini-2.5-flash-preview-tts", "contents": "Hello."}
        whole = await client.models.generate_content(**asked, config=speaking("Kore"))
        pieces = [
            piece
            async for piece in await client.models.generate_content_stream(
                **asked, config=speaking("Kore")
            )
        ]
        with pytest.raises(errors.ClientError, match="nobody"):
            await client.models.generate_content(**asked, config=speaking("nobody"))
    (audio,) = blobs(whole)
    assert audio.mime_type == "audio/L16;codec=pcm;rate=24000"
    assert len(audio.data or b"") == 3_200 * len("Hello.")
    assert b"".join(one.data or b"" for piece in pieces for one in blobs(piece)) == audio.data
    usage = pieces[-1].usage_metadata
    assert usage is not None
    assert usage.candidates_token_count == 2 * len("Hello.")
