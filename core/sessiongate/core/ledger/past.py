"""The rows of sessions that the ledger describes: of open ones, and of past ones.

A description is what `PastSession` of the contract keeps of a session. It is written when the
session opens, and again, as the session was last seen, when it moves to the past ones.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from sessiongate.v1.history_service_pb2 import EndReason, PastSession
from sessiongate.v1.session_pb2 import Session, SessionState

# Columns with the fields of a session that they hold, which may be absent unless they are here.
_ALWAYS = ("state", "service")
_OPTIONAL = ("user", "remote", "port", "database", "application", "native_id", "tls_cipher")
_VALUES = attrgetter(*_ALWAYS, *_OPTIONAL)
_MAY_BE_ABSENT = [*enumerate(_OPTIONAL, len(_ALWAYS))]
DESCRIBED = (*_ALWAYS, *_OPTIONAL, "truncated")
_LINKS = ("upstream_ids", "downstream_ids")
_LINKED = attrgetter(*_LINKS)
PAST = (
    *("end_time", "id", "source", "connect_time", "duration_class"),
    *("end_reason", "last_seen_time", "ended_by", "longest_transaction", *_LINKS, *DESCRIBED),
)
OPEN_SESSION = ("id", "source", "key", "connect_time", *DESCRIBED)
USUAL_REASON = EndReason.END_REASON_CLOSED  # to look it up takes almost a microsecond
_MOST_LINKS = 100  # ids of each direction
_TEXT_BYTES = 1024
_CLASS_BITS = 30  # 1.07 seconds, in nanoseconds
CLASSES = 64 - _CLASS_BITS

_DESCRIBED_TABLE = (
    "state BIGINT, service VARCHAR, user VARCHAR, remote VARCHAR, port BIGINT, database VARCHAR,"
    " application VARCHAR, native_id VARCHAR, tls_cipher VARCHAR, truncated VARCHAR"
)
SESSION_TABLES = (
    # INTEGER makes an id SQLite's own row number; any other type gets an index of its own.
    # Times are ns since the epoch.
    "open_sessions (id INTEGER NOT NULL PRIMARY KEY, source VARCHAR NOT NULL,"
    f" key VARCHAR NOT NULL, connect_time BIGINT NOT NULL, {_DESCRIBED_TABLE})",
    # In the order in which they end, so that rows are added at the end and dropped at the
    # beginning. A null end_reason is "closed", the usual one.
    "past_sessions (end_time BIGINT NOT NULL, id BIGINT NOT NULL, source VARCHAR NOT NULL,"
    " connect_time BIGINT NOT NULL, duration_class BIGINT NOT NULL, end_reason BIGINT,"
    " last_seen_time BIGINT, ended_by VARCHAR, longest_transaction BIGINT, upstream_ids BLOB,"
    f" downstream_ids BLOB, {_DESCRIBED_TABLE}, PRIMARY KEY (end_time, id)) WITHOUT ROWID",
)
SESSION_INDEXES = (
    # Of the sessions of a class, those that were connected at a moment are a short range of
    # their starts (`first_start`).
    "past_by_start ON past_sessions (duration_class, connect_time, id)",
    "past_by_id ON past_sessions (id)",
    "open_by_start ON open_sessions (connect_time, id)",
)

Description: TypeAlias = tuple[Any, ...]  # the values of `DESCRIBED`
UNDESCRIBED: Description = (None,) * len(DESCRIBED)


class Opening(NamedTuple):
    """A session seen for the first time."""

    key: str
    connect_time: int  # ns since the epoch
    stated_id: int | None = None  # its id, if that was never assigned
    session: Session | None = None  # what describes it


@dataclass(frozen=True, slots=True)
class Closing:
    """A session that has ended."""

    id: int
    connect_time: int  # ns since the epoch
    # As last seen; None: as when it opened. Very many may wait for the disk: they are encoded, as
    # field 1 of a message.
    seen: Session | bytes | None = None
    reason: EndReason = USUAL_REASON
    last_seen: int | None = None  # ns since the epoch, if it was not seen to end
    longest_transaction: int | None = None  # ns
    not_before: int = 0  # its end, in ns since the epoch
    ended_by: str | None = None  # who had it terminated, if that is the reason

    @property
    def session(self) -> Session | None:
        """The session as last seen; if it is encoded, each call decodes it."""
        seen = self.seen
        return PastSession.FromString(seen).session if isinstance(seen, bytes) else seen

    def end(self, now: int) -> int:
        """Return when it ended, if it was found ``now`` to have ended; times in ns."""
        return max(now, self.connect_time, self.not_before)


def description_of(session: Session | None) -> Description:
    """Return the values that describe a session."""
    if session is None:
        return UNDESCRIBED
    values: Sequence[Any] = _VALUES(session)
    if not all(values):
        values = [*values]
        for place, name in _MAY_BE_ABSENT:
            if not values[place] and not session.HasField(name):
                values[place] = None
    truncated, may_be_long = session.truncated, session.ByteSize() > _TEXT_BYTES
    if not truncated and not may_be_long:
        return *values, None
    cut = [name for name in truncated if name in DESCRIBED]
    if may_be_long:  # some text may be too long
        values = [_shortened(*pair, cut) for pair in zip(DESCRIBED, values, strict=False)]
    return *values, ",".join(dict.fromkeys(cut)) or None


def opening_description(opening: Opening, ident: int) -> Description:
    """Return the values that describe a session; one that keeps its id has no other."""
    session = opening.session
    if session is not None and session.HasField("native_id") and opening.stated_id == ident:
        session = Session.FromString(session.SerializeToString())
        session.ClearField("native_id")
    return description_of(session)


def _shortened(name: str, value: Any, cut: list[str]) -> Any:
    """Return as much of a text as is kept; add the name to ``cut`` if that is not all."""
    if not isinstance(value, str) or len(value.encode()) <= _TEXT_BYTES:
        return value
    cut.append(name)
    return value.encode()[:_TEXT_BYTES].decode(errors="ignore")


def ended(closing: Closing, source: str, opened: Description, end: int) -> tuple[Any, ...]:
    """Return the row, the values of `PAST`, of a session that ended at ``end``, in ns.

    If it was not seen since it opened, ``opened`` describes it.
    """
    start, session, seen = closing.connect_time, closing.session, closing.last_seen
    up, down = (None, None) if session is None else _LINKED(session)
    return (
        *(end, closing.id, source, start, duration_class(end - start)),
        None if closing.reason == USUAL_REASON else closing.reason,
        None if seen is None else max(start, min(seen, end)),
        *(closing.ended_by or None, closing.longest_transaction),
        *(_packed(up) if up else None, _packed(down) if down else None),
        *(opened if session is None else description_of(session)),
    )


def duration_class(duration: int) -> int:
    """Return the class of a duration in ns: sessions of class n last less than 2^(30 + n)."""
    return (duration >> _CLASS_BITS).bit_length()


def longest(number: int) -> int:
    """Return a duration, in ns, that no session of a class reaches."""
    return 1 << (_CLASS_BITS + number)


def first_start(moment: int, number: int) -> int:
    """Return a time after which all sessions of a class began that had not ended by a moment."""
    return moment - longest(number)


def past_session(row: Sequence[Any]) -> PastSession:
    """Return the session of a row with the columns of `PAST`; one without an end is open."""
    end, ident, source, start, _, reason, last_seen, ended_by, longest, up, down, *rest = row
    session = described(rest, ident, source, start)
    for name, packed in zip(_LINKS, (up, down), strict=True):
        if packed:
            getattr(session, name).extend(array("Q", packed))
    past = PastSession(session=session)
    if end is not None:
        past.end_time.FromNanoseconds(end)
        past.end_reason = reason or USUAL_REASON
    if last_seen is not None:
        past.last_seen_time.FromNanoseconds(last_seen)
    if ended_by is not None:
        past.ended_by = ended_by
    if longest is not None:
        past.longest_transaction.FromNanoseconds(longest)
    return past


def described(description: Sequence[Any], ident: int, source: str, start: int) -> Session:
    """Return the session that the values of `DESCRIBED` describe."""
    state, service, *optional, truncated = description
    session = Session(id=ident, source=source, service=service or "")
    session.state = state or SessionState.SESSION_STATE_UNSPECIFIED
    session.connect_time.FromNanoseconds(start)
    for name, value in zip(_OPTIONAL, optional, strict=True):
        if value is not None:
            setattr(session, name, value)
    if truncated:
        session.truncated.extend(truncated.split(","))
    return session


def refresh(past: PastSession, session: Session) -> None:
    """Replace the session by another state of it, of which only what is kept is taken."""
    start = past.session.connect_time.ToNanoseconds()
    again = described(description_of(session), session.id, session.source, start)
    for name in _LINKS:
        getattr(again, name).extend(getattr(session, name)[:_MOST_LINKS])
    past.session.CopyFrom(again)


def _packed(idents: Sequence[int]) -> bytes:
    return array("Q", idents[:_MOST_LINKS]).tobytes()
