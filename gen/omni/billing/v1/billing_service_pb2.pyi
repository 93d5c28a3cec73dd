import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from omni.billing.v1 import statements_pb2 as _statements_pb2
from omni.billing.v1 import top_ups_pb2 as _top_ups_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LedgerEntryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEDGER_ENTRY_KIND_UNSPECIFIED: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_GRANT: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_CHARGE: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_REFUND: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_EXPIRY: _ClassVar[LedgerEntryKind]
    LEDGER_ENTRY_KIND_REVERSAL: _ClassVar[LedgerEntryKind]

class UsageBucket(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_BUCKET_UNSPECIFIED: _ClassVar[UsageBucket]
    USAGE_BUCKET_HOUR: _ClassVar[UsageBucket]
    USAGE_BUCKET_DAY: _ClassVar[UsageBucket]
    USAGE_BUCKET_MONTH: _ClassVar[UsageBucket]
    USAGE_BUCKET_WHOLE: _ClassVar[UsageBucket]

class UsageDimension(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USAGE_DIMENSION_UNSPECIFIED: _ClassVar[UsageDimension]
    USAGE_DIMENSION_PROVIDER: _ClassVar[UsageDimension]
    USAGE_DIMENSION_MODEL: _ClassVar[UsageDimension]
    USAGE_DIMENSION_TASK: _ClassVar[UsageDimension]
    USAGE_DIMENSION_KEY: _ClassVar[UsageDimension]
    USAGE_DIMENSION_TEAM: _ClassVar[UsageDimension]

class HoldState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLD_STATE_UNSPECIFIED: _ClassVar[HoldState]
    HOLD_STATE_OPEN: _ClassVar[HoldState]
    HOLD_STATE_SETTLED: _ClassVar[HoldState]
    HOLD_STATE_VOIDED: _ClassVar[HoldState]
LEDGER_ENTRY_KIND_UNSPECIFIED: LedgerEntryKind
LEDGER_ENTRY_KIND_GRANT: LedgerEntryKind
LEDGER_ENTRY_KIND_CHARGE: LedgerEntryKind
LEDGER_ENTRY_KIND_REFUND: LedgerEntryKind
LEDGER_ENTRY_KIND_EXPIRY: LedgerEntryKind
LEDGER_ENTRY_KIND_REVERSAL: LedgerEntryKind
USAGE_BUCKET_UNSPECIFIED: UsageBucket
USAGE_BUCKET_HOUR: UsageBucket
USAGE_BUCKET_DAY: UsageBucket
USAGE_BUCKET_MONTH: UsageBucket
USAGE_BUCKET_WHOLE: UsageBucket
USAGE_DIMENSION_UNSPECIFIED: UsageDimension
USAGE_DIMENSION_PROVIDER: UsageDimension
USAGE_DIMENSION_MODEL: UsageDimension
USAGE_DIMENSION_TASK: UsageDimension
USAGE_DIMENSION_KEY: UsageDimension
USAGE_DIMENSION_TEAM: UsageDimension
HOLD_STATE_UNSPECIFIED: HoldState
HOLD_STATE_OPEN: HoldState
HOLD_STATE_SETTLED: HoldState
HOLD_STATE_VOIDED: HoldState

class GetBalanceRequest(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class GetBalanceResponse(_message.Message):
    __slots__ = ("balance",)
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    balance: Balance
    def __init__(self, balance: _Optional[_Union[Balance, _Mapping]] = ...) -> None: ...

class ListLedgerEntriesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListLedgerEntriesResponse(_message.Message):
    __slots__ = ("ledger_entries", "next_page_token")
    LEDGER_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ledger_entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    next_page_token: str
    def __init__(self, ledger_entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetUsageRecordRequest(_message.Message):
    __slots__ = ("call_id",)
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    def __init__(self, call_id: _Optional[str] = ...) -> None: ...

class GetUsageRecordResponse(_message.Message):
    __slots__ = ("usage_record",)
    USAGE_RECORD_FIELD_NUMBER: _ClassVar[int]
    usage_record: UsageRecord
    def __init__(self, usage_record: _Optional[_Union[UsageRecord, _Mapping]] = ...) -> None: ...

class SummarizeUsageRequest(_message.Message):
    __slots__ = ("account", "start_time", "end_time", "bucket", "group_by", "time_zone", "page_size", "page_token")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    bucket: UsageBucket
    group_by: _containers.RepeatedScalarFieldContainer[UsageDimension]
    time_zone: str
    page_size: int
    page_token: str
    def __init__(self, account: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., bucket: _Optional[_Union[UsageBucket, str]] = ..., group_by: _Optional[_Iterable[_Union[UsageDimension, str]]] = ..., time_zone: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SummarizeUsageResponse(_message.Message):
    __slots__ = ("usage_summaries", "next_page_token", "total")
    USAGE_SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    usage_summaries: _containers.RepeatedCompositeFieldContainer[UsageSummary]
    next_page_token: str
    total: UsageSums
    def __init__(self, usage_summaries: _Optional[_Iterable[_Union[UsageSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total: _Optional[_Union[UsageSums, _Mapping]] = ...) -> None: ...

class ListUsageRecordsRequest(_message.Message):
    __slots__ = ("parent", "start_time", "end_time", "filter", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    filter: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., filter: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUsageRecordsResponse(_message.Message):
    __slots__ = ("usage_records", "next_page_token")
    USAGE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    usage_records: _containers.RepeatedCompositeFieldContainer[UsageRecord]
    next_page_token: str
    def __init__(self, usage_records: _Optional[_Iterable[_Union[UsageRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GrantCreditsRequest(_message.Message):
    __slots__ = ("account", "amount_nanousd", "reason", "request_id", "expire_time", "payment")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_FIELD_NUMBER: _ClassVar[int]
    account: str
    amount_nanousd: int
    reason: str
    request_id: str
    expire_time: _timestamp_pb2.Timestamp
    payment: Payment
    def __init__(self, account: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., payment: _Optional[_Union[Payment, _Mapping]] = ...) -> None: ...

class Payment(_message.Message):
    __slots__ = ("network", "payment_id")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    network: str
    payment_id: str
    def __init__(self, network: _Optional[str] = ..., payment_id: _Optional[str] = ...) -> None: ...

class GrantCreditsResponse(_message.Message):
    __slots__ = ("ledger_entry",)
    LEDGER_ENTRY_FIELD_NUMBER: _ClassVar[int]
    ledger_entry: LedgerEntry
    def __init__(self, ledger_entry: _Optional[_Union[LedgerEntry, _Mapping]] = ...) -> None: ...

class RefundChargeRequest(_message.Message):
    __slots__ = ("account", "call_id", "hold", "attempt_number", "amount_nanousd", "reason", "request_id")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    account: str
    call_id: str
    hold: str
    attempt_number: int
    amount_nanousd: int
    reason: str
    request_id: str
    def __init__(self, account: _Optional[str] = ..., call_id: _Optional[str] = ..., hold: _Optional[str] = ..., attempt_number: _Optional[int] = ..., amount_nanousd: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RefundChargeResponse(_message.Message):
    __slots__ = ("ledger_entry",)
    LEDGER_ENTRY_FIELD_NUMBER: _ClassVar[int]
    ledger_entry: LedgerEntry
    def __init__(self, ledger_entry: _Optional[_Union[LedgerEntry, _Mapping]] = ...) -> None: ...

class CreateHoldRequest(_message.Message):
    __slots__ = ("parent", "amount_nanousd", "ttl", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    amount_nanousd: int
    ttl: _duration_pb2.Duration
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateHoldResponse(_message.Message):
    __slots__ = ("hold",)
    HOLD_FIELD_NUMBER: _ClassVar[int]
    hold: Hold
    def __init__(self, hold: _Optional[_Union[Hold, _Mapping]] = ...) -> None: ...

class SettleHoldRequest(_message.Message):
    __slots__ = ("name", "amount_nanousd", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    amount_nanousd: int
    request_id: str
    def __init__(self, name: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class SettleHoldResponse(_message.Message):
    __slots__ = ("hold",)
    HOLD_FIELD_NUMBER: _ClassVar[int]
    hold: Hold
    def __init__(self, hold: _Optional[_Union[Hold, _Mapping]] = ...) -> None: ...

class ReleaseHoldRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ReleaseHoldResponse(_message.Message):
    __slots__ = ("hold",)
    HOLD_FIELD_NUMBER: _ClassVar[int]
    hold: Hold
    def __init__(self, hold: _Optional[_Union[Hold, _Mapping]] = ...) -> None: ...

class ListUnresolvedAttemptsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUnresolvedAttemptsResponse(_message.Message):
    __slots__ = ("unresolved_attempts", "next_page_token")
    UNRESOLVED_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    unresolved_attempts: _containers.RepeatedCompositeFieldContainer[UnresolvedAttempt]
    next_page_token: str
    def __init__(self, unresolved_attempts: _Optional[_Iterable[_Union[UnresolvedAttempt, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ResolveAttemptRequest(_message.Message):
    __slots__ = ("name", "settlement", "voiding", "write_off")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_FIELD_NUMBER: _ClassVar[int]
    VOIDING_FIELD_NUMBER: _ClassVar[int]
    WRITE_OFF_FIELD_NUMBER: _ClassVar[int]
    name: str
    settlement: Settlement
    voiding: Voiding
    write_off: WriteOff
    def __init__(self, name: _Optional[str] = ..., settlement: _Optional[_Union[Settlement, _Mapping]] = ..., voiding: _Optional[_Union[Voiding, _Mapping]] = ..., write_off: _Optional[_Union[WriteOff, _Mapping]] = ...) -> None: ...

class ResolveAttemptResponse(_message.Message):
    __slots__ = ("attempt_record",)
    ATTEMPT_RECORD_FIELD_NUMBER: _ClassVar[int]
    attempt_record: AttemptRecord
    def __init__(self, attempt_record: _Optional[_Union[AttemptRecord, _Mapping]] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("prompt_token_count", "cached_read_token_count", "cached_write_token_count", "prompt_audio_token_count", "completion_token_count", "reasoning_token_count", "completion_audio_token_count", "cached_write_1h_token_count", "prompt_image_token_count", "completion_image_token_count", "image_count", "second_count", "character_count")
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_READ_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_1H_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECOND_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    prompt_token_count: int
    cached_read_token_count: int
    cached_write_token_count: int
    prompt_audio_token_count: int
    completion_token_count: int
    reasoning_token_count: int
    completion_audio_token_count: int
    cached_write_1h_token_count: int
    prompt_image_token_count: int
    completion_image_token_count: int
    image_count: int
    second_count: int
    character_count: int
    def __init__(self, prompt_token_count: _Optional[int] = ..., cached_read_token_count: _Optional[int] = ..., cached_write_token_count: _Optional[int] = ..., prompt_audio_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., reasoning_token_count: _Optional[int] = ..., completion_audio_token_count: _Optional[int] = ..., cached_write_1h_token_count: _Optional[int] = ..., prompt_image_token_count: _Optional[int] = ..., completion_image_token_count: _Optional[int] = ..., image_count: _Optional[int] = ..., second_count: _Optional[int] = ..., character_count: _Optional[int] = ...) -> None: ...

class Voiding(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WriteOff(_message.Message):
    __slots__ = ("loss_nanousd",)
    LOSS_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    loss_nanousd: int
    def __init__(self, loss_nanousd: _Optional[int] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("account", "posted_nanousd", "held_nanousd", "unresolved_nanousd", "available_nanousd", "read_time")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    POSTED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    HELD_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    UNRESOLVED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    account: str
    posted_nanousd: int
    held_nanousd: int
    unresolved_nanousd: int
    available_nanousd: int
    read_time: _timestamp_pb2.Timestamp
    def __init__(self, account: _Optional[str] = ..., posted_nanousd: _Optional[int] = ..., held_nanousd: _Optional[int] = ..., unresolved_nanousd: _Optional[int] = ..., available_nanousd: _Optional[int] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("name", "kind", "amount_nanousd", "balance_after_nanousd", "reference", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    BALANCE_AFTER_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: LedgerEntryKind
    amount_nanousd: int
    balance_after_nanousd: int
    reference: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[LedgerEntryKind, str]] = ..., amount_nanousd: _Optional[int] = ..., balance_after_nanousd: _Optional[int] = ..., reference: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UsageRecord(_message.Message):
    __slots__ = ("call_id", "account", "cost_nanousd", "attempts", "create_time", "key", "call_report")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CALL_REPORT_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    account: str
    cost_nanousd: int
    attempts: _containers.RepeatedCompositeFieldContainer[AttemptRecord]
    create_time: _timestamp_pb2.Timestamp
    key: str
    call_report: CallReport
    def __init__(self, call_id: _Optional[str] = ..., account: _Optional[str] = ..., cost_nanousd: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[AttemptRecord, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., key: _Optional[str] = ..., call_report: _Optional[_Union[CallReport, _Mapping]] = ...) -> None: ...

class CallReport(_message.Message):
    __slots__ = ("requested_model", "task", "complexity", "policy", "experiment", "arm", "premium_model", "premium_price_version", "premium_nanousd", "saved_nanousd", "single_model", "single_nanousd", "first_token_ms", "duration_ms", "reason", "tags", "end_user")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    COMPLEXITY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_MODEL_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SAVED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SINGLE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SINGLE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    requested_model: str
    task: str
    complexity: str
    policy: str
    experiment: str
    arm: str
    premium_model: str
    premium_price_version: int
    premium_nanousd: int
    saved_nanousd: int
    single_model: str
    single_nanousd: int
    first_token_ms: int
    duration_ms: int
    reason: str
    tags: _containers.ScalarMap[str, str]
    end_user: str
    def __init__(self, requested_model: _Optional[str] = ..., task: _Optional[str] = ..., complexity: _Optional[str] = ..., policy: _Optional[str] = ..., experiment: _Optional[str] = ..., arm: _Optional[str] = ..., premium_model: _Optional[str] = ..., premium_price_version: _Optional[int] = ..., premium_nanousd: _Optional[int] = ..., saved_nanousd: _Optional[int] = ..., single_model: _Optional[str] = ..., single_nanousd: _Optional[int] = ..., first_token_ms: _Optional[int] = ..., duration_ms: _Optional[int] = ..., reason: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., end_user: _Optional[str] = ...) -> None: ...

class UsageSummary(_message.Message):
    __slots__ = ("start_time", "end_time", "provider", "model", "task", "key", "sums", "team")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    provider: str
    model: str
    task: str
    key: str
    sums: UsageSums
    team: str
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., task: _Optional[str] = ..., key: _Optional[str] = ..., sums: _Optional[_Union[UsageSums, _Mapping]] = ..., team: _Optional[str] = ...) -> None: ...

class UsageSums(_message.Message):
    __slots__ = ("call_count", "attempt_count", "failed_attempt_count", "cancelled_attempt_count", "estimated_attempt_count", "prompt_token_count", "cached_read_token_count", "cached_write_token_count", "prompt_audio_token_count", "completion_token_count", "reasoning_token_count", "completion_audio_token_count", "cached_write_1h_token_count", "prompt_image_token_count", "completion_image_token_count", "image_count", "second_count", "character_count", "cost_nanousd", "refunded_nanousd", "compared_call_count", "premium_nanousd", "saved_nanousd", "single_nanousd", "single_saved_nanousd")
    CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_READ_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_1H_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECOND_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    COMPARED_CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    PREMIUM_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SAVED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SINGLE_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SINGLE_SAVED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    call_count: int
    attempt_count: int
    failed_attempt_count: int
    cancelled_attempt_count: int
    estimated_attempt_count: int
    prompt_token_count: int
    cached_read_token_count: int
    cached_write_token_count: int
    prompt_audio_token_count: int
    completion_token_count: int
    reasoning_token_count: int
    completion_audio_token_count: int
    cached_write_1h_token_count: int
    prompt_image_token_count: int
    completion_image_token_count: int
    image_count: int
    second_count: int
    character_count: int
    cost_nanousd: int
    refunded_nanousd: int
    compared_call_count: int
    premium_nanousd: int
    saved_nanousd: int
    single_nanousd: int
    single_saved_nanousd: int
    def __init__(self, call_count: _Optional[int] = ..., attempt_count: _Optional[int] = ..., failed_attempt_count: _Optional[int] = ..., cancelled_attempt_count: _Optional[int] = ..., estimated_attempt_count: _Optional[int] = ..., prompt_token_count: _Optional[int] = ..., cached_read_token_count: _Optional[int] = ..., cached_write_token_count: _Optional[int] = ..., prompt_audio_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., reasoning_token_count: _Optional[int] = ..., completion_audio_token_count: _Optional[int] = ..., cached_write_1h_token_count: _Optional[int] = ..., prompt_image_token_count: _Optional[int] = ..., completion_image_token_count: _Optional[int] = ..., image_count: _Optional[int] = ..., second_count: _Optional[int] = ..., character_count: _Optional[int] = ..., cost_nanousd: _Optional[int] = ..., refunded_nanousd: _Optional[int] = ..., compared_call_count: _Optional[int] = ..., premium_nanousd: _Optional[int] = ..., saved_nanousd: _Optional[int] = ..., single_nanousd: _Optional[int] = ..., single_saved_nanousd: _Optional[int] = ...) -> None: ...

class AttemptRecord(_message.Message):
    __slots__ = ("attempt_number", "model", "outcome", "held_nanousd", "cost_nanousd", "price_version", "markup_ppm", "prompt_token_count", "cached_read_token_count", "cached_write_token_count", "prompt_audio_token_count", "completion_token_count", "reasoning_token_count", "completion_audio_token_count", "estimated", "end_time", "provider_ref", "cached_write_1h_token_count", "prompt_image_token_count", "completion_image_token_count", "image_count", "second_count", "character_count", "credential")
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    HELD_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MARKUP_PPM_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_READ_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_AUDIO_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_REF_FIELD_NUMBER: _ClassVar[int]
    CACHED_WRITE_1H_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECOND_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    attempt_number: int
    model: str
    outcome: str
    held_nanousd: int
    cost_nanousd: int
    price_version: int
    markup_ppm: int
    prompt_token_count: int
    cached_read_token_count: int
    cached_write_token_count: int
    prompt_audio_token_count: int
    completion_token_count: int
    reasoning_token_count: int
    completion_audio_token_count: int
    estimated: bool
    end_time: _timestamp_pb2.Timestamp
    provider_ref: str
    cached_write_1h_token_count: int
    prompt_image_token_count: int
    completion_image_token_count: int
    image_count: int
    second_count: int
    character_count: int
    credential: str
    def __init__(self, attempt_number: _Optional[int] = ..., model: _Optional[str] = ..., outcome: _Optional[str] = ..., held_nanousd: _Optional[int] = ..., cost_nanousd: _Optional[int] = ..., price_version: _Optional[int] = ..., markup_ppm: _Optional[int] = ..., prompt_token_count: _Optional[int] = ..., cached_read_token_count: _Optional[int] = ..., cached_write_token_count: _Optional[int] = ..., prompt_audio_token_count: _Optional[int] = ..., completion_token_count: _Optional[int] = ..., reasoning_token_count: _Optional[int] = ..., completion_audio_token_count: _Optional[int] = ..., estimated: _Optional[bool] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., provider_ref: _Optional[str] = ..., cached_write_1h_token_count: _Optional[int] = ..., prompt_image_token_count: _Optional[int] = ..., completion_image_token_count: _Optional[int] = ..., image_count: _Optional[int] = ..., second_count: _Optional[int] = ..., character_count: _Optional[int] = ..., credential: _Optional[str] = ...) -> None: ...

class UnresolvedAttempt(_message.Message):
    __slots__ = ("name", "call_id", "attempt_number", "model", "held_nanousd", "price_version", "markup_ppm", "provider_ref", "worker", "lease_time", "credential")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HELD_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    PRICE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MARKUP_PPM_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_REF_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LEASE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    call_id: str
    attempt_number: int
    model: str
    held_nanousd: int
    price_version: int
    markup_ppm: int
    provider_ref: str
    worker: str
    lease_time: _timestamp_pb2.Timestamp
    credential: str
    def __init__(self, name: _Optional[str] = ..., call_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., model: _Optional[str] = ..., held_nanousd: _Optional[int] = ..., price_version: _Optional[int] = ..., markup_ppm: _Optional[int] = ..., provider_ref: _Optional[str] = ..., worker: _Optional[str] = ..., lease_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., credential: _Optional[str] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("name", "state", "amount_nanousd", "settled_nanousd", "expire_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    SETTLED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: HoldState
    amount_nanousd: int
    settled_nanousd: int
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[HoldState, str]] = ..., amount_nanousd: _Optional[int] = ..., settled_nanousd: _Optional[int] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
