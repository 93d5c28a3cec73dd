"""What the simulator answers beside chats: the same input gives the same vector, picture, bytes."""

import base64
import hashlib
import io
import json
import struct
import time
import wave
from random import Random
from typing import Final

from aiohttp import web

from omni_grpc.catalog import tokens
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.made import Reply, Seen, json_reply, png, seed_of, usage_in, vector
from omni_grpc.simulator.media_body import (
    EmbeddingBody,
    ImageBody,
    ModerationBody,
    SpeechBody,
    TranscriptionBody,
    read_form,
    read_media,
)
from omni_grpc.simulator.text import prose
from omni_grpc.simulator.wire import SSE, Event

__all__ = (
    "edits",
    "embeddings",
    "generations",
    "moderation",
    "speech",
    "transcription",
)

BYTES_PER_CHAR: Final = 400
"""Of speech: 15 characters a second at 48 kbit/s."""

AUDIO_CHUNK_BYTES: Final = 1_024
SPEECH_TOKENS_PER_CHAR: Final = 2
TRANSCRIPT_TOKENS: Final = 24
HEARD_TOKENS_PER_SECOND: Final = 10
UNKNOWN_BYTES_PER_SECOND: Final = 4_000
"""The length of audio that is no WAV is made up from its bytes."""

IMAGE_TOKENS: Final = {"low": 272, "medium": 1_056, "high": 4_160}
IMAGE_INPUT_TOKENS: Final = 194
CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit",
    "illicit/violent", "self-harm", "self-harm/instructions", "self-harm/intent", "sexual",
    "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip

_CONTENT_TYPES: Final = {
    "mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip


# --- embeddings and moderations ---------------------------------------------------------------
async def embeddings(request: web.Request) -> Seen:
    """Reads a request for vectors."""
    body = read_media(await request.read(), EmbeddingBody)
    inputs = body.inputs()
    count = sum(tokens.count_text(one) if isinstance(one, str) else len(one) for one in inputs)

    def answer(behaviour: Behaviour) -> Reply:
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": _written(
                    vector(seed_of(body.model, one), body.dimensions), body.encoding_format
                ),
            }
            for index, one in enumerate(inputs)
        ]
        usage: dict[str, object] = {"prompt_tokens": count, "total_tokens": count}
        head = {"object": "list", "data": data, "model": body.model}
        return json_reply({**head, **usage_in(behaviour, usage)})

    text = next((one for one in inputs if isinstance(one, str)), "")
    return Seen(body.model, text, count, {"inputs": len(inputs)}, answer)


def _written(numbers: list[float], form: str) -> str | list[float]:
    if form == "float":
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


async def moderation(request: web.Request) -> Seen:
    """Reads a request for verdicts."""
    body = read_media(await request.read(), ModerationBody)
    texts = body.texts()

    def answer(behaviour: Behaviour) -> Reply:
        del behaviour
        results = [_verdict("forbidden" in text.lower()) for text in texts]
        return json_reply({"id": "modr-sim", "model": body.model, "results": results})

    count = sum(map(tokens.count_text, texts))
    return Seen(body.model, " ".join(texts), count, {"inputs": len(texts)}, answer)


def _verdict(flagged: bool) -> dict[str, object]:
    return {
        "flagged": flagged,
        "categories": {name: flagged and name == "violence" for name in CATEGORIES},
        "category_scores": {
            name: 0.9 if flagged and name == "violence" else 0.0 for name in CATEGORIES
        },
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }


# --- pictures ---------------------------------------------------------------------------------
async def generations(request: web.Request) -> Seen:
    """Reads a request for new pictures."""
    return _pictures(read_media(await request.read(), ImageBody), [])


async def edits(request: web.Request) -> Seen:
    """Reads a request to change pictures."""
    body, files, _ = await read_form(request, ImageBody)
    images = files.get("image", [])
    if not images:
        raise Rejected(400, "Missing required parameter: 'image'.", param="image")
    return _pictures(body, images + files.get("mask", []))


def _pictures(body: ImageBody, files: list[bytes]) -> Seen:
    text = tokens.count_text(body.prompt)
    seen = len(files) * IMAGE_INPUT_TOKENS

    def answer(behaviour: Behaviour) -> Reply:
        data = [
            {"b64_json": base64.b64encode(picture).decode()}
            if body.response_format == "b64_json"
            else {"url": f"https://pictures.invalid/{hashlib.sha256(picture).hexdigest()[:16]}.png"}
            for picture in (png(seed_of(body.model, body.prompt, files, n)) for n in range(body.n))
        ]
        painted = body.n * IMAGE_TOKENS.get(body.quality, IMAGE_TOKENS["high"])
        by_tokens = body.model.endswith("-tokens")
        usage: dict[str, object] = {
            "input_tokens": text + seen,
            "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
            "output_tokens": painted,
            "total_tokens": text + seen + painted,
        }
        head = {
            "created": int(time.time()),
            "data": data,
            "size": "1024x1024" if body.size == "auto" else body.size,
            "quality": "high" if body.quality == "auto" else body.quality,
            "background": "opaque" if body.background == "auto" else body.background,
            "output_format": body.output_format,
        }
        return json_reply({**head, **usage_in(behaviour, usage if by_tokens else None)})

    return Seen(body.model, body.prompt, text + seen, {"images": len(files), "n": body.n}, answer)


# --- audio ------------------------------------------------------------------------------------
async def speech(request: web.Request) -> Seen:
    """Reads a request to speak."""
    body = read_media(await request.read(), SpeechBody)
    by_tokens = body.model.endswith("-tokens")
    if body.stream_format == "sse" and not by_tokens:
        raise Rejected(400, "This model does not stream events.", param="stream_format")
    text = tokens.count_text(body.input + (body.instructions or ""))

    def answer(behaviour: Behaviour) -> Reply:
        seed = seed_of(body.model, body.input, body.voice, body.response_format)
        audio = hashlib.shake_256(seed).digest(BYTES_PER_CHAR * len(body.input))
        pieces = [
            audio[at : at + AUDIO_CHUNK_BYTES] for at in range(0, len(audio), AUDIO_CHUNK_BYTES)
        ]
        if body.stream_format == "audio":
            parts = tuple(Event(piece, tokens=1) for piece in pieces)
            return Reply(content_type=_CONTENT_TYPES[body.response_format], parts=parts)
        spoken = len(body.input) * SPEECH_TOKENS_PER_CHAR
        usage: dict[str, object] = {
            "input_tokens": text,
            "output_tokens": spoken,
            "total_tokens": text + spoken,
        }
        done = {"type": "speech.audio.done", **usage_in(behaviour, usage)}
        events = [
            Event(json.dumps({"type": "speech.audio.delta", "audio": written}).encode(), tokens=1)
            for written in (base64.b64encode(piece).decode() for piece in pieces)
        ]
        return Reply(
            content_type=SSE.content_type,
            parts=(*events, Event(json.dumps(done).encode(), is_usage=True)),
        )

    seen: dict[str, object] = {"voice": body.voice, "stream_format": body.stream_format}
    return Seen(body.model, body.input, text, seen, answer)


async def transcription(request: web.Request) -> Seen:
    """Reads a request to write down what is said."""
    body, files, lists = await read_form(request, TranscriptionBody)
    (content,) = files.get("file", [b""])[:1]
    if not content:
        raise Rejected(400, "Missing required parameter: 'file'.", param="file")
    by_tokens = body.model.endswith("-tokens")
    if by_tokens and body.response_format != "json":
        raise Rejected(400, "This model writes json only.", param="response_format")
    seconds = _seconds(content)
    heard = -(-seconds // 1) * HEARD_TOKENS_PER_SECOND

    def answer(behaviour: Behaviour) -> Reply:
        rng = Random(seed_of(body.model, content))  # noqa: S311 - to be the same each time
        said = "".join(piece.text for piece in prose(rng, TRANSCRIPT_TOKENS)).strip()
        spoken = tokens.count_text(said)
        if by_tokens:
            usage: dict[str, object] = {
                "type": "tokens",
                "input_tokens": int(heard),
                "input_token_details": {"audio_tokens": int(heard), "text_tokens": 0},
                "output_tokens": spoken,
                "total_tokens": int(heard) + spoken,
            }
        else:
            usage = {"type": "duration", "seconds": int(-(-seconds // 1))}
        return _transcript(body, said, seconds, usage_in(behaviour, usage))

    seen: dict[str, object] = {"bytes": len(content), "lists": lists}
    if body.language:
        seen["language"] = body.language
    return Seen(body.model, body.prompt, 0, seen, answer)


def _transcript(
    body: TranscriptionBody, said: str, seconds: float, usage: dict[str, object]
) -> Reply:
    end = f"00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
    match body.response_format:
        case "text":
            text = f"{said}\n"
        case "srt":
            text = f"1\n00:00:00,000 --> {end},000\n{said}\n\n"
        case "vtt":
            text = f"WEBVTT\n\n00:00:00.000 --> {end}.000\n{said}\n\n"
        case "verbose_json":
            segment = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": said, "tokens": []}
            segment |= {"temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0}
            segment |= {"no_speech_prob": 0.0}
            head = {"task": "transcribe", "language": body.language or "english"}
            facts = {"duration": seconds, "text": said, "segments": [segment]}
            return json_reply({**head, **facts, **usage})
        case _:
            return json_reply({"text": said, **usage})
    return Reply(content_type="text/plain; charset=utf-8", parts=(Event(text.encode()),))


def _seconds(content: bytes) -> float:
    try:
        with wave.open(io.BytesIO(content)) as sound:
            return float(sound.getnframes() / sound.getframerate())
    except (wave.Error, EOFError):
        return len(content) / UNKNOWN_BYTES_PER_SECOND
