"""OpenAI's wire formats beside chats: exact requests, documented answers, and whatever bytes."""

import base64
import contextlib
import json
import random
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart import parse_form

from omni_grpc.core.clock import SystemClock
from omni_grpc.core.media import (
    EmbeddingRequest,
    Embeddings,
    ImageRequest,
    Images,
    MediaFile,
    MediaRequest,
    Moderation,
    ModerationRequest,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import Malformed, Overloaded, ProviderFault, StreamError
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.openai_media import encode
from omni_grpc.providers.openai_media_answers import decoder, speech_events, usage_in

FAULTS = Faults("sim", (), SystemClock())
FILE = MediaFile(content=b"\x00\xff--x\r\n", name="a.png", content_type="image/png")
EMBED = EmbeddingRequest(model="m", inputs=("a", "b"))
PAINT = ImageRequest(model="m", prompt="a cat")
HEAR = TranscriptionRequest(model="m", file=FILE)
JUDGE = ModerationRequest(model="m", input_json=msgspec.Raw(b'["x"]'))


def sent(request: MediaRequest, **options: bool) -> tuple[str, Any]:
    wire = encode(request, "theirs", **options)
    return wire.path, json.loads(wire.body)


def form(request: MediaRequest) -> tuple[str, list[tuple[str, bytes]], list[Any]]:
    """The parts of a form, read by another library than what wrote it."""
    import io

    wire = encode(request, "theirs")
    fields: list[tuple[str, bytes]] = []
    files: list[Any] = []

    def file(found: Any) -> None:
        found.file_object.seek(0)
        files.append((found.field_name, found.file_name, found.file_object.read()))

    headers = {name: value.encode() for name, value in wire.headers.items()}
    headers["Content-Length"] = str(len(wire.body)).encode()
    parse_form(
        headers,
        io.BytesIO(wire.body),
        lambda found: fields.append((found.field_name.decode(), found.value or b"")),
        file,
    )
    return wire.path, fields, files


def read(request: MediaRequest, answer: object) -> Any:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return decoder(request)(data, FAULTS)


# --- what goes out --------------------------------------------------------------------------------
def test_embeddings_are_asked_for_in_base64() -> None:
    request = EmbeddingRequest(model="m", inputs=("a", (1, 2)), dimensions=8, user="u")
    assert sent(request) == (
        "embeddings",
        {
            "model": "theirs", "input": ["a", [1, 2]], "encoding_format": "base64",
            "dimensions": 8, "user": "u",
        },
    )  # fmt: skip
    assert "dimensions" not in sent(EMBED)[1]


def test_new_pictures_are_asked_for_by_json_with_what_was_set() -> None:
    assert sent(PAINT) == ("images/generations", {"model": "theirs", "prompt": "a cat", "n": 1})
    settings: Any = {
        "size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "webp",
        "output_compression": 50, "moderation": "low", "style": "vivid", "user": "u",
        "response_format": "url",
    }  # fmt: skip
    request = ImageRequest(model="m", prompt="a cat", count=2, **settings)
    assert sent(request)[1] == {"model": "theirs", "prompt": "a cat", "n": 2, **settings}


def test_changed_pictures_go_as_a_form() -> None:
    one = msgspec.structs.replace(PAINT, images=(FILE,), mask=FILE, input_fidelity="high")
    path, fields, files = form(one)
    assert path == "images/edits"
    assert dict(fields) == {
        "model": b"theirs", "prompt": b"a cat", "n": b"1", "input_fidelity": b"high",
    }  # fmt: skip
    assert files == [
        (b"image", b"a.png", FILE.content),
        (b"mask", b"a.png", FILE.content),
    ]
    _, _, several = form(msgspec.structs.replace(PAINT, images=(FILE, FILE)))
    assert [name for name, _, _ in several] == [b"image[]", b"image[]"]


def test_speech_is_asked_for_as_bytes_or_as_events() -> None:
    request = SpeechRequest(model="m", text="Hi", voice="alloy", speed=1.5, instructions="low")
    fields = {
        "model": "theirs", "input": "Hi", "voice": "alloy", "speed": 1.5, "instructions": "low",
        "response_format": "mp3",
    }  # fmt: skip
    assert sent(request) == ("audio/speech", fields)
    assert sent(request, by_events=True)[1] == {**fields, "stream_format": "sse"}


def test_a_transcription_goes_as_a_form() -> None:
    request = TranscriptionRequest(
        model="m", file=FILE, language="de", prompt="Grüße", format="verbose_json",
        temperature=0.5, timestamp_granularities=("word", "segment"),
    )  # fmt: skip
    path, fields, files = form(request)
    assert path == "audio/transcriptions"
    assert fields == [
        ("model", b"theirs"), ("response_format", b"verbose_json"), ("language", b"de"),
        ("prompt", "Grüße".encode()), ("temperature", b"0.5"),
        ("timestamp_granularities[]", b"word"), ("timestamp_granularities[]", b"segment"),
    ]  # fmt: skip
    assert files == [(b"file", b"a.png", FILE.content)]


@pytest.mark.parametrize("name", ['a"; x="b', "a\r\nx: y", "a\\", "\0", "grüße.png"])
def test_a_file_name_cannot_leave_its_quotes(name: str) -> None:
    file = MediaFile(content=b"x", name=name, content_type=f"{name}\r\n\r\n")
    path, fields, files = form(TranscriptionRequest(model="m", file=file))
    assert path == "audio/transcriptions"
    assert len(fields) == 2
    assert [(field, content) for field, _, content in files] == [(b"file", b"x")]


# --- what comes back ------------------------------------------------------------------------------
def test_vectors_are_read_in_either_form_and_in_their_order() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    data = [{"index": 1, "embedding": [1.0, 2.0]}, {"index": 0, "embedding": packed}]
    found = read(EMBED, {"data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    assert found.answer == Embeddings(
        vectors=(struct.pack("<2f", 0.5, -2), struct.pack("<2f", 1, 2))
    )
    assert found.usage == Usage(prompt=5)


def test_pictures_bring_their_settings_and_tokens() -> None:
    found = read(
        PAINT,
        {
            "created": 7, "data": [{"b64_json": "QQ=="}], "size": "1024x1024", "quality": "low",
            "background": "opaque", "output_format": "png",
            "usage": {
                "input_tokens": 10, "output_tokens": 272, "total_tokens": 282,
                "input_tokens_details": {"text_tokens": 4, "image_tokens": 6},
            },
        },
    )  # fmt: skip
    assert isinstance(found.answer, Images)
    assert found.answer.created == 7
    assert found.usage == Usage(prompt=10, prompt_image=6, completion=272, completion_image=272)


def test_what_a_model_wrote_beside_a_picture_is_no_picture() -> None:
    usage = {
        "input_tokens": 10, "output_tokens": 300,
        "output_tokens_details": {"text_tokens": 28, "image_tokens": 272},
    }  # fmt: skip
    found = usage_in(usage, writes_images=True)
    assert found is not None
    assert (found.completion, found.completion_image) == (300, 272)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"type": "duration", "seconds": 2.2}, Usage(second=3)),
        (
            {
                "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
                "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            },
            Usage(prompt=14, prompt_audio=10, completion=45),
        ),
        (
            {"input_tokens": 14, "output_tokens": 45},
            Usage(prompt=14, prompt_audio=14, completion=45),
        ),
        (None, None),
        ({"seconds": -1}, None),
        ({"input_tokens": True}, None),
    ],
)  # fmt: skip
def test_a_transcription_brings_its_seconds_or_its_tokens(
    usage: object, expected: Usage | None
) -> None:
    found = read(HEAR, {"text": "Hi", "usage": usage})
    assert found.answer.text == "Hi"
    assert found.usage == expected


def test_a_verbose_transcription_without_usage_tells_its_length() -> None:
    request = msgspec.structs.replace(HEAR, format="verbose_json")
    body = json.dumps({"text": "Hi", "language": "english", "duration": 8.47}).encode()
    found = read(request, body)
    assert found.answer == Transcript(body=body, text="Hi", language="english", duration_s=8.47)
    assert found.usage == Usage(second=9)


@pytest.mark.parametrize("name", ["text", "srt", "vtt"])
def test_a_transcription_in_text_stays_as_it_came(name: Any) -> None:
    request = msgspec.structs.replace(HEAR, format=name)
    found = read(request, "1\nGrüße\n".encode())
    assert found.answer == Transcript(body="1\nGrüße\n".encode(), text="1\nGrüße\n")
    with pytest.raises(Malformed):
        read(request, b"\xff\xfe")


def test_verdicts_stay_as_they_were_written() -> None:
    found = read(JUDGE, b'{"id":"modr-1","model":"x","results":[{"flagged":true,"a":1.10}]}')
    assert found.answer == Moderation(
        id="modr-1", results_json=msgspec.Raw(b'[{"flagged":true,"a":1.10}]')
    )
    assert found.id == "modr-1"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (EMBED, {"data": [{"embedding": [1]}]}),
        (EMBED, {"data": [{"embedding": "!"}, {"embedding": "!"}]}),
        (EMBED, {"data": [{"embedding": "QQ=="}, {"embedding": "QQ=="}]}),
        (EMBED, {"data": [{"embedding": [1e300]}, {"embedding": [1]}]}),
        (PAINT, {"data": [{}]}),
        (PAINT, {}),
        (HEAR, {"text": 7}),
        (JUDGE, {"results": 7}),
        (JUDGE, b""),
    ],
)
def test_what_is_no_answer_is_a_fault(request_: MediaRequest, answer: object) -> None:
    with pytest.raises(Malformed):
        read(request_, answer)


def test_an_error_that_came_as_a_success_is_a_fault() -> None:
    with pytest.raises(Overloaded):
        read(EMBED, {"error": {"message": "later", "code": 503}})


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["data", "usage", "text", "results", "embedding", "error", "index", "id"]),
        inner,
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_comes_is_an_answer_or_a_fault(data: bytes) -> None:
    for request in (EMBED, PAINT, HEAR, JUDGE):
        with contextlib.suppress(ProviderFault):
            decoder(request)(data, FAULTS)
    with contextlib.suppress(ProviderFault):
        list(speech_events([data], FAULTS))


def test_broken_answers_are_answers_or_faults() -> None:
    chance = random.Random(7)
    whole = json.dumps(
        {"data": [{"index": 0, "embedding": "AAAAAA=="}, {"index": 1, "embedding": [0.5]}],
         "usage": {"prompt_tokens": 3}}
    ).encode()  # fmt: skip
    for _ in range(2_000):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with contextlib.suppress(ProviderFault):
            decoder(EMBED)(bytes(broken[: chance.randint(1, len(broken))]), FAULTS)


# --- speech by events -----------------------------------------------------------------------------
def test_events_of_speech_are_audio_and_an_end_with_usage() -> None:
    events = [
        b'{"type":"speech.audio.delta","audio":"QUI="}',
        b'{"type":"something.new"}',
        b'{"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9}}',
        b"[DONE]",
    ]
    found = list(speech_events(events, FAULTS))
    assert b"".join(one.audio for one in found) == b"AB"
    assert found[-1].done
    assert found[-1].usage == Usage(prompt=3, completion=9)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b"{", Malformed),
        (b"[]", Malformed),
        (b'{"type":"speech.audio.delta","audio":"?"}', Malformed),
        (b'{"type":"error","error":{"message":"no"}}', StreamError),
    ],
)
def test_a_broken_event_of_speech_is_a_fault(event: bytes, kind: type[ProviderFault]) -> None:
    with pytest.raises(kind):
        list(speech_events([event], FAULTS))
