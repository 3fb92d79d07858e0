import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sessiongate.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CountBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COUNT_BY_UNSPECIFIED: _ClassVar[CountBy]
    COUNT_BY_SERVICE: _ClassVar[CountBy]
    COUNT_BY_SOURCE: _ClassVar[CountBy]
    COUNT_BY_USER: _ClassVar[CountBy]
    COUNT_BY_APPLICATION: _ClassVar[CountBy]
    COUNT_BY_DATABASE: _ClassVar[CountBy]
    COUNT_BY_REMOTE: _ClassVar[CountBy]
    COUNT_BY_STATE: _ClassVar[CountBy]
    COUNT_BY_ACTIVITY: _ClassVar[CountBy]
COUNT_BY_UNSPECIFIED: CountBy
COUNT_BY_SERVICE: CountBy
COUNT_BY_SOURCE: CountBy
COUNT_BY_USER: CountBy
COUNT_BY_APPLICATION: CountBy
COUNT_BY_DATABASE: CountBy
COUNT_BY_REMOTE: CountBy
COUNT_BY_STATE: CountBy
COUNT_BY_ACTIVITY: CountBy

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "skip", "order_by", "read_mask", "after_id", "before_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: SessionFilter
    skip: int
    order_by: str
    read_mask: _field_mask_pb2.FieldMask
    after_id: int
    before_id: int
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[SessionFilter, _Mapping]] = ..., skip: _Optional[int] = ..., order_by: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., after_id: _Optional[int] = ..., before_id: _Optional[int] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token", "total_size", "revision", "update_time", "unreachable", "partial", "read_time")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    next_page_token: str
    total_size: int
    revision: int
    update_time: _timestamp_pb2.Timestamp
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    partial: _containers.RepeatedScalarFieldContainer[str]
    read_time: _timestamp_pb2.Timestamp
    def __init__(self, sessions: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ..., revision: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unreachable: _Optional[_Iterable[str]] = ..., partial: _Optional[_Iterable[str]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SessionFilter(_message.Message):
    __slots__ = ("services", "users", "remotes", "states", "sources", "connected_after", "connected_before", "databases", "applications", "activities", "min_activity_duration", "min_idle")
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    REMOTES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AFTER_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    DATABASES_FIELD_NUMBER: _ClassVar[int]
    APPLICATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITIES_FIELD_NUMBER: _ClassVar[int]
    MIN_ACTIVITY_DURATION_FIELD_NUMBER: _ClassVar[int]
    MIN_IDLE_FIELD_NUMBER: _ClassVar[int]
    services: _containers.RepeatedScalarFieldContainer[str]
    users: _containers.RepeatedScalarFieldContainer[str]
    remotes: _containers.RepeatedScalarFieldContainer[str]
    states: _containers.RepeatedScalarFieldContainer[_session_pb2.SessionState]
    sources: _containers.RepeatedScalarFieldContainer[str]
    connected_after: _timestamp_pb2.Timestamp
    connected_before: _timestamp_pb2.Timestamp
    databases: _containers.RepeatedScalarFieldContainer[str]
    applications: _containers.RepeatedScalarFieldContainer[str]
    activities: _containers.RepeatedScalarFieldContainer[_session_pb2.ActivityState]
    min_activity_duration: _duration_pb2.Duration
    min_idle: _duration_pb2.Duration
    def __init__(self, services: _Optional[_Iterable[str]] = ..., users: _Optional[_Iterable[str]] = ..., remotes: _Optional[_Iterable[str]] = ..., states: _Optional[_Iterable[_Union[_session_pb2.SessionState, str]]] = ..., sources: _Optional[_Iterable[str]] = ..., connected_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., connected_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., databases: _Optional[_Iterable[str]] = ..., applications: _Optional[_Iterable[str]] = ..., activities: _Optional[_Iterable[_Union[_session_pb2.ActivityState, str]]] = ..., min_activity_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., min_idle: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CountSessionsRequest(_message.Message):
    __slots__ = ("filter", "by", "page_size", "page_token", "skip")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    filter: SessionFilter
    by: _containers.RepeatedScalarFieldContainer[CountBy]
    page_size: int
    page_token: str
    skip: int
    def __init__(self, filter: _Optional[_Union[SessionFilter, _Mapping]] = ..., by: _Optional[_Iterable[_Union[CountBy, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., skip: _Optional[int] = ...) -> None: ...

class CountSessionsResponse(_message.Message):
    __slots__ = ("groups", "next_page_token", "total_groups", "total_size", "revision", "update_time", "unreachable", "partial", "read_time")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_GROUPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[SessionGroup]
    next_page_token: str
    total_groups: int
    total_size: int
    revision: int
    update_time: _timestamp_pb2.Timestamp
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    partial: _containers.RepeatedScalarFieldContainer[str]
    read_time: _timestamp_pb2.Timestamp
    def __init__(self, groups: _Optional[_Iterable[_Union[SessionGroup, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_groups: _Optional[int] = ..., total_size: _Optional[int] = ..., revision: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unreachable: _Optional[_Iterable[str]] = ..., partial: _Optional[_Iterable[str]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SessionGroup(_message.Message):
    __slots__ = ("values", "count")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[GroupValue]
    count: int
    def __init__(self, values: _Optional[_Iterable[_Union[GroupValue, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...

class GroupValue(_message.Message):
    __slots__ = ("text", "state", "activity")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    text: str
    state: _session_pb2.SessionState
    activity: _session_pb2.ActivityState
    def __init__(self, text: _Optional[str] = ..., state: _Optional[_Union[_session_pb2.SessionState, str]] = ..., activity: _Optional[_Union[_session_pb2.ActivityState, str]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session", "unreachable", "update_time", "partial", "read_time")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    unreachable: _containers.RepeatedScalarFieldContainer[str]
    update_time: _timestamp_pb2.Timestamp
    partial: _containers.RepeatedScalarFieldContainer[str]
    read_time: _timestamp_pb2.Timestamp
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., unreachable: _Optional[_Iterable[str]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., partial: _Optional[_Iterable[str]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchSessionsRequest(_message.Message):
    __slots__ = ("filter", "resume_revision")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RESUME_REVISION_FIELD_NUMBER: _ClassVar[int]
    filter: SessionFilter
    resume_revision: int
    def __init__(self, filter: _Optional[_Union[SessionFilter, _Mapping]] = ..., resume_revision: _Optional[int] = ...) -> None: ...

class WatchSessionsResponse(_message.Message):
    __slots__ = ("snapshot", "sync", "changes", "progress", "revision", "update_time", "as_of", "read_time")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    snapshot: WatchSnapshot
    sync: WatchSync
    changes: WatchChanges
    progress: WatchProgress
    revision: int
    update_time: _timestamp_pb2.Timestamp
    as_of: _duration_pb2.Duration
    read_time: _timestamp_pb2.Timestamp
    def __init__(self, snapshot: _Optional[_Union[WatchSnapshot, _Mapping]] = ..., sync: _Optional[_Union[WatchSync, _Mapping]] = ..., changes: _Optional[_Union[WatchChanges, _Mapping]] = ..., progress: _Optional[_Union[WatchProgress, _Mapping]] = ..., revision: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchSnapshot(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    def __init__(self, sessions: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ...) -> None: ...

class WatchSync(_message.Message):
    __slots__ = ("sources", "sources_update_time")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[SourceStatus]
    sources_update_time: _timestamp_pb2.Timestamp
    def __init__(self, sources: _Optional[_Iterable[_Union[SourceStatus, _Mapping]]] = ..., sources_update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchChanges(_message.Message):
    __slots__ = ("upserts", "removals", "sources", "removed_sources")
    UPSERTS_FIELD_NUMBER: _ClassVar[int]
    REMOVALS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_SOURCES_FIELD_NUMBER: _ClassVar[int]
    upserts: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    removals: _containers.RepeatedCompositeFieldContainer[SessionRemoval]
    sources: _containers.RepeatedCompositeFieldContainer[SourceStatus]
    removed_sources: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, upserts: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ..., removals: _Optional[_Iterable[_Union[SessionRemoval, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[SourceStatus, _Mapping]]] = ..., removed_sources: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchProgress(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionRemoval(_message.Message):
    __slots__ = ("id", "revision")
    ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: int
    revision: int
    def __init__(self, id: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class SourceStatus(_message.Message):
    __slots__ = ("name", "reachable", "error", "partial", "services")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    name: str
    reachable: bool
    error: str
    partial: str
    services: _containers.RepeatedCompositeFieldContainer[ServiceStatus]
    def __init__(self, name: _Optional[str] = ..., reachable: _Optional[bool] = ..., error: _Optional[str] = ..., partial: _Optional[str] = ..., services: _Optional[_Iterable[_Union[ServiceStatus, _Mapping]]] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("name", "router", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROUTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    router: str
    state: str
    def __init__(self, name: _Optional[str] = ..., router: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...
