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

class TopUpMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOP_UP_METHOD_UNSPECIFIED: _ClassVar[TopUpMethod]
    TOP_UP_METHOD_X402: _ClassVar[TopUpMethod]
    TOP_UP_METHOD_CARD: _ClassVar[TopUpMethod]

class TopUpState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TOP_UP_STATE_UNSPECIFIED: _ClassVar[TopUpState]
    TOP_UP_STATE_OPEN: _ClassVar[TopUpState]
    TOP_UP_STATE_PENDING: _ClassVar[TopUpState]
    TOP_UP_STATE_SUCCEEDED: _ClassVar[TopUpState]
    TOP_UP_STATE_FAILED: _ClassVar[TopUpState]
    TOP_UP_STATE_EXPIRED: _ClassVar[TopUpState]
    TOP_UP_STATE_REVERSED: _ClassVar[TopUpState]
TOP_UP_METHOD_UNSPECIFIED: TopUpMethod
TOP_UP_METHOD_X402: TopUpMethod
TOP_UP_METHOD_CARD: TopUpMethod
TOP_UP_STATE_UNSPECIFIED: TopUpState
TOP_UP_STATE_OPEN: TopUpState
TOP_UP_STATE_PENDING: TopUpState
TOP_UP_STATE_SUCCEEDED: TopUpState
TOP_UP_STATE_FAILED: TopUpState
TOP_UP_STATE_EXPIRED: TopUpState
TOP_UP_STATE_REVERSED: TopUpState

class TopUp(_message.Message):
    __slots__ = ("name", "amount_nanousd", "method", "state", "credited_nanousd", "reversed_nanousd", "network", "payment_id", "payer", "checkout_url", "x402_offer_json", "x402_required_json", "message", "create_time", "expire_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREDITED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REVERSED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYER_FIELD_NUMBER: _ClassVar[int]
    CHECKOUT_URL_FIELD_NUMBER: _ClassVar[int]
    X402_OFFER_JSON_FIELD_NUMBER: _ClassVar[int]
    X402_REQUIRED_JSON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    amount_nanousd: int
    method: TopUpMethod
    state: TopUpState
    credited_nanousd: int
    reversed_nanousd: int
    network: str
    payment_id: str
    payer: str
    checkout_url: str
    x402_offer_json: str
    x402_required_json: str
    message: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., method: _Optional[_Union[TopUpMethod, str]] = ..., state: _Optional[_Union[TopUpState, str]] = ..., credited_nanousd: _Optional[int] = ..., reversed_nanousd: _Optional[int] = ..., network: _Optional[str] = ..., payment_id: _Optional[str] = ..., payer: _Optional[str] = ..., checkout_url: _Optional[str] = ..., x402_offer_json: _Optional[str] = ..., x402_required_json: _Optional[str] = ..., message: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTopUpRequest(_message.Message):
    __slots__ = ("parent", "amount_nanousd", "method", "request_id", "return_url", "save_card")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RETURN_URL_FIELD_NUMBER: _ClassVar[int]
    SAVE_CARD_FIELD_NUMBER: _ClassVar[int]
    parent: str
    amount_nanousd: int
    method: TopUpMethod
    request_id: str
    return_url: str
    save_card: bool
    def __init__(self, parent: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., method: _Optional[_Union[TopUpMethod, str]] = ..., request_id: _Optional[str] = ..., return_url: _Optional[str] = ..., save_card: _Optional[bool] = ...) -> None: ...

class CreateTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class GetTopUpRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class ListTopUpsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTopUpsResponse(_message.Message):
    __slots__ = ("top_ups", "next_page_token")
    TOP_UPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    top_ups: _containers.RepeatedCompositeFieldContainer[TopUp]
    next_page_token: str
    def __init__(self, top_ups: _Optional[_Iterable[_Union[TopUp, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ConfirmTopUpRequest(_message.Message):
    __slots__ = ("name", "x402_payment")
    NAME_FIELD_NUMBER: _ClassVar[int]
    X402_PAYMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    x402_payment: str
    def __init__(self, name: _Optional[str] = ..., x402_payment: _Optional[str] = ...) -> None: ...

class ConfirmTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class ListPendingTopUpsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPendingTopUpsResponse(_message.Message):
    __slots__ = ("top_ups", "next_page_token")
    TOP_UPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    top_ups: _containers.RepeatedCompositeFieldContainer[TopUp]
    next_page_token: str
    def __init__(self, top_ups: _Optional[_Iterable[_Union[TopUp, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SettleTopUpRequest(_message.Message):
    __slots__ = ("name", "payment_id", "amount_nanousd", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    payment_id: str
    amount_nanousd: int
    reason: str
    def __init__(self, name: _Optional[str] = ..., payment_id: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class SettleTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class VoidTopUpRequest(_message.Message):
    __slots__ = ("name", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class VoidTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class AutoTopUp(_message.Message):
    __slots__ = ("name", "active", "threshold_nanousd", "amount_nanousd", "month_max_nanousd", "card", "fault", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    MONTH_MAX_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    active: bool
    threshold_nanousd: int
    amount_nanousd: int
    month_max_nanousd: int
    card: str
    fault: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., active: _Optional[bool] = ..., threshold_nanousd: _Optional[int] = ..., amount_nanousd: _Optional[int] = ..., month_max_nanousd: _Optional[int] = ..., card: _Optional[str] = ..., fault: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class GetAutoTopUpRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetAutoTopUpResponse(_message.Message):
    __slots__ = ("auto_top_up",)
    AUTO_TOP_UP_FIELD_NUMBER: _ClassVar[int]
    auto_top_up: AutoTopUp
    def __init__(self, auto_top_up: _Optional[_Union[AutoTopUp, _Mapping]] = ...) -> None: ...

class UpdateAutoTopUpRequest(_message.Message):
    __slots__ = ("auto_top_up", "update_mask")
    AUTO_TOP_UP_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    auto_top_up: AutoTopUp
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, auto_top_up: _Optional[_Union[AutoTopUp, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateAutoTopUpResponse(_message.Message):
    __slots__ = ("auto_top_up",)
    AUTO_TOP_UP_FIELD_NUMBER: _ClassVar[int]
    auto_top_up: AutoTopUp
    def __init__(self, auto_top_up: _Optional[_Union[AutoTopUp, _Mapping]] = ...) -> None: ...
