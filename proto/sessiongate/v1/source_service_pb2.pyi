import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sessiongate.v1 import session_service_pb2 as _session_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_ACTION_UNSPECIFIED: _ClassVar[SessionAction]
    SESSION_ACTION_CANCEL: _ClassVar[SessionAction]
    SESSION_ACTION_TERMINATE: _ClassVar[SessionAction]

class SourceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_STATE_UNSPECIFIED: _ClassVar[SourceState]
    SOURCE_STATE_PENDING: _ClassVar[SourceState]
    SOURCE_STATE_REACHABLE: _ClassVar[SourceState]
    SOURCE_STATE_UNREACHABLE: _ClassVar[SourceState]
SESSION_ACTION_UNSPECIFIED: SessionAction
SESSION_ACTION_CANCEL: SessionAction
SESSION_ACTION_TERMINATE: SessionAction
SOURCE_STATE_UNSPECIFIED: SourceState
SOURCE_STATE_PENDING: SourceState
SOURCE_STATE_REACHABLE: SourceState
SOURCE_STATE_UNREACHABLE: SourceState

class ListSourcesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSourcesResponse(_message.Message):
    __slots__ = ("sources", "ledger")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    ledger: str
    def __init__(self, sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., ledger: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("name", "kind", "state", "session_count", "last_success_time", "last_error", "last_error_time", "observation_duration", "truncated", "unreadable_sessions", "unreadable_members", "unreadable_example", "partial", "services", "actions", "shard", "core")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_DURATION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    CORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    state: SourceState
    session_count: int
    last_success_time: _timestamp_pb2.Timestamp
    last_error: str
    last_error_time: _timestamp_pb2.Timestamp
    observation_duration: _duration_pb2.Duration
    truncated: bool
    unreadable_sessions: int
    unreadable_members: int
    unreadable_example: str
    partial: str
    services: _containers.RepeatedCompositeFieldContainer[_session_service_pb2.ServiceStatus]
    actions: _containers.RepeatedScalarFieldContainer[SessionAction]
    shard: str
    core: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[_Union[SourceState, str]] = ..., session_count: _Optional[int] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error: _Optional[str] = ..., last_error_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observation_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., truncated: _Optional[bool] = ..., unreadable_sessions: _Optional[int] = ..., unreadable_members: _Optional[int] = ..., unreadable_example: _Optional[str] = ..., partial: _Optional[str] = ..., services: _Optional[_Iterable[_Union[_session_service_pb2.ServiceStatus, _Mapping]]] = ..., actions: _Optional[_Iterable[_Union[SessionAction, str]]] = ..., shard: _Optional[str] = ..., core: _Optional[str] = ...) -> None: ...
