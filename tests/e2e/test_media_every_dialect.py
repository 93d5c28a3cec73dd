"""Embeddings, pictures, speech and transcriptions in front of every dialect that has them.

By the official OpenAI SDK and by gRPC; what is charged is the offer's price to the nano-dollar.
"""

import base64
import io
import wave
from collections.abc import Iterator
from typing import Any

import grpc
import openai
import pytest
from gateway import Gateway, SimulatorThread, Tenant, bearer, eventually, refusal
from omni.router.v1 import media_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from omni_grpc_client import Omni

from omni_grpc.catalog.tokens import AUDIO_TOKENS
from omni_grpc.core.money import nanousd_from_usd
from omni_grpc.simulator import CallRecord

TEXT = "A cat sat on the mat."
EMBEDDERS = {
    "openai/text-embedding-3-small": 20,
    "google/gemini-embedding-2": 200,
    "cohere/embed-v4.0": 120,
    "amazon-bedrock/amazon.titan-embed-text-v2:0": 20,
}
"""The price of a token, in nano-dollars."""

PAINTER = "google/gemini-2.5-flash-image"
SPEAKER = "google/gemini-3.8-flash-tts"
HEARER = "google/gemini-2.5-flash"


def sound(seconds: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(seconds * 8_000 * 2))
    return file.getvalue()


@pytest.fixture(scope="module")
def tenant(every_gateway: Gateway) -> Tenant:
    return every_gateway.tenant(10**11)


@pytest.fixture(scope="module")
def sdk(every_gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{every_gateway.rest}/v1", api_key=tenant.api_key, max_retries=0
    ) as made:
        yield made


@pytest.fixture(scope="module")
def ledger(every_gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(every_gateway.grpc, api_key=tenant.api_key) as made:
        yield made


@pytest.fixture(scope="module")
def stub(every_gateway: Gateway) -> Iterator[pb_grpc.RouterServiceStub]:
    with grpc.insecure_channel(every_gateway.grpc) as channel:
        yield pb_grpc.RouterServiceStub(channel)


def last(simulator: SimulatorThread) -> CallRecord:
    return simulator.simulator.log[-1]


def attempt_of(ledger: Omni, raw: Any, nanousd: int) -> Any:
    """The one attempt of a call, which costs the same wherever it is asked."""
    record = ledger.usage(raw.headers["x-request-id"])
    assert nanousd_from_usd(raw.headers["x-omni-cost-usd"]) == record.cost_nanousd == nanousd
    (attempt,) = record.attempts
    assert (attempt.outcome, attempt.estimated) == ("answered", False)
    return attempt


# --- embeddings -----------------------------------------------------------------------------------
@pytest.mark.parametrize("model", EMBEDDERS)
def test_every_dialect_embeds_and_charges_the_tokens_that_it_tells(
    sdk: openai.OpenAI, ledger: Omni, simulator: SimulatorThread, model: str
) -> None:
    raw = sdk.embeddings.with_raw_response.create(model=model, input=TEXT, dimensions=256)
    found = raw.parse()
    assert len(found.data[0].embedding) == 256
    tokens = last(simulator).prompt_tokens
    assert found.usage.prompt_tokens == tokens
    attempt_of(ledger, raw, tokens * EMBEDDERS[model])


@pytest.mark.parametrize("model", EMBEDDERS)
def test_the_rpc_embeds_by_every_dialect_too(
    stub: pb_grpc.RouterServiceStub, simulator: SimulatorThread, tenant: Tenant, model: str
) -> None:
    asked = pb.EmbedTextsRequest(
        model=model, inputs=[pb.EmbeddingInput(text=TEXT)], dimension_count=256
    )
    found = stub.EmbedTexts(asked, metadata=bearer(tenant.api_key), timeout=20)
    assert len(found.embeddings) == 1
    assert found.call.cost_nanousd == last(simulator).prompt_tokens * EMBEDDERS[model]


def test_an_embedder_that_tells_no_tokens_is_charged_by_our_count(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    raw = sdk.embeddings.with_raw_response.create(
        model="google/gemini-embedding-001", input=[TEXT, TEXT], dimensions=8
    )
    record = ledger.usage(raw.headers["x-request-id"])
    (attempt,) = record.attempts
    assert attempt.estimated
    assert record.cost_nanousd == attempt.prompt_tokens * 150


@pytest.mark.parametrize(
    ("model", "fields", "field"),
    [
        ("cohere/embed-v4.0", {"input": ["x"] * 97}, "input"),
        ("cohere/embed-v4.0", {"input": [1, 2]}, "input"),
        ("google/gemini-embedding-001", {"input": ["x"] * 101}, "input"),
        ("amazon-bedrock/amazon.titan-embed-text-v2:0", {"input": ["x", "y"]}, "input"),
        ("anthropic/claude-sonnet-4-5", {"input": "x"}, "model"),
        ("google/gemini-2.5-flash", {"input": "x"}, "model"),
    ],
)
def test_what_a_dialect_cannot_embed_is_refused_by_name_before_the_call(
    sdk: openai.OpenAI, simulator: SimulatorThread, model: str, fields: Any, field: str
) -> None:
    before = len(simulator.simulator.log)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model=model, **fields)
    assert refused.value.param == field
    assert refused.value.code == "unsupported_feature"
    assert len(simulator.simulator.log) == before


def test_who_sells_nothing_but_chats_is_said(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="anthropic sells nothing but chats"):
        sdk.images.generate(model="anthropic/claude-sonnet-4-5", prompt="a cat")


# --- pictures -------------------------------------------------------------------------------------
def test_gemini_paints_and_changes_pictures_for_their_tokens(
    sdk: openai.OpenAI, ledger: Omni, simulator: SimulatorThread
) -> None:
    raw = sdk.images.with_raw_response.generate(model=PAINTER, prompt=TEXT, size="1536x1024")
    found = raw.parse()
    assert found.data is not None
    assert base64.b64decode(found.data[0].b64_json or "").startswith(b"\x89PNG")
    assert (found.output_format, found.created > 0) == ("png", True)
    record = last(simulator)
    assert record.seen["aspect_ratio"] == "3:2"
    attempt_of(ledger, raw, record.prompt_tokens * 300 + 1_290 * 30_000)
    raw = sdk.images.with_raw_response.edit(
        model=PAINTER, prompt=TEXT, image=("cat.png", b"one", "image/png")
    )
    record = last(simulator)
    assert record.seen["images"] == 1
    attempt_of(ledger, raw, record.prompt_tokens * 300 + 1_290 * 30_000)


def test_the_rpc_paints_by_gemini_too(
    stub: pb_grpc.RouterServiceStub, simulator: SimulatorThread, tenant: Tenant
) -> None:
    asked = pb.GenerateImagesRequest(model=PAINTER, prompt=TEXT)
    found = stub.GenerateImages(asked, metadata=bearer(tenant.api_key), timeout=20)
    assert len(found.images) == 1
    cost = last(simulator).prompt_tokens * 300 + 1_290 * 30_000
    assert found.call.cost_nanousd == cost


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": 2}, "n"),
        ({"quality": "high"}, "quality"),
        ({"size": "2048x2048"}, "size"),
        ({"response_format": "url"}, "response_format"),
        ({"output_format": "webp"}, "output_format"),
        ({"background": "transparent"}, "background"),
    ],
)
def test_what_gemini_cannot_paint_is_refused_by_name(
    sdk: openai.OpenAI, fields: Any, field: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.images.generate(model=PAINTER, prompt=TEXT, **fields)
    assert (refused.value.param, refused.value.code) == (field, "unsupported_feature")


def test_a_picture_that_google_withholds_is_a_refusal_that_costs_nothing(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    before = ledger.balance().available_nanousd
    with pytest.raises(openai.BadRequestError, match="IMAGE_SAFETY"):
        sdk.images.generate(model=PAINTER, prompt=f"[sim refusal] {TEXT}")
    assert eventually(lambda: ledger.balance().available_nanousd == before)


# --- speech ---------------------------------------------------------------------------------------
def test_gemini_speaks_wav_and_pcm_for_its_tokens(
    sdk: openai.OpenAI, ledger: Omni, simulator: SimulatorThread
) -> None:
    asked: Any = {"model": SPEAKER, "voice": "Kore", "input": TEXT}
    wav = sdk.audio.speech.create(**asked, response_format="wav")
    pcm = sdk.audio.speech.create(**asked, response_format="pcm", instructions="Say calmly")
    assert wav.response.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(wav.content)) as heard:
        assert (heard.getframerate(), heard.getnchannels()) == (24_000, 1)
    assert len(wav.content) == 44 + 3_200 * len(TEXT)
    assert len(pcm.content) == 3_200 * len(f"Say calmly: {TEXT}")
    tokens = last(simulator).prompt_tokens
    record = ledger.usage(pcm.response.headers["x-request-id"])
    assert record.cost_nanousd == tokens * 500 + 2 * len(f"Say calmly: {TEXT}") * 9_000
    assert not record.attempts[0].estimated


@pytest.mark.parametrize(("fields", "field"), [({}, "response_format"), ({"speed": 2}, "speed")])
def test_what_gemini_cannot_speak_is_refused_by_name(
    sdk: openai.OpenAI, fields: Any, field: str
) -> None:
    form = {} if field == "response_format" else {"response_format": "wav"}
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.speech.create(model=SPEAKER, voice="Kore", input=TEXT, **form, **fields)
    assert (refused.value.param, refused.value.code) == (field, "unsupported_feature")


def test_the_rpc_speaks_by_gemini_and_says_what_it_cannot(
    stub: pb_grpc.RouterServiceStub, tenant: Tenant
) -> None:
    key = bearer(tenant.api_key)
    asked = pb.SynthesizeSpeechRequest(
        model=SPEAKER, voice="Kore", text=TEXT, format=pb.SPEECH_FORMAT_PCM
    )
    events = list(stub.SynthesizeSpeech(asked, metadata=key, timeout=20))
    audio = b"".join(event.audio for event in events)
    assert len(audio) == 3_200 * len(TEXT)
    asked.format = pb.SPEECH_FORMAT_MP3
    found = refusal(lambda: stub.SynthesizeSpeech(asked, metadata=key, timeout=20))
    assert found.reason == "FEATURE_UNSUPPORTED"


# --- transcriptions -------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["json", "text"])
def test_gemini_writes_down_what_it_hears_for_its_tokens(
    sdk: openai.OpenAI, ledger: Omni, simulator: SimulatorThread, form: Any
) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model=HEARER,
        file=("said.wav", sound(120)),
        response_format=form,
        language="en",
        prompt="[sim tokens=12] Cats.",
    )
    record = last(simulator)
    found = raw.parse()
    assert str(found.text if form == "json" else found).strip()
    assert record.max_tokens == 512 + 120 * 20
    text = record.prompt_tokens - AUDIO_TOKENS
    attempt_of(ledger, raw, text * 300 + AUDIO_TOKENS * 1_000 + 12 * 2_500)


def test_the_rpc_writes_down_by_gemini_too(stub: pb_grpc.RouterServiceStub, tenant: Tenant) -> None:
    asked = pb.TranscribeAudioRequest(
        model=HEARER, file=pb.MediaFile(content=sound(60), name="said.wav")
    )
    found = stub.TranscribeAudio(asked, metadata=bearer(tenant.api_key), timeout=20)
    assert found.text
    assert found.call.cost_nanousd > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"response_format": "srt"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"file": ("said.docx", b"x")}, "file"),
        ({"model": "google/gemini-embedding-001"}, "model"),
        ({"model": "cohere/command-a-03-2025"}, "model"),
    ],
)
def test_what_cannot_be_written_down_is_refused_by_name(
    sdk: openai.OpenAI, fields: Any, field: str
) -> None:
    asked = {"model": HEARER, "file": ("said.wav", sound(1)), **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.transcriptions.create(**asked)
    assert (refused.value.param, refused.value.code) == (field, "unsupported_feature")
