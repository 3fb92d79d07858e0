import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_ALLOC: _ClassVar[SessionState]
    SESSION_STATE_READY: _ClassVar[SessionState]
    SESSION_STATE_ROUTER_READY: _ClassVar[SessionState]
    SESSION_STATE_LISTENER: _ClassVar[SessionState]
    SESSION_STATE_LISTENER_STOPPED: _ClassVar[SessionState]
    SESSION_STATE_STOPPING: _ClassVar[SessionState]
    SESSION_STATE_TO_BE_FREED: _ClassVar[SessionState]
    SESSION_STATE_FREE: _ClassVar[SessionState]
    SESSION_STATE_DUMMY: _ClassVar[SessionState]
    SESSION_STATE_STARTED: _ClassVar[SessionState]

class ActivityState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVITY_STATE_UNSPECIFIED: _ClassVar[ActivityState]
    ACTIVITY_STATE_ACTIVE: _ClassVar[ActivityState]
    ACTIVITY_STATE_IDLE: _ClassVar[ActivityState]
    ACTIVITY_STATE_IDLE_IN_TRANSACTION: _ClassVar[ActivityState]
    ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED: _ClassVar[ActivityState]
    ACTIVITY_STATE_WAITING: _ClassVar[ActivityState]
    ACTIVITY_STATE_CONNECTING: _ClassVar[ActivityState]
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_ALLOC: SessionState
SESSION_STATE_READY: SessionState
SESSION_STATE_ROUTER_READY: SessionState
SESSION_STATE_LISTENER: SessionState
SESSION_STATE_LISTENER_STOPPED: SessionState
SESSION_STATE_STOPPING: SessionState
SESSION_STATE_TO_BE_FREED: SessionState
SESSION_STATE_FREE: SessionState
SESSION_STATE_DUMMY: SessionState
SESSION_STATE_STARTED: SessionState
ACTIVITY_STATE_UNSPECIFIED: ActivityState
ACTIVITY_STATE_ACTIVE: ActivityState
ACTIVITY_STATE_IDLE: ActivityState
ACTIVITY_STATE_IDLE_IN_TRANSACTION: ActivityState
ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED: ActivityState
ACTIVITY_STATE_WAITING: ActivityState
ACTIVITY_STATE_CONNECTING: ActivityState

class Session(_message.Message):
    __slots__ = ("id", "source", "native_id", "service", "filters", "state", "connect_time", "update_time", "revision", "user", "remote", "port", "database", "last_active_time", "tls_cipher", "application", "connection_attributes", "connections", "queries", "upstream_ids", "downstream_ids", "memory_bytes", "io_activity", "thread", "known_empty", "truncated", "activity", "identity_revision", "tcp_links")
    class ConnectionAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NATIVE_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONNECT_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    TLS_CIPHER_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    DOWNSTREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IO_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    KNOWN_EMPTY_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_REVISION_FIELD_NUMBER: _ClassVar[int]
    TCP_LINKS_FIELD_NUMBER: _ClassVar[int]
    id: int
    source: str
    native_id: str
    service: str
    filters: _containers.RepeatedScalarFieldContainer[str]
    state: SessionState
    connect_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    revision: int
    user: str
    remote: str
    port: int
    database: str
    last_active_time: _timestamp_pb2.Timestamp
    tls_cipher: str
    application: str
    connection_attributes: _containers.ScalarMap[str, str]
    connections: _containers.RepeatedCompositeFieldContainer[BackendConnection]
    queries: _containers.RepeatedCompositeFieldContainer[Query]
    upstream_ids: _containers.RepeatedScalarFieldContainer[int]
    downstream_ids: _containers.RepeatedScalarFieldContainer[int]
    memory_bytes: int
    io_activity: int
    thread: int
    known_empty: _containers.RepeatedScalarFieldContainer[str]
    truncated: _containers.RepeatedScalarFieldContainer[str]
    activity: Activity
    identity_revision: int
    tcp_links: TcpLinks
    def __init__(self, id: _Optional[int] = ..., source: _Optional[str] = ..., native_id: _Optional[str] = ..., service: _Optional[str] = ..., filters: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[SessionState, str]] = ..., connect_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., user: _Optional[str] = ..., remote: _Optional[str] = ..., port: _Optional[int] = ..., database: _Optional[str] = ..., last_active_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tls_cipher: _Optional[str] = ..., application: _Optional[str] = ..., connection_attributes: _Optional[_Mapping[str, str]] = ..., connections: _Optional[_Iterable[_Union[BackendConnection, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[Query, _Mapping]]] = ..., upstream_ids: _Optional[_Iterable[int]] = ..., downstream_ids: _Optional[_Iterable[int]] = ..., memory_bytes: _Optional[int] = ..., io_activity: _Optional[int] = ..., thread: _Optional[int] = ..., known_empty: _Optional[_Iterable[str]] = ..., truncated: _Optional[_Iterable[str]] = ..., activity: _Optional[_Union[Activity, _Mapping]] = ..., identity_revision: _Optional[int] = ..., tcp_links: _Optional[_Union[TcpLinks, _Mapping]] = ...) -> None: ...

class TcpLinks(_message.Message):
    __slots__ = ("accepted", "opened")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    accepted: TcpLink
    opened: _containers.RepeatedCompositeFieldContainer[TcpLink]
    def __init__(self, accepted: _Optional[_Union[TcpLink, _Mapping]] = ..., opened: _Optional[_Iterable[_Union[TcpLink, _Mapping]]] = ...) -> None: ...

class TcpLink(_message.Message):
    __slots__ = ("client", "server", "server_id")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    client: str
    server: str
    server_id: int
    def __init__(self, client: _Optional[str] = ..., server: _Optional[str] = ..., server_id: _Optional[int] = ...) -> None: ...

class BackendConnection(_message.Message):
    __slots__ = ("server", "connection_id", "tls_cipher")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    TLS_CIPHER_FIELD_NUMBER: _ClassVar[int]
    server: str
    connection_id: int
    tls_cipher: str
    def __init__(self, server: _Optional[str] = ..., connection_id: _Optional[int] = ..., tls_cipher: _Optional[str] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("statement", "receive_time", "complete_time", "truncated")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    statement: str
    receive_time: _timestamp_pb2.Timestamp
    complete_time: _timestamp_pb2.Timestamp
    truncated: bool
    def __init__(self, statement: _Optional[str] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., complete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class Activity(_message.Message):
    __slots__ = ("state", "since_time", "native", "wait", "transaction_start_time", "blocked_by_ids")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    NATIVE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_START_TIME_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_BY_IDS_FIELD_NUMBER: _ClassVar[int]
    state: ActivityState
    since_time: _timestamp_pb2.Timestamp
    native: str
    wait: str
    transaction_start_time: _timestamp_pb2.Timestamp
    blocked_by_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, state: _Optional[_Union[ActivityState, str]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., native: _Optional[str] = ..., wait: _Optional[str] = ..., transaction_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., blocked_by_ids: _Optional[_Iterable[int]] = ...) -> None: ...
