import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sessiongate.v1 import session_pb2 as _session_pb2
from sessiongate.v1 import session_service_pb2 as _session_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_CLOSED: _ClassVar[EndReason]
    END_REASON_SOURCE_RESTARTED: _ClassVar[EndReason]
    END_REASON_REPLACED: _ClassVar[EndReason]
    END_REASON_NOT_SEEN: _ClassVar[EndReason]
    END_REASON_TERMINATED: _ClassVar[EndReason]

class GapReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_REASON_UNSPECIFIED: _ClassVar[GapReason]
    GAP_REASON_UNREACHABLE: _ClassVar[GapReason]
    GAP_REASON_CORE_DOWN: _ClassVar[GapReason]
    GAP_REASON_PARTIAL: _ClassVar[GapReason]
    GAP_REASON_BEFORE_HISTORY: _ClassVar[GapReason]
    GAP_REASON_RETENTION: _ClassVar[GapReason]
    GAP_REASON_BELOW_MINIMUM: _ClassVar[GapReason]
END_REASON_UNSPECIFIED: EndReason
END_REASON_CLOSED: EndReason
END_REASON_SOURCE_RESTARTED: EndReason
END_REASON_REPLACED: EndReason
END_REASON_NOT_SEEN: EndReason
END_REASON_TERMINATED: EndReason
GAP_REASON_UNSPECIFIED: GapReason
GAP_REASON_UNREACHABLE: GapReason
GAP_REASON_CORE_DOWN: GapReason
GAP_REASON_PARTIAL: GapReason
GAP_REASON_BEFORE_HISTORY: GapReason
GAP_REASON_RETENTION: GapReason
GAP_REASON_BELOW_MINIMUM: GapReason

class PastSessionFilter(_message.Message):
    __slots__ = ("at_time", "start_time", "end_time", "sessions")
    AT_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    at_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    sessions: _session_service_pb2.SessionFilter
    def __init__(self, at_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sessions: _Optional[_Union[_session_service_pb2.SessionFilter, _Mapping]] = ...) -> None: ...

class ListPastSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "order_by")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: PastSessionFilter
    order_by: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[_Union[PastSessionFilter, _Mapping]] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListPastSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token", "gaps", "as_of_time")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[PastSession]
    next_page_token: str
    gaps: _containers.RepeatedCompositeFieldContainer[HistoryGap]
    as_of_time: _timestamp_pb2.Timestamp
    def __init__(self, sessions: _Optional[_Iterable[_Union[PastSession, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., gaps: _Optional[_Iterable[_Union[HistoryGap, _Mapping]]] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetPastSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class GetPastSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: PastSession
    def __init__(self, session: _Optional[_Union[PastSession, _Mapping]] = ...) -> None: ...

class ExportPastSessionsRequest(_message.Message):
    __slots__ = ("filter", "order_by")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    filter: PastSessionFilter
    order_by: str
    def __init__(self, filter: _Optional[_Union[PastSessionFilter, _Mapping]] = ..., order_by: _Optional[str] = ...) -> None: ...

class ExportPastSessionsResponse(_message.Message):
    __slots__ = ("sessions", "gaps", "as_of_time")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[PastSession]
    gaps: _containers.RepeatedCompositeFieldContainer[HistoryGap]
    as_of_time: _timestamp_pb2.Timestamp
    def __init__(self, sessions: _Optional[_Iterable[_Union[PastSession, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[HistoryGap, _Mapping]]] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CountPastSessionsRequest(_message.Message):
    __slots__ = ("filter", "moments", "by", "max_groups")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    MAX_GROUPS_FIELD_NUMBER: _ClassVar[int]
    filter: PastSessionFilter
    moments: int
    by: _session_service_pb2.CountBy
    max_groups: int
    def __init__(self, filter: _Optional[_Union[PastSessionFilter, _Mapping]] = ..., moments: _Optional[int] = ..., by: _Optional[_Union[_session_service_pb2.CountBy, str]] = ..., max_groups: _Optional[int] = ...) -> None: ...

class CountPastSessionsResponse(_message.Message):
    __slots__ = ("times", "groups", "total_counts", "gaps", "as_of_time")
    TIMES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNTS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    times: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    groups: _containers.RepeatedCompositeFieldContainer[PastSessionGroup]
    total_counts: _containers.RepeatedScalarFieldContainer[int]
    gaps: _containers.RepeatedCompositeFieldContainer[HistoryGap]
    as_of_time: _timestamp_pb2.Timestamp
    def __init__(self, times: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[PastSessionGroup, _Mapping]]] = ..., total_counts: _Optional[_Iterable[int]] = ..., gaps: _Optional[_Iterable[_Union[HistoryGap, _Mapping]]] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PastSessionGroup(_message.Message):
    __slots__ = ("value", "counts")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    value: _session_service_pb2.GroupValue
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, value: _Optional[_Union[_session_service_pb2.GroupValue, _Mapping]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class PastSession(_message.Message):
    __slots__ = ("session", "end_time", "end_reason", "last_seen_time", "ended_by", "longest_transaction")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_FIELD_NUMBER: _ClassVar[int]
    LONGEST_TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    end_time: _timestamp_pb2.Timestamp
    end_reason: EndReason
    last_seen_time: _timestamp_pb2.Timestamp
    ended_by: str
    longest_transaction: _duration_pb2.Duration
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_reason: _Optional[_Union[EndReason, str]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_by: _Optional[str] = ..., longest_transaction: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class HistoryGap(_message.Message):
    __slots__ = ("source", "start_time", "end_time", "reason")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    source: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    reason: GapReason
    def __init__(self, source: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[GapReason, str]] = ...) -> None: ...
