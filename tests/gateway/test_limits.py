"""The limits of a real gateway: each as a setting, reached and exceeded, through its server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial

import httpx
import pytest

from sessiongate.gateway.limits import Limits
from tests.gateway.programs import LONG, Gateway, in_process, running_gateway

NARROW = Limits(max_url=100, max_headers=500, header_timeout=LONG, max_connections=3)


@pytest.fixture(scope="module")
def narrow(core: str) -> Iterator[Gateway]:
    with running_gateway(core, limits=NARROW) as gateway:
        yield gateway


def connect(gateway: Gateway) -> socket.socket:
    host, _, port = gateway.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=LONG)


def exchange(gateway: Gateway, request: bytes) -> bytes:
    """Send bytes over a connection; return what it receives until the gateway closes it."""
    with connect(gateway) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("path", "header", "status", "code"),
    [
        ("/v1/sessions?" + "x" * 88, "", b"414", b"URL_TOO_LONG"),
        ("/v1/sessions", "X: " + "x" * 600, b"431", b"HEADER_TOO_LARGE"),
    ],
)
def test_what_is_a_little_too_large_is_told_so(
    narrow: Gateway, path: str, header: str, status: bytes, code: bytes
) -> None:
    lines = [f"GET {path} HTTP/1.1", f"Host: {narrow.address}", "Connection: close"]
    lines += [header] if header else []
    answer = exchange(narrow, ("\r\n".join(lines) + "\r\n\r\n").encode())
    assert answer.split(b" ")[1] == status
    assert code in answer
    assert b"x-request-id: " in answer
    assert b"granian" not in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"4"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 500_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_what_is_far_too_large_or_malformed_is_refused(
    narrow: Gateway, request_: bytes, status: bytes
) -> None:
    answer = exchange(narrow, request_)
    assert answer.split(b" ")[1].startswith(status)
    assert b"granian" not in answer
    assert httpx.get(narrow.url, timeout=LONG).status_code == 200


@pytest.mark.long
def test_who_does_not_finish_a_request_is_not_waited_for(core: str) -> None:
    whole, part = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nHost: l"
    # In a shorter time, the whole request may not have arrived either on a loaded machine.
    limits = Limits(header_timeout=3.0)
    with running_gateway(core, limits=limits) as gateway, ExitStack() as stack:
        waiting = [stack.enter_context(connect(gateway)) for _ in range(3)]
        for each, sent in zip(waiting, (b"", part, whole + part), strict=True):
            each.sendall(sent)
        answers = [b"".join(iter(partial(each.recv, 65536), b"")) for each in waiting]
    assert answers[0] == b""
    assert [answer.count(b"HTTP/1.1 200") for answer in answers] == [0, 0, 1]


def test_so_many_are_connected_and_others_wait(core: str) -> None:
    limits = Limits(max_connections=3)
    with running_gateway(core, limits=limits) as gateway, ExitStack() as stack:
        request = f"GET /healthz HTTP/1.1\r\nHost: {gateway.address}\r\n\r\n".encode()
        crowd = [stack.enter_context(connect(gateway)) for _ in range(3)]
        for each in crowd:
            each.sendall(request)
            assert each.recv(100).startswith(b"HTTP/1.1 200")
        late = stack.enter_context(connect(gateway))
        late.sendall(request)
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.recv(100)
        crowd[0].close()
        late.settimeout(LONG)
        assert late.recv(100).startswith(b"HTTP/1.1 200")


def run(core: str, test: Callable[[httpx.AsyncClient], Awaitable[None]], **limits: int) -> None:
    async def main() -> None:
        async with in_process(core, limits=Limits(**limits)) as http:
            await test(http)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limits", "query", "code", "parameter"),
    [
        ({"max_filter": 10}, "filter=id=or(11,2)", "INVALID_PARAMETER", "filter"),
        ({"max_filter_depth": 1}, "filter=id=not(eq(1))", "INVALID_PARAMETER", "filter"),
        ({"max_page": 2}, "page[size]=3", "MAX_PAGE_SIZE_EXCEEDED", "page[size]"),
        ({"max_answer": 2}, "", "ANSWER_TOO_LARGE", "page[size]"),
        ({"max_answer": 2}, "sort=-connected", "ANSWER_TOO_LARGE", "page[size]"),
    ],
)
def test_a_query_may_ask_for_so_much(
    core: str, limits: dict[str, int], query: str, code: str, parameter: str
) -> None:
    async def test(http: httpx.AsyncClient) -> None:
        answer = await http.get(f"/v1/sessions?{query}")
        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert (error["code"], error["source"]) == (code, {"parameter": parameter})
        pages = await http.get("/v1/sessions?page[size]=2")
        assert len(pages.json()["data"]) == 2

    run(core, test, **limits)


def test_the_description_tells_the_limits(core: str) -> None:
    async def test(http: httpx.AsyncClient) -> None:
        described = (await http.get("/v1/openapi.json")).text
        assert '"maximum":7' in described
        assert "77 characters" in described
        assert "nest at most 5 deep" in described

    run(core, test, max_page=7, max_filter=77, max_filter_depth=5)
