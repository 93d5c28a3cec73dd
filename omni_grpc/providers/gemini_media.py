"""Google beside chats: what goes out, to the Gemini API and to Vertex AI.

Embeddings go to routes of their own. Pictures, speech and transcriptions are chats whose answer or
question is no text. What Google has no word for is refused by its field.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from omni_grpc.core.media import (
    EmbeddingRequest,
    ImageRequest,
    MediaFile,
    MediaRequest,
    ModerationRequest,
    SpeechRequest,
    TranscriptionRequest,
)
from omni_grpc.providers.dialect import WireRequest
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.gemini.models import level_of, takes_level
from omni_grpc.providers.gemini_media_answers import (
    GeminiSpeech,
    read_embeddings,
    read_images,
    read_predicted_embeddings,
    read_transcript,
)
from omni_grpc.providers.media_dialect import (
    MediaCall,
    MediaDecoder,
    MediaRefusal,
    ProviderMedia,
    SpeechReader,
)
from omni_grpc.providers.media_reading import given

BATCH_MAX: Final = 100
"""Texts of one request to the Gemini API: Google's own limit."""

PREDICTED_MAX: Final = 250
"""Texts of one request to Vertex AI; its models named gemini-embedding take one."""

ASPECT_RATIOS: Final = {
    "1024x1024": "1:1",
    "1536x1024": "3:2",
    "1024x1536": "2:3",
    "1792x1024": "16:9",
    "1024x1792": "9:16",
}
"""Google takes a picture's form, and paints it in about the size that belongs to it."""

_AUDIO_TYPES: Final = {
    "wav": "audio/wav", "mp3": "audio/mp3", "aiff": "audio/aiff", "aac": "audio/aac",
    "ogg": "audio/ogg", "flac": "audio/flac",
}  # fmt: skip
_VERTEX_AUDIO_TYPES: Final = {"m4a": "audio/mp4", "mp4": "audio/mp4", "webm": "audio/webm"}
_SPOKEN_AS: Final = {"mpeg": "mp3", "mpga": "mp3", "x-wav": "wav", "wave": "wav", "x-m4a": "m4a"}

_NOT_PAINTED: Final = (
    "output_format", "quality", "background", "moderation", "output_compression", "style",
    "input_fidelity", "mask",
)  # fmt: skip
"""Settings of OpenAI's pictures that Google has no word for."""

_IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp"})

_HEAR: Final = (
    "Write down what is said in this audio, word for word and nothing else: no times, no names of "
    "speakers, no remarks."
)
_THINKS_BY_BUDGET: Final = "gemini-2.5"
_PRO_THINKS_MIN: Final = 128
"""Pro models of the generation 2.5 cannot think less."""

_encode: Final = msgspec.json.Encoder().encode

_Json = dict[str, object]


class GeminiMedia:
    """The dialect `gemini`; see `MediaDialect`. `vertex` says whose routes it has."""

    hears_in_chats = True

    def __init__(self, *, vertex: bool) -> None:
        self._vertex = vertex

    def refused(self, request: MediaRequest, model: str) -> MediaRefusal | None:
        """What Google has no word for."""
        match request:
            case EmbeddingRequest():
                return self._refused_embedding(request, model)
            case ImageRequest():
                return _refused_image(request)
            case SpeechRequest():
                return _refused_speech(request)
            case TranscriptionRequest():
                return self._refused_transcription(request)
            case ModerationRequest():
                return MediaRefusal("moderations: Google has none", "model")

    def encode(self, call: MediaCall) -> WireRequest:
        """The request."""
        match call.request:
            case EmbeddingRequest() as request if self._vertex:
                return _request(call, "predict", _predicted_embeddings(request))
            case EmbeddingRequest() as request:
                return _request(call, "batchEmbedContents", _embeddings(request, call.model))
            case ImageRequest() as request:
                return _request(call, "generateContent", _image(request, call))
            case SpeechRequest() as request:
                return _request(call, "streamGenerateContent?alt=sse", _speech(request, call))
            case TranscriptionRequest() as request:
                return _request(call, "generateContent", self._transcription(request, call))
            case ModerationRequest():
                raise TypeError("moderations were refused")

    def decoder(self, call: MediaCall) -> MediaDecoder:
        """Reads the answer."""
        match call.request:
            case EmbeddingRequest(inputs=inputs):
                read = read_predicted_embeddings if self._vertex else read_embeddings
                return lambda data, faults: read(data, faults, len(inputs))
            case ImageRequest():
                return read_images
            case TranscriptionRequest(format=form):
                return lambda data, faults: read_transcript(data, faults, form)
            case SpeechRequest() | ModerationRequest():
                raise TypeError("speech is streamed, and moderations were refused")

    def counted(self, found: ProviderMedia, headers: Mapping[str, str]) -> ProviderMedia:
        """All of the usage stands in the body."""
        del headers
        return found

    def reader(self, call: MediaCall, faults: Faults) -> SpeechReader:
        """Samples in events, which end with their usage, after the head of a WAV file if wanted."""
        is_wav = isinstance(call.request, SpeechRequest) and call.request.format == "wav"
        return GeminiSpeech(faults, is_wav=is_wav)

    def _refused_embedding(self, request: EmbeddingRequest, model: str) -> MediaRefusal | None:
        if not all(isinstance(one, str) for one in request.inputs):
            return MediaRefusal("inputs of tokens: send texts", "input")
        most = BATCH_MAX
        if self._vertex:
            most = 1 if model.startswith("gemini-embedding") else PREDICTED_MAX
        if len(request.inputs) > most:
            texts = "one text" if most == 1 else f"{most} texts"
            return MediaRefusal(f"more than {texts} in one request", "input")
        return None

    def _refused_transcription(self, request: TranscriptionRequest) -> MediaRefusal | None:
        if request.format not in ("json", "text"):
            what = f"the response_format {request.format!r}: ask for json or text"
            return MediaRefusal(what, "response_format")
        if request.timestamp_granularities:
            return MediaRefusal("timestamp_granularities", "timestamp_granularities")
        if self._audio_type(request.file) is None:
            kinds = ", ".join(self._audio_types())
            return MediaRefusal(f"this kind of audio: name the file by its kind, {kinds}", "file")
        return None

    def _transcription(self, request: TranscriptionRequest, call: MediaCall) -> _Json:
        said = [_HEAR]
        if request.language is not None:
            said.append(f"The language is {request.language}.")
        if request.prompt is not None:
            said.append(f"What it is about, and how words are written: {request.prompt}")
        data = {"mimeType": self._audio_type(request.file), "data": request.file.content}
        config: _Json = {
            "temperature": request.temperature,
            "thinkingConfig": _least_thought(call.model),
        }
        return _content([{"text": " ".join(said)}, {"inlineData": data}], config, call)

    def _audio_types(self) -> dict[str, str]:
        return _AUDIO_TYPES | (_VERTEX_AUDIO_TYPES if self._vertex else {})

    def _audio_type(self, file: MediaFile) -> str | None:
        """By the file's name as OpenAI goes by it, else by the type that it was sent under."""
        types = self._audio_types()
        for said in (file.name.rpartition(".")[2], file.content_type.rpartition("/")[2]):
            word = said.lower()
            found = types.get(_SPOKEN_AS.get(word, word))
            if found is not None:
                return found
        return None


def _request(call: MediaCall, method: str, body: _Json) -> WireRequest:
    # msgspec writes bytes in base64, as Google wants them.
    return WireRequest(f"models/{quote(call.model, safe='')}:{method}", _encode(body))


def _content(parts: list[_Json], config: _Json, call: MediaCall) -> _Json:
    """A chat of one turn, which cannot write more than is held for."""
    limits = given({**config, "maxOutputTokens": call.output_tokens_max})
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": limits}


# --- embeddings -------------------------------------------------------------------------------
def _embeddings(request: EmbeddingRequest, model: str) -> _Json:
    settings = given({"outputDimensionality": request.dimensions})
    return {
        "requests": [
            {"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **settings}
            for text in request.inputs
        ]
    }


def _predicted_embeddings(request: EmbeddingRequest) -> _Json:
    settings = given({"outputDimensionality": request.dimensions, "autoTruncate": False})
    return {"instances": [{"content": text} for text in request.inputs], "parameters": settings}


# --- images -----------------------------------------------------------------------------------
def _refused_image(request: ImageRequest) -> MediaRefusal | None:
    if request.count > 1:
        return MediaRefusal("more than one in one request", "n")
    if request.response_format == "url":
        return MediaRefusal("pictures by URL: ask for b64_json", "response_format")
    for name in _NOT_PAINTED:
        if getattr(request, name) not in (None, "auto"):
            return MediaRefusal(name, name)
    if request.size not in (None, "auto", *ASPECT_RATIOS):
        sizes = ", ".join(ASPECT_RATIOS)
        return MediaRefusal(f"the size {request.size!r}: ask for one of {sizes}", "size")
    wrong = next((one for one in request.images if one.content_type not in _IMAGE_TYPES), None)
    if wrong is not None:
        return MediaRefusal(f"{wrong.content_type!r}: send PNG, JPEG or WebP", "image")
    return None


def _image(request: ImageRequest, call: MediaCall) -> _Json:
    parts: list[_Json] = [{"text": request.prompt}]
    parts += [
        {"inlineData": {"mimeType": file.content_type, "data": file.content}}
        for file in request.images
    ]
    ratio = ASPECT_RATIOS.get(request.size or "")
    config: _Json = {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": None if ratio is None else {"aspectRatio": ratio},
    }
    return _content(parts, config, call)


# --- audio ------------------------------------------------------------------------------------
def _refused_speech(request: SpeechRequest) -> MediaRefusal | None:
    if request.format not in ("wav", "pcm"):
        what = f"the response_format {request.format!r}: ask for wav or pcm"
        return MediaRefusal(what, "response_format")
    if request.speed not in (None, 1):
        return MediaRefusal("speed: say it in the instructions", "speed")
    return None


def _speech(request: SpeechRequest, call: MediaCall) -> _Json:
    text = request.text
    if request.instructions:
        text = f"{request.instructions}: {text}"
    voice = {"prebuiltVoiceConfig": {"voiceName": request.voice}}
    config: _Json = {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": voice},
    }
    return _content([{"text": text}], config, call)


def _least_thought(model: str) -> _Json | None:
    """What is written down needs no thinking, which costs as much as writing."""
    if not model.startswith("gemini-"):
        return None
    if takes_level(model):
        return {"thinkingLevel": level_of("minimal", model)}
    if not model.startswith(_THINKS_BY_BUDGET):
        return None
    return {"thinkingBudget": _PRO_THINKS_MIN if "-pro" in model else 0}
