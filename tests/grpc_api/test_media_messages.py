"""The contract's messages beside chats: every field is read, every wrong one refused by name."""

import struct

import pytest
from omni.router.v1 import media_pb2 as pb

from omni_grpc.core.errors import FieldInvalid, Interrupted
from omni_grpc.core.media import (
    Embeddings,
    GeneratedImage,
    ImageRequest,
    Images,
    MediaCompletion,
    MediaFile,
    SpeechRequest,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.grpc_api import media_request, media_response


def completion(answer: object, usage: Usage | None = None) -> MediaCompletion:
    return MediaCompletion(
        call_id="c", model="sim/m", create_time=7, answer=answer, usage=usage or Usage(),
        attempts=(), cost_nanousd=5, balance_nanousd=None,
    )  # fmt: skip


def test_every_field_of_a_picture_is_read() -> None:
    asked = pb.GenerateImagesRequest(
        model="m", prompt="p", image_count=2, size="s", quality="q", background="b",
        output_format=pb.IMAGE_FORMAT_WEBP, output_compression=0, moderation="low", style="vivid",
        input_fidelity="high", end_user="u", images=[pb.MediaFile(content=b"1", name="a.png")],
        mask=pb.MediaFile(content=b"2", name="m.png", content_type="image/png"),
    )  # fmt: skip
    assert media_request.image_request(asked) == ImageRequest(
        model="m", prompt="p", count=2, size="s", quality="q", background="b",
        output_format="webp", output_compression=0, moderation="low", style="vivid",
        input_fidelity="high", user="u", images=(MediaFile(content=b"1", name="a.png"),),
        mask=MediaFile(content=b"2", name="m.png", content_type="image/png"),
    )  # fmt: skip
    assert media_request.image_request(pb.GenerateImagesRequest(model="m")).count == 1


def test_every_field_of_speech_and_of_transcriptions_is_read() -> None:
    spoken = pb.SynthesizeSpeechRequest(
        model="m", text="t", voice="v", instructions="i", speed=0.25, format=pb.SPEECH_FORMAT_PCM
    )
    assert media_request.speech_request(spoken) == SpeechRequest(
        model="m", text="t", voice="v", instructions="i", speed=0.25, format="pcm"
    )
    heard = pb.TranscribeAudioRequest(
        model="m", file=pb.MediaFile(content=b"1", name="a.wav"), language="de", prompt="p",
        format=pb.TRANSCRIPT_FORMAT_VTT, temperature=0, timestamp_granularities=["word"],
    )  # fmt: skip
    assert media_request.transcription_request(heard) == TranscriptionRequest(
        model="m", file=MediaFile(content=b"1", name="a.wav"), language="de", prompt="p",
        format="vtt", temperature=0.0, timestamp_granularities=("word",),
    )  # fmt: skip


FILE = pb.MediaFile(content=b"1", name="a")


@pytest.mark.parametrize(
    ("read", "request_", "field"),
    [
        (media_request.embedding_request, pb.EmbedTextsRequest(), "model"),
        (media_request.embedding_request, pb.EmbedTextsRequest(model="m" * 257), "model"),
        (
            media_request.embedding_request,
            pb.EmbedTextsRequest(
                model="m", inputs=[pb.EmbeddingInput(tokens=pb.TokenList(values=[-1]))]
            ),
            "inputs.tokens",
        ),
        (media_request.image_request, pb.GenerateImagesRequest(model="m", size="s" * 65), "size"),
        (
            media_request.image_request,
            pb.GenerateImagesRequest(model="m", output_compression=101),
            "output_compression",
        ),
        (media_request.image_request, pb.GenerateImagesRequest(model="m", images=[pb.MediaFile()]),
         "images.name"),
        (media_request.image_request, pb.GenerateImagesRequest(model="m", output_format=99),
         "output_format"),
        (media_request.speech_request, pb.SynthesizeSpeechRequest(model="m"), "voice"),
        (
            media_request.speech_request,
            pb.SynthesizeSpeechRequest(model="m", voice="v", speed=5),
            "speed",
        ),
        (
            media_request.speech_request,
            pb.SynthesizeSpeechRequest(model="m", voice="v", speed=float("nan")),
            "speed",
        ),
        (media_request.transcription_request, pb.TranscribeAudioRequest(model="m"), "file"),
        (
            media_request.transcription_request,
            pb.TranscribeAudioRequest(model="m", file=FILE, temperature=2),
            "temperature",
        ),
        (
            media_request.transcription_request,
            pb.TranscribeAudioRequest(model="m", file=FILE, timestamp_granularities=["page"]),
            "timestamp_granularities",
        ),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_its_name(read, request_, field: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        read(request_)
    assert refused.value.field == field


def test_answers_carry_what_came_and_what_it_cost() -> None:
    usage = Usage(prompt=3, image=2, source=UsageSource.ESTIMATE)
    vectors = media_response.embeddings(
        completion(Embeddings(vectors=(struct.pack("<2f", 0.5, -1),)), usage)
    )
    assert list(vectors.embeddings[0].values) == [0.5, -1]
    call = vectors.call
    assert (call.cost_nanousd, call.HasField("balance_nanousd")) == (5, False)
    assert (call.usage.prompt_token_count, call.usage.image_count) == (3, 2)
    assert call.usage.estimated
    assert not call.usage.HasField("second_count")
    pictures = media_response.images(
        completion(
            Images(
                created=1,
                images=(GeneratedImage(b64_json="QQ=="), GeneratedImage(url="https://x")),
                size="1x1",
            )
        )
    )
    assert [one.WhichOneof("source") for one in pictures.images] == ["content", "url"]
    assert pictures.images[0].content == b"A"
    said = media_response.transcript(completion(Transcript(body=b"{}", text="t", duration_s=1.5)))
    assert (said.content, said.text, said.duration_ms) == ("{}", "t", 1_500)


def test_a_picture_that_is_none_is_told_with_its_cost() -> None:
    broken = Images(created=1, images=(GeneratedImage(b64_json="Q"),))
    with pytest.raises(Interrupted) as refused:
        media_response.images(completion(broken))
    assert refused.value.charged_nanousd == 5
