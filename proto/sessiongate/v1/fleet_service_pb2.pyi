import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShardState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHARD_STATE_UNSPECIFIED: _ClassVar[ShardState]
    SHARD_STATE_PENDING: _ClassVar[ShardState]
    SHARD_STATE_HEARD: _ClassVar[ShardState]
    SHARD_STATE_SILENT: _ClassVar[ShardState]
    SHARD_STATE_IDLE: _ClassVar[ShardState]
SHARD_STATE_UNSPECIFIED: ShardState
SHARD_STATE_PENDING: ShardState
SHARD_STATE_HEARD: ShardState
SHARD_STATE_SILENT: ShardState
SHARD_STATE_IDLE: ShardState

class ListShardsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListShardsResponse(_message.Message):
    __slots__ = ("shards", "fronts", "ended", "read_time", "front", "trouble")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    FRONTS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    FRONT_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[Shard]
    fronts: _containers.RepeatedCompositeFieldContainer[FleetCore]
    ended: _containers.RepeatedCompositeFieldContainer[FleetCore]
    read_time: _timestamp_pb2.Timestamp
    front: str
    trouble: str
    def __init__(self, shards: _Optional[_Iterable[_Union[Shard, _Mapping]]] = ..., fronts: _Optional[_Iterable[_Union[FleetCore, _Mapping]]] = ..., ended: _Optional[_Iterable[_Union[FleetCore, _Mapping]]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., front: _Optional[str] = ..., trouble: _Optional[str] = ...) -> None: ...

class Shard(_message.Message):
    __slots__ = ("name", "state", "state_time", "trouble", "active", "standbys", "sources")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    STANDBYS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ShardState
    state_time: _timestamp_pb2.Timestamp
    trouble: str
    active: FleetCore
    standbys: _containers.RepeatedCompositeFieldContainer[FleetCore]
    sources: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ShardState, str]] = ..., state_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trouble: _Optional[str] = ..., active: _Optional[_Union[FleetCore, _Mapping]] = ..., standbys: _Optional[_Iterable[_Union[FleetCore, _Mapping]]] = ..., sources: _Optional[_Iterable[str]] = ...) -> None: ...

class FleetCore(_message.Message):
    __slots__ = ("name", "address", "host", "version", "since_time", "shard", "observe_time", "unreadable", "clock_off")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFF_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    host: str
    version: str
    since_time: _timestamp_pb2.Timestamp
    shard: str
    observe_time: _timestamp_pb2.Timestamp
    unreadable: _containers.RepeatedScalarFieldContainer[str]
    clock_off: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., shard: _Optional[str] = ..., observe_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., unreadable: _Optional[_Iterable[str]] = ..., clock_off: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
