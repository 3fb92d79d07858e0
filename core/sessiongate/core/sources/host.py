"""``host:``: the TCP connections of this machine that the process's user may see.

A listening socket is a service and a "Listener Session"; a connection that it
accepted is a session on that service. A connection whose listener is gone
looks like an outgoing one, and is not shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from socket import getservbyport
from typing import TypeAlias

import psutil
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    Observed,
    SourceConfig,
    SourceConfigError,
    SourceError,
    Unreadable,
)
from sessiongate.core.sources.support.inodes import Inodes
from sessiongate.core.sources.support.kernelsockets import KernelSockets
from sessiongate.core.sources.support.moments import timestamp
from sessiongate.core.sources.support.pacing import Pace, parts_apart, sorted_apart
from sessiongate.core.sources.support.processes import Process, ProcessTable
from sessiongate.core.sources.support.sockdiag import is_missing
from sessiongate.core.sources.support.sockets import (
    Listener,
    Sockets,
    TcpConnection,
    read_sockets,
)
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session, SessionState

# Everything that a session is made from, and the session.
Known: TypeAlias = tuple[tuple[object, ...], Observed]
KnownSockets: TypeAlias = dict[str, Known]  # by the session's key

# The TCP states in which a connection is a session. In CLOSE_WAIT the client
# has closed and the service has not; in FIN_WAIT it is the other way round. In
# all other states there is no connection yet or no longer.
_STATES: Mapping[str, SessionState] = {
    psutil.CONN_ESTABLISHED: session_pb2.SESSION_STATE_STARTED,
    psutil.CONN_CLOSE_WAIT: session_pb2.SESSION_STATE_STOPPING,
    psutil.CONN_FIN_WAIT1: session_pb2.SESSION_STATE_STOPPING,
    psutil.CONN_FIN_WAIT2: session_pb2.SESSION_STATE_STOPPING,
}

# Seconds; less than what counts as a reboot (`Observation.incarnation`).
_CLOCK_STEP = 1.0

_NO_START = Unreadable("start: expected a time from 1678 to 2261", ("connect_time",))


class HostSource:
    """The listening sockets of this machine and the connections that they accepted.

    The incarnation is the machine's boot. A connection's start is when it was
    first seen; a listener's is its process's start if that is visible. No TCP
    links are stated: a server's own source states the same connections, and one
    that is stated twice from one end links nothing (`core.collect.links`).
    """

    def __init__(self, *, max_sessions: int = DEFAULT_MAX_SESSIONS) -> None:
        # Read more than the core shows: it prefers the sessions that it knows already, and
        # both ends of a connection may be on this machine.
        self._most = 4 * max_sessions
        self._kernel: KernelSockets | None = KernelSockets()
        # A separate thread, so that a slow read delays no other source.
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host")
        self._processes = ProcessTable()
        self._inodes = Inodes()
        self._boot_time: float | None = None
        self._sessions = SocketSessions()
        self._last: Observation | None = None

    async def observe(self) -> Observation:
        """Return the current sockets. Raises `SourceError` if they cannot be read at all."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._look)

    async def close(self) -> None:
        """Shut the thread down. Nothing else is kept open."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> Observation:
        try:
            boot_time = psutil.boot_time()
            sockets = self._read()
        except (psutil.Error, OSError, RuntimeError, ValueError, LookupError) as error:
            raise SourceError(f"the sockets of this machine cannot be read: {error}") from error
        processes = self._processes.look_up(sockets.pids)
        sessions = self._sessions.read(sockets, processes, time.time())
        incarnation = self._incarnation(boot_time)
        self._last = reuse_if_same(
            self._last, sessions, incarnation, tuple(sockets.unreadable), sockets.partial
        )
        return self._last

    def _read(self) -> Sockets:
        """Read the sockets from the kernel, by psutil if this system's does not list them."""
        if self._kernel is not None:
            try:
                return self._kernel.read(self._most)
            except OSError as error:
                if not is_missing(error):
                    raise
                self._kernel = None
        return read_sockets(self._inodes, self._most)

    def _incarnation(self, boot_time: float) -> float | None:
        """Return the boot time; None until a valid one is seen.

        The machine cannot boot while this runs: a changed boot time means that the clock
        was set. Follow it in steps that are too short to look like a reboot.
        """
        if _moment(boot_time) is None:
            return self._boot_time
        if self._boot_time is None:
            self._boot_time = boot_time
        move = boot_time - self._boot_time
        self._boot_time += min(max(move, -_CLOCK_STEP), _CLOCK_STEP)
        return self._boot_time


class SocketSessions:
    """Keeps the sessions of sockets until anything about those changes."""

    def __init__(self) -> None:
        self._given: tuple[object, ...] = ()
        self._known: KnownSockets = {}
        self._sessions: list[Observed] = []

    def read(
        self, sockets: Sockets, processes: Mapping[int, Process], now: float
    ) -> list[Observed]:
        """Return what `sessions_of_sockets` does; run this in a thread."""
        given = sockets.listeners, sockets.connections, processes
        if given != self._given:
            self._sessions = sessions_of_sockets(sockets, processes, now, self._known)
            self._given = given
        return self._sessions


def sessions_of_sockets(
    sockets: Sockets,
    processes: Mapping[int, Process],
    now: float,
    known: KnownSockets | None = None,
) -> list[Observed]:
    """Return the sessions of ``sockets``: listeners by port, then accepted connections.

    Those that are known keep their order; new ones follow by port. Run this in a
    thread; it works in steps.

    Sockets that listen on the same address and port are one listener; all that
    listen on the same port are one service, named after the oldest visible
    process. ``processes`` are the visible ones by pid, ``now`` is in seconds
    since the epoch. ``known`` holds the previous sessions, and is updated to the
    current ones: a session whose facts are unchanged stays the same object.
    """
    pace = Pace()
    before = {} if known is None else known.copy()
    seen: KnownSockets = {} if known is None else known
    seen.clear()

    def start(listener: Listener) -> float:
        return processes[listener.pid].start_time if listener.pid in processes else now

    def seniority(listener: Listener) -> tuple[bool, float, int]:
        return listener.pid not in processes, start(listener), listener.pid

    services: dict[int, str] = {}
    listeners: dict[str, Listener] = {}
    for listener in sorted_apart(sockets.listeners, seniority, pace):
        port = listener.local.port
        services.setdefault(port, _service_name(port, processes.get(listener.pid)))
        listeners.setdefault(listener.place, listener)
    for listener in sorted_apart(listeners.values(), _by_port, pace):
        key, service = listener.key, services[listener.local.port]
        last = before.get(key)
        if last is None or last[0] != (listener, service):
            last = (listener, service), _listener_session(listener, service, start(listener))
        seen[key] = last

    accepted, clients = _ends_of_connections(sockets.connections, listeners, processes, pace)

    def see(connection: TcpConnection, last: Known | None) -> None:
        facts = connection, services[connection.local.port], clients.get(connection.name)
        if last is None or last[0] != facts:
            last = facts, _session(*facts, now)
        seen[connection.key] = last

    for part in parts_apart(before.items(), pace):
        for key, last in part:
            if connection := accepted.pop(key, None):
                see(connection, last)
    for connection in sorted_apart(accepted.values(), _by_port, pace):
        see(connection, None)
    return [session for _, session in seen.values()]


def _ends_of_connections(
    connections: Iterable[TcpConnection],
    listeners: Mapping[str, Listener],
    processes: Mapping[int, Process],
    pace: Pace,
) -> tuple[dict[str, TcpConnection], dict[str, str]]:
    """Return the connections that listeners accepted, and the programs at the other ends.

    The former are by key, the latter by the connection's name.
    """
    listening = {(listener.version, listener.local) for listener in listeners.values()}
    ports = {listener.local.port for listener in listeners.values()}
    accepted: dict[str, TcpConnection] = {}
    clients: dict[str, str] = {}
    for part in parts_apart(connections, pace):
        for item in part:
            if item.local.port in ports and item.status in _STATES:
                own, anywhere = item.listeners
                if own in listening or anywhere in listening:
                    accepted[item.key] = item
            if item.pid in processes:
                clients[item.name_there] = processes[item.pid].name
    return accepted, clients


def _by_port(socket: Listener | TcpConnection) -> tuple[int, str]:
    return socket.local.port, socket.key


def _service_name(port: int, process: Process | None) -> str:
    """Return ``process:port``, or the port's registered name, or its number."""
    if process:
        return f"{process.name}:{port}"
    try:
        return getservbyport(port, "tcp")
    except OSError:
        return str(port)


def _listener_session(listener: Listener, service: str, start: float) -> Observed:
    session = Session(
        service=service, state=session_pb2.SESSION_STATE_LISTENER, native_id=listener.name
    )
    unreadable = _begin(session, start)
    return Observed(listener.key, session, unreadable=unreadable, former=listener.place)


def _session(connection: TcpConnection, service: str, client: str | None, now: float) -> Observed:
    """Make one session; ``client`` is the name of the client's program, if known."""
    session = Session(
        service=service,
        state=_STATES[connection.status],
        native_id=connection.name,
        remote=connection.remote.address,
        port=connection.remote.port,
        application=client,
    )
    unreadable = _begin(session, now)
    return Observed(connection.key, session, unreadable=unreadable, former=connection.place)


def _begin(session: Session, start: float) -> tuple[Unreadable, ...]:
    """Set a session's start, or return it as unreadable."""
    moment = _moment(start)
    if moment is None:
        return (_NO_START,)
    session.connect_time.CopyFrom(moment)
    return ()


def _moment(seconds: float) -> Timestamp | None:
    """Convert seconds since the epoch to a timestamp; None if it cannot be stored."""
    try:
        return timestamp(int(seconds * 1e9))
    except (ValueError, OverflowError):  # also for what is not finite
        return None


def open_source(config: SourceConfig) -> HostSource:
    """Open this machine, without location or options. Raises `SourceConfigError`."""
    config.take()
    if config.location:
        raise SourceConfigError(f"source {config.name}: host takes no location; use 'host:'")
    return HostSource(max_sessions=config.max_sessions)
