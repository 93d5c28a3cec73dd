"""OpenAI's answers beside chats, from the domain's words."""

import base64
import struct
from typing import Final

import msgspec

from omni_grpc.core.media import Embeddings, GeneratedImage, Images, MediaCompletion, Moderation
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import Usage

_encode: Final = msgspec.json.Encoder().encode

FLOAT_BYTES: Final = 4


class _Usage(msgspec.Struct, omit_defaults=True):
    cost: str
    cost_nanousd: int
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    input_tokens_details: dict[str, int] | None = None
    output_tokens: int | None = None
    output_tokens_details: dict[str, int] | None = None
    total_tokens: int | None = None


class _Image(msgspec.Struct, omit_defaults=True):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Images(msgspec.Struct, omit_defaults=True):
    created: int
    data: list[_Image]
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: _Usage | None = None


def encode_embeddings(completion: MediaCompletion[Embeddings], *, as_base64: bool) -> bytes:
    """The list of vectors: little-endian 32-bit floats in base64, or written numbers."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector).decode() if as_base64 else _written(vector),
        }
        for index, vector in enumerate(completion.answer.vectors)
    ]
    prompt = completion.usage.prompt
    usage = _Usage(
        cost=usd_text(completion.cost_nanousd),
        cost_nanousd=completion.cost_nanousd,
        prompt_tokens=prompt or 0,
        total_tokens=prompt or 0,
    )
    return _encode({"object": "list", "data": data, "model": completion.model, "usage": usage})


def _written(vector: bytes) -> msgspec.Raw:
    """Its numbers; vector by vector, so that other threads have their turns in between."""
    return msgspec.Raw(_encode(struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector)))


def encode_images(completion: MediaCompletion[Images]) -> bytes:
    """The pictures, with the tokens that they took where they are sold by those."""
    answer = completion.answer
    return _encode(
        _Images(
            created=answer.created or completion.create_time,
            data=[_image(one) for one in answer.images],
            size=answer.size,
            quality=answer.quality,
            background=answer.background,
            output_format=answer.output_format,
            usage=_image_usage(completion.usage, completion.cost_nanousd),
        )
    )


def _image(image: GeneratedImage) -> _Image:
    return _Image(image.b64_json, image.url, image.revised_prompt)


def _image_usage(usage: Usage, cost_nanousd: int) -> _Usage | None:
    prompt, painted = usage.prompt, usage.completion
    if prompt is None or painted is None:
        return None
    seen, images = usage.prompt_image or 0, usage.completion_image or 0
    return _Usage(
        cost=usd_text(cost_nanousd),
        cost_nanousd=cost_nanousd,
        input_tokens=prompt,
        input_tokens_details={"text_tokens": prompt - seen, "image_tokens": seen},
        output_tokens=painted,
        output_tokens_details={"text_tokens": painted - images, "image_tokens": images},
        total_tokens=prompt + painted,
    )


def encode_moderation(completion: MediaCompletion[Moderation]) -> bytes:
    """The provider's verdicts."""
    answer = completion.answer
    return _encode(
        {
            "id": answer.id or completion.call_id,
            "model": completion.model,
            "results": answer.results_json,
        }
    )
