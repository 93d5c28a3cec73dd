import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProviderCredential(_message.Message):
    __slots__ = ("name", "provider", "secret", "variables", "weight", "fee_ppm", "active", "hint", "etag", "create_time")
    class VariablesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FEE_PPM_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    provider: str
    secret: str
    variables: _containers.ScalarMap[str, str]
    weight: int
    fee_ppm: int
    active: bool
    hint: str
    etag: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., provider: _Optional[str] = ..., secret: _Optional[str] = ..., variables: _Optional[_Mapping[str, str]] = ..., weight: _Optional[int] = ..., fee_ppm: _Optional[int] = ..., active: _Optional[bool] = ..., hint: _Optional[str] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateProviderCredentialRequest(_message.Message):
    __slots__ = ("parent", "provider_credential_id", "provider_credential")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CREDENTIAL_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    provider_credential_id: str
    provider_credential: ProviderCredential
    def __init__(self, parent: _Optional[str] = ..., provider_credential_id: _Optional[str] = ..., provider_credential: _Optional[_Union[ProviderCredential, _Mapping]] = ...) -> None: ...

class CreateProviderCredentialResponse(_message.Message):
    __slots__ = ("provider_credential",)
    PROVIDER_CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    provider_credential: ProviderCredential
    def __init__(self, provider_credential: _Optional[_Union[ProviderCredential, _Mapping]] = ...) -> None: ...

class GetProviderCredentialRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetProviderCredentialResponse(_message.Message):
    __slots__ = ("provider_credential",)
    PROVIDER_CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    provider_credential: ProviderCredential
    def __init__(self, provider_credential: _Optional[_Union[ProviderCredential, _Mapping]] = ...) -> None: ...

class ListProviderCredentialsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProviderCredentialsResponse(_message.Message):
    __slots__ = ("provider_credentials", "next_page_token")
    PROVIDER_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider_credentials: _containers.RepeatedCompositeFieldContainer[ProviderCredential]
    next_page_token: str
    def __init__(self, provider_credentials: _Optional[_Iterable[_Union[ProviderCredential, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateProviderCredentialRequest(_message.Message):
    __slots__ = ("provider_credential", "update_mask")
    PROVIDER_CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    provider_credential: ProviderCredential
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, provider_credential: _Optional[_Union[ProviderCredential, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class UpdateProviderCredentialResponse(_message.Message):
    __slots__ = ("provider_credential",)
    PROVIDER_CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    provider_credential: ProviderCredential
    def __init__(self, provider_credential: _Optional[_Union[ProviderCredential, _Mapping]] = ...) -> None: ...

class DeleteProviderCredentialRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteProviderCredentialResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
