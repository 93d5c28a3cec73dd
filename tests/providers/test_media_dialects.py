"""What Google, Cohere and Bedrock are asked beside chats, and what their documented answers say."""

import base64
import contextlib
import itertools
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.clock import SystemClock
from omni_grpc.core.media import (
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
    MediaFile,
    MediaRequest,
    ModerationRequest,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import MediaCall, ProviderFault, ProviderMedia, Rejected, Truncated
from omni_grpc.providers.bedrock_media import BedrockMedia
from omni_grpc.providers.cohere_media import CohereMedia
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.gemini_media import GeminiMedia
from omni_grpc.providers.media_dialect import MediaDialect

FAULTS = Faults("p", (), SystemClock())
GEMINI, VERTEX = GeminiMedia(vertex=False), GeminiMedia(vertex=True)
TITAN, COHERE_THERE = "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"


def embed(*inputs: str | tuple[int, ...], dimensions: int | None = None) -> EmbeddingRequest:
    return EmbeddingRequest(model="x/m", inputs=inputs, dimensions=dimensions)


def listen(**more: Any) -> TranscriptionRequest:
    more.setdefault("file", MediaFile(content=b"snd", name="said.mp3"))
    return TranscriptionRequest(model="x/m", **more)


def call(request: MediaRequest, model: str = "m", most: int | None = None) -> MediaCall:
    return MediaCall(
        request=request,
        model=model,
        call_id="c",
        seconds_left=1,
        retries=False,
        output_tokens_max=most,
    )


def sent(dialect: MediaDialect, made: MediaCall) -> tuple[str, Any]:
    assert dialect.refused(made.request, made.model) is None
    request = dialect.encode(made)
    return request.path, json.loads(request.body)


def read(dialect: MediaDialect, made: MediaCall, answer: object) -> ProviderMedia:
    return dialect.decoder(made)(json.dumps(answer).encode(), FAULTS)


def vectors(found: ProviderMedia) -> list[tuple[float, ...]]:
    assert isinstance(found.answer, Embeddings)
    return [struct.unpack(f"<{len(one) // 4}f", one) for one in found.answer.vectors]


# --- embeddings -----------------------------------------------------------------------------------
def test_the_gemini_api_embeds_a_batch() -> None:
    made = call(embed("a", "b", dimensions=2), "gemini-embedding-001")
    path, body = sent(GEMINI, made)
    assert path == "models/gemini-embedding-001:batchEmbedContents"
    assert body["requests"][1] == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 2,
    }
    answer = {"embeddings": [{"values": [1, 0]}, {"values": [0, 0.5]}]}
    found = read(GEMINI, made, answer)
    assert vectors(found) == [(1, 0), (0, 0.5)]
    assert found.usage is None
    told = read(GEMINI, made, {**answer, "usageMetadata": {"promptTokenCount": 7}})
    assert told.usage == Usage(prompt=7)


def test_vertex_predicts_embeddings_and_never_cuts_a_text_unsaid() -> None:
    made = call(embed("a", "b"), "text-embedding-005")
    path, body = sent(VERTEX, made)
    assert path == "models/text-embedding-005:predict"
    assert body == {
        "instances": [{"content": "a"}, {"content": "b"}],
        "parameters": {"autoTruncate": False},
    }
    one = {"values": [1.0], "statistics": {"token_count": 3, "truncated": False}}
    found = read(VERTEX, made, {"predictions": [{"embeddings": one}] * 2})
    assert found.usage == Usage(prompt=6)
    untold = {"embeddings": {"values": [1.0]}}
    assert read(VERTEX, made, {"predictions": [{"embeddings": one}, untold]}).usage is None


def test_cohere_embeds_documents_and_bills_tokens() -> None:
    made = call(embed("a", dimensions=256), "embed-v4.0")
    path, body = sent(CohereMedia(), made)
    assert path == "v2/embed"
    assert body == {
        "model": "embed-v4.0",
        "texts": ["a"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 256,
        "truncate": "NONE",
    }
    found = read(
        CohereMedia(),
        made,
        {
            "id": "51b0",
            "embeddings": {"float": [[0.25, 0.5]]},
            "meta": {"billed_units": {"input_tokens": 2.0}},
        },
    )
    assert vectors(found) == [(0.25, 0.5)]
    assert (found.usage, found.id) == (Usage(prompt=2), "51b0")


def test_bedrock_asks_each_maker_in_its_words() -> None:
    bedrock = BedrockMedia()
    titan = call(embed("a", dimensions=512), TITAN)
    path, body = sent(bedrock, titan)
    assert path == "model/amazon.titan-embed-text-v2%3A0/invoke"
    assert body == {"inputText": "a", "dimensions": 512}
    found = read(bedrock, titan, {"embedding": [1.0], "inputTextTokenCount": 3})
    assert (vectors(found), found.usage) == ([(1.0,)], Usage(prompt=3))
    cohere = call(embed("a", "b"), f"us.{COHERE_THERE}")
    path, body = sent(bedrock, cohere)
    assert path == "model/us.cohere.embed-v4%3A0/invoke"
    assert "model" not in body
    bare = read(bedrock, cohere, {"embeddings": [[1.0], [2.0]], "id": "x"})
    assert vectors(bare) == [(1.0,), (2.0,)]
    counted = bedrock.counted(bare, {"x-amzn-bedrock-input-token-count": "9"})
    assert counted.usage == Usage(prompt=9)
    assert bedrock.counted(bare, {"x-amzn-bedrock-input-token-count": "9" * 5_000}).usage is None


@pytest.mark.parametrize(
    ("dialect", "request_", "model", "field"),
    [
        (GEMINI, embed((1, 2)), "gemini-embedding-001", "input"),
        (GEMINI, embed(*["a"] * 101), "gemini-embedding-001", "input"),
        (VERTEX, embed("a", "b"), "gemini-embedding-001", "input"),
        (VERTEX, embed(*["a"] * 251), "text-embedding-005", "input"),
        (CohereMedia(), embed(*["a"] * 97), "embed-v4.0", "input"),
        (CohereMedia(), embed((1,)), "embed-v4.0", "input"),
        (CohereMedia(), listen(), "embed-v4.0", "model"),
        (BedrockMedia(), embed("a", "b"), TITAN, "input"),
        (BedrockMedia(), embed("a"), "anthropic.claude-3", "model"),
        (BedrockMedia(), embed("a", dimensions=5), "amazon.titan-embed-text-v1", "dimensions"),
        (GEMINI, ModerationRequest(model="x/m", input_json=b'"a"'), "gemini-2.5-flash", "model"),
        (GEMINI, listen(format="vtt"), "gemini-2.5-flash", "response_format"),
        (GEMINI, listen(file=MediaFile(content=b"x", name="a.webm")), "m", "file"),
    ],
)
def test_what_a_dialect_has_no_word_for_is_refused_by_its_field(
    dialect: MediaDialect, request_: MediaRequest, model: str, field: str
) -> None:
    refused = dialect.refused(request_, model)
    assert refused is not None
    assert refused.field == field


@pytest.mark.parametrize(
    "answer",
    [
        {"embeddings": [{"values": [1]}]},
        {"embeddings": [{"values": ["a"]}, {"values": [1]}]},
        {"embeddings": [{"values": [1e300]}, {"values": [1]}]},
        {"error": {"code": 429, "message": "slow down"}},
        [],
    ],
)
def test_vectors_that_cannot_be_are_a_fault(answer: object) -> None:
    with pytest.raises(ProviderFault):
        read(GEMINI, call(embed("a", "b")), answer)


# --- pictures -------------------------------------------------------------------------------------
def test_gemini_paints_what_is_held_for_at_most() -> None:
    file = MediaFile(content=b"png", name="a.png", content_type="image/png")
    request = ImageRequest(model="x/m", prompt="a cat", size="1024x1536", images=(file,))
    made = call(request, "gemini-2.5-flash-image", most=7_264)
    path, body = sent(GEMINI, made)
    assert path == "models/gemini-2.5-flash-image:generateContent"
    assert body["contents"][0]["parts"][1] == {
        "inlineData": {"mimeType": "image/png", "data": base64.b64encode(b"png").decode()}
    }
    assert body["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "2:3"},
        "maxOutputTokens": 7_264,
    }


def test_a_picture_comes_with_its_tokens_and_drafts_are_left_out() -> None:
    made = call(ImageRequest(model="x/m", prompt="a cat"))
    draft = {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": True}
    picture = {"inlineData": {"mimeType": "image/jpeg", "data": "cGljdHVyZQ=="}}
    content = {"parts": [draft, {"text": "Here."}, picture]}
    found = read(
        GEMINI,
        made,
        {
            "candidates": [{"content": content, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 1_300,
                "thoughtsTokenCount": 20,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_290}],
            },
        },
    )
    assert isinstance(found.answer, Images)
    assert [one.b64_json for one in found.answer.images] == ["cGljdHVyZQ=="]
    assert found.answer.output_format == "jpeg"
    assert found.usage is not None
    assert (found.usage.completion, found.usage.completion_image) == (1_320, 1_290)


@pytest.mark.parametrize(
    "answer",
    [
        {"candidates": [{"finishReason": "IMAGE_SAFETY"}]},
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"candidates": []},
    ],
)
def test_what_google_withholds_is_a_refusal(answer: object) -> None:
    with pytest.raises(Rejected, match="nothing was made"):
        read(GEMINI, call(ImageRequest(model="x/m", prompt="a cat")), answer)


# --- audio ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("gemini-2.0-flash", None),
        ("gemini-2.5-flash", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"thinkingBudget": 128}),
        ("gemini-3-flash-preview", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", {"thinkingLevel": "LOW"}),
    ],
)
def test_what_is_heard_is_written_down_with_as_little_thought_as_can_be(
    model: str, thinking: object
) -> None:
    path, body = sent(GEMINI, call(listen(language="en", temperature=0.0), model, most=600))
    assert path == f"models/{model}:generateContent"
    told, audio = body["contents"][0]["parts"]
    assert "The language is en." in told["text"]
    assert audio["inlineData"]["mimeType"] == "audio/mp3"
    assert body["generationConfig"].get("thinkingConfig") == thinking
    assert body["generationConfig"]["maxOutputTokens"] == 600
    assert body["generationConfig"]["temperature"] == 0


def test_a_transcript_is_the_text_in_the_form_that_was_asked_for() -> None:
    heard = {
        "candidates": [{"content": {"parts": [{"text": "Hello. "}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 90, "candidatesTokenCount": 2},
    }
    found = read(GEMINI, call(listen()), heard)
    assert found.answer == Transcript(body=b'{"text":"Hello."}', text="Hello.")
    assert found.usage == Usage(prompt=90, completion=2)
    text = read(GEMINI, call(listen(format="text")), heard).answer
    assert isinstance(text, Transcript)
    assert text.body == b"Hello.\n"
    for reason in ("MAX_TOKENS", "SAFETY"):
        heard["candidates"][0]["finishReason"] = reason  # type: ignore[index] # a test's own JSON
        with pytest.raises(ProviderFault):
            read(GEMINI, call(listen()), heard)


def spoken(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in events)


def sample(data: bytes, kind: str = "audio/L16;codec=pcm;rate=24000") -> dict[str, Any]:
    blob = {"mimeType": kind, "data": base64.b64encode(data).decode()}
    return {"candidates": [{"content": {"parts": [{"inlineData": blob}]}}]}


def end(reason: str = "STOP") -> dict[str, Any]:
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 25}
    return {"candidates": [{"finishReason": reason}], "usageMetadata": usage}


def speech(form: Any = "pcm") -> MediaCall:
    return call(SpeechRequest(model="x/m", text="Hi", voice="Kore", format=form), most=300)


def test_speech_is_asked_for_in_a_voice() -> None:
    path, body = sent(GEMINI, speech())
    assert path == "models/m:streamGenerateContent?alt=sse"
    assert body["generationConfig"] == {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        "maxOutputTokens": 300,
    }


@given(cuts=st.lists(st.integers(0, 700), max_size=6))
def test_speech_is_the_same_however_its_bytes_are_cut(cuts: list[int]) -> None:
    stream = spoken(sample(b"one"), sample(b"two"), end())
    reader = GEMINI.reader(speech(), FAULTS)
    edges = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    audio = b"".join(reader.feed(stream[a:b]) for a, b in itertools.pairwise(edges))
    assert audio == b"onetwo"
    assert reader.is_whole
    assert reader.usage == Usage(prompt=4, completion=25)


def test_a_wav_file_begins_with_its_head_once() -> None:
    reader = GEMINI.reader(speech("wav"), FAULTS)
    first = reader.feed(spoken(sample(b"ab")))
    assert (first[:4], first[-2:], len(first)) == (b"RIFF", b"ab", 46)
    assert reader.feed(spoken(sample(b"cd"))) == b"cd"
    assert not reader.is_whole


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([end("MAX_TOKENS")], Truncated),
        ([end("SAFETY")], Rejected),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], Rejected),
        ([{"error": {"code": 500, "message": "oh"}}], ProviderFault),
        ([sample(b"x", "audio/L16;codec=pcm;rate=16000")], ProviderFault),
        ([sample(b"x", "audio/mpeg")], ProviderFault),
        ([{"candidates": 5}], ProviderFault),
    ],
)
def test_speech_that_goes_wrong_is_a_fault(
    events: list[dict[str, Any]], kind: type[ProviderFault]
) -> None:
    with pytest.raises(kind):
        GEMINI.reader(speech(), FAULTS).feed(spoken(*events))


# --- whatever comes -------------------------------------------------------------------------------
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "embeddings", "values", "predictions", "candidates", "content", "parts", "error",
                "inlineData", "data", "mimeType", "finishReason", "usageMetadata", "embedding",
                "promptTokenCount", "float", "meta", "billed_units", "statistics",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip

ASKED: list[tuple[MediaDialect, MediaCall]] = [
    (GEMINI, call(embed("a"))),
    (VERTEX, call(embed("a"))),
    (CohereMedia(), call(embed("a"))),
    (BedrockMedia(), call(embed("a"), TITAN)),
    (BedrockMedia(), call(embed("a"), COHERE_THERE)),
    (GEMINI, call(ImageRequest(model="x/m", prompt="a"))),
    (GEMINI, call(listen())),
]


@given(answer=_JSON | st.binary(max_size=64), which=st.sampled_from(ASKED))
def test_whatever_comes_is_an_answer_or_a_fault(
    answer: object, which: tuple[MediaDialect, MediaCall]
) -> None:
    dialect, made = which
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with contextlib.suppress(ProviderFault):
        assert isinstance(dialect.decoder(made)(body, FAULTS), ProviderMedia)


@given(events=st.lists(_JSON, max_size=3))
def test_whatever_is_spoken_is_audio_or_a_fault(events: list[Any]) -> None:
    reader = GEMINI.reader(speech(), FAULTS)
    with contextlib.suppress(ProviderFault):
        assert isinstance(reader.feed(spoken(*events)), bytes)
