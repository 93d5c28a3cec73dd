"""The Python client's calls beside chats, async and sync, to a running gateway."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Iterator

import pytest
from gateway import Gateway, Tenant, eventually
from omni_grpc_client import (
    AsyncOmni,
    Interrupted,
    MediaFile,
    MediaResult,
    ModelUnpriced,
    Omni,
    ProviderUnavailable,
    RequestIdReused,
)

GRANTED = 10**9
TEXT = "A cat sat on the mat."


def recording(seconds: float) -> MediaFile:
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(int(seconds * 8_000) * 2))
    return MediaFile(file.getvalue(), "said.wav")


@pytest.fixture
def omni(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


@pytest.fixture
async def aomni(gateway: Gateway, tenant: Tenant) -> AsyncIterator[AsyncOmni]:
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def check(omni: Omni, found: MediaResult, nanousd: int) -> None:
    """The cost of a call is the same in its answer, in its record and in the balance."""
    assert found.cost_nanousd == nanousd
    assert found.balance_nanousd == omni.balance().available_nanousd == GRANTED - nanousd
    (told,) = found.attempts
    record = omni.usage(found.call_id)
    (kept,) = record.attempts
    assert record.cost_nanousd == kept.cost_nanousd == told.cost_nanousd == nanousd
    assert (kept.outcome, kept.price_version) == (told.outcome, told.price_version)
    usage = found.usage
    # A record keeps the units that are priced, so what it knows is what the answer told.
    assert (kept.images, kept.seconds) == (usage.images, usage.seconds)
    assert kept.characters == usage.characters


def test_texts_become_vectors(omni: Omni) -> None:
    found = omni.embed("sim/embed", ["cat", "dog"], dimensions=4)
    assert [len(vector) for vector in found.vectors] == [4, 4]
    tokens = found.usage.prompt_tokens
    assert tokens
    check(omni, found, tokens * 20)
    assert omni.embed("sim/embed", [[1, 2, 3]], dimensions=4).usage.prompt_tokens == 3


def test_pictures_are_painted(omni: Omni) -> None:
    found = omni.generate_images("sim/image", "a cat", n=2)
    assert all(image.content.startswith(b"\x89PNG") for image in found.images)
    assert found.usage.images == 2
    check(omni, found, 2 * 40_000_000)


def test_a_text_is_spoken(omni: Omni) -> None:
    with omni.synthesize_speech("sim/voice", TEXT, voice="alloy", format="wav") as stream:
        assert stream.started.content_type == "audio/wav"
        pieces = list(stream)
    assert pieces
    assert stream.completion.audio == b"".join(pieces)
    assert len(stream.audio) == 400 * len(TEXT)
    assert stream.completion.usage.characters == len(TEXT)
    check(omni, stream.completion, len(TEXT) * 15_000)


def test_a_recording_is_written_down(omni: Omni) -> None:
    found = omni.transcribe("sim/scribe", recording(2.5), format="verbose_json")
    assert found.text
    assert (found.language, found.duration_ms) == ("english", 2_500)
    assert found.usage.seconds == 3
    check(omni, found, 3 * 100_000)


async def test_the_asynchronous_client_does_all_of_it(aomni: AsyncOmni) -> None:
    async def speak() -> MediaResult:
        async with aomni.synthesize_speech("sim/voice", TEXT, voice="alloy") as stream:
            pieces = [piece async for piece in stream]
        assert b"".join(pieces) == stream.completion.audio
        return stream.completion

    results: list[MediaResult] = await asyncio.gather(
        aomni.embed("sim/embed", TEXT),
        aomni.generate_images("sim/image", "a cat"),
        speak(),
        aomni.transcribe("sim/scribe", recording(1)),
    )
    assert all(found.cost_nanousd > 0 for found in results)
    spent = sum(found.cost_nanousd for found in results)
    assert (await aomni.balance()).available_nanousd == GRANTED - spent


def test_a_repeat_is_told_what_the_first_cost_and_pays_nothing(omni: Omni) -> None:
    first = omni.embed("sim/embed", TEXT, request_id="once")
    with pytest.raises(Interrupted) as caught:
        omni.embed("sim/embed", TEXT, request_id="once")
    assert caught.value.charged_nanousd == first.cost_nanousd
    assert caught.value.call_id == first.call_id
    with pytest.raises(RequestIdReused):
        omni.embed("sim/embed", "another", request_id="once")
    assert omni.balance().available_nanousd == GRANTED - first.cost_nanousd


def test_speech_that_breaks_off_keeps_its_audio_and_says_what_it_cost(omni: Omni) -> None:
    text = f"[sim cut=fin,cut_after=3] {TEXT}"
    with omni.synthesize_speech("sim/voice", text, voice="alloy") as stream:
        with pytest.raises(Interrupted) as caught:
            stream.result()
        assert stream.audio
    assert caught.value.charged_nanousd == len(text) * 15_000
    assert caught.value.call_id == stream.started.call_id


def test_a_listener_who_leaves_pays_the_characters(omni: Omni) -> None:
    text = f"[sim hang_after=2] {TEXT}"
    with omni.synthesize_speech("sim/voice", text, voice="alloy") as stream:
        assert next(stream)
    call_id = stream.started.call_id
    assert eventually(lambda: omni.usage(call_id).attempts[0].outcome == "cancelled")
    assert omni.usage(call_id).attempts[0].characters == len(text)
    assert omni.balance().posted_nanousd == GRANTED - len(text) * 15_000


def test_refusals_are_typed_and_free(omni: Omni) -> None:
    with pytest.raises(ModelUnpriced):
        omni.generate_images("sim/image", "a cat", size="64x64")
    with pytest.raises(ProviderUnavailable):
        omni.embed("sim/embed-down", TEXT, timeout=1)
    assert omni.balance().available_nanousd == GRANTED
