"""OpenAI's endpoints beside chats, called over a socket: whole, as bytes come in, cut and left."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from omni_grpc.core.media import EmbeddingRequest, Embeddings, MediaRequest, SpeechRequest
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    MediaCall,
    MediaProvider,
    Overloaded,
    Providers,
    ProviderSettings,
    RateLimited,
    Rejected,
    SpeechStream,
    Truncated,
    Unreachable,
)
from omni_grpc.simulator import CallRecord, Simulator

TEXT = "A cat sat on the mat."
SAID = 400 * len(TEXT)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as made:
        yield made


@pytest.fixture
async def media(simulator: Simulator) -> AsyncIterator[MediaProvider]:
    providers = Providers({"sim": ProviderSettings(base_url=simulator.base_url)})
    await providers.open()
    found = providers.media("sim")
    assert found is not None
    assert providers.media("nobody") is None
    yield found
    await providers.close()


class Told:
    """What the attempt is told of its dispatch and of its answer's name."""

    def __init__(self) -> None:
        self.dispatched = 0
        self.names: list[str] = []

    def dispatch(self) -> None:
        self.dispatched += 1


def call(request: MediaRequest, *, by_events: bool = False, seconds: float = 10) -> MediaCall:
    return MediaCall(
        request=request,
        model=request.model,
        call_id="call-1",
        seconds_left=seconds,
        retries=False,
        by_events=by_events,
    )


def embed(text: str = TEXT) -> EmbeddingRequest:
    return EmbeddingRequest(model="embed", inputs=(text,), dimensions=4)


def speech(behaviour: str = "", model: str = "voice") -> SpeechRequest:
    text = f"[sim {behaviour}] {TEXT}" if behaviour else TEXT
    return SpeechRequest(model=model, text=text, voice="alloy")


async def whole(stream: SpeechStream, parts: list[bytes] | None = None) -> bytes:
    """All of the audio, whose parts are kept as they come."""
    kept = [] if parts is None else parts
    while part := await stream.read():
        kept.append(part)
    return b"".join(kept)


async def ended(simulator: Simulator) -> CallRecord:
    """The last call's record, once it has ended."""
    async with asyncio.timeout(20):
        while simulator.log[-1].outcome == "running":
            await asyncio.sleep(0.005)
    return simulator.log[-1]


# --- whole answers --------------------------------------------------------------------------------
async def test_a_plain_answer_is_dispatched_once_and_read_whole(
    media: MediaProvider, simulator: Simulator
) -> None:
    told = Told()
    found = await media.ask(call(embed()), told.dispatch, told.names.append)
    assert isinstance(found.answer, Embeddings)
    assert [len(vector) for vector in found.answer.vectors] == [16]
    assert found.usage == Usage(prompt=simulator.log[-1].prompt_tokens)
    assert told.dispatched == 1
    assert told.names == [simulator.log[-1].id]
    assert simulator.log[-1].headers["x-client-request-id"] == "call-1"


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("status=400", Rejected),
        ("status=429", RateLimited),
        ("status=500", Overloaded),
        ("cut=rst,cut_after=request", Unreachable),
        ("cut=fin,cut_after=headers", Truncated),
    ],
)
async def test_what_goes_wrong_is_a_fault(
    media: MediaProvider, behaviour: str, kind: type[Exception]
) -> None:
    told = Told()
    with pytest.raises(kind):
        await media.ask(call(embed(f"[sim {behaviour}] x")), told.dispatch, told.names.append)
    assert told.dispatched == 1


async def test_leaving_a_plain_call_stops_the_provider(
    media: MediaProvider, simulator: Simulator
) -> None:
    told = Told()
    answer = media.ask(call(embed("[sim hang_after=request] x")), told.dispatch, told.names.append)

    async def wait() -> None:
        await answer

    waiting = asyncio.create_task(wait())
    async with asyncio.timeout(20):
        while not simulator.log:
            await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await answer.cancel() is None
    assert (await ended(simulator)).outcome == "cancelled"


# --- speech ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("model", "by_events"), [("voice", False), ("voice-tokens", False), ("voice-tokens", True)]
)
async def test_speech_is_the_same_bytes_either_way(
    media: MediaProvider, model: str, by_events: bool
) -> None:
    told = Told()
    stream = media.speak(
        call(speech(model=model), by_events=by_events), told.dispatch, told.names.append
    )
    assert told.dispatched == 0
    await stream
    assert len(await whole(stream)) == SAID
    assert (stream.usage is not None) == by_events
    if stream.usage is not None:
        assert stream.usage.completion == 2 * len(TEXT)
    assert stream.content_type == "audio/mpeg"
    assert told.dispatched == 1
    assert await stream.cancel() == 0
    stream.close()


@pytest.mark.parametrize("behaviour", ["cut=fin,cut_after=3", "cut=fin,cut_after=3,burst"])
@pytest.mark.parametrize("by_events", [False, True])
async def test_speech_that_is_cut_is_truncated_after_what_came(
    media: MediaProvider, behaviour: str, by_events: bool
) -> None:
    told = Told()
    model = "voice-tokens" if by_events else "voice"
    stream = media.speak(
        call(speech(behaviour, model), by_events=by_events), told.dispatch, told.names.append
    )
    await stream
    audio: list[bytes] = []
    with pytest.raises(Truncated):
        await whole(stream, audio)
    assert len(b"".join(audio)) == 3 * 1_024
    assert stream.usage is None
    assert await stream.read() == b""


async def test_events_that_end_without_their_last_are_truncated(media: MediaProvider) -> None:
    told = Told()
    request = speech("end_after=3", "voice-tokens")
    stream = media.speak(call(request, by_events=True), told.dispatch, told.names.append)
    await stream
    with pytest.raises(Truncated):
        await whole(stream)


async def test_leaving_speech_stops_the_provider_and_tells_what_it_had_sent(
    media: MediaProvider, simulator: Simulator
) -> None:
    told = Told()
    stream = media.speak(call(speech("hang_after=4")), told.dispatch, told.names.append)
    await stream
    came = len(await stream.read())
    assert came
    came += await stream.cancel()
    record = await ended(simulator)
    assert record.outcome == "cancelled"
    assert came == 4 * 1_024
    assert await stream.read() == b""


async def test_leaving_speech_tells_what_nobody_had_read(media: MediaProvider) -> None:
    stream = media.speak(call(speech("hang_after=4")), Told().dispatch, [].append)
    await stream
    async with asyncio.timeout(20):
        while stream._response.content.total_bytes < 4 * 1_024:
            await asyncio.sleep(0.005)
    assert await stream.cancel() == 4 * 1_024
    assert await stream.cancel() == 0


async def test_leaving_speech_before_its_first_byte_stops_the_provider(
    media: MediaProvider, simulator: Simulator
) -> None:
    told = Told()
    stream = media.speak(call(speech("hang_after=headers")), told.dispatch, told.names.append)
    await stream
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await stream.cancel() == 0
    assert (await ended(simulator)).outcome == "cancelled"


async def test_speech_that_was_left_is_read_on_where_that_is_wanted(media: MediaProvider) -> None:
    told = Told()
    stream = media.speak(
        call(speech("delay_ms=2", "voice-tokens"), by_events=True),
        told.dispatch,
        told.names.append,
    )
    await stream
    came = len(await stream.read()) + await stream.drain()
    assert came == 400 * len(f"[sim delay_ms=2] {TEXT}")
    assert stream.usage is not None
