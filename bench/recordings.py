"""Recorded responses for each kind of source, if nothing has happened in between.

A response is what the program sends, as its driver delivers it: text and JSON as they
arrive, rows as Python values or as the bytes of their cells. From one response to the
next, only what the clock alone changes differs: ages and idle times grow.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from socket import AF_INET, inet_aton
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sessiongate.core.sources import host
from sessiongate.core.sources.base import DEFAULT_MAX_SESSIONS, Observation
from sessiongate.core.sources.support import (
    pgbouncer_clients,
    pgbouncer_console,
    postgresql_backends,
)
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.kernelsockets import KernelSockets
from sessiongate.core.sources.support.libpq import QueryResult
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.processes import Process
from sessiongate.core.sources.support.processlist import ProcessList
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.sessionlist import ReadingContext, SessionList
from sessiongate.core.sources.support.sockdiag import SocketRow, rows_of
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.core.sources.support.streams import Streams
from sessiongate.core.sources.support.threads import Threads

START = 1_780_000_000  # when everything was recorded, in seconds since the epoch

Observe = Callable[[], Coroutine[Any, Any, Observation]]
"""Reads the next response, each a second after the one before."""

_ARRIVING = 256 * 1024  # bytes or characters of a response at a time

ANSWERS = 8  # there are no more

T = TypeVar("T")


def _each(answer: Callable[[int], T], read: Callable[[T, float], Observation]) -> Observe:
    """Return a function that reads one response after another, all made beforehand."""

    async def read_at_once(given: T, moment: float) -> Observation:
        return read(given, moment)

    return _each_in_steps(answer, read_at_once)


def _each_in_steps(
    answer: Callable[[int], T], read: Callable[[T, float], Awaitable[Observation]]
) -> Observe:
    """Do the same for what reads in steps."""
    answers = [answer(second) for second in range(ANSWERS)]
    seconds = count()

    async def observe() -> Observation:
        second = next(seconds)
        return await read(answers[second], START + 100.0 + second)

    return observe


def _address(n: int) -> str:
    return f"10.{n // 65536 % 256}.{n // 256 % 256}.{n % 256}"


def _port(n: int) -> int:
    return 32768 + n % 28000


def _host(sessions: int) -> Observe:
    local = ("10.0.0.1", 5432)
    listening = [_socket(10, local, ("0.0.0.0", 0), sessions), _LAST]

    def answer(second: int) -> list[bytes]:
        rows = [_socket(1, local, (_address(n), _port(n)), n, second) for n in range(1, sessions)]
        return [*(b"".join(rows[at : at + 240]) for at in range(0, len(rows), 240)), _LAST]

    connected = [_LAST]

    def listed(family: int, states: int, _: int) -> Iterator[SocketRow]:
        datagrams = listening if states == 1 << 10 else connected
        return rows_of(datagrams if family == AF_INET else [_LAST])

    kernel = KernelSockets(listed)
    processes = {0: Process("postgres", START - 1000.0)}
    found = host.SocketSessions()
    last: Observation | None = None

    def read(datagrams: list[bytes], _: float) -> Observation:
        nonlocal connected, last
        connected = datagrams
        sockets = kernel.read(4 * DEFAULT_MAX_SESSIONS)
        sessions = found.read(sockets, processes, float(START))
        last = reuse_if_same(last, sessions, START - 5000.0)
        return last

    return _each(answer, read)


# NLMSG_DONE of netlink.
_LAST = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)


def _socket(
    state: int, near: tuple[str, int], far: tuple[str, int], n: int, second: int = 0
) -> bytes:
    """Make a message of the kernel about a socket: `struct inet_diag_msg` and attributes."""
    ends = struct.pack("!HH", near[1], far[1])
    ends += b"".join(inet_aton(ip).ljust(16, b"\0") for ip, _ in (near, far))
    timers = (7200 - second) * 1000, second, 0  # and queues: they change on their own
    row = struct.pack(
        "=BBBB48s5I", AF_INET, state, 2, 0, ends + struct.pack("=IQ", 0, n), *timers, 0, n
    )
    row += bytes(36)
    return struct.pack("=IHHII", 16 + len(row), 20, 2, 0, 0) + row


def _haproxy(sessions: int) -> Observe:
    streams = Streams(include_self=False)

    def answer(second: int) -> list[str]:
        info = f"Name: HAProxy\nVersion: 2.6.12\nPid: 100\nUptime_sec: {500 + second}\n\n"
        tail = "rq[f=848000h,i=0,an=00h,rx=,wx=,ax=] rp[f=80048000h,i=0,an=00h,rx=,wx=,ax=]"
        ends = "scf=[8,0h,fd=12] scb=[8,200008h,fd=13] exp= rc=0 c_exp="
        lines = (
            f"0x{0x55D6A5D00000 + 1024 * n:x}: proto=tcpv4 src={_address(n)}:{_port(n)} fe=orders"
            f" be=orders srv=db{n % 3} ts=00 epoch=0 age={40 + second}s calls=2 rate=0 cpu=0"
            f" lat=0 {tail} {ends}\n"
            for n in range(sessions)
        )
        text = info + "".join(lines) + "\n"
        return [text[start : start + _ARRIVING] for start in range(0, len(text), _ARRIVING)]

    return _each(answer, lambda parts, moment: streams.read(parts, moment))


def _mysql(sessions: int) -> Observe:
    return _mariadb(sessions, is_counted=False)


def _mariadb(sessions: int, *, is_counted: bool = True) -> Observe:
    """``is_counted`` is whether the server numbers requests."""
    processes = ProcessList("orders", START - 5000.0, ("10.0.0.1", 3306))

    def answer(second: int) -> list[tuple[Cell, ...]]:
        return [
            _cells(
                *(n + 1, f"app_{n % 50}", f"{_address(n)}:{_port(n)}", "orders", "Sleep"),
                *(None, None, n + 7 if is_counted else None, 1000 * (second + n % 60)),
            )
            for n in range(sessions)
        ]

    async def read(rows: list[tuple[Cell, ...]], moment: float) -> Observation:
        return await processes.read(await Threads.of(rows), moment)

    return _each_in_steps(answer, read)


def _maxscale(sessions: int) -> Observe:
    known = SessionList()
    servers = {"server1": ("10.0.0.2", 3306)}

    def resource(n: int, second: int) -> Mapping[str, object]:
        connection = {"cipher": "", "connection_id": n, "server": "server1"}
        sent = {"_client_name": "pymysql", "_pid": str(n), "program_name": "checkout"}
        attributes = {
            "client": {"cipher": "", "connection_attributes": sent},
            "connected": "Mon, 23 Nov 2026 18:31:04 GMT",
            "connections": [connection],
            "idle": round(second + n % 600 / 10, 1),
            "io_activity": 0,
            "memory": {"total": 66868},
            "port": _port(n),
            "remote": _address(n),
            "state": "Session started",
            "thread": 0,
            "user": f"app_{n % 50}",
        }
        services = {"data": [{"id": "Read-Connection-Router", "type": "services"}]}
        return {
            "attributes": attributes,
            "id": str(n + 1),
            "relationships": {"services": services},
            "type": "sessions",
        }

    def answer(second: int) -> bytes:
        data = [resource(n, second) for n in range(sessions)]
        return json.dumps({"data": data}, indent=4).encode()

    zone = ServerZone(ZoneInfo("UTC"))

    def read(body: bytes, moment: float) -> Awaitable[Observation]:
        context = ReadingContext(moment, zone, 0.0, servers, START - 5000.0)
        return known.read(_arriving(body), context)

    return _each_in_steps(answer, read)


async def _arriving(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it arrives from the network."""
    for start in range(0, len(body), _ARRIVING):
        yield body[start : start + _ARRIVING]


def _pgbouncer(sessions: int) -> Observe:
    clients = pgbouncer_clients.Clients(LocalTime(ZoneInfo("UTC")))
    columns = ("type", *pgbouncer_console.ClientRow._fields, "wait", "wait_us")
    moment = datetime.fromtimestamp(START, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def line(kind: str, n: int) -> tuple[Cell, ...]:
        own, other = (f"0x{0x55D6A5D00000 + 1024 * n + place:x}" for place in (0, 512))
        if kind == "S":
            own, other = other, own
        near = ("10.0.0.1", 6432 if kind == "C" else _port(n))
        far = (_address(n), _port(n)) if kind == "C" else ("10.0.0.2", 5432)
        ends = (f"app_{n % 50}", *far, *near)
        now = (kind, "orders", moment, own, other, "active", *ends, moment, n, "", "checkout")
        return _cells(*now, "none", 0, 0)

    def answer(_: int) -> tuple[QueryResult, QueryResult]:
        lines = ([line(kind, n) for n in range(sessions)] for kind in "CS")
        shown, servers = (QueryResult(columns, rows) for rows in lines)
        return shown, servers

    kept = pgbouncer_console.ClientRows(), pgbouncer_console.ClientRows()

    async def read(both: tuple[QueryResult, QueryResult], _: float) -> Observation:
        rows = [await each.read(answer) for each, answer in zip(kept, both, strict=True)]
        waiting = await pgbouncer_console.awaiting(both[0])
        return await clients.read(pgbouncer_console.Shown(rows[0], rows[1], waiting, {}, None))

    return _each_in_steps(answer, read)


def _cells(*values: str | int | None) -> tuple[Cell, ...]:
    """Make a row as PostgreSQL's protocol carries it."""
    return tuple(None if value is None else str(value).encode() for value in values)


def _postgresql(sessions: int) -> Observe:
    reached = postgresql_backends.Reached(START - 5000.0, "10.0.0.1", 5432, 1024)
    backends = postgresql_backends.Backends("orders", reached)
    now = START * 1_000_000

    def answer(_: int) -> list[tuple[Cell, ...]]:
        return [
            _cells(
                *(n + 1, now + n, f"app_{n % 50}", "orders", "checkout", _address(n), _port(n)),
                *("idle", now + n, "f", *(None,) * 7),
            )
            for n in range(sessions)
        ]

    return _each_in_steps(answer, lambda rows, _: backends.read(rows))


KINDS: Mapping[str, Callable[[int], Observe]] = {
    "host": _host,
    "maxscale+http": _maxscale,
    "pgbouncer": _pgbouncer,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mysql": _mysql,
    "haproxy": _haproxy,
}
"""By kind, for a number of sessions: what reads one response after another."""
