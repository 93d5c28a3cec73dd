"""RouterService's calls beside chats, by a plain gRPC client: what they bring, what they cost."""

import io
import wave
from collections.abc import Iterator

import grpc
import pytest
from gateway import Gateway, SimulatorThread, Tenant, bearer, eventually, refusal
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.billing.v1 import billing_service_pb2_grpc as billing_grpc
from omni.router.v1 import media_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from omni_grpc_client import Omni

GRANTED = 10**9
TEXT = "A cat sat on the mat."


def sound(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(int(seconds * 8_000) * 2))
    return file.getvalue()


class Caller:
    """A tenant's stubs, with its key on every call."""

    def __init__(self, channel: grpc.Channel, tenant: Tenant) -> None:
        self.router = pb_grpc.RouterServiceStub(channel)
        self._billing = billing_grpc.BillingServiceStub(channel)
        self.key = bearer(tenant.api_key)

    def record(self, call_id: str) -> billing_pb.UsageRecord:
        asked = billing_pb.GetUsageRecordRequest(call_id=call_id)
        return self._billing.GetUsageRecord(asked, metadata=self.key).usage_record

    def embed(self, *texts: str, model: str = "sim/embed", name: str = "") -> pb.EmbedTextsResponse:
        return self.router.EmbedTexts(
            pb.EmbedTextsRequest(
                model=model,
                inputs=[pb.EmbeddingInput(text=text) for text in texts],
                request_id=name,
            ),
            metadata=self.key,
            timeout=20,
        )


@pytest.fixture
def caller(gateway: Gateway, tenant: Tenant) -> Iterator[Caller]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield Caller(channel, tenant)


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def check(caller: Caller, call: pb.MediaCall, nanousd: int) -> billing_pb.AttemptRecord:
    """The cost of a call is the same in its answer, in its record and in the balance."""
    assert call.cost_nanousd == nanousd
    assert call.balance_nanousd == GRANTED - nanousd
    (told,) = call.attempts
    record = caller.record(call.call_id)
    (attempt,) = record.attempts
    assert record.cost_nanousd == attempt.cost_nanousd == told.cost_nanousd == nanousd
    assert (attempt.outcome, attempt.price_version) == (told.outcome, told.price_version)
    return attempt


def test_texts_and_tokens_are_embedded(caller: Caller) -> None:
    asked = pb.EmbedTextsRequest(
        model="sim/embed",
        inputs=[
            pb.EmbeddingInput(text="cat"),
            pb.EmbeddingInput(tokens=pb.TokenList(values=[1, 2, 3])),
        ],
        dimension_count=4,
    )
    with pytest.raises(grpc.RpcError):
        caller.router.EmbedTexts(asked)
    found = refusal(lambda: caller.router.EmbedTexts(asked, metadata=caller.key))
    assert found.code == "INVALID_ARGUMENT"  # the provider takes one form at a time
    del asked.inputs[0]
    answer = caller.router.EmbedTexts(asked, metadata=caller.key)
    assert [len(one.values) for one in answer.embeddings] == [4]
    attempt = check(caller, answer.call, 3 * 20)
    assert attempt.prompt_token_count == answer.call.usage.prompt_token_count == 3


def test_pictures_are_bytes_and_cost_each(caller: Caller) -> None:
    asked = pb.GenerateImagesRequest(model="sim/image", prompt="a cat", image_count=2)
    found = caller.router.GenerateImages(asked, metadata=caller.key)
    assert all(one.content.startswith(b"\x89PNG") for one in found.images)
    attempt = check(caller, found.call, 2 * 40_000_000)
    assert attempt.image_count == found.call.usage.image_count == 2
    assert not attempt.HasField("prompt_token_count")


def test_pictures_are_changed_and_pay_by_their_tokens(caller: Caller) -> None:
    asked = pb.GenerateImagesRequest(
        model="sim/image-tokens",
        prompt="a dog",
        quality="low",
        images=[pb.MediaFile(content=b"one", name="a.png")],
    )
    found = caller.router.GenerateImages(asked, metadata=caller.key)
    usage = found.call.usage
    assert (usage.prompt_image_token_count, usage.completion_image_token_count) == (194, 272)
    text = usage.prompt_token_count - 194
    attempt = check(caller, found.call, text * 5_000 + 194 * 10_000 + 272 * 40_000)
    assert attempt.prompt_image_token_count == 194
    assert attempt.completion_image_token_count == 272


def test_speech_is_started_audio_and_one_completion(caller: Caller) -> None:
    asked = pb.SynthesizeSpeechRequest(
        model="sim/voice", text=TEXT, voice="alloy", format=pb.SPEECH_FORMAT_WAV
    )
    events = list(caller.router.SynthesizeSpeech(asked, metadata=caller.key))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["started", *["audio"] * (len(kinds) - 2), "completion"]
    assert events[0].started.content_type == "audio/wav"
    assert len(b"".join(event.audio for event in events)) == 400 * len(TEXT)
    attempt = check(caller, events[-1].completion, len(TEXT) * 15_000)
    assert attempt.character_count == len(TEXT)


def test_a_listener_who_cancels_stops_the_provider_and_pays_the_characters(
    caller: Caller, ledger: Omni, simulator: SimulatorThread
) -> None:
    text = f"[sim hang_after=2] {TEXT}"
    asked = pb.SynthesizeSpeechRequest(model="sim/voice", text=text, voice="alloy")
    stream = caller.router.SynthesizeSpeech(asked, metadata=caller.key)
    call_id = next(stream).started.call_id
    next(stream)
    stream.cancel()
    assert eventually(lambda: caller.record(call_id).attempts[0].outcome == "cancelled")
    assert ledger.balance().available_nanousd == GRANTED - len(text) * 15_000
    assert eventually(lambda: simulator.record_of(call_id).outcome == "cancelled")


def test_speech_that_breaks_off_says_what_it_cost(caller: Caller) -> None:
    text = f"[sim cut=fin,cut_after=3] {TEXT}"
    asked = pb.SynthesizeSpeechRequest(model="sim/voice", text=text, voice="alloy")
    found = refusal(lambda: caller.router.SynthesizeSpeech(asked, metadata=caller.key))
    assert (found.code, found.reason) == ("ABORTED", "INTERRUPTED")
    assert found.metadata["charged_nanousd"] == str(len(text) * 15_000)


def test_what_is_said_is_written_down(caller: Caller) -> None:
    asked = pb.TranscribeAudioRequest(
        model="sim/scribe",
        file=pb.MediaFile(content=sound(2.5), name="said.wav"),
        format=pb.TRANSCRIPT_FORMAT_VERBOSE_JSON,
    )
    found = caller.router.TranscribeAudio(asked, metadata=caller.key)
    assert found.text
    assert (found.language, found.duration_ms) == ("english", 2_500)
    attempt = check(caller, found.call, 3 * 100_000)
    assert attempt.second_count == 3


def test_a_repeat_is_told_what_the_first_cost(caller: Caller) -> None:
    first = caller.embed(TEXT, name="once")
    found = refusal(lambda: caller.embed(TEXT, name="once"))
    assert (found.code, found.reason) == ("ABORTED", "INTERRUPTED")
    assert found.metadata["charged_nanousd"] == str(first.call.cost_nanousd)
    other = refusal(lambda: caller.embed("another", name="once"))
    assert other.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (pb.GenerateImagesRequest(model="sim/image", prompt="x", size="64x64"), "MODEL_UNPRICED"),
        (pb.GenerateImagesRequest(model="sim/image", prompt=""), "FIELD_INVALID"),
        (pb.GenerateImagesRequest(model="sim/image", prompt="x", image_count=11), "FIELD_INVALID"),
        (pb.GenerateImagesRequest(model="", prompt="x"), "FIELD_INVALID"),
        (pb.GenerateImagesRequest(model="sim/fast", prompt="x"), "FEATURE_UNSUPPORTED"),
        (pb.GenerateImagesRequest(model="openai/dall-e-3", prompt="x"), "MODEL_NOT_FOUND"),
    ],
)
def test_what_cannot_be_painted_is_refused(
    caller: Caller, asked: pb.GenerateImagesRequest, reason: str
) -> None:
    found = refusal(lambda: caller.router.GenerateImages(asked, metadata=caller.key))
    assert found.reason == reason


def test_a_provider_that_is_down_is_not_paid(caller: Caller, ledger: Omni) -> None:
    found = refusal(lambda: caller.embed("x", model="sim/embed-down"))
    assert (found.code, found.reason) == ("UNAVAILABLE", "PROVIDER_UNAVAILABLE")
    assert ledger.balance().available_nanousd == GRANTED
