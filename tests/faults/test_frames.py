"""HTTP/2 and gRPC used as weapons: memory is bounded, and others are served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest

from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.frames import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    connect,
    field,
    fields,
    frame,
    opening,
    send,
)
from tests.faults.processes import peaks
from tests.faults.scale import figure, times
from tests.program import DOCUMENT, PATIENCE, Forked, Serving

COUNT = times(2000, 100_000)
CONNECTIONS = times(3, 20)
GIVE_UP = times(1, 5)  # seconds after which a server that stopped reading has won
BOUND = 64  # MiB that a process may add at any moment
# In addition, per connection, while gRPC reads headers that it will refuse: it holds
# an unfolded block of them, nearly 1 MiB, for as many calls as are open.
HEADERS_BOUND = 48

METHOD = "/sessiongate.v1.SessionService/ListSessions"
GET = fields((":method", "GET"), (":scheme", "http"), (":authority", "localhost"))
POST = fields((":method", "POST"), (":scheme", "http"), (":authority", "localhost"))
BEGINNING = {
    "http": GET + fields((":path", "/v1/sessions")),
    "grpc": POST
    + fields((":path", METHOD), ("te", "trailers"), ("content-type", "application/grpc")),
}
WHOLE = END_HEADERS | END_STREAM
PEAKS: dict[str, dict[str, int]] = {"http": {}, "grpc": {}}  # MiB by port and attack


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Forked("--source", DOCUMENT) as running:
        serves_others(running)
        yield running
        assert "Traceback" not in running.output
    for port, growth in PEAKS.items():
        figure(f"HTTP/2 as a weapon, over {port}: growth at the peak, MiB", growth)


def serves_others(serving: Serving) -> None:
    """Check that both ports answer, at the latest once what was begun has been given up."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = httpx.get(f"http://{serving.http}/v1/sessions", timeout=PATIENCE)
        if answer.status_code != 503:
            break
        assert time.monotonic() < deadline
    assert (answer.status_code, len(answer.json()["data"])) == (200, 3)
    with grpc.insecure_channel(serving.grpc) as channel:
        listed = SessionServiceStub(channel).ListSessions(
            ListSessionsRequest(), timeout=PATIENCE, wait_for_ready=True
        )
    assert len(listed.sessions) == 3


def rapid_resets(begin: bytes) -> Iterator[bytes]:
    yield opening()
    for stream in range(1, 2 * COUNT, 2):
        yield frame(HEADERS, WHOLE, stream, begin) + frame(RST_STREAM, 0, stream, CANCEL)


def settings_without_end(begin: bytes) -> Iterator[bytes]:
    yield opening()
    for number in range(COUNT):
        yield frame(SETTINGS, 0, 0, (4).to_bytes(2) + number.to_bytes(4))


def pings_without_end(begin: bytes) -> Iterator[bytes]:
    yield opening()
    for number in range(COUNT):
        yield frame(PING, 0, 0, number.to_bytes(8))


def headers_without_end(begin: bytes) -> Iterator[bytes]:
    yield opening() + frame(HEADERS, END_STREAM, 1, begin)
    for number in range(COUNT // 20):
        yield frame(CONTINUATION, 0, 1, field(f"x-{number}", "y" * 16_000))


def continuations_of_nothing(begin: bytes) -> Iterator[bytes]:
    yield opening() + frame(HEADERS, END_STREAM, 1, begin)
    for _ in range(COUNT):
        yield frame(CONTINUATION, 0, 1)


def a_header_repeated_by_its_index(begin: bytes) -> Iterator[bytes]:
    """Send four kilobytes once, then again and again in a byte each."""
    yield opening()
    said = field("x", "y" * 3900, indexed=True)
    for stream in range(1, COUNT // 20, 2):
        block = begin + (said if stream == 1 else b"") + b"\xbe" * 11_000
        yield frame(HEADERS, WHOLE, stream, block)


def answers_that_nobody_takes(begin: bytes) -> Iterator[bytes]:
    """Leave no window for any answer: each has to wait."""
    yield opening({INITIAL_WINDOW_SIZE: 0})
    for stream in range(1, COUNT // 5, 2):
        yield frame(HEADERS, WHOLE, stream, begin)


def data_of_nothing(begin: bytes) -> Iterator[bytes]:
    yield opening() + frame(HEADERS, END_HEADERS, 1, begin)
    for _ in range(COUNT):
        yield frame(DATA, 0, 1)


def data_of_streams_never_opened(begin: bytes) -> Iterator[bytes]:
    yield opening()
    for stream in range(1, COUNT // 5, 2):
        yield frame(DATA, 0, stream, b"x" * 1000)


def windows_that_overflow(begin: bytes) -> Iterator[bytes]:
    yield opening() + frame(HEADERS, END_HEADERS, 1, begin)
    for _ in range(COUNT):
        yield frame(WINDOW_UPDATE, 0, 0, (2**31 - 1).to_bytes(4))


ATTACKS = (
    rapid_resets,
    settings_without_end,
    pings_without_end,
    headers_without_end,
    continuations_of_nothing,
    a_header_repeated_by_its_index,
    answers_that_nobody_takes,
    data_of_nothing,
    data_of_streams_never_opened,
    windows_that_overflow,
)


@pytest.mark.parametrize("port", ["http", "grpc"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_frames_used_as_weapons(
    serving: Serving, port: str, attack: Callable[[bytes], Iterator[bytes]]
) -> None:
    before = peaks(serving)
    address = serving.http if port == "http" else serving.grpc
    peers = [connect(address, GIVE_UP) for _ in range(CONNECTIONS)]
    try:
        for peer in peers:  # none of them reads
            send(peer, b"".join(attack(BEGINNING[port])))
        serves_others(serving)
    finally:
        for peer in peers:
            peer.close()
    serves_others(serving)
    growth = {name: peak - before[name] for name, peak in peaks(serving).items()}
    PEAKS[port][attack.__name__.replace("_", " ")] = max(growth.values())
    headers = port == "grpc" and attack in (headers_without_end, a_header_repeated_by_its_index)
    assert max(growth.values()) < BOUND + headers * HEADERS_BOUND * CONNECTIONS, growth
