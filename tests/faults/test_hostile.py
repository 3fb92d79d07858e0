"""Bytes from strangers: the server continues to serve others, and reveals nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import grpc
import httpx
import pytest

from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.frames import PREFACE
from tests.faults.mangling import REQUEST
from tests.faults.scale import figure, times
from tests.program import DOCUMENT, PATIENCE, Forked, Serving


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Forked("--source", DOCUMENT) as running:
        yield running
        assert "Traceback" not in running.output


def place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def serves_others(serving: Serving) -> None:
    answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
    assert (answer.status_code, len(answer.json()["data"])) == (200, 3)
    with grpc.insecure_channel(serving.grpc) as channel:
        listed = SessionServiceStub(channel).ListSessions(
            ListSessionsRequest(), timeout=PATIENCE, wait_for_ready=True
        )
    assert len(listed.sessions) == 3


def test_half_sent_requests_and_open_connections_hurt_nobody_else(serving: Serving) -> None:
    count = times(60, 400)
    with ExitStack() as stack:
        for number in range(count):
            for address in (serving.http, serving.grpc):
                peer = stack.enter_context(socket.create_connection(place(address)))
                peer.sendall((REQUEST, PREFACE)[number % 2][: number % 20])
        serves_others(serving)
    serves_others(serving)
    figure("connections that were opened and said too little, each port", count)


def test_connections_that_are_reset_hurt_nobody_else(serving: Serving) -> None:
    count = times(300, 10_000)
    for number in range(count):
        peer = socket.create_connection(place((serving.http, serving.grpc)[number % 2]))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if number % 3:
            peer.sendall(REQUEST)
        peer.close()
    serves_others(serving)
    figure("connections opened and reset", count)


def test_pipelined_requests_are_answered_in_order(serving: Serving) -> None:
    paths = [f"/v1/sessions/{number % 4 + 1}" for number in range(40)]
    asked = "".join(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" for path in paths)
    with socket.create_connection(place(serving.http), timeout=PATIENCE) as peer:
        peer.sendall(
            asked.encode() + b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answers = b"".join(iter(lambda: peer.recv(65536), b""))
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404" if path.endswith("/4") else b"200" for path in paths] + [b"200"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=["path", "header", "headers"],
)
def test_a_request_that_is_too_large_is_a_clean_refusal(serving: Serving, request_: bytes) -> None:
    with socket.create_connection(place(serving.http), timeout=PATIENCE) as peer:
        with suppress(OSError):
            peer.sendall(request_)
        answer = b""
        with suppress(OSError):
            answer = peer.recv(65536)
    assert not answer or answer.split(b" ")[1][:1] == b"4"
    serves_others(serving)
