import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SyncStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SYNC_STAGE_UNSPECIFIED: _ClassVar[SyncStage]
    SYNC_STAGE_FETCHING: _ClassVar[SyncStage]
    SYNC_STAGE_READING: _ClassVar[SyncStage]
    SYNC_STAGE_READ: _ClassVar[SyncStage]
    SYNC_STAGE_UNCHANGED: _ClassVar[SyncStage]
    SYNC_STAGE_FAILED: _ClassVar[SyncStage]
    SYNC_STAGE_REFUSED: _ClassVar[SyncStage]
SYNC_STAGE_UNSPECIFIED: SyncStage
SYNC_STAGE_FETCHING: SyncStage
SYNC_STAGE_READING: SyncStage
SYNC_STAGE_READ: SyncStage
SYNC_STAGE_UNCHANGED: SyncStage
SYNC_STAGE_FAILED: SyncStage
SYNC_STAGE_REFUSED: SyncStage

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateModelRequest(_message.Message):
    __slots__ = ("model", "update_mask")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    model: Model
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ResolveModelRequest(_message.Message):
    __slots__ = ("model", "scope")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    model: str
    scope: str
    def __init__(self, model: _Optional[str] = ..., scope: _Optional[str] = ...) -> None: ...

class ResolveModelResponse(_message.Message):
    __slots__ = ("models", "alias", "warning")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    alias: Alias
    warning: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., alias: _Optional[_Union[Alias, _Mapping]] = ..., warning: _Optional[str] = ...) -> None: ...

class ListModelChangesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListModelChangesResponse(_message.Message):
    __slots__ = ("changes", "next_page_token")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ModelChange]
    next_page_token: str
    def __init__(self, changes: _Optional[_Iterable[_Union[ModelChange, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ModelChange(_message.Message):
    __slots__ = ("subject", "field", "old_value", "new_value", "source", "actor", "create_time")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    subject: str
    field: str
    old_value: str
    new_value: str
    source: str
    actor: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, subject: _Optional[str] = ..., field: _Optional[str] = ..., old_value: _Optional[str] = ..., new_value: _Optional[str] = ..., source: _Optional[str] = ..., actor: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "scope", "targets")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    name: str
    scope: str
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., scope: _Optional[str] = ..., targets: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ("scope", "page_size", "page_token")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    scope: str
    page_size: int
    page_token: str
    def __init__(self, scope: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAliasesResponse(_message.Message):
    __slots__ = ("aliases", "next_page_token")
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    next_page_token: str
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: Alias
    def __init__(self, alias: _Optional[_Union[Alias, _Mapping]] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("alias",)
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    alias: Alias
    def __init__(self, alias: _Optional[_Union[Alias, _Mapping]] = ...) -> None: ...

class DeleteAliasRequest(_message.Message):
    __slots__ = ("name", "scope")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    scope: str
    def __init__(self, name: _Optional[str] = ..., scope: _Optional[str] = ...) -> None: ...

class DeleteAliasResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SyncCatalogRequest(_message.Message):
    __slots__ = ("sources", "dry_run", "accept")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedScalarFieldContainer[str]
    dry_run: bool
    accept: bool
    def __init__(self, sources: _Optional[_Iterable[str]] = ..., dry_run: _Optional[bool] = ..., accept: _Optional[bool] = ...) -> None: ...

class SyncCatalogResponse(_message.Message):
    __slots__ = ("progress", "report")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    progress: SyncProgress
    report: SyncReport
    def __init__(self, progress: _Optional[_Union[SyncProgress, _Mapping]] = ..., report: _Optional[_Union[SyncReport, _Mapping]] = ...) -> None: ...

class SyncProgress(_message.Message):
    __slots__ = ("source", "stage", "received_byte_count", "expected_byte_count", "offer_count", "failure")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTE_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_BYTE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    source: str
    stage: SyncStage
    received_byte_count: int
    expected_byte_count: int
    offer_count: int
    failure: str
    def __init__(self, source: _Optional[str] = ..., stage: _Optional[_Union[SyncStage, str]] = ..., received_byte_count: _Optional[int] = ..., expected_byte_count: _Optional[int] = ..., offer_count: _Optional[int] = ..., failure: _Optional[str] = ...) -> None: ...

class SyncReport(_message.Message):
    __slots__ = ("version", "dry_run", "sources", "added_count", "updated_count", "repriced_count", "delisted_count", "relisted_count", "changes", "change_count", "waiting_prices", "waiting_price_count", "duration_ms")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPRICED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELISTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RELISTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CHANGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    WAITING_PRICES_FIELD_NUMBER: _ClassVar[int]
    WAITING_PRICE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    version: int
    dry_run: bool
    sources: _containers.RepeatedCompositeFieldContainer[SourceOutcome]
    added_count: int
    updated_count: int
    repriced_count: int
    delisted_count: int
    relisted_count: int
    changes: _containers.RepeatedCompositeFieldContainer[SyncedChange]
    change_count: int
    waiting_prices: _containers.RepeatedCompositeFieldContainer[WaitingPrice]
    waiting_price_count: int
    duration_ms: int
    def __init__(self, version: _Optional[int] = ..., dry_run: _Optional[bool] = ..., sources: _Optional[_Iterable[_Union[SourceOutcome, _Mapping]]] = ..., added_count: _Optional[int] = ..., updated_count: _Optional[int] = ..., repriced_count: _Optional[int] = ..., delisted_count: _Optional[int] = ..., relisted_count: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[SyncedChange, _Mapping]]] = ..., change_count: _Optional[int] = ..., waiting_prices: _Optional[_Iterable[_Union[WaitingPrice, _Mapping]]] = ..., waiting_price_count: _Optional[int] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class SourceOutcome(_message.Message):
    __slots__ = ("source", "stage", "offer_count", "unpriced_count", "faults", "failure")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    OFFER_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    source: str
    stage: SyncStage
    offer_count: int
    unpriced_count: int
    faults: _containers.RepeatedScalarFieldContainer[str]
    failure: str
    def __init__(self, source: _Optional[str] = ..., stage: _Optional[_Union[SyncStage, str]] = ..., offer_count: _Optional[int] = ..., unpriced_count: _Optional[int] = ..., faults: _Optional[_Iterable[str]] = ..., failure: _Optional[str] = ...) -> None: ...

class SyncedChange(_message.Message):
    __slots__ = ("model", "field", "old_value", "new_value", "source")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    field: str
    old_value: str
    new_value: str
    source: str
    def __init__(self, model: _Optional[str] = ..., field: _Optional[str] = ..., old_value: _Optional[str] = ..., new_value: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class WaitingPrice(_message.Message):
    __slots__ = ("model", "source", "old_value", "new_value", "change_ppm")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_PPM_FIELD_NUMBER: _ClassVar[int]
    model: str
    source: str
    old_value: str
    new_value: str
    change_ppm: int
    def __init__(self, model: _Optional[str] = ..., source: _Optional[str] = ..., old_value: _Optional[str] = ..., new_value: _Optional[str] = ..., change_ppm: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "model", "display_name", "pricing", "context_token_count", "output_token_count", "input_modalities", "output_modalities", "tools", "structured_output", "reasoning", "free", "deprecated", "callable", "release_time", "canonical_model", "ratings", "tags", "regions", "enabled", "quality_weight_ppm", "routing_weight", "replacement", "deprecate_time", "deprecation_reason", "price_override", "operator_facts", "source", "etag", "measured_speed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    PRICING_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    INPUT_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    DEPRECATED_FIELD_NUMBER: _ClassVar[int]
    CALLABLE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_TIME_FIELD_NUMBER: _ClassVar[int]
    CANONICAL_MODEL_FIELD_NUMBER: _ClassVar[int]
    RATINGS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    QUALITY_WEIGHT_PPM_FIELD_NUMBER: _ClassVar[int]
    ROUTING_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    DEPRECATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEPRECATION_REASON_FIELD_NUMBER: _ClassVar[int]
    PRICE_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FACTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    MEASURED_SPEED_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    display_name: str
    pricing: Pricing
    context_token_count: int
    output_token_count: int
    input_modalities: _containers.RepeatedScalarFieldContainer[str]
    output_modalities: _containers.RepeatedScalarFieldContainer[str]
    tools: bool
    structured_output: bool
    reasoning: bool
    free: bool
    deprecated: bool
    callable: bool
    release_time: _timestamp_pb2.Timestamp
    canonical_model: str
    ratings: _containers.RepeatedCompositeFieldContainer[Rating]
    tags: _containers.RepeatedScalarFieldContainer[str]
    regions: _containers.RepeatedScalarFieldContainer[str]
    enabled: bool
    quality_weight_ppm: int
    routing_weight: int
    replacement: str
    deprecate_time: _timestamp_pb2.Timestamp
    deprecation_reason: str
    price_override: PriceOverride
    operator_facts: _containers.RepeatedCompositeFieldContainer[OperatorFact]
    source: str
    etag: str
    measured_speed: MeasuredSpeed
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., display_name: _Optional[str] = ..., pricing: _Optional[_Union[Pricing, _Mapping]] = ..., context_token_count: _Optional[int] = ..., output_token_count: _Optional[int] = ..., input_modalities: _Optional[_Iterable[str]] = ..., output_modalities: _Optional[_Iterable[str]] = ..., tools: _Optional[bool] = ..., structured_output: _Optional[bool] = ..., reasoning: _Optional[bool] = ..., free: _Optional[bool] = ..., deprecated: _Optional[bool] = ..., callable: _Optional[bool] = ..., release_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., canonical_model: _Optional[str] = ..., ratings: _Optional[_Iterable[_Union[Rating, _Mapping]]] = ..., tags: _Optional[_Iterable[str]] = ..., regions: _Optional[_Iterable[str]] = ..., enabled: _Optional[bool] = ..., quality_weight_ppm: _Optional[int] = ..., routing_weight: _Optional[int] = ..., replacement: _Optional[str] = ..., deprecate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deprecation_reason: _Optional[str] = ..., price_override: _Optional[_Union[PriceOverride, _Mapping]] = ..., operator_facts: _Optional[_Iterable[_Union[OperatorFact, _Mapping]]] = ..., source: _Optional[str] = ..., etag: _Optional[str] = ..., measured_speed: _Optional[_Union[MeasuredSpeed, _Mapping]] = ...) -> None: ...

class MeasuredSpeed(_message.Message):
    __slots__ = ("first_token_ms", "output_tokens_per_second", "reasoning_ratio", "call_count", "source")
    FIRST_TOKEN_MS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    REASONING_RATIO_FIELD_NUMBER: _ClassVar[int]
    CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    first_token_ms: float
    output_tokens_per_second: float
    reasoning_ratio: float
    call_count: float
    source: str
    def __init__(self, first_token_ms: _Optional[float] = ..., output_tokens_per_second: _Optional[float] = ..., reasoning_ratio: _Optional[float] = ..., call_count: _Optional[float] = ..., source: _Optional[str] = ...) -> None: ...

class Rating(_message.Message):
    __slots__ = ("task", "value", "source", "rate_time", "estimated")
    TASK_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    task: str
    value: float
    source: str
    rate_time: _timestamp_pb2.Timestamp
    estimated: bool
    def __init__(self, task: _Optional[str] = ..., value: _Optional[float] = ..., source: _Optional[str] = ..., rate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., estimated: _Optional[bool] = ...) -> None: ...

class PriceOverride(_message.Message):
    __slots__ = ("discount_ppm", "rates")
    DISCOUNT_PPM_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    discount_ppm: int
    rates: _containers.RepeatedCompositeFieldContainer[Rate]
    def __init__(self, discount_ppm: _Optional[int] = ..., rates: _Optional[_Iterable[_Union[Rate, _Mapping]]] = ...) -> None: ...

class OperatorFact(_message.Message):
    __slots__ = ("field", "source", "pattern")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    field: str
    source: str
    pattern: str
    def __init__(self, field: _Optional[str] = ..., source: _Optional[str] = ..., pattern: _Optional[str] = ...) -> None: ...

class Pricing(_message.Message):
    __slots__ = ("version", "rates")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    version: int
    rates: _containers.RepeatedCompositeFieldContainer[Rate]
    def __init__(self, version: _Optional[int] = ..., rates: _Optional[_Iterable[_Union[Rate, _Mapping]]] = ...) -> None: ...

class Rate(_message.Message):
    __slots__ = ("unit", "min_prompt_token_count", "nanousd_per_mtok")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MIN_PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    NANOUSD_PER_MTOK_FIELD_NUMBER: _ClassVar[int]
    unit: str
    min_prompt_token_count: int
    nanousd_per_mtok: int
    def __init__(self, unit: _Optional[str] = ..., min_prompt_token_count: _Optional[int] = ..., nanousd_per_mtok: _Optional[int] = ...) -> None: ...
