"""HTTP/1.1 on real connections to a real worker: what it accepts, and how it answers the rest."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from sessiongate.gateway.http.response_tracker import WHOLE, Answer
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.server import http1
from sessiongate.gateway.server.worker import Worker
from tests.faults.scale import times
from tests.gateway.programs import LONG

BRIEF = 0.5  # seconds: on a loaded machine, what is sent may arrive almost as late
LIMITS = Limits(max_url=200, max_headers=400, max_body=10, header_timeout=LONG)
HOST = b"Host: localhost\r\n"


class Echo:
    """An application that echoes each request; ``gate`` holds it up."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.left = asyncio.Event()
        self._asked = asyncio.Event()
        self.prompt = 0  # requests that were answered at once
        self.heads = 0  # that it was asked about

    def fast_path(self, scope: Scope) -> Answer:
        """Answer /known at once."""
        self.heads += 1

        def answer(most: int) -> Message | None:
            length = int(scope["query_string"] or b"1") if scope["path"] == "/known" else most + 1
            if length > most:
                return None
            self.prompt += 1
            self._asked.set()
            body = b"x" * length
            head = b"a: b\r\ncontent-length: %d\r\n" % len(body)
            return {"type": WHOLE, "status": 200, "head": head, "body": body}

        return answer

    async def answered(self, count: int) -> None:
        """Wait until that many requests have arrived, at whatever they are answered."""
        while len(self.scopes) + self.prompt < count:
            self._asked.clear()
            await self._asked.wait()

    async def asked(self, count: int) -> None:
        """Wait until that many requests have arrived."""
        while len(self.scopes) < count:
            self._asked.clear()
            await self._asked.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self._asked.set()
        self.bodies.append((await receive())["body"])
        await self.gate.wait()
        if scope["path"] == "/fails":
            raise RuntimeError("as it should")
        if scope["path"] == "/wait":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            assert (await receive())["type"] == "http.disconnect"
            self.left.set()
            return
        if scope["path"] == "/work":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        parts = [scope["raw_path"], b"?", scope["query_string"]]
        if scope["path"] == "/large":
            parts = [b"x" * int(scope["query_string"])]
        headers = [(b"content-type", b"text/plain")]
        if scope["path"] != "/parts":
            headers.append((b"content-length", b"%d" % sum(map(len, parts))))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if scope["path"] == "/cut":
                raise RuntimeError("as it should")
            if scope["path"] == "/short":
                return
        await send({"type": "http.response.body"})


class Served:
    """A worker that serves an `Echo`, and connections to it."""

    def __init__(self, app: Echo, worker: Worker, address: tuple[str, int]) -> None:
        self.app = app
        self.worker = worker
        self.address = address

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def exchange(self, *parts: bytes) -> bytes:
        """Send bytes over a connection; return what it receives until the server closes it."""
        async with self.connected() as (reader, writer):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read()


def run(test: Callable[[Served], Awaitable[None]], limits: Limits = LIMITS) -> None:
    async def main() -> None:
        app = Echo()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            stopping = asyncio.Event()
            worker = Worker(app, listener, limits, fast_path=app.fast_path)
            serving = asyncio.create_task(worker.serve(stopping))
            async with asyncio.timeout(LONG):
                await test(Served(app, worker, listener.getsockname()))
            stopping.set()
            app.gate.set()
            await serving

    uvloop.run(main())


def get(target: bytes, *headers: bytes, version: bytes = b"1.1", close: bool = True) -> bytes:
    lines = [b"GET %b HTTP/%b\r\n" % (target, version), HOST, *(line + b"\r\n" for line in headers)]
    if close:
        lines.append(b"Connection: close\r\n")
    return b"".join(lines) + b"\r\n"


def parsed(response: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return the status, header and body of a response."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


def error_in(response: bytes) -> tuple[int, dict[str, Any]]:
    """Return the status and error object of a response that is a JSON:API document."""
    status, headers, body = parsed(response)
    assert headers["content-type"] == "application/vnd.api+json"
    assert headers["connection"] == "close"
    assert headers["server"] == "sessiongate"
    assert int(headers["content-length"]) == len(body)
    [error] = json.loads(body)["errors"]
    assert error["status"] == str(status)
    return status, error


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [
        (b'/a"b<c>d', b"/a%22b%3Cc%3Ed"),
        (b"/a{b|c}d^e`f\\g", b"/a%7Bb%7Cc%7Dd%5Ee%60f%5Cg"),
        ("/für".encode(), b"/f%C3%BCr"),
        ('/a?filter=eq("é")&x={1|2}'.encode(), b"/a?filter=eq(%22%C3%A9%22)&x=%7B1%7C2%7D"),
        (b"/\xff", b"/%FF"),
        (b"/a?page[size]=1&x='~!*()", b"/a?page[size]=1&x='~!*()"),
    ],
)
def test_characters_that_are_sent_raw_are_as_if_they_were_encoded(
    raw: bytes, encoded: bytes
) -> None:
    async def test(served: Served) -> None:
        for target in (raw, encoded):
            async with served.connected() as (reader, writer):
                writer.write(get(target))
                await reader.read()
        one, other = served.app.scopes
        for scope in (one, other):
            path, _, query = encoded.partition(b"?")
            assert (scope["raw_path"], scope["query_string"]) == (path, query)
        assert one["path"] == other["path"]

    run(test)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "MALFORMED_REQUEST"),
        (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (
            b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "MALFORMED_REQUEST",
        ),
        (
            b"GET / HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "MALFORMED_REQUEST",
        ),
        (b"GET / HTTP/3.7\r\n" + HOST + b"\r\n", 505, "VERSION_NOT_SUPPORTED"),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "VERSION_NOT_SUPPORTED"),
        (b"GET / HTTP/0.9\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
        (b"GET / HTTP/1.\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET / HTTP/11.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"DESCRIBE / RTSP/1.0\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 501, "UNKNOWN_METHOD"),
        (b"GETS / HTTP/1.2\r\n" + HOST + b"\r\n", 501, "UNKNOWN_METHOD"),
        (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 501, "UNKNOWN_METHOD"),
        (b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"G" * 10_000, 400, "MALFORMED_REQUEST"),
        (b"GET /#fragment HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET ftp://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "MALFORMED_REQUEST"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "MALFORMED_REQUEST"),
        (b"GET /" + b"x" * 2000, 414, "URL_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 2000, 431, "HEADER_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 400 + b"\r\n", 431, "HEADER_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X:\r\n" * 100 + b"\r\n", 431, "HEADER_TOO_LARGE"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\n\r\n", 417, "EXPECTATION_FAILED"),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "MALFORMED_REQUEST"),
    ],
)
def test_what_is_refused_is_told_so_in_a_document(request_: bytes, status: int, code: str) -> None:
    async def test(served: Served) -> None:
        found, error = error_in(await served.exchange(request_))
        assert (found, error["code"]) == (status, code)
        assert not served.app.scopes

    run(test)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"HEAD / HTTP/1.1\n" + HOST + b"\n\n", 400),
        (b"HEAD /" + b"x" * 2000, 414),
        (b"HEAD / HTTP/1.1\r\nX: " + b"x" * 2000, 431),
        (b"HEAD / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\n\r\n", 417),
    ],
)
def test_head_that_is_refused_gets_no_body(request_: bytes, status: int) -> None:
    async def test(served: Served) -> None:
        found, headers, body = parsed(await served.exchange(request_))
        assert (found, body) == (status, b"")
        assert int(headers["content-length"]) > 0

    run(test)


def test_an_application_that_cuts_its_response_has_said_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            writer.write(get(b"/short", close=False))
            with suppress(ConnectionError):
                await reader.read()

    run(test)
    assert not caplog.records


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
def test_a_later_version_of_http_1_is_answered_as_1_1(version: bytes) -> None:
    async def test(served: Served) -> None:
        request = b"GET / HTTP/" + version + b"\r\n" + HOST + b"Connection: close\r\n\r\n"
        found, _, _ = parsed(await served.exchange(request))
        assert found == 200
        assert served.app.scopes[0]["http_version"] == "1.1"

    run(test)


@pytest.mark.parametrize("rest", [b"", HOST + b"Content-Length: 3\r\n\r\nx"])
def test_head_that_does_not_arrive_in_time_gets_no_body(rest: bytes) -> None:
    async def test(served: Served) -> None:
        found, _, body = parsed(await served.exchange(b"HEAD / HTTP/1.1\r\n" + rest))
        assert (found, body) == (408, b"")

    run(test, Limits(max_body=10, header_timeout=BRIEF))


def test_a_header_of_as_many_lines_as_there_may_be_is_read() -> None:
    async def test(served: Served) -> None:
        request_ = b"GET /a HTTP/1.0\r\n" + HOST + b"X:\r\n" * 99 + b"\r\n"
        assert parsed(await served.exchange(request_))[0] == 200

    run(test, Limits())


def test_what_http_1_0_expects_is_nothing() -> None:
    async def test(served: Served) -> None:
        response = await served.exchange(get(b"/a", b"Expect: tea", version=b"1.0"))
        assert parsed(response)[0] == 200

    run(test)


def test_a_header_that_does_not_arrive_in_time_is_told_so() -> None:
    async def test(served: Served) -> None:
        for sent in (b"GE", b"GET / HTTP/1.1\r\nHost: loc", get(b"/a", close=False) + b"GET /b"):
            response = await served.exchange(sent)
            if sent.startswith(b"GET /a"):
                _, _, response = response.partition(b"/a?")
            status, error = error_in(response)
            assert (status, error["code"]) == (408, "HEADER_TIMEOUT")
        assert await served.exchange() == b"", "who says nothing hears nothing"

    run(test, Limits(header_timeout=BRIEF))


def test_a_connection_that_is_idle_is_closed_and_one_that_waits_is_not() -> None:
    async def test(served: Served) -> None:
        served.app.gate.clear()
        async with served.connected() as (slow, writer), served.connected() as (idle, idler):
            writer.write(get(b"/slow"))
            idler.write(get(b"/idle", close=False))
            await served.app.asked(2)
            await asyncio.sleep(
                2 * BRIEF
            )  # both are looked at meanwhile, and both wait for the app
            served.app.gate.set()
            assert (await slow.read()).startswith(b"HTTP/1.1 200")
            assert (await idle.readuntil(b"?")).endswith(b"/idle?")

    run(test, Limits(header_timeout=BRIEF))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://other.example:81/a?b=c", b"other.example:81"),
        (b"HTTPS://other.example/a?b=c", b"other.example"),
        (b"http://other.example?b=c", b"other.example"),
    ],
)
def test_an_absolute_target_is_asked_of_its_own_authority(target: bytes, host: bytes) -> None:
    async def test(served: Served) -> None:
        await served.exchange(get(target))
        [scope] = served.app.scopes
        assert [value for name, value in scope["headers"] if name == b"host"] == [host]
        assert scope["raw_path"] == (b"/a" if b"/a" in target else b"/")
        assert scope["query_string"] == b"b=c"

    run(test)


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"])
def test_an_absolute_target_does_not_make_up_for_a_host_that_is_wrong(hosts: bytes) -> None:
    async def test(served: Served) -> None:
        await served.exchange(
            b"GET http://localhost/ HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n"
        )
        [scope] = served.app.scopes
        found = [value for name, value in scope["headers"] if name == b"host"]
        assert found == ([b"a", b"b"] if hosts else [])  # which the application refuses

    run(test)


def test_a_body_that_is_small_enough_is_handed_on_and_others_are_not_read() -> None:
    async def test(served: Served) -> None:
        small = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\n"
        response = await served.exchange(small, b"ab", b"c" + get(b"/next"))
        assert response.count(b"HTTP/1.1 200") == 2
        large = b"POST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 500000\r\n\r\n"
        status, headers, _ = parsed(await served.exchange(large, b"y" * 500_000))
        assert (status, headers["connection"]) == (200, "close")
        chunked = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        response = await served.exchange(chunked + b"3\r\nabc\r\n0\r\n\r\n" + get(b"/hidden"))
        assert response.count(b"HTTP/1.1") == 1
        assert served.app.bodies == [b"abc", b"", b"", b""]

    run(test)


def test_who_waits_to_be_told_to_go_on_is_told_so_if_the_body_is_wanted() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            expect = b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
            writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n" + expect)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        big = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99\r\n" + expect
        assert (await served.exchange(big)).startswith(b"HTTP/1.1 200")

    run(test)


def test_requests_behind_one_another_are_answered_in_their_order() -> None:
    requests = [get(b"/%d" % number, close=number == 29) for number in range(30)]

    async def test(served: Served) -> None:
        response = await served.exchange(b"\r\n".join(requests))
        found = [part.split(b"?")[0] for part in response.split(b"\r\n\r\n/")[1:]]
        assert found == [b"%d" % number for number in range(30)]

    run(test)


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_wherever_the_bytes_are_cut_they_say_the_same(cuts: list[int]) -> None:
    body = b"POST /b?x HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\n\r\n\r\n"
    sent = get('/a"ü'.encode(), close=False) + body + get(b"/c", b"X: y")
    places = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    parts = [sent[start:end] for start, end in pairwise(places)]

    async def test(served: Served) -> None:
        response = await served.exchange(*parts)
        assert response.count(b"HTTP/1.1 200") == 3
        assert [scope["raw_path"] for scope in served.app.scopes] == [b"/a%22%C3%BC", b"/b", b"/c"]
        assert served.app.bodies == [b"", b"\r\n\r\n", b""]

    run(test)


@settings(max_examples=times(100, 5000))
@given(sent=st.binary(max_size=60), start=st.sampled_from([b"", b"GET ", b"GET / HTTP/1.1\r\n"]))
def test_whatever_is_sent_is_answered_or_closed(sent: bytes, start: bytes) -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            writer.write(start + sent + b"\r\n\r\n")
            with suppress(ConnectionResetError):  # closed before it was read
                assert await reader.read(7) in (b"", b"HTTP/1.")

    run(test, Limits(header_timeout=0.05))


def test_http_1_0_gets_no_chunks_and_keeps_a_connection_that_it_asks_for() -> None:
    async def test(served: Served) -> None:
        status, headers, body = parsed(
            await served.exchange(get(b"/parts", version=b"1.0", close=False))
        )
        assert (status, headers["connection"], body) == (200, "close", b"/parts?")
        assert "transfer-encoding" not in headers
        kept = get(b"/a", b"Connection: keep-alive", version=b"1.0", close=False)
        response = await served.exchange(kept + get(b"/b", version=b"1.0"))
        assert response.count(b"HTTP/1.1 200") == 2
        assert b"connection: keep-alive" in response

    run(test)


def test_parts_come_as_chunks_and_one_that_fails_is_cut() -> None:
    async def test(served: Served) -> None:
        _, headers, body = parsed(await served.exchange(get(b"/parts")))
        assert headers["transfer-encoding"] == "chunked"
        assert body == b"6\r\n/parts\r\n1\r\n?\r\n0\r\n\r\n"
        _, _, body = parsed(await served.exchange(get(b"/cut")))
        assert body == b"/cut", "it is not as long as the header says"
        assert await served.exchange(get(b"/fails")) == b""

    run(test)


def test_who_says_that_nothing_follows_is_answered_all_the_same() -> None:
    async def test(served: Served) -> None:
        for requests in (1, 3):
            served.app.gate.clear()
            served.app.scopes.clear()
            async with served.connected() as (reader, writer):
                writer.write(get(b"/a", close=False) * requests)
                writer.write_eof()
                await served.app.asked(1)
                await asyncio.sleep(0.05)  # the end has arrived by then, or arrives later
                served.app.gate.set()
                assert (await reader.read()).count(b"HTTP/1.1 200") == requests

    run(test)


def test_a_large_response_is_sent_as_it_is_taken() -> None:
    async def test(served: Served) -> None:
        response = await served.exchange(get(b"/large?5000000"))
        assert len(parsed(response)[2]) == 5_000_000

    run(test)


@pytest.mark.parametrize("size", [20_000_000, 1_000_000])
def test_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(http1, "STALLED", 0.1)
    lost = asyncio.Event()
    connection_lost = http1.Http1.connection_lost

    def noted(connection: http1.Http1, exc: Exception | None) -> None:
        connection_lost(connection, exc)
        lost.set()

    monkeypatch.setattr(http1.Http1, "connection_lost", noted)

    async def test(served: Served) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(client, served.address)
            await loop.sock_sendall(client, get(b"/large?%d" % size, close=False))
            await lost.wait()
            taken = 0
            with suppress(ConnectionError):
                while chunk := await loop.sock_recv(client, 65536):
                    taken += len(chunk)
            assert taken < size

    run(test)


def test_an_application_hears_that_its_client_has_left() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            writer.write(get(b"/wait"))
            await reader.readuntil(b"x")
        await served.app.left.wait()

    run(test)


def test_an_application_that_does_not_listen_is_cancelled_when_its_client_leaves() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            writer.write(get(b"/work"))
            await reader.readuntil(b"x")
        await served.app.left.wait()

    run(test)


def test_what_is_known_is_sent_at_once_unless_something_follows() -> None:
    known = get(b"/known", close=False)

    async def test(served: Served) -> None:
        app = served.app
        async with served.connected() as (reader, writer):
            for sent, prompt, others in (
                (known, 1, 0),
                (known, 2, 0),
                (known + known, 3, 1),  # what nothing follows is the second
                (get(b"/a", close=False), 3, 2),
                (get(b"/known", b"Content-Length: 1", close=False) + b"x", 3, 3),
                (get(b"/known?65537", close=False), 3, 4),  # longer than one part
                (get(b"/known", version=b"1.0"), 3, 5),
            ):
                writer.write(sent)
                await app.answered(prompt + others)
                assert (app.prompt, len(app.scopes)) == (prompt, others), sent
            received = await reader.read()
        assert received.count(b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 1\r\ndate: ") == 3
        assert received.count(b"HTTP/1.1 200") == 8
        whole = await served.exchange(get(b"/known", b"a: b"))
        assert (app.prompt, len(app.scopes)) == (3, 6)
        assert b"connection: close" in whole

    run(test)


def test_a_head_that_is_sent_again_is_looked_at_once_and_no_request_sees_another() -> None:
    async def test(served: Served) -> None:
        app = served.app
        async with served.connected() as (reader, writer):
            for count in range(1, 4):
                writer.write(get(b"/known", close=False))
                await app.answered(count)
            assert app.heads == 1
            long = b"x: " + b"x" * 300  # remembered like the others
            for number, extra in enumerate((long, long, long[:-1] + b"y", long)):
                writer.write(get(b"/a", extra, b"Content-Length: 1", close=False) + b"%d" % number)
                await reader.readuntil(b"/a?")
                await app.asked(number + 1)
                app.scopes[number]["headers"].clear()  # an application may do as it likes
                app.scopes[number]["state"]["mine"] = number
        assert app.bodies == [b"0", b"1", b"2", b"3"]
        assert [scope["state"] for scope in app.scopes] == [{"mine": each} for each in range(4)]
        whole = await served.exchange(get(b"/a", long))
        assert whole.startswith(b"HTTP/1.1 200 ")

    run(test)


def test_headers_of_a_head_that_is_sent_again_are_whole() -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            for value in (b"1", b"1", b"2", b"2", b"1"):
                writer.write(get(b"/a", b"a: " + value, close=False))
                await reader.readuntil(b"/a?")
                seen.append([*served.app.scopes[-1]["headers"]])
                served.app.scopes[-1]["headers"].clear()

    run(test)
    values = [dict(headers)[b"a"] for headers in seen]
    assert values == [b"1", b"1", b"2", b"2", b"1"]


def test_a_connection_at_rest_keeps_no_head() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            for rest, heads in ((0.0, 1), (0.0, 1), (10.0, 1), (0.0, 2)):
                writer.write(get(b"/known", close=False))
                await reader.readuntil(b"\r\n\r\nx")
                assert served.app.heads == heads
                [connection] = served.worker._open
                connection.check(monotonic() + rest)

    run(test)


def test_a_connection_keeps_no_head_during_a_long_response() -> None:
    async def test(served: Served) -> None:
        app = served.app
        async with served.connected() as (reader, writer):
            for number in (1, 2):
                app.gate.clear()
                writer.write(get(b"/a", close=False))
                await app.asked(number)
                [connection] = served.worker._open
                connection.check(monotonic())
                app.gate.set()
                await reader.readuntil(b"/a?")
            assert app.heads == 2

    run(test)


def test_a_head_of_many_lines_is_not_kept() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            for lines, heads in ((31, 1), (31, 1), (32, 2), (32, 3)):  # besides Host
                writer.write(get(b"/known", *[b"a: b"] * lines, close=False))
                await reader.readuntil(b"\r\n\r\nx")
                assert served.app.heads == heads

    run(test)


def test_who_says_that_nothing_follows_gets_all_that_is_known() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (reader, writer):
            writer.write(get(b"/known?60000", close=False))
            writer.write_eof()
            assert len(parsed(await reader.read())[2]) == 60_000

    run(test)


def test_who_reads_nothing_is_not_answered_at_once_for_long() -> None:
    async def test(served: Served) -> None:
        count = 0
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, served.address)
            while not served.app.scopes:  # it waits for its reader, with the next response
                count += 1
                await loop.sock_sendall(client, get(b"/known?60000", close=False))
                await served.app.answered(count)
            assert len(served.app.scopes) == 1
            left = (count - 1) * 60_000
            while left > 0:
                left -= len(await loop.sock_recv(client, 65536))

    run(test)


def test_head_has_no_body() -> None:
    async def test(served: Served) -> None:
        response = await served.exchange(get(b"/a?").replace(b"GET", b"HEAD", 1))
        status, headers, body = parsed(response)
        assert (status, headers["content-length"], body) == (200, "3", b"")

    run(test)


def test_so_many_connections_are_open_and_others_wait() -> None:
    async def test(served: Served) -> None:
        async with served.connected() as (one, first), served.connected() as (two, second):
            for writer in (first, second):
                writer.write(get(b"/a", close=False))
            await one.readuntil(b"/a?")
            waiting = asyncio.ensure_future(two.readuntil(b"/a?"))
            done, _ = await asyncio.wait([waiting], timeout=0.2)
            assert not done
            first.transport.abort()
            await waiting

    run(test, Limits(max_connections=1))
