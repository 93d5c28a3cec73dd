import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from omni.router.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_SYSTEM: _ClassVar[Role]
    ROLE_DEVELOPER: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_ASSISTANT: _ClassVar[Role]
    ROLE_TOOL: _ClassVar[Role]

class CacheTtl(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_TTL_UNSPECIFIED: _ClassVar[CacheTtl]
    CACHE_TTL_FIVE_MINUTES: _ClassVar[CacheTtl]
    CACHE_TTL_ONE_HOUR: _ClassVar[CacheTtl]

class ReasoningSummary(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASONING_SUMMARY_UNSPECIFIED: _ClassVar[ReasoningSummary]
    REASONING_SUMMARY_AUTO: _ClassVar[ReasoningSummary]
    REASONING_SUMMARY_CONCISE: _ClassVar[ReasoningSummary]
    REASONING_SUMMARY_DETAILED: _ClassVar[ReasoningSummary]

class ReasoningBlockKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASONING_BLOCK_KIND_UNSPECIFIED: _ClassVar[ReasoningBlockKind]
    REASONING_BLOCK_KIND_TEXT: _ClassVar[ReasoningBlockKind]
    REASONING_BLOCK_KIND_SUMMARY: _ClassVar[ReasoningBlockKind]
    REASONING_BLOCK_KIND_ENCRYPTED: _ClassVar[ReasoningBlockKind]

class ToolMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOOL_MODE_UNSPECIFIED: _ClassVar[ToolMode]
    TOOL_MODE_AUTO: _ClassVar[ToolMode]
    TOOL_MODE_NONE: _ClassVar[ToolMode]
    TOOL_MODE_REQUIRED: _ClassVar[ToolMode]

class ShortCredits(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORT_CREDITS_UNSPECIFIED: _ClassVar[ShortCredits]
    SHORT_CREDITS_REFUSE: _ClassVar[ShortCredits]
    SHORT_CREDITS_SHORTEN: _ClassVar[ShortCredits]

class RoutingPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTING_PRIORITY_UNSPECIFIED: _ClassVar[RoutingPriority]
    ROUTING_PRIORITY_CHEAP: _ClassVar[RoutingPriority]
    ROUTING_PRIORITY_BALANCED: _ClassVar[RoutingPriority]
    ROUTING_PRIORITY_BEST: _ClassVar[RoutingPriority]

class LatencyPreference(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_PREFERENCE_UNSPECIFIED: _ClassVar[LatencyPreference]
    LATENCY_PREFERENCE_NORMAL: _ClassVar[LatencyPreference]
    LATENCY_PREFERENCE_FAST: _ClassVar[LatencyPreference]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_TOOL_CALLS: _ClassVar[FinishReason]
    FINISH_REASON_CONTENT_FILTER: _ClassVar[FinishReason]

class UsageSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_SOURCE_UNSPECIFIED: _ClassVar[UsageSource]
    USAGE_SOURCE_PROVIDER: _ClassVar[UsageSource]
    USAGE_SOURCE_ESTIMATE: _ClassVar[UsageSource]
ROLE_UNSPECIFIED: Role
ROLE_SYSTEM: Role
ROLE_DEVELOPER: Role
ROLE_USER: Role
ROLE_ASSISTANT: Role
ROLE_TOOL: Role
CACHE_TTL_UNSPECIFIED: CacheTtl
CACHE_TTL_FIVE_MINUTES: CacheTtl
CACHE_TTL_ONE_HOUR: CacheTtl
REASONING_SUMMARY_UNSPECIFIED: ReasoningSummary
REASONING_SUMMARY_AUTO: ReasoningSummary
REASONING_SUMMARY_CONCISE: ReasoningSummary
REASONING_SUMMARY_DETAILED: ReasoningSummary
REASONING_BLOCK_KIND_UNSPECIFIED: ReasoningBlockKind
REASONING_BLOCK_KIND_TEXT: ReasoningBlockKind
REASONING_BLOCK_KIND_SUMMARY: ReasoningBlockKind
REASONING_BLOCK_KIND_ENCRYPTED: ReasoningBlockKind
TOOL_MODE_UNSPECIFIED: ToolMode
TOOL_MODE_AUTO: ToolMode
TOOL_MODE_NONE: ToolMode
TOOL_MODE_REQUIRED: ToolMode
SHORT_CREDITS_UNSPECIFIED: ShortCredits
SHORT_CREDITS_REFUSE: ShortCredits
SHORT_CREDITS_SHORTEN: ShortCredits
ROUTING_PRIORITY_UNSPECIFIED: RoutingPriority
ROUTING_PRIORITY_CHEAP: RoutingPriority
ROUTING_PRIORITY_BALANCED: RoutingPriority
ROUTING_PRIORITY_BEST: RoutingPriority
LATENCY_PREFERENCE_UNSPECIFIED: LatencyPreference
LATENCY_PREFERENCE_NORMAL: LatencyPreference
LATENCY_PREFERENCE_FAST: LatencyPreference
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_TOOL_CALLS: FinishReason
FINISH_REASON_CONTENT_FILTER: FinishReason
USAGE_SOURCE_UNSPECIFIED: UsageSource
USAGE_SOURCE_PROVIDER: UsageSource
USAGE_SOURCE_ESTIMATE: UsageSource

class EstimateChatRequest(_message.Message):
    __slots__ = ("prompt",)
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    prompt: ChatPrompt
    def __init__(self, prompt: _Optional[_Union[ChatPrompt, _Mapping]] = ...) -> None: ...

class EstimateChatResponse(_message.Message):
    __slots__ = ("estimate",)
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    estimate: ChatEstimate
    def __init__(self, estimate: _Optional[_Union[ChatEstimate, _Mapping]] = ...) -> None: ...

class ExplainRouteRequest(_message.Message):
    __slots__ = ("prompt", "page_size", "page_token")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prompt: ChatPrompt
    page_size: int
    page_token: str
    def __init__(self, prompt: _Optional[_Union[ChatPrompt, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ExplainRouteResponse(_message.Message):
    __slots__ = ("analysis", "attempts", "reason", "policy", "experiment", "arm", "offers", "next_page_token", "offer_count", "warnings")
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    analysis: TaskAnalysis
    attempts: _containers.RepeatedCompositeFieldContainer[PlannedAttempt]
    reason: str
    policy: str
    experiment: str
    arm: str
    offers: _containers.RepeatedCompositeFieldContainer[ConsideredOffer]
    next_page_token: str
    offer_count: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, analysis: _Optional[_Union[TaskAnalysis, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[PlannedAttempt, _Mapping]]] = ..., reason: _Optional[str] = ..., policy: _Optional[str] = ..., experiment: _Optional[str] = ..., arm: _Optional[str] = ..., offers: _Optional[_Iterable[_Union[ConsideredOffer, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., offer_count: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class TaskAnalysis(_message.Message):
    __slots__ = ("task", "task_probability_ppm", "complexity", "complexity_ppm", "needs_reasoning", "needs_code", "needs_creativity", "source")
    TASK_FIELD_NUMBER: _ClassVar[int]
    TASK_PROBABILITY_PPM_FIELD_NUMBER: _ClassVar[int]
    COMPLEXITY_FIELD_NUMBER: _ClassVar[int]
    COMPLEXITY_PPM_FIELD_NUMBER: _ClassVar[int]
    NEEDS_REASONING_FIELD_NUMBER: _ClassVar[int]
    NEEDS_CODE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_CREATIVITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    task: str
    task_probability_ppm: int
    complexity: str
    complexity_ppm: int
    needs_reasoning: bool
    needs_code: bool
    needs_creativity: bool
    source: str
    def __init__(self, task: _Optional[str] = ..., task_probability_ppm: _Optional[int] = ..., complexity: _Optional[str] = ..., complexity_ppm: _Optional[int] = ..., needs_reasoning: _Optional[bool] = ..., needs_code: _Optional[bool] = ..., needs_creativity: _Optional[bool] = ..., source: _Optional[str] = ...) -> None: ...

class PlannedAttempt(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ConsideredOffer(_message.Message):
    __slots__ = ("model", "excluded_reason", "score", "parts", "quality", "cost_nanousd", "latency_ms", "breaker")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    model: str
    excluded_reason: str
    score: float
    parts: _containers.RepeatedCompositeFieldContainer[ScorePart]
    quality: float
    cost_nanousd: int
    latency_ms: int
    breaker: OpenBreaker
    def __init__(self, model: _Optional[str] = ..., excluded_reason: _Optional[str] = ..., score: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[ScorePart, _Mapping]]] = ..., quality: _Optional[float] = ..., cost_nanousd: _Optional[int] = ..., latency_ms: _Optional[int] = ..., breaker: _Optional[_Union[OpenBreaker, _Mapping]] = ...) -> None: ...

class OpenBreaker(_message.Message):
    __slots__ = ("cause", "open_time", "retry_time")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    cause: str
    open_time: _timestamp_pb2.Timestamp
    retry_time: _timestamp_pb2.Timestamp
    def __init__(self, cause: _Optional[str] = ..., open_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ScorePart(_message.Message):
    __slots__ = ("name", "value", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    weight: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class ChatEstimate(_message.Message):
    __slots__ = ("analysis", "model", "reason", "prompt_token_count", "completion_token_count", "max_output_token_count", "cost_nanousd", "cost_max_nanousd", "cost_credits", "credits_suffice", "available_nanousd", "premium_cost_nanousd")
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    COST_MAX_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    COST_CREDITS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_SUFFICE_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    analysis: TaskAnalysis
    model: str
    reason: str
    prompt_token_count: int
    completion_token_count: int
    max_output_token_count: int
    cost_nanousd: int
    cost_max_nanousd: int
    cost_credits: str
    credits_suffice: bool
    available_nanousd: int
    premium_cost_nanousd: int
    def __init__(self, analysis: _Optional[_Union[TaskAnalysis, _Mapping]] = ..., model: _Optional[str] = ..., reason: _Optional[str] = ..., prompt_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., max_output_token_count: _Optional[int] = ..., cost_nanousd: _Optional[int] = ..., cost_max_nanousd: _Optional[int] = ..., cost_credits: _Optional[str] = ..., credits_suffice: _Optional[bool] = ..., available_nanousd: _Optional[int] = ..., premium_cost_nanousd: _Optional[int] = ...) -> None: ...

class CompleteChatRequest(_message.Message):
    __slots__ = ("prompt", "request_id")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    prompt: ChatPrompt
    request_id: str
    def __init__(self, prompt: _Optional[_Union[ChatPrompt, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CompleteChatResponse(_message.Message):
    __slots__ = ("completion",)
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    completion: ChatCompletion
    def __init__(self, completion: _Optional[_Union[ChatCompletion, _Mapping]] = ...) -> None: ...

class StreamChatRequest(_message.Message):
    __slots__ = ("prompt", "request_id")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    prompt: ChatPrompt
    request_id: str
    def __init__(self, prompt: _Optional[_Union[ChatPrompt, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamChatResponse(_message.Message):
    __slots__ = ("started", "delta", "completion")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    started: ChatStarted
    delta: ChatDelta
    completion: ChatCompletion
    def __init__(self, started: _Optional[_Union[ChatStarted, _Mapping]] = ..., delta: _Optional[_Union[ChatDelta, _Mapping]] = ..., completion: _Optional[_Union[ChatCompletion, _Mapping]] = ...) -> None: ...

class ChatPrompt(_message.Message):
    __slots__ = ("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "sampling", "reasoning_effort", "max_output_token_count", "short_credits", "reasoning_budget_token_count", "reasoning_summary", "safety_settings", "optional_fields", "routing", "tags", "end_user")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    REASONING_EFFORT_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHORT_CREDITS_FIELD_NUMBER: _ClassVar[int]
    REASONING_BUDGET_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASONING_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SAFETY_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELDS_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    response_format: ResponseFormat
    sampling: Sampling
    reasoning_effort: str
    max_output_token_count: int
    short_credits: ShortCredits
    reasoning_budget_token_count: int
    reasoning_summary: ReasoningSummary
    safety_settings: _containers.RepeatedCompositeFieldContainer[SafetySetting]
    optional_fields: _containers.RepeatedScalarFieldContainer[str]
    routing: RoutingPreferences
    tags: _containers.ScalarMap[str, str]
    end_user: str
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., tool_choice: _Optional[_Union[ToolChoice, _Mapping]] = ..., parallel_tool_calls: _Optional[bool] = ..., response_format: _Optional[_Union[ResponseFormat, _Mapping]] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., reasoning_effort: _Optional[str] = ..., max_output_token_count: _Optional[int] = ..., short_credits: _Optional[_Union[ShortCredits, str]] = ..., reasoning_budget_token_count: _Optional[int] = ..., reasoning_summary: _Optional[_Union[ReasoningSummary, str]] = ..., safety_settings: _Optional[_Iterable[_Union[SafetySetting, _Mapping]]] = ..., optional_fields: _Optional[_Iterable[str]] = ..., routing: _Optional[_Union[RoutingPreferences, _Mapping]] = ..., tags: _Optional[_Mapping[str, str]] = ..., end_user: _Optional[str] = ...) -> None: ...

class RoutingPreferences(_message.Message):
    __slots__ = ("priority", "latency_preference", "max_cost_nanousd", "allowed_providers", "denied_providers", "allowed_models", "denied_models", "fallback_models", "data_region", "task")
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LATENCY_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    DENIED_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_MODELS_FIELD_NUMBER: _ClassVar[int]
    DENIED_MODELS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_MODELS_FIELD_NUMBER: _ClassVar[int]
    DATA_REGION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    priority: RoutingPriority
    latency_preference: LatencyPreference
    max_cost_nanousd: int
    allowed_providers: _containers.RepeatedScalarFieldContainer[str]
    denied_providers: _containers.RepeatedScalarFieldContainer[str]
    allowed_models: _containers.RepeatedScalarFieldContainer[str]
    denied_models: _containers.RepeatedScalarFieldContainer[str]
    fallback_models: _containers.RepeatedScalarFieldContainer[str]
    data_region: str
    task: str
    def __init__(self, priority: _Optional[_Union[RoutingPriority, str]] = ..., latency_preference: _Optional[_Union[LatencyPreference, str]] = ..., max_cost_nanousd: _Optional[int] = ..., allowed_providers: _Optional[_Iterable[str]] = ..., denied_providers: _Optional[_Iterable[str]] = ..., allowed_models: _Optional[_Iterable[str]] = ..., denied_models: _Optional[_Iterable[str]] = ..., fallback_models: _Optional[_Iterable[str]] = ..., data_region: _Optional[str] = ..., task: _Optional[str] = ...) -> None: ...

class SafetySetting(_message.Message):
    __slots__ = ("category", "threshold")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    category: str
    threshold: str
    def __init__(self, category: _Optional[str] = ..., threshold: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "parts", "tool_calls", "tool_call_id", "name", "refusal", "reasoning", "reasoning_blocks", "tool_failed")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    REASONING_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    TOOL_FAILED_FIELD_NUMBER: _ClassVar[int]
    role: Role
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    tool_call_id: str
    name: str
    refusal: str
    reasoning: str
    reasoning_blocks: _containers.RepeatedCompositeFieldContainer[ReasoningBlock]
    tool_failed: bool
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ..., tool_call_id: _Optional[str] = ..., name: _Optional[str] = ..., refusal: _Optional[str] = ..., reasoning: _Optional[str] = ..., reasoning_blocks: _Optional[_Iterable[_Union[ReasoningBlock, _Mapping]]] = ..., tool_failed: _Optional[bool] = ...) -> None: ...

class ReasoningBlock(_message.Message):
    __slots__ = ("kind", "format", "text", "signature", "data", "id", "preceding_char_count", "preceding_tool_call_count")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PRECEDING_CHAR_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRECEDING_TOOL_CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    kind: ReasoningBlockKind
    format: str
    text: str
    signature: str
    data: str
    id: str
    preceding_char_count: int
    preceding_tool_call_count: int
    def __init__(self, kind: _Optional[_Union[ReasoningBlockKind, str]] = ..., format: _Optional[str] = ..., text: _Optional[str] = ..., signature: _Optional[str] = ..., data: _Optional[str] = ..., id: _Optional[str] = ..., preceding_char_count: _Optional[int] = ..., preceding_tool_call_count: _Optional[int] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("text", "image", "audio", "file", "cache_ttl")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CACHE_TTL_FIELD_NUMBER: _ClassVar[int]
    text: str
    image: Image
    audio: Audio
    file: File
    cache_ttl: CacheTtl
    def __init__(self, text: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., audio: _Optional[_Union[Audio, _Mapping]] = ..., file: _Optional[_Union[File, _Mapping]] = ..., cache_ttl: _Optional[_Union[CacheTtl, str]] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("uri", "detail", "file_id")
    URI_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    uri: str
    detail: str
    file_id: str
    def __init__(self, uri: _Optional[str] = ..., detail: _Optional[str] = ..., file_id: _Optional[str] = ...) -> None: ...

class Audio(_message.Message):
    __slots__ = ("data", "format")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    format: str
    def __init__(self, data: _Optional[bytes] = ..., format: _Optional[str] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("file_id", "data_uri", "filename", "uri")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_URI_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    data_uri: str
    filename: str
    uri: str
    def __init__(self, file_id: _Optional[str] = ..., data_uri: _Optional[str] = ..., filename: _Optional[str] = ..., uri: _Optional[str] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters_json", "strict", "cache_ttl")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    CACHE_TTL_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    strict: bool
    cache_ttl: CacheTtl
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ..., strict: _Optional[bool] = ..., cache_ttl: _Optional[_Union[CacheTtl, str]] = ...) -> None: ...

class ToolChoice(_message.Message):
    __slots__ = ("mode", "tool_name")
    MODE_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    mode: ToolMode
    tool_name: str
    def __init__(self, mode: _Optional[_Union[ToolMode, str]] = ..., tool_name: _Optional[str] = ...) -> None: ...

class ResponseFormat(_message.Message):
    __slots__ = ("json_object", "json_schema")
    JSON_OBJECT_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    json_object: JsonObjectFormat
    json_schema: JsonSchemaFormat
    def __init__(self, json_object: _Optional[_Union[JsonObjectFormat, _Mapping]] = ..., json_schema: _Optional[_Union[JsonSchemaFormat, _Mapping]] = ...) -> None: ...

class JsonObjectFormat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JsonSchemaFormat(_message.Message):
    __slots__ = ("name", "schema_json", "description", "strict")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    name: str
    schema_json: str
    description: str
    strict: bool
    def __init__(self, name: _Optional[str] = ..., schema_json: _Optional[str] = ..., description: _Optional[str] = ..., strict: _Optional[bool] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop_sequences", "choice_count", "logprobs", "top_logprob_count", "logit_bias", "top_k")
    class LogitBiasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    CHOICE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROB_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    stop_sequences: _containers.RepeatedScalarFieldContainer[str]
    choice_count: int
    logprobs: bool
    top_logprob_count: int
    logit_bias: _containers.ScalarMap[str, float]
    top_k: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., stop_sequences: _Optional[_Iterable[str]] = ..., choice_count: _Optional[int] = ..., logprobs: _Optional[bool] = ..., top_logprob_count: _Optional[int] = ..., logit_bias: _Optional[_Mapping[str, float]] = ..., top_k: _Optional[int] = ...) -> None: ...

class ChatStarted(_message.Message):
    __slots__ = ("call_id", "model", "max_output_token_count", "create_time", "ignored_fields")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    model: str
    max_output_token_count: int
    create_time: _timestamp_pb2.Timestamp
    ignored_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, call_id: _Optional[str] = ..., model: _Optional[str] = ..., max_output_token_count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ignored_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class ChatDelta(_message.Message):
    __slots__ = ("choice_index", "text", "refusal", "reasoning", "tool_calls", "logprobs", "finish_reason", "stop_sequence", "reasoning_blocks")
    CHOICE_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REASONING_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    choice_index: int
    text: str
    refusal: str
    reasoning: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCallDelta]
    logprobs: Logprobs
    finish_reason: FinishReason
    stop_sequence: str
    reasoning_blocks: _containers.RepeatedCompositeFieldContainer[ReasoningBlock]
    def __init__(self, choice_index: _Optional[int] = ..., text: _Optional[str] = ..., refusal: _Optional[str] = ..., reasoning: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCallDelta, _Mapping]]] = ..., logprobs: _Optional[_Union[Logprobs, _Mapping]] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., stop_sequence: _Optional[str] = ..., reasoning_blocks: _Optional[_Iterable[_Union[ReasoningBlock, _Mapping]]] = ...) -> None: ...

class ToolCallDelta(_message.Message):
    __slots__ = ("tool_call_index", "id", "name", "arguments_json")
    TOOL_CALL_INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_call_index: int
    id: str
    name: str
    arguments_json: str
    def __init__(self, tool_call_index: _Optional[int] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("id", "name", "arguments_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    arguments_json: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class Logprobs(_message.Message):
    __slots__ = ("content", "refusal")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    content: _containers.RepeatedCompositeFieldContainer[TokenLogprob]
    refusal: _containers.RepeatedCompositeFieldContainer[TokenLogprob]
    def __init__(self, content: _Optional[_Iterable[_Union[TokenLogprob, _Mapping]]] = ..., refusal: _Optional[_Iterable[_Union[TokenLogprob, _Mapping]]] = ...) -> None: ...

class TokenLogprob(_message.Message):
    __slots__ = ("token", "logprob", "token_bytes", "top_logprobs")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    token: str
    logprob: float
    token_bytes: bytes
    top_logprobs: _containers.RepeatedCompositeFieldContainer[TopLogprob]
    def __init__(self, token: _Optional[str] = ..., logprob: _Optional[float] = ..., token_bytes: _Optional[bytes] = ..., top_logprobs: _Optional[_Iterable[_Union[TopLogprob, _Mapping]]] = ...) -> None: ...

class TopLogprob(_message.Message):
    __slots__ = ("token", "logprob", "token_bytes")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    token: str
    logprob: float
    token_bytes: bytes
    def __init__(self, token: _Optional[str] = ..., logprob: _Optional[float] = ..., token_bytes: _Optional[bytes] = ...) -> None: ...

class ChatCompletion(_message.Message):
    __slots__ = ("call_id", "model", "create_time", "choices", "usage", "cost_nanousd", "balance_nanousd", "system_fingerprint", "ignored_fields", "savings", "warnings")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    BALANCE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    SAVINGS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    model: str
    create_time: _timestamp_pb2.Timestamp
    choices: _containers.RepeatedCompositeFieldContainer[Choice]
    usage: Usage
    cost_nanousd: int
    balance_nanousd: int
    system_fingerprint: str
    ignored_fields: _containers.RepeatedScalarFieldContainer[str]
    savings: Savings
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, call_id: _Optional[str] = ..., model: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., choices: _Optional[_Iterable[_Union[Choice, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., cost_nanousd: _Optional[int] = ..., balance_nanousd: _Optional[int] = ..., system_fingerprint: _Optional[str] = ..., ignored_fields: _Optional[_Iterable[str]] = ..., savings: _Optional[_Union[Savings, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class Savings(_message.Message):
    __slots__ = ("premium_model", "premium_nanousd", "saved_nanousd", "single_model", "single_nanousd")
    PREMIUM_MODEL_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SAVED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SINGLE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SINGLE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    premium_model: str
    premium_nanousd: int
    saved_nanousd: int
    single_model: str
    single_nanousd: int
    def __init__(self, premium_model: _Optional[str] = ..., premium_nanousd: _Optional[int] = ..., saved_nanousd: _Optional[int] = ..., single_model: _Optional[str] = ..., single_nanousd: _Optional[int] = ...) -> None: ...

class Choice(_message.Message):
    __slots__ = ("index", "message", "finish_reason", "logprobs", "stop_sequence")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    index: int
    message: Message
    finish_reason: FinishReason
    logprobs: Logprobs
    stop_sequence: str
    def __init__(self, index: _Optional[int] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., logprobs: _Optional[_Union[Logprobs, _Mapping]] = ..., stop_sequence: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_token_count", "cached_read_token_count", "cached_write_token_count", "prompt_audio_token_count", "completion_token_count", "reasoning_token_count", "completion_audio_token_count", "source", "attempts", "cached_write_1h_token_count", "prompt_image_token_count", "completion_image_token_count")
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_READ_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_1H_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    prompt_token_count: int
    cached_read_token_count: int
    cached_write_token_count: int
    prompt_audio_token_count: int
    completion_token_count: int
    reasoning_token_count: int
    completion_audio_token_count: int
    source: UsageSource
    attempts: _containers.RepeatedCompositeFieldContainer[AttemptUsage]
    cached_write_1h_token_count: int
    prompt_image_token_count: int
    completion_image_token_count: int
    def __init__(self, prompt_token_count: _Optional[int] = ..., cached_read_token_count: _Optional[int] = ..., cached_write_token_count: _Optional[int] = ..., prompt_audio_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., reasoning_token_count: _Optional[int] = ..., completion_audio_token_count: _Optional[int] = ..., source: _Optional[_Union[UsageSource, str]] = ..., attempts: _Optional[_Iterable[_Union[AttemptUsage, _Mapping]]] = ..., cached_write_1h_token_count: _Optional[int] = ..., prompt_image_token_count: _Optional[int] = ..., completion_image_token_count: _Optional[int] = ...) -> None: ...

class AttemptUsage(_message.Message):
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
