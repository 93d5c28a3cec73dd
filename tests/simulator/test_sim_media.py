"""The simulator's endpoints beside chats, by the official OpenAI SDK pointed straight at it."""

import base64
import io
import wave
from collections.abc import AsyncIterator

import openai
import pytest

from omni_grpc.simulator import Simulator


def sound(seconds: float) -> bytes:
    """A WAV file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(int(seconds * 8_000) * 2))
    return file.getvalue()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as made:
        yield made


@pytest.fixture
async def sdk(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=simulator.base_url, api_key="none", max_retries=0, timeout=30
    ) as made:
        yield made


async def test_the_same_text_has_the_same_vector_in_either_encoding(
    sdk: openai.AsyncOpenAI,
) -> None:
    inputs = ["a cat", "a dog", "a cat"]
    written = await sdk.embeddings.create(
        model="sim/embed", input=inputs, dimensions=8, encoding_format="float"
    )
    packed = await sdk.embeddings.create(model="sim/embed", input=inputs, dimensions=8)
    vectors = [one.embedding for one in written.data]
    assert vectors == [pytest.approx(one.embedding) for one in packed.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(x * x for x in vectors[0]) == pytest.approx(1)
    assert written.usage.prompt_tokens == written.usage.total_tokens == 6


async def test_tokens_are_embedded_as_they_are_counted(sdk: openai.AsyncOpenAI) -> None:
    found = await sdk.embeddings.create(model="sim/embed", input=[[1, 2, 3], [4]])
    assert len(found.data) == 2
    assert found.usage.prompt_tokens == 4


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_a_wrong_embedding_request_is_refused_by_its_field(
    sdk: openai.AsyncOpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.post("/embeddings", body={"model": "sim/embed", **fields}, cast_to=object)
    assert refused.value.param == param


async def test_pictures_are_pngs_and_those_sold_by_tokens_tell_them(
    sdk: openai.AsyncOpenAI,
) -> None:
    by_image = await sdk.images.generate(model="sim/image", prompt="a cat", n=2)
    assert by_image.usage is None
    assert by_image.data is not None
    assert len(by_image.data) == 2
    assert base64.b64decode(by_image.data[0].b64_json or "").startswith(b"\x89PNG")
    by_token = await sdk.images.generate(model="sim/image-tokens", prompt="a cat", quality="low")
    assert by_token.usage is not None
    assert by_token.usage.output_tokens == 272
    edited = await sdk.images.edit(
        model="sim/image-tokens", prompt="a dog", image=[("a.png", b"x"), ("b.png", b"y")]
    )
    assert edited.usage is not None
    assert edited.usage.input_tokens_details.image_tokens == 2 * 194


async def test_speech_is_bytes_of_its_format_and_events_end_with_usage(
    sdk: openai.AsyncOpenAI,
) -> None:
    spoken = await sdk.audio.speech.create(model="sim/voice", input="Hello there.", voice="alloy")
    again = await sdk.audio.speech.create(model="sim/voice", input="Hello there.", voice="alloy")
    assert spoken.response.headers["content-type"] == "audio/mpeg"
    assert len(spoken.content) == 400 * len("Hello there.")
    assert spoken.content == again.content
    events = await sdk.audio.speech.create(
        model="sim/voice-tokens", input="Hello there.", voice="alloy", stream_format="sse"
    )
    assert b"speech.audio.done" in events.content
    with pytest.raises(openai.BadRequestError):
        await sdk.audio.speech.create(
            model="sim/voice", input="Hi", voice="alloy", stream_format="sse"
        )


async def test_a_transcription_tells_its_seconds_or_its_tokens(sdk: openai.AsyncOpenAI) -> None:
    file = ("said.wav", sound(2.5))
    by_second = await sdk.audio.transcriptions.create(model="sim/scribe", file=file)
    assert by_second.usage is not None
    assert by_second.usage.type == "duration"
    assert by_second.usage.seconds == 3
    by_token = await sdk.audio.transcriptions.create(model="sim/scribe-tokens", file=file)
    assert by_token.usage is not None
    assert by_token.usage.type == "tokens"
    assert by_token.usage.input_tokens == 30
    verbose = await sdk.audio.transcriptions.create(
        model="sim/scribe", file=file, response_format="verbose_json"
    )
    assert (verbose.duration, verbose.text) == (2.5, by_second.text)
    for form in ("text", "srt", "vtt"):
        text = await sdk.audio.transcriptions.create(
            model="sim/scribe", file=file, response_format=form
        )
        assert by_second.text in str(text)


async def test_a_moderation_flags_one_word(sdk: openai.AsyncOpenAI) -> None:
    found = await sdk.moderations.create(model="sim/moderator", input=["fine", "this is forbidden"])
    assert [one.flagged for one in found.results] == [False, True]
    assert found.results[1].categories.violence


async def test_behaviours_strike_here_too_and_the_log_has_the_call(
    sdk: openai.AsyncOpenAI, simulator: Simulator
) -> None:
    with pytest.raises(openai.InternalServerError):
        await sdk.embeddings.create(model="sim/embed", input="[sim status=503] x")
    record = simulator.log[-1]
    assert (record.model, record.status, record.outcome) == ("sim/embed", 503, "error")
    with pytest.raises(openai.APIConnectionError):
        await sdk.audio.speech.create(
            model="sim/voice", input="[sim cut=fin,cut_after=3] " + "long " * 40, voice="alloy"
        )
    assert simulator.log[-1].outcome == "cut"
    with pytest.raises(openai.NotFoundError):
        await sdk.embeddings.create(model="sim/nobody", input="x")
