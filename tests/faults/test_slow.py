"""Connections that send next to nothing, as many as possible: others get in again."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

import grpc
import httpx
import pytest

from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.frames import END_HEADERS, HEADERS, PREFACE, connect, fields, frame, opening
from tests.faults.scale import figure, times
from tests.program import DOCUMENT, PATIENCE, Forked, Serving, channel

ROOM = 40  # connections that a listener accepts at once
SLOW = times(60, 2000)  # connections that try to stay

BODY = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
HEAD = b"GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 2000
CALL = fields((":method", "POST"), (":scheme", "http"), (":path", "/a/b"), ("te", "trailers"))
# What is sent, a byte at a time.
SAYINGS = {
    "http": [
        HEAD,
        b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n",
        b"",
    ],
    "grpc": [
        PREFACE * 99,
        opening() + frame(HEADERS, END_HEADERS, 1, CALL * 99),
        opening({3: 100}),
        b"",
    ],
}


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Forked(
        *("--source", DOCUMENT),
        *("--max-connections", str(ROOM), "--header-timeout", "1", "--request-timeout", "1"),
        *("--max-core-connections", str(ROOM), "--idle-timeout", "1"),
    ) as running:
        yield running
        assert "Traceback" not in running.output


@pytest.mark.parametrize("port", ["http", "grpc"])
def test_slow_connections_shut_nobody_out(serving: Serving, port: str) -> None:
    sayings = SAYINGS[port]
    address = str(getattr(serving, port))
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(address, PATIENCE)) for _ in range(SLOW)]
        deadline = time.monotonic() + PATIENCE
        said = 0
        while not served(serving, port):
            assert time.monotonic() < deadline, f"nobody else gets in beside {SLOW}"
            say(slow, sayings, said)
            said += 1
    figure(f"connections to {port} that say a byte at a time, where it takes {ROOM}", SLOW)


def say(slow: Sequence[socket.socket], sayings: Sequence[bytes], at: int) -> None:
    """Send the next byte on each connection that has one left."""
    for number, peer in enumerate(slow):
        saying = sayings[number % len(sayings)]
        with suppress(OSError):  # it was cut off
            peer.sendall(saying[at : at + 1])


def served(serving: Serving, port: str) -> bool:
    """Return whether a well-meaning caller is answered, within a moment."""
    if port == "http":
        with suppress(httpx.TransportError):
            return httpx.get(f"http://{serving.http}/v1/sessions", timeout=1).is_success
        return False
    with channel(serving.grpc) as opened, suppress(grpc.RpcError):
        SessionServiceStub(opened).ListSessions(ListSessionsRequest(), timeout=1)
        return True
    return False
