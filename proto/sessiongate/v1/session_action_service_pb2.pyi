import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TerminateSessionRequest(_message.Message):
    __slots__ = ("id", "identity_revision", "grace", "max_wait")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_REVISION_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_FIELD_NUMBER: _ClassVar[int]
    id: int
    identity_revision: int
    grace: _duration_pb2.Duration
    max_wait: _duration_pb2.Duration
    def __init__(self, id: _Optional[int] = ..., identity_revision: _Optional[int] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class TerminateSessionResponse(_message.Message):
    __slots__ = ("ended", "revision", "upstream_ids", "downstream_ids")
    ENDED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    ended: bool
    revision: int
    upstream_ids: _containers.RepeatedScalarFieldContainer[int]
    downstream_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ended: _Optional[bool] = ..., revision: _Optional[int] = ..., upstream_ids: _Optional[_Iterable[int]] = ..., downstream_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class CancelStatementRequest(_message.Message):
    __slots__ = ("id", "identity_revision", "activity_since_time", "revision", "max_wait")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_REVISION_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_FIELD_NUMBER: _ClassVar[int]
    id: int
    identity_revision: int
    activity_since_time: _timestamp_pb2.Timestamp
    revision: int
    max_wait: _duration_pb2.Duration
    def __init__(self, id: _Optional[int] = ..., identity_revision: _Optional[int] = ..., activity_since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., max_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CancelStatementResponse(_message.Message):
    __slots__ = ("ended", "revision", "upstream_ids", "downstream_ids")
    ENDED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    ended: bool
    revision: int
    upstream_ids: _containers.RepeatedScalarFieldContainer[int]
    downstream_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ended: _Optional[bool] = ..., revision: _Optional[int] = ..., upstream_ids: _Optional[_Iterable[int]] = ..., downstream_ids: _Optional[_Iterable[int]] = ...) -> None: ...
