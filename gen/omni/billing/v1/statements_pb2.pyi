import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatementRequest(_message.Message):
    __slots__ = ("account", "month")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    account: str
    month: str
    def __init__(self, account: _Optional[str] = ..., month: _Optional[str] = ...) -> None: ...

class GetStatementResponse(_message.Message):
    __slots__ = ("statement",)
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    statement: Statement
    def __init__(self, statement: _Optional[_Union[Statement, _Mapping]] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("name", "opening_nanousd", "granted_nanousd", "charged_nanousd", "refunded_nanousd", "expired_nanousd", "closing_nanousd", "final", "csv")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPENING_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    GRANTED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    CHARGED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    CLOSING_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    CSV_FIELD_NUMBER: _ClassVar[int]
    name: str
    opening_nanousd: int
    granted_nanousd: int
    charged_nanousd: int
    refunded_nanousd: int
    expired_nanousd: int
    closing_nanousd: int
    final: bool
    csv: str
    def __init__(self, name: _Optional[str] = ..., opening_nanousd: _Optional[int] = ..., granted_nanousd: _Optional[int] = ..., charged_nanousd: _Optional[int] = ..., refunded_nanousd: _Optional[int] = ..., expired_nanousd: _Optional[int] = ..., closing_nanousd: _Optional[int] = ..., final: _Optional[bool] = ..., csv: _Optional[str] = ...) -> None: ...

class GetReceiptRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetReceiptResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: Receipt
    def __init__(self, receipt: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("top_up", "number", "customer", "amount_nanousd", "paid_by", "payment_id", "pay_time", "text")
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    PAID_BY_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAY_TIME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    top_up: str
    number: str
    customer: str
    amount_nanousd: int
    paid_by: str
    payment_id: str
    pay_time: _timestamp_pb2.Timestamp
    text: str
    def __init__(self, top_up: _Optional[str] = ..., number: _Optional[str] = ..., customer: _Optional[str] = ..., amount_nanousd: _Optional[int] = ..., paid_by: _Optional[str] = ..., payment_id: _Optional[str] = ..., pay_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...
