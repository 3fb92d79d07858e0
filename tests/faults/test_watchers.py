"""Many watchers, half of them stalled: memory is bounded, and the others get changes in time."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import grpc
import httpx

from sessiongate.runtime.descriptors import raise_fd_limit
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.processes import grown, usage
from tests.faults.scale import FULL, figure, times
from tests.program import PATIENCE, Forked, Serving

EVENT_STREAMS = times(40, 1000)
CALLS = times(12, 200)
STEPS = times(2, 20)  # changes that all follow, one a second

# A snapshot is half a MiB: more than fits between a server and a stalled reader.
SOURCE = "synthetic:?sessions=1000&churn=20"
SMALL, SEGMENT = 4096, 536  # bytes that a stalled reader's socket takes, in all and at once
# MiB that a process may grow by: half of one for each stream. A stalled reader's unread data
# may be no more than that.
BOUND = 100 + EVENT_STREAMS // 2

ID = re.compile(rb"\nid: (\d+)\n")
REQUEST = b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
OK = b"HTTP/1.1 200"


class Told:
    """How far each live watcher is, and how late one received what another already had."""

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}  # revisions
        self._first: dict[int, float] = {}  # when anyone first received a revision
        self._changed = asyncio.Condition()
        self.latest = 0.0  # seconds, the worst of all

    async def __call__(self, name: str, revision: int) -> None:
        if revision > self._reached.get(name, 0):
            now = time.monotonic()
            self.latest = max(self.latest, now - self._first.setdefault(revision, now))
            async with self._changed:
                self._reached[name] = revision
                self._changed.notify_all()

    async def all(self, watchers: int) -> None:
        """Wait until that many have everything that there is; lateness counts from there."""
        await self._until(lambda: len(self._reached) == watchers)
        self.latest = 0.0

    async def step(self) -> None:
        """Wait until everyone has received a revision that nobody has yet."""
        newest = max(self._reached.values())
        await self._until(lambda: min(self._reached.values()) > newest)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(holds)


async def connected(address: str, room: int | None = None) -> socket.socket:
    """Open a connection on which a stream of events has begun, with ``room`` for it if given.

    On a busy machine the gateway may not reach the core on one more connection within a second,
    which it says; then try again.
    """
    async with asyncio.timeout(PATIENCE):
        while (peer := await _asked(address, room)) is None:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(1)
        return peer


async def _asked(address: str, room: int | None) -> socket.socket | None:
    """Open such a connection; return None if the gateway cannot reach the core."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setblocking(False)
    if room is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        # Otherwise the server's end makes room for many of loopback's large segments.
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    await loop.sock_connect(peer, (host, int(port)))
    await loop.sock_sendall(peer, REQUEST)
    answer = await loop.sock_recv(peer, 8192)
    if b'"code":"UNAVAILABLE"' in answer:
        peer.close()
        return None
    assert answer.startswith(OK), answer
    return peer


async def read_events(name: str, peer: socket.socket, told: Told) -> None:
    """Read a stream of events without end, noting the last id received."""
    loop = asyncio.get_running_loop()
    tail = b""
    while chunk := await loop.sock_recv(peer, 65536):
        tail = tail[-100:] + chunk
        if found := ID.findall(tail):
            await told(name, int(found[-1]))
    raise AssertionError(f"{name} was cut off")


async def read_call(name: str, channel: grpc.aio.Channel, told: Told) -> None:
    """Read a stream of messages without end."""
    async for message in SessionServiceStub(channel).WatchSessions(WatchSessionsRequest()):
        if message.HasField("as_of"):
            await told(name, message.revision)
    raise AssertionError(f"{name} has ended")


def channel_to(address: str, number: int) -> grpc.aio.Channel:
    """Open a separate connection to the core."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.http2.bdp_probe", 0),  # a stalled reader makes no more room than others
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", -1),
        ("number", number),
    ]
    return grpc.aio.insecure_channel(address, options)


def test_watchers_that_stall_cost_the_others_nothing() -> None:
    raise_fd_limit()
    arguments = ("--source", SOURCE, *(("--metrics", "127.0.0.1:0") if FULL else ()))
    with Forked(*arguments) as serving, ExitStack() as stack:
        growth = asyncio.run(watch(serving, stack))
    figure(f"{EVENT_STREAMS} event streams and {CALLS} calls, half stalled: growth, MiB", growth)
    assert max(growth.values()) < BOUND, growth


async def streams(metrics: str) -> float:
    """Return how many event streams the gateway says it has open."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        shown = (await client.get(metrics)).text
    (count,) = re.findall(r"^sessiongate_http_event_streams (\S+)$", shown, re.MULTILINE)
    return float(count)


async def watch(serving: Serving, stack: ExitStack) -> dict[str, int]:
    """Stall half of all watchers, while the others receive every step.

    Return by how many MiB each process has grown.
    """
    told = Told()
    stack.enter_context(await connected(serving.http))
    before = usage(serving)
    async with AsyncExitStack() as channels, asyncio.TaskGroup() as group:
        reading: list[asyncio.Task[None]] = []
        for number in range(EVENT_STREAMS // 2):
            peer = stack.enter_context(await connected(serving.http))
            name = f"event stream {number}"
            reading.append(group.create_task(read_events(name, peer, told)))
        for number in range(CALLS // 2):
            channel = await channels.enter_async_context(channel_to(serving.grpc, number))
            reading.append(group.create_task(read_call(f"call {number}", channel, told)))
        await told.all(len(reading))

        for _ in range(EVENT_STREAMS // 2):
            stack.enter_context(await connected(serving.http, SMALL))  # and takes nothing more
        for number in range(CALLS // 2):
            channel = await channels.enter_async_context(channel_to(serving.grpc, -number - 1))
            call: Any = SessionServiceStub(channel).WatchSessions(WatchSessionsRequest())
            await call.initial_metadata()

        for _ in range(STEPS):
            await told.step()
        growth = grown(before, usage(serving))
        figure("watchers: the latest told of a change behind the first, s", round(told.latest, 2))
        if FULL:
            (metrics,) = re.findall(r"metrics at (http://[^\s\"]+)", serving.output)
            # Stalled watchers are cut off after 30 seconds; others are not.
            async with asyncio.timeout(PATIENCE):
                while await streams(metrics) > 1 + EVENT_STREAMS // 2:
                    await told.step()
        for task in reading:
            task.cancel()
    return growth
