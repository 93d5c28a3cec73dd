"""What is no chat: vectors, pictures, speech and transcriptions, by both clients."""

import uuid
from datetime import UTC, datetime

import pytest
from client_fake_service import COST_NANOUSD, audio, fails, hangs, speaking, spoken, streams
from grpc import StatusCode
from omni.router.v1 import media_pb2 as pb
from omni_grpc_client import (
    CreditsExhausted,
    FieldInvalid,
    Internal,
    Interrupted,
    MediaFile,
    RequestIdReused,
    Unavailable,
)

SOUND = MediaFile(b"sound", "said.wav", "audio/wav")
MOMENT = datetime.fromtimestamp(1_750_000_000, UTC)


async def embedded(omni, **options):
    return await omni.embed("m", "hi", **options)


async def painted(omni, **options):
    return await omni.generate_images("m", "a cat", **options)


async def heard(omni, **options):
    async with omni.synthesize_speech("m", "Hello, you!", voice="alloy", **options) as stream:
        return await stream.result()


async def written(omni, **options):
    return await omni.transcribe("m", SOUND, **options)


CALLS = pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("EmbedTexts", embedded),
        ("GenerateImages", painted),
        ("SynthesizeSpeech", heard),
        ("TranscribeAudio", written),
    ],
)


@CALLS
async def test_each_result_tells_who_answered_and_what_it_cost(omni, method, ask):
    found = await ask(omni)
    assert (found.call_id, found.model, found.create_time) == ("call_1", "openai/tts-1", MOMENT)
    assert (found.cost_nanousd, found.balance_nanousd) == (COST_NANOUSD, 5_000_000_000)
    (attempt,) = found.attempts
    assert (attempt.outcome, attempt.cost_nanousd) == ("answered", COST_NANOUSD)
    assert attempt.price_version == 7
    assert not found.usage.estimated
    assert found.raw.DESCRIPTOR.name in {f"{method}Response", "MediaCall"}


@CALLS
async def test_an_answer_without_its_cost_is_no_free_one(omni, service, method, ask):
    response = getattr(pb, f"{method}Response")
    if method == "SynthesizeSpeech":
        service.script(method, streams(speaking(), response(completion=pb.MediaCall())))
    else:

        async def answer(*_):
            return response(call=pb.MediaCall())

        service.script(method, answer)
    with pytest.raises(Internal, match="cost_nanousd"):
        await ask(omni)


@CALLS
async def test_each_call_has_a_request_id_of_its_own_unless_one_is_named(
    omni, service, method, ask
):
    await ask(omni)
    await ask(omni)
    await ask(omni, request_id="mine")
    first, second, third = [one.request_id for one in service.requests(method)]
    assert uuid.UUID(first) != uuid.UUID(second)
    assert third == "mine"


@CALLS
async def test_a_call_that_finds_the_service_busy_is_sent_again_unchanged(
    omni, service, method, ask
):
    running = fails(StatusCode.ABORTED, "REQUEST_IN_PROGRESS", retry_after_ms=20)
    service.script(method, fails(StatusCode.UNAVAILABLE, "BUSY"), running)
    await ask(omni)
    first, second, third = service.requests(method)
    assert first == second == third
    assert first.request_id


@CALLS
@pytest.mark.parametrize(
    ("code", "reason", "cls"),
    [
        (StatusCode.ABORTED, "INTERRUPTED", Interrupted),
        (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", RequestIdReused),
        (StatusCode.FAILED_PRECONDITION, "CREDITS_EXHAUSTED", CreditsExhausted),
    ],
)
async def test_what_a_repeat_cannot_mend_is_told_and_not_repeated(
    omni, service, method, ask, code, reason, cls
):
    facts = {"charged_nanousd": "42", "call_id": "call_0"}
    service.script(method, fails(code, reason, metadata=facts))
    with pytest.raises(cls) as caught:
        await ask(omni, request_id="mine")
    assert (caught.value.charged_nanousd, caught.value.call_id) == (42, "call_0")
    assert caught.value.request_id == "mine"
    assert len(service.requests(method)) == 1


@CALLS
async def test_a_call_has_the_time_of_a_chat_unless_it_names_its_own(omni, service, method, ask):
    await ask(omni)
    await ask(omni, timeout=5)
    whole, short = [one.time_remaining_s for one in service.seen if one.method == method]
    assert 590 < whole <= 601
    assert short <= 6


async def test_texts_and_tokens_are_embedded_in_their_order(omni, service):
    found = await omni.embed("m", ["a", [1, 2], "b"], dimensions=2, end_user="u")
    assert found.vectors == ((0.0, 0.5), (1.0, 0.5), (2.0, 0.5))
    assert (found.usage.prompt_tokens, found.usage.images) == (9, None)
    (sent,) = service.requests("EmbedTexts")
    assert [one.WhichOneof("content") for one in sent.inputs] == ["text", "tokens", "text"]
    assert list(sent.inputs[1].tokens.values) == [1, 2]
    assert (sent.model, sent.dimension_count, sent.end_user) == ("m", 2, "u")
    await omni.embed("m", "one text")
    assert [one.text for one in service.requests("EmbedTexts")[1].inputs] == ["one text"]
    assert not service.requests("EmbedTexts")[1].HasField("dimension_count")


async def test_every_option_of_a_picture_is_sent(omni, service):
    found = await omni.generate_images(
        "m",
        "a cat",
        n=2,
        size="1024x1024",
        quality="high",
        background="opaque",
        output_format="webp",
        output_compression=0,
        moderation="low",
        style="vivid",
        input_fidelity="high",
        images=[MediaFile(b"one", "a.png", "image/png")],
        mask=MediaFile(b"two", "b.png"),
        end_user="u",
        request_id="mine",
    )
    assert [one.content for one in found.images] == [b"a picture"] * 2
    assert (found.images[0].url, found.images[0].revised_prompt) == ("", "a red cat")
    assert (found.size, found.quality, found.usage.images) == ("1024x1024", "", 2)
    (sent,) = service.requests("GenerateImages")
    assert sent == pb.GenerateImagesRequest(
        model="m",
        prompt="a cat",
        image_count=2,
        size="1024x1024",
        quality="high",
        background="opaque",
        output_format=pb.IMAGE_FORMAT_WEBP,
        output_compression=0,
        moderation="low",
        style="vivid",
        input_fidelity="high",
        images=[pb.MediaFile(content=b"one", name="a.png", content_type="image/png")],
        mask=pb.MediaFile(content=b"two", name="b.png"),
        end_user="u",
        request_id="mine",
    )


async def test_options_that_are_none_are_unset(omni, service):
    await omni.generate_images("m", "a cat", n=None, size=None, mask=None, output_format=None)
    (sent,) = service.requests("GenerateImages")
    expected = pb.GenerateImagesRequest(model="m", prompt="a cat", request_id=sent.request_id)
    assert sent == expected


async def test_speech_comes_in_pieces_and_ends_with_the_whole(omni, service):
    async with omni.synthesize_speech(
        "m", "Hello, you!", voice="alloy", instructions="Slowly.", speed=0.5, format="wav"
    ) as stream:
        assert (stream.started.call_id, stream.started.content_type) == ("call_1", "audio/mpeg")
        assert [piece async for piece in stream] == [b"Hello,", b" ", b"you!"]
    assert stream.completion.audio == stream.audio == b"Hello, you!"
    assert stream.completion.content_type == "audio/mpeg"
    assert stream.completion.usage.characters == len("Hello, you!")
    (sent,) = service.requests("SynthesizeSpeech")
    assert sent == pb.SynthesizeSpeechRequest(
        model="m",
        text="Hello, you!",
        voice="alloy",
        instructions="Slowly.",
        speed=0.5,
        format=pb.SPEECH_FORMAT_WAV,
        request_id=stream.request_id,
    )


async def test_speech_that_breaks_off_keeps_what_came_and_is_not_sent_again(omni, service):
    broken = fails(StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE")
    service.script("SynthesizeSpeech", streams(speaking(), audio(b"Hel"), then=broken))
    async with omni.synthesize_speech("m", "Hello", voice="alloy") as stream:
        with pytest.raises(Unavailable) as caught:
            await stream.result()
        assert stream.audio == b"Hel"
        with pytest.raises(RuntimeError):
            _ = stream.completion
    assert (caught.value.call_id, caught.value.request_id) == ("call_1", stream.request_id)
    assert len(service.requests("SynthesizeSpeech")) == 1


@pytest.mark.parametrize(
    "events", [(), (audio(b"x"),), (spoken(1),), (speaking(),), (speaking(), audio(b"x"))]
)
async def test_a_stream_of_speech_that_breaks_the_contract_is_an_error(omni, service, events):
    service.script("SynthesizeSpeech", streams(*events))
    with pytest.raises(Internal, match="broke the contract"):
        await heard(omni)


async def test_a_listener_who_leaves_cancels_the_call(omni, service):
    service.script("SynthesizeSpeech", streams(speaking(), audio(b"Hel"), then=hangs))
    async with omni.synthesize_speech("m", "Hello", voice="alloy") as stream:
        async for piece in stream:
            assert piece == b"Hel"
            break
    await service.cancelled.wait()


async def test_a_recording_is_written_down(omni, service, tmp_path):
    path = tmp_path / "said.wav"
    path.write_bytes(b"sound")
    found = await omni.transcribe(
        "m",
        MediaFile.from_file(path),
        language="en",
        prompt="Names",
        format="verbose_json",
        temperature=0.0,
        timestamp_granularities=["word", "segment"],
    )
    assert (found.text, found.content) == ("Hello, you!", '{"text": "Hello, you!"}')
    assert (found.language, found.duration_ms, found.usage.seconds) == ("english", 2_500, 3)
    (sent,) = service.requests("TranscribeAudio")
    assert (sent.file.content, sent.file.name) == (b"sound", "said.wav")
    assert sent.file.content_type.startswith("audio/")
    assert (sent.language, sent.prompt, sent.temperature) == ("en", "Names", 0.0)
    assert sent.HasField("temperature")
    assert sent.format == pb.TRANSCRIPT_FORMAT_VERBOSE_JSON
    assert list(sent.timestamp_granularities) == ["word", "segment"]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda omni: painted(omni, output_format="gif"), "output_format"),
        (lambda omni: painted(omni, images=[b"x"]), r"images\[0\]"),
        (lambda omni: painted(omni, n=2**40), "pictures"),
        (lambda omni: heard(omni, format="midi"), "format"),
        (lambda omni: omni.transcribe("m", b"sound"), "audio"),
        (lambda omni: omni.embed("m", [1, 2]), "embeddings"),
        (lambda omni: omni.embed("m", [[2**40]]), "embeddings"),
    ],
)
async def test_what_cannot_be_said_in_the_contract_is_not_sent(omni, service, ask, field):
    with pytest.raises(FieldInvalid, match=field) as caught:
        await ask(omni)
    assert caught.value.charged_nanousd == 0
    assert service.seen == []


@pytest.mark.parametrize("ask", [painted, heard, written])
async def test_an_option_that_there_is_not_is_named(omni, service, ask):
    with pytest.raises(TypeError, match="has no option 'tempo'; it has"):
        await ask(omni, tempo=1)
    assert service.seen == []


def test_a_repr_is_short_whatever_the_file_is():
    assert repr(SOUND) == "MediaFile(name='said.wav', content_type='audio/wav')"
