"""HAProxy's clients as sessions, read from the streams in responses of its runtime API.

A stream that cannot be read is left out; so is a member that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import TypeAlias

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    Observed,
    TcpLink,
    Unreadable,
    UnreadableError,
    know_empty,
)
from sessiongate.core.sources.support.known_rows import KnownRows
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.peer import is_loopback
from sessiongate.core.sources.support.runtime_api import StatsDump
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.core.sources.support.stream import (
    MAX_STREAM,
    Progress,
    Stream,
    each_block,
    each_line,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Session, SessionState

# The frontend to which HAProxy assigns the clients of its own runtime API.
_OWN_FRONTEND = "GLOBAL"
_TOO_LONG = Unreadable(f"show sess: expected at most {MAX_STREAM // 1024} KiB")


# The source of a stream: its identity and its text.
_Row: TypeAlias = tuple[object, str]
# Its session; None if it is not one.
_Found: TypeAlias = Observed | Unreadable | None


class Streams:
    """Turns responses into observations, and keeps the sessions of the last one."""

    def __init__(
        self, *, include_self: bool, is_here: bool = True, most: int = 2 * DEFAULT_MAX_SESSIONS
    ) -> None:
        """Read at most ``most`` streams of a response.

        ``is_here`` means that HAProxy is on this machine: its loopback is ours.
        """
        self._most = most
        self._include_self = include_self
        self._is_here = is_here
        self._process: tuple[str, float | None] | None = None
        self._uptime = 0
        self._rows = _known_rows()
        # What was made of the rows, and of that.
        self._found: list[_Found] = []
        self._sessions: list[Observed] = []
        self._unreadable: tuple[Unreadable, ...] = ()
        self._starts: Mapping[str, int] = {}  # by key, in seconds since the epoch
        self._last: Observation | None = None

    def read(self, parts: Sequence[str], moment: float, *, blocks: bool = False) -> Observation:
        """Read the sessions of a response in parts, which arrived at ``moment``.

        ``moment`` is in seconds since the epoch. ``blocks`` means that this is a response to
        ``show sess all``. Run this in a thread; it works in steps. Raises `SourceError`.
        """
        pace = Pace()
        answer = StatsDump.parse(parts)
        process = (answer.pid, self._start(answer, moment))
        rows = self._rows if process == self._process else _known_rows()
        began, starts = self._starts, dict[str, int]()

        made: dict[object, _Found] = {}  # by identity: a stream may be listed twice

        def make(row: _Row, before: _Found) -> _Found:
            identity, text = row
            pace.sleep()
            if len(text) > MAX_STREAM:
                return _TOO_LONG
            if identity not in made:
                try:
                    stream = Stream.parse(text)
                    found = self._observed(answer.pid, stream, moment, began, starts)
                    made[identity] = _unchanged(before, found) or found
                except UnreadableError as error:
                    made[identity] = Unreadable(str(error))
            return made[identity]

        following = (each_block if blocks else each_line)(answer.streams)
        found = rows.read_apart(islice(following, self._most), make, pace)
        is_cut = next(following, None) is not None
        if found is not self._found:
            self._take(found, began, starts)
        self._process, self._rows, self._found = process, rows, found
        partial = f"only the first {self._most} streams are read" if is_cut else ""
        self._last = reuse_if_same(
            self._last, self._sessions, process[1], self._unreadable, partial
        )
        return self._last

    def _take(
        self, found: list[_Found], began: Mapping[str, int], starts: Mapping[str, int]
    ) -> None:
        """Take over what was made of the rows, and the starts that sessions had or have now."""
        self._sessions = [*dict.fromkeys(each for each in found if isinstance(each, Observed))]
        self._unreadable = tuple(each for each in found if isinstance(each, Unreadable))
        known = {**began, **starts}
        self._starts = {each.key: known[each.key] for each in self._sessions if each.key in known}

    def _start(self, answer: StatsDump, moment: float) -> float | None:
        """Return the process's start, in seconds since the epoch; None if it is unknown."""
        if answer.start is not None:
            return answer.start
        is_same = self._process is not None and self._process[0] == answer.pid
        last = self._process[1] if self._process and is_same else None
        uptime = answer.uptime
        if uptime is None or uptime > moment:
            return last
        # The uptime stops while the process is stopped, so it is ignored for a process
        # that is known to have continued.
        before, self._uptime = self._uptime, uptime
        return last if last is not None and uptime >= before else moment - uptime

    def _observed(
        self,
        pid: str,
        stream: Stream,
        moment: float,
        began: Mapping[str, int],
        starts: dict[str, int],
    ) -> Observed | None:
        """Read a stream; ``began`` are the starts known so far, ``starts`` takes its own."""
        if not stream.has_client:
            return None
        frontend = stream.name("fe")
        if frontend == _OWN_FRONTEND and not self._include_self:
            return None
        key = stream_key(pid, stream)
        session = Session(native_id=stream.pointer, service=frontend)
        odd: list[Unreadable] = []
        with _recording(odd, "remote", "port"):
            if client := stream.end("src"):
                session.remote, session.port = client
        with _recording(odd, "connect_time"):
            if (start := stream.start(moment, began.get(key))) is not None:
                starts[key] = start
                session.connect_time.FromSeconds(start)
        with _recording(odd, "state", "connections"):
            _route(session, stream.target("be"), stream.target("srv"))
        _set_activity(session, stream.progress)
        accepted, opened = None, None
        with _recording(odd):
            accepted = self._link(stream, "src", "fe.addr")
        with _recording(odd):
            opened = self._link(stream, "be.addr", "srv.addr")
        know_empty(session, odd, "connections")
        return Observed(key, session, accepted, (opened,) if opened else (), tuple(odd))

    def _link(self, stream: Stream, client: str, server: str) -> TcpLink | None:
        """Return the connection between two ends; None unless both are known and unambiguous."""
        if server not in stream.fields:
            return None
        ends = stream.end(client), stream.end(server)
        if ends[0] is None or ends[1] is None:
            return None
        if not self._is_here and (is_loopback(ends[0][0]) or is_loopback(ends[1][0])):
            return None
        return TcpLink(*ends)


def stream_key(pid: str, stream: Stream) -> str:
    """Return the key of a stream's session."""
    return f"{pid} {stream.pointer} {stream.name('fe')} {stream.name('src')}"


@contextmanager
def _recording(lost: list[Unreadable], *fields: str) -> Iterator[None]:
    """Record in ``lost`` what cannot be read, with the fields that it would have filled."""
    try:
        yield
    except UnreadableError as error:
        lost.append(Unreadable(str(error), fields))


def _known_rows() -> KnownRows[_Row, object, _Found]:
    return KnownRows(itemgetter(0), lambda rows: [row[0] for row in rows], _is_lasting)


def _is_lasting(found: _Found) -> bool:
    """Return whether nothing in a stream is unreadable, which may be readable the next time."""
    return found is None or (isinstance(found, Observed) and not found.unreadable)


def _unchanged(before: _Found, found: Observed | None) -> Observed | None:
    """Return the previous session if the same parts are unreadable: its text is unchanged."""
    if isinstance(before, Observed) and found is not None:
        return before if before.unreadable == found.unreadable else None
    return None


def _route(session: Session, backend: str | None, server: str | None) -> None:
    """Set a session's state and server by the progress of its stream."""
    session.state = _state(backend, server)
    if server:
        name = f"{backend}/{server}" if backend else server
        session.connections.append(BackendConnection(server=name))


def _set_activity(session: Session, progress: Progress | None) -> None:
    if progress is None:
        return
    activity = session.activity
    activity.state, activity.native = progress.state, progress.native
    if progress.state == session_pb2.ACTIVITY_STATE_WAITING:
        activity.wait = "queue"
    if session.HasField("connect_time"):
        activity.since_time.CopyFrom(session.connect_time)


def _state(backend: str | None, server: str | None) -> SessionState:
    if server:
        return session_pb2.SESSION_STATE_STARTED
    if backend:
        return session_pb2.SESSION_STATE_ROUTER_READY
    return session_pb2.SESSION_STATE_READY
