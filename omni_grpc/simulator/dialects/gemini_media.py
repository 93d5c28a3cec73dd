"""Google beside chats, as the simulator speaks it: vectors, pictures and speech.

Pictures and speech of Gemini come by the routes of chats, from requests whose answer shall be no
text. What a transcription asks is a chat like any other.
"""

import base64
import hashlib
import json
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from omni_grpc.catalog import tokens
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialect import Rejected, SimRequest
from omni_grpc.simulator.dialects.gemini_body import GeminiBody, read_body
from omni_grpc.simulator.made import Reply, Seen, json_reply, png, seed_of, usage_in, vector
from omni_grpc.simulator.wire import SSE, Event

__all__ = ("is_made", "read_batch", "read_made", "read_predict")

DIMENSIONS: Final = 3_072
IMAGE_TOKENS: Final = 1_290
SEEN_IMAGE_TOKENS: Final = 258
SPEECH_TOKENS_PER_CHAR: Final = 2
SPEECH_BYTES_PER_CHAR: Final = 3_200
"""15 characters a second at 24,000 samples of 16 bits."""

SPEECH_EVENT_BYTES: Final = 9_600

VOICES: Final = frozenset(
    {
        "zephyr", "puck", "charon", "kore", "fenrir", "leda", "orus", "aoede", "callirrhoe",
        "autonoe", "enceladus", "iapetus", "umbriel", "algieba", "despina", "erinome", "algenib",
        "rasalgethi", "laomedeia", "achernar", "alnilam", "schedar", "gacrux", "pulcherrima",
        "achird", "zubenelgenubi", "vindemiatrix", "sadachbia", "sadaltager", "sulafat",
    }
)  # fmt: skip
"""Google's own, whose names are read in any case."""

_UNTOLD: Final = "gemini-embedding-001"
"""This model's answers do not say what it read."""

_Dimensions = Annotated[int, Meta(ge=1, le=DIMENSIONS)]
T = TypeVar("T")


class _Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Text(_Message):
    text: str


class _Content(_Message):
    parts: Annotated[list[_Text], Meta(min_length=1)]
    role: str | None = None


class _Embed(_Message):
    model: str
    content: _Content
    output_dimensionality: _Dimensions = DIMENSIONS
    task_type: str | None = None
    title: str | None = None


class _Batch(_Message):
    requests: Annotated[list[_Embed], Meta(min_length=1, max_length=100)]


# --- embeddings -------------------------------------------------------------------------------
def read_batch(request: SimRequest) -> Seen:
    """`batchEmbedContents` of the Gemini API.

    Raises:
        Rejected: it is wrong; so for all here.
    """
    model = request.variables["model"]
    asked = _read(request.body, _Batch).requests
    if any(one.model != f"models/{model}" for one in asked):
        raise Rejected(400, "The model of each request must be that of the URL.", param="requests")
    texts = ["\n".join(part.text for part in one.content.parts) for one in asked]
    count = sum(map(tokens.count_text, texts))

    def answer(behaviour: Behaviour) -> Reply:
        made = [
            {"values": vector(seed_of(model, text), one.output_dimensionality)}
            for one, text in zip(asked, texts, strict=True)
        ]
        told: dict[str, object] | None = {"promptTokenCount": count}
        told = None if model == _UNTOLD else told
        return json_reply({"embeddings": made, **usage_in(behaviour, told, "usageMetadata")})

    return Seen(model, texts[0], count, {"inputs": len(texts)}, answer)


class _Instance(msgspec.Struct):
    content: Annotated[str, Meta(min_length=1)]


class _Parameters(_Message):
    output_dimensionality: _Dimensions = DIMENSIONS
    auto_truncate: bool = True


class _Predict(_Message):
    instances: Annotated[list[_Instance], Meta(min_length=1, max_length=250)]
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


def read_predict(request: SimRequest) -> Seen:
    """`predict` of Vertex AI."""
    model = request.variables["model"]
    body = _read(request.body, _Predict)
    texts = [one.content for one in body.instances]
    if len(texts) > 1 and model.startswith("gemini-embedding"):
        raise Rejected(400, "The model takes one instance a request.", param="instances")
    counts = [tokens.count_text(text) for text in texts]
    dimensions = body.parameters.output_dimensionality

    def answer(behaviour: Behaviour) -> Reply:
        made = []
        for text, count in zip(texts, counts, strict=True):
            statistics: dict[str, object] = {"token_count": count, "truncated": False}
            values = {"values": vector(seed_of(model, text), dimensions)}
            made.append({"embeddings": values | usage_in(behaviour, statistics, "statistics")})
        return json_reply({"predictions": made})

    seen: dict[str, object] = {"inputs": len(texts), "auto_truncate": body.parameters.auto_truncate}
    return Seen(model, texts[0], sum(counts), seen, answer)


# --- pictures ---------------------------------------------------------------------------------
def is_made(body: bytes) -> bool:
    """Whether a request to a route of chats asks for what is no text."""
    try:
        config = msgspec.json.decode(body, type=_Peek).config
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool({"IMAGE", "AUDIO"}.intersection(config.response_modalities or ()))


class _PeekConfig(msgspec.Struct, rename="camel"):
    response_modalities: list[str] | None = None


class _Peek(msgspec.Struct):
    config: _PeekConfig = msgspec.field(name="generationConfig", default_factory=_PeekConfig)


def read_made(request: SimRequest) -> Seen:
    """A chat whose answer shall be a picture or speech."""
    body = read_body(request.body)
    model = request.variables["model"]
    streams = request.path.endswith(":streamGenerateContent")
    modalities = set(body.generation_config.response_modalities or ())
    text = "\n".join(one.text for one in body.contents)
    if "AUDIO" in modalities:
        _check_ability(modalities == {"AUDIO"} and "tts" in model)
        return _speech(body, model, text, streams=streams)
    _check_ability("image" in model)
    return _image(body, model, text)


def _check_ability(able: bool) -> None:
    if not able:
        message = "The requested combination of response modalities is not supported by the model."
        raise Rejected(400, message, param="generation_config.response_modalities")


def _image(body: GeminiBody, model: str, text: str) -> Seen:
    given = [
        part.inline_data.data for one in body.contents for part in one.parts if part.inline_data
    ]
    read, looked = tokens.count_text(text), len(given) * SEEN_IMAGE_TOKENS
    config = body.generation_config
    ratio = msgspec.json.decode(config.image_config) if bytes(config.image_config) else {}

    def answer(behaviour: Behaviour) -> Reply:
        usage = _usage(read, "IMAGE", looked, "IMAGE", IMAGE_TOKENS)
        if behaviour.refusal:
            candidate: dict[str, object] = {"finishReason": "IMAGE_SAFETY", "index": 0}
        else:
            blob = {"mimeType": "image/png", "data": _base64(png(seed_of(model, text, given)))}
            parts = [{"text": "Here it is."}, {"inlineData": blob}]
            content = {"role": "model", "parts": parts}
            candidate = {"content": content, "finishReason": "STOP", "index": 0}
        head = {"candidates": [candidate], "modelVersion": model, "responseId": "simimage"}
        return json_reply({**head, **usage_in(behaviour, usage, "usageMetadata")})

    seen: dict[str, object] = {
        "images": len(given),
        "aspect_ratio": ratio.get("aspectRatio"),
        "max_output_tokens": config.max_output_tokens,
    }
    return Seen(model, text, read + looked, seen, answer)


# --- speech -----------------------------------------------------------------------------------
class _PrebuiltVoice(_Message):
    voice_name: str


class _Voice(_Message):
    prebuilt_voice_config: _PrebuiltVoice


class _SpeechConfig(_Message):
    voice_config: _Voice
    language_code: str | None = None


def _speech(body: GeminiBody, model: str, text: str, *, streams: bool) -> Seen:
    config = body.generation_config
    voice = _read(config.speech_config, _SpeechConfig).voice_config.prebuilt_voice_config.voice_name
    if voice.lower() not in VOICES:
        raise Rejected(400, f"Voice name {voice} is not supported.")
    read = tokens.count_text(text)
    spoken = len(text) * SPEECH_TOKENS_PER_CHAR
    limit = config.max_output_tokens
    cut = limit is not None and spoken > limit

    def answer(behaviour: Behaviour) -> Reply:
        seed = seed_of(model, text, voice.lower())
        audio = hashlib.shake_256(seed).digest(SPEECH_BYTES_PER_CHAR * len(text))
        size = SPEECH_EVENT_BYTES if streams else max(len(audio), 1)
        pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
        events = [_spoken(model, piece) for piece in pieces]
        usage = _usage(read, "AUDIO", 0, "AUDIO", limit if cut and limit else spoken)
        told = usage_in(behaviour, usage, "usageMetadata")
        reason = "MAX_TOKENS" if cut else "STOP"
        if not streams:
            events[0]["candidates"][0]["finishReason"] = reason  # type: ignore[index]  # ours
            return json_reply(events[0] | told)
        end = {"candidates": [{"finishReason": reason, "index": 0}], "modelVersion": model, **told}
        parts = (
            *(Event(json.dumps(one).encode(), tokens=1) for one in events),
            Event(json.dumps(end).encode(), is_usage=True),
        )
        return Reply(content_type=SSE.content_type, parts=parts)

    return Seen(model, text, read, {"voice": voice, "max_output_tokens": limit}, answer)


def _spoken(model: str, piece: bytes) -> dict[str, object]:
    blob = {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": _base64(piece)}
    content = {"role": "model", "parts": [{"inlineData": blob}]}
    return {"candidates": [{"content": content, "index": 0}], "modelVersion": model}


def _usage(
    text: int, kind_in: str, count_in: int, kind_out: str, count_out: int
) -> dict[str, object]:
    read = [{"modality": "TEXT", "tokenCount": text}]
    if count_in:
        read.append({"modality": kind_in, "tokenCount": count_in})
    return {
        "promptTokenCount": text + count_in,
        "candidatesTokenCount": count_out,
        "totalTokenCount": text + count_in + count_out,
        "promptTokensDetails": read,
        "candidatesTokensDetails": [{"modality": kind_out, "tokenCount": count_out}],
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Rejected(400, f"Invalid JSON payload received. {error}") from None
