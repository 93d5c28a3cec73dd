"""What each kind of request beside chats is held for and charged: its own units, bounds above."""

import io
import struct
import wave

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.catalog.tokens import count_text
from omni_grpc.completion.media_audio_bills import SpeechBill, TranscriptionBill
from omni_grpc.completion.media_bill import Brought
from omni_grpc.completion.media_bills import Counted, bill_of
from omni_grpc.completion.media_image_bill import ImageBill
from omni_grpc.completion.media_text_bills import EmbeddingBill, ModerationBill
from omni_grpc.core.audio import pcm_seconds
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import (
    EmbeddingRequest,
    GeneratedImage,
    ImageRequest,
    Images,
    MediaFile,
    ModerationRequest,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.money import Price, Rate, Unit, charge, worst_case_of
from omni_grpc.core.usage import Usage, UsageSource


def price(*units: Unit) -> Price:
    return Price(1, tuple(Rate(unit, 0, 1_000_000) for unit in units))


BY_TOKENS = price(Unit.PROMPT, Unit.PROMPT_IMAGE, Unit.PROMPT_AUDIO, Unit.COMPLETION)
BY_IMAGE, BY_CHARACTER, BY_SECOND = map(price, (Unit.IMAGE, Unit.CHARACTER, Unit.SECOND))
NOTHING = Brought()


def sound(seconds: float, rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(rate)
        made.writeframes(bytes(int(seconds * rate) * 2))
    return file.getvalue()


def painted(count: int) -> Brought:
    images = tuple(GeneratedImage(b64_json="x") for _ in range(count))
    return Brought(answer=Images(created=0, images=images))


# --- embeddings and moderations -------------------------------------------------------------------
@given(st.lists(st.text(min_size=1) | st.lists(st.integers(0, 9), min_size=1), min_size=1))
def test_an_embedding_is_never_charged_above_its_hold(given_inputs: list[str | list[int]]) -> None:
    inputs = tuple(one if isinstance(one, str) else tuple(one) for one in given_inputs)
    bill = EmbeddingBill(EmbeddingRequest(model="m", inputs=inputs))
    estimate = bill.estimate(BY_TOKENS, NOTHING)
    assert charge(estimate, BY_TOKENS, 0) <= worst_case_of(bill.most(BY_TOKENS), BY_TOKENS, 0)
    assert estimate.source is UsageSource.ESTIMATE


def test_an_embedding_is_charged_the_providers_count_alone() -> None:
    bill = EmbeddingBill(EmbeddingRequest(model="m", inputs=("a cat",)))
    reported = Usage(prompt=7, completion=3)
    assert bill.told(BY_TOKENS, reported) == Usage(prompt=7)
    assert bill.told(BY_TOKENS, Usage(completion=3)) is None
    assert bill.unpriced(BY_IMAGE)


@pytest.mark.parametrize("inputs", [(), ("",), ("x", ()), ("x",) * 2_049])
def test_what_cannot_be_embedded_is_refused(inputs: tuple[str, ...]) -> None:
    with pytest.raises(FieldInvalid):
        bill_of(EmbeddingRequest(model="m", inputs=inputs))


def test_300_thousand_tokens_are_embedded_and_one_more_is_not() -> None:
    EmbeddingBill(EmbeddingRequest(model="m", inputs=((1,) * 300_000,))).check()
    with pytest.raises(FieldInvalid, match="300000 tokens"):
        EmbeddingBill(EmbeddingRequest(model="m", inputs=((1,) * 300_001,))).check()
    # More bytes than that, but not more tokens.
    EmbeddingBill(EmbeddingRequest(model="m", inputs=("word " * 100_000,))).check()


def test_a_free_moderation_counts_nothing_and_another_its_text() -> None:
    bill = ModerationBill(ModerationRequest(model="m", input_json=msgspec.Raw(b'"a cat"')))
    free = Price(1, (Rate(Unit.PROMPT, 0, 0), Rate(Unit.COMPLETION, 0, 0)))
    assert bill.estimate(free, NOTHING) == Usage()
    assert bill.unpriced(free) is None
    assert bill.estimate(BY_TOKENS, NOTHING).prompt == count_text('"a cat"')


# --- pictures -------------------------------------------------------------------------------------
def test_pictures_sold_each_are_charged_as_many_as_came() -> None:
    bill = ImageBill(ImageRequest(model="m", prompt="a cat", count=3))
    assert bill.most(BY_IMAGE) == Usage(image=3)
    assert bill.told(BY_IMAGE, Usage(prompt=1, completion=2)) is None
    assert bill.estimate(BY_IMAGE, painted(2)) == Usage(image=2)
    assert bill.estimate(BY_IMAGE, NOTHING) == Usage(image=0)


@pytest.mark.parametrize(
    ("size", "quality", "covered"),
    [
        (None, None, True),
        ("1024x1024", "standard", True),
        ("1792x1024", None, False),
        ("512x512", None, False),
        ("auto", None, False),
        (None, "hd", False),
    ],
)
def test_one_price_is_for_one_size_and_quality(
    size: str | None, quality: str | None, covered: bool
) -> None:
    bill = ImageBill(ImageRequest(model="m", prompt="x", size=size, quality=quality))
    assert (bill.unpriced(BY_IMAGE) is None) == covered
    assert bill.unpriced(BY_TOKENS) is None


def test_a_picture_to_be_changed_must_have_a_price() -> None:
    file = MediaFile(content=b"x", name="a.png")
    bill = ImageBill(ImageRequest(model="m", prompt="x", images=(file,)))
    assert bill.unpriced(price(Unit.PROMPT, Unit.COMPLETION)) == "image input has no price"
    assert bill.unpriced(BY_TOKENS) is None


@pytest.mark.parametrize("quality", ["low", "medium", "high", "auto", None])
@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "4096x4096", "auto", None])
def test_an_estimate_of_a_picture_is_within_its_hold(size: str | None, quality: str | None) -> None:
    bill = ImageBill(ImageRequest(model="m", prompt="a cat", count=2, size=size, quality=quality))
    estimate = bill.estimate(BY_TOKENS, painted(2))
    assert charge(estimate, BY_TOKENS, 0) <= worst_case_of(bill.most(BY_TOKENS), BY_TOKENS, 0)


@pytest.mark.parametrize("size", ["big", "1024", "x", "1024x", "٣x٣", "-1x5", "99999999x99999999"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(FieldInvalid, match="size"):
        ImageBill(ImageRequest(model="m", prompt="x", size=size))


# --- speech ---------------------------------------------------------------------------------------
def test_speech_sold_by_the_character_is_charged_all_of_them_whatever_came() -> None:
    bill = SpeechBill(SpeechRequest(model="m", text="Grüße 🎉", voice="v", instructions="softly"))
    assert bill.most(BY_CHARACTER) == Usage(character=7)
    assert bill.estimate(BY_CHARACTER, NOTHING) == Usage(character=7)


def test_speech_sold_by_tokens_is_estimated_by_the_audio_that_came() -> None:
    bill = SpeechBill(SpeechRequest(model="m", text="A cat.", voice="v", format="pcm"))
    second = bill.estimate(BY_TOKENS, Brought(audio_bytes=48_000))
    assert (second.completion, second.source) == (21, UsageSource.ESTIMATE)
    assert bill.estimate(BY_TOKENS, NOTHING).completion == 0


# --- transcriptions -------------------------------------------------------------------------------
def heard(content: bytes) -> TranscriptionBill:
    file = MediaFile(content=content, name="a.wav")
    return TranscriptionBill(TranscriptionRequest(model="m", file=file))


def test_a_wav_file_is_as_long_as_its_samples() -> None:
    assert heard(sound(2.5)).most(BY_SECOND) == Usage(second=3)
    assert heard(sound(0.01)).most(BY_SECOND) == Usage(second=1)
    assert pcm_seconds(sound(60, 44_100)) == 60


def test_the_length_of_anything_else_is_bound_by_its_bytes() -> None:
    bill = heard(b"ID3" + bytes(75_000 - 3))
    assert bill.most(BY_SECOND) == Usage(second=100)
    estimate = bill.estimate(BY_SECOND, NOTHING)
    assert (estimate.second, estimate.source) == (19, UsageSource.ESTIMATE)


def test_a_lying_header_shortens_nothing() -> None:
    content = bytearray(sound(10))
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 2)
    assert pcm_seconds(bytes(content)) == 10


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_length(content: bytes) -> None:
    for data in (content, b"RIFF\0\0\0\0WAVE" + content, b"RIFF\0\0\0\0WAVEfmt " + content):
        found = pcm_seconds(data)
        assert found is None or found > 0


def test_seconds_or_tokens_are_charged_whichever_it_is_sold_by() -> None:
    bill = heard(sound(4))
    assert bill.told(BY_SECOND, Usage(second=4, prompt=9)) == Usage(second=4)
    assert bill.told(BY_SECOND, Usage(prompt=9, completion=1)) is None
    tokens = Usage(prompt=9, prompt_audio=9, completion=1, second=4)
    assert bill.told(BY_TOKENS, tokens) == Usage(prompt=9, prompt_audio=9, completion=1)
    assert bill.told(BY_TOKENS, Usage(second=4)) is None
    came = Brought(answer=Transcript(body=b"", text="a cat"))
    assert bill.estimate(BY_TOKENS, came).completion == 2
    assert bill.unpriced(price(Unit.PROMPT, Unit.COMPLETION)) == "audio input has no price"


# --- what came ------------------------------------------------------------------------------------
async def test_what_a_provider_told_is_charged_and_else_our_count() -> None:
    counted = Counted(EmbeddingBill(EmbeddingRequest(model="m", inputs=("a cat",))), BY_TOKENS)
    assert counted.empty
    assert await counted.filled(Usage(prompt=7)) == Usage(prompt=7)
    assert await counted.filled(None) == Usage(prompt=2, source=UsageSource.ESTIMATE)
    long = Counted(EmbeddingBill(EmbeddingRequest(model="m", inputs=("cat " * 50_000,))), BY_TOKENS)
    assert (await long.filled(None)).prompt == 50_001
