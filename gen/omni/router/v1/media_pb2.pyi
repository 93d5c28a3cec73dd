import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]

class SpeechFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEECH_FORMAT_UNSPECIFIED: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_MP3: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_OPUS: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_AAC: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_FLAC: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_WAV: _ClassVar[SpeechFormat]
    SPEECH_FORMAT_PCM: _ClassVar[SpeechFormat]

class TranscriptFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSCRIPT_FORMAT_UNSPECIFIED: _ClassVar[TranscriptFormat]
    TRANSCRIPT_FORMAT_JSON: _ClassVar[TranscriptFormat]
    TRANSCRIPT_FORMAT_TEXT: _ClassVar[TranscriptFormat]
    TRANSCRIPT_FORMAT_SRT: _ClassVar[TranscriptFormat]
    TRANSCRIPT_FORMAT_VERBOSE_JSON: _ClassVar[TranscriptFormat]
    TRANSCRIPT_FORMAT_VTT: _ClassVar[TranscriptFormat]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
SPEECH_FORMAT_UNSPECIFIED: SpeechFormat
SPEECH_FORMAT_MP3: SpeechFormat
SPEECH_FORMAT_OPUS: SpeechFormat
SPEECH_FORMAT_AAC: SpeechFormat
SPEECH_FORMAT_FLAC: SpeechFormat
SPEECH_FORMAT_WAV: SpeechFormat
SPEECH_FORMAT_PCM: SpeechFormat
TRANSCRIPT_FORMAT_UNSPECIFIED: TranscriptFormat
TRANSCRIPT_FORMAT_JSON: TranscriptFormat
TRANSCRIPT_FORMAT_TEXT: TranscriptFormat
TRANSCRIPT_FORMAT_SRT: TranscriptFormat
TRANSCRIPT_FORMAT_VERBOSE_JSON: TranscriptFormat
TRANSCRIPT_FORMAT_VTT: TranscriptFormat

class EmbedTextsRequest(_message.Message):
    __slots__ = ("model", "inputs", "dimension_count", "end_user", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedCompositeFieldContainer[EmbeddingInput]
    dimension_count: int
    end_user: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[EmbeddingInput, _Mapping]]] = ..., dimension_count: _Optional[int] = ..., end_user: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class EmbedTextsResponse(_message.Message):
    __slots__ = ("call", "embeddings")
    CALL_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    call: MediaCall
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    def __init__(self, call: _Optional[_Union[MediaCall, _Mapping]] = ..., embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ...) -> None: ...

class EmbeddingInput(_message.Message):
    __slots__ = ("text", "tokens")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    text: str
    tokens: TokenList
    def __init__(self, text: _Optional[str] = ..., tokens: _Optional[_Union[TokenList, _Mapping]] = ...) -> None: ...

class TokenList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class GenerateImagesRequest(_message.Message):
    __slots__ = ("model", "prompt", "image_count", "size", "quality", "background", "output_format", "output_compression", "moderation", "style", "input_fidelity", "images", "mask", "end_user", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    MODERATION_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIDELITY_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    image_count: int
    size: str
    quality: str
    background: str
    output_format: ImageFormat
    output_compression: int
    moderation: str
    style: str
    input_fidelity: str
    images: _containers.RepeatedCompositeFieldContainer[MediaFile]
    mask: MediaFile
    end_user: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., image_count: _Optional[int] = ..., size: _Optional[str] = ..., quality: _Optional[str] = ..., background: _Optional[str] = ..., output_format: _Optional[_Union[ImageFormat, str]] = ..., output_compression: _Optional[int] = ..., moderation: _Optional[str] = ..., style: _Optional[str] = ..., input_fidelity: _Optional[str] = ..., images: _Optional[_Iterable[_Union[MediaFile, _Mapping]]] = ..., mask: _Optional[_Union[MediaFile, _Mapping]] = ..., end_user: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("call", "images", "size", "quality")
    CALL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    call: MediaCall
    images: _containers.RepeatedCompositeFieldContainer[GeneratedImage]
    size: str
    quality: str
    def __init__(self, call: _Optional[_Union[MediaCall, _Mapping]] = ..., images: _Optional[_Iterable[_Union[GeneratedImage, _Mapping]]] = ..., size: _Optional[str] = ..., quality: _Optional[str] = ...) -> None: ...

class GeneratedImage(_message.Message):
    __slots__ = ("content", "url", "revised_prompt")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    REVISED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    url: str
    revised_prompt: str
    def __init__(self, content: _Optional[bytes] = ..., url: _Optional[str] = ..., revised_prompt: _Optional[str] = ...) -> None: ...

class SynthesizeSpeechRequest(_message.Message):
    __slots__ = ("model", "text", "voice", "instructions", "speed", "format", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    voice: str
    instructions: str
    speed: float
    format: SpeechFormat
    request_id: str
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., voice: _Optional[str] = ..., instructions: _Optional[str] = ..., speed: _Optional[float] = ..., format: _Optional[_Union[SpeechFormat, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SynthesizeSpeechResponse(_message.Message):
    __slots__ = ("started", "audio", "completion")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    started: SpeechStarted
    audio: bytes
    completion: MediaCall
    def __init__(self, started: _Optional[_Union[SpeechStarted, _Mapping]] = ..., audio: _Optional[bytes] = ..., completion: _Optional[_Union[MediaCall, _Mapping]] = ...) -> None: ...

class SpeechStarted(_message.Message):
    __slots__ = ("call_id", "model", "content_type", "create_time")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    model: str
    content_type: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, call_id: _Optional[str] = ..., model: _Optional[str] = ..., content_type: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TranscribeAudioRequest(_message.Message):
    __slots__ = ("model", "file", "language", "prompt", "format", "temperature", "timestamp_granularities", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_GRANULARITIES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    file: MediaFile
    language: str
    prompt: str
    format: TranscriptFormat
    temperature: float
    timestamp_granularities: _containers.RepeatedScalarFieldContainer[str]
    request_id: str
    def __init__(self, model: _Optional[str] = ..., file: _Optional[_Union[MediaFile, _Mapping]] = ..., language: _Optional[str] = ..., prompt: _Optional[str] = ..., format: _Optional[_Union[TranscriptFormat, str]] = ..., temperature: _Optional[float] = ..., timestamp_granularities: _Optional[_Iterable[str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class TranscribeAudioResponse(_message.Message):
    __slots__ = ("call", "text", "content", "language", "duration_ms")
    CALL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    call: MediaCall
    text: str
    content: str
    language: str
    duration_ms: int
    def __init__(self, call: _Optional[_Union[MediaCall, _Mapping]] = ..., text: _Optional[str] = ..., content: _Optional[str] = ..., language: _Optional[str] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class MediaFile(_message.Message):
    __slots__ = ("content", "name", "content_type")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    name: str
    content_type: str
    def __init__(self, content: _Optional[bytes] = ..., name: _Optional[str] = ..., content_type: _Optional[str] = ...) -> None: ...

class MediaCall(_message.Message):
    __slots__ = ("call_id", "model", "create_time", "usage", "cost_nanousd", "balance_nanousd", "attempts")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    BALANCE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    model: str
    create_time: _timestamp_pb2.Timestamp
    usage: MediaUsage
    cost_nanousd: int
    balance_nanousd: int
    attempts: _containers.RepeatedCompositeFieldContainer[MediaAttempt]
    def __init__(self, call_id: _Optional[str] = ..., model: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., usage: _Optional[_Union[MediaUsage, _Mapping]] = ..., cost_nanousd: _Optional[int] = ..., balance_nanousd: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[MediaAttempt, _Mapping]]] = ...) -> None: ...

class MediaUsage(_message.Message):
    __slots__ = ("prompt_token_count", "prompt_audio_token_count", "prompt_image_token_count", "completion_token_count", "completion_image_token_count", "image_count", "second_count", "character_count", "estimated")
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECOND_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    prompt_token_count: int
    prompt_audio_token_count: int
    prompt_image_token_count: int
    completion_token_count: int
    completion_image_token_count: int
    image_count: int
    second_count: int
    character_count: int
    estimated: bool
    def __init__(self, prompt_token_count: _Optional[int] = ..., prompt_audio_token_count: _Optional[int] = ..., prompt_image_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., completion_image_token_count: _Optional[int] = ..., image_count: _Optional[int] = ..., second_count: _Optional[int] = ..., character_count: _Optional[int] = ..., estimated: _Optional[bool] = ...) -> None: ...

class MediaAttempt(_message.Message):
    __slots__ = ("model", "outcome", "cost_nanousd", "price_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    outcome: str
    cost_nanousd: int
    price_version: int
    def __init__(self, model: _Optional[str] = ..., outcome: _Optional[str] = ..., cost_nanousd: _Optional[int] = ..., price_version: _Optional[int] = ...) -> None: ...
