"""Which requests are processed: each limit, reached and exceeded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sessiongate.gateway.http import admission
from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.limits import Limits
from tests.gateway.asgi import Exchange, Headers
from tests.servers import PATIENCE

LIMITS = Limits(max_url=30, max_headers=100, max_body=10, max_requests=2, max_streams=2)


class House:
    """An application whose answers wait for ``gate``."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.gate = asyncio.Event()
        inner = Starlette(
            routes=[
                Route("/", self.answer, methods=["GET", "POST"]),
                Route("/slow", self.slow),
                Route("/events", self.events),
                Route("/slow-events", self.slow_events),
                Route("/healthz", self.answer),
            ],
            exception_handlers={Exception: lambda *_: Response(status_code=500)},
        )
        self.app = Admission(inner, limits, RequestLog())

    async def answer(self, request: Request) -> Response:
        return PlainTextResponse("here")

    async def slow(self, request: Request) -> Response:
        await self.gate.wait()
        return PlainTextResponse("at last")

    async def events(self, request: Request) -> Response:
        async def body() -> object:
            yield "one"
            await self.gate.wait()

        return StreamingResponse(body(), media_type="text/event-stream")  # type: ignore[arg-type]

    async def slow_events(self, request: Request) -> Response:
        await self.gate.wait()
        return StreamingResponse(iter(["one"]), media_type="text/event-stream")

    def ask(self, path: str = "/", stuck: asyncio.Event | None = None) -> asyncio.Task[Exchange]:
        """Start a request."""
        return asyncio.create_task(Exchange(path, stuck=stuck).run(self.app))


def run(test: Callable[[House], Awaitable[None]], limits: Limits = LIMITS) -> None:
    async def main() -> None:
        house = House(limits)
        async with asyncio.timeout(PATIENCE), house.app.watching():
            await test(house)

    asyncio.run(main())


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "status", "code"),
    [
        ("GET", "/", b"x" * 28, (), 200, None),
        ("GET", "/", b"x" * 29, (), 414, "URL_TOO_LONG"),
        ("GET", "/" + "x" * 30, b"", (), 414, "URL_TOO_LONG"),
        ("GET", "/", b"", ((b"x", b"x" * 86),), 200, None),
        ("GET", "/", b"", ((b"x", b"x" * 87),), 431, "HEADER_TOO_LARGE"),
        ("GET", "/", b"", ((b"content-length", b"10"),), 200, None),
        ("GET", "/", b"", ((b"content-length", b"11"),), 413, "BODY_TOO_LARGE"),
        ("HEAD", "/", b"", ((b"content-length", b"11"),), 413, "BODY_TOO_LARGE"),
        ("POST", "/", b"", ((b"content-length", b"11"),), 200, None),
        ("GET", "/", b"", ((b"content-length", b""),), 411, "LENGTH_REQUIRED"),
        ("GET", "/", b"", ((b"transfer-encoding", b"chunked"),), 411, "LENGTH_REQUIRED"),
    ],
)
def test_a_request_may_be_so_large(
    method: str, path: str, query: bytes, headers: Headers, status: int, code: str | None
) -> None:
    async def test(house: House) -> None:
        answer = await Exchange(path, method, query, headers).run(house.app)
        assert answer.status == status
        if code and method != "HEAD":
            assert [error["code"] for error in json.loads(answer.text)["errors"]] == [code]

    run(test)


def test_so_many_are_worked_on_and_others_refused_at_once() -> None:
    async def test(house: House) -> None:
        working = [house.ask("/slow") for _ in range(2)]
        await settle()
        refused = await Exchange().run(house.app)
        assert refused.status == 503
        assert refused.answered["retry-after"] == "1"
        assert json.loads(refused.text)["errors"][0]["code"] == "OVERLOADED"
        assert (await Exchange("/healthz").run(house.app)).status == 200
        house.gate.set()
        assert [(await work).text for work in working] == ["at last"] * 2
        assert (await Exchange().run(house.app)).status == 200

    run(test)


def test_a_client_with_nothing_under_way_is_let_in_still() -> None:
    async def test(house: House) -> None:
        def ask(client: str) -> asyncio.Task[Exchange]:
            return asyncio.create_task(Exchange("/slow", client=(client, 1)).run(house.app))

        working = [ask("greedy"), ask("greedy")]
        await settle()
        assert (await ask("greedy")).status == 503
        working += [ask("one"), ask("two")]
        await settle()
        assert (await ask("one")).status == 503
        assert (await ask("three")).status == 503, "there is an end to it"
        house.gate.set()
        assert [(await work).text for work in working] == ["at last"] * 4
        assert (await ask("greedy")).status == 200

    run(test)


def test_a_reader_that_stalls_shuts_nobody_out() -> None:
    async def test(house: House) -> None:
        taken = asyncio.Event()
        stalled = [house.ask("/", stuck=taken) for _ in range(2)]
        await settle()
        assert (await Exchange().run(house.app)).status == 200
        taken.set()
        assert [(await each).text for each in stalled] == ["here"] * 2
        working = [house.ask("/slow") for _ in range(2)]
        await settle()
        assert (await Exchange().run(house.app)).status == 503
        house.gate.set()
        await asyncio.gather(*working)

    run(test)


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_TICK", 0.001)

    async def test(house: House) -> None:
        late = await Exchange("/slow").run(house.app)
        assert late.status == 503
        assert late.answered["retry-after"] == "1"
        assert json.loads(late.text)["errors"][0]["code"] == "REQUEST_TIMEOUT"
        cut = await Exchange(stuck=asyncio.Event()).run(house.app)
        assert (cut.status, cut.complete) == (200, False)
        # Event streams have no time limit.
        stream = house.ask("/events")
        assert (await Exchange("/slow").run(house.app)).status == 503
        house.gate.set()
        assert (await stream).complete

    # In a shorter time, an answer may not have begun on a loaded machine.
    run(test, Limits(request_timeout=0.5))


def test_a_request_that_its_caller_gave_up_is_over() -> None:
    async def test(house: House) -> None:
        work = house.ask("/slow")
        await settle()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        more = [house.ask("/slow") for _ in range(2)]
        await settle()
        house.gate.set()
        assert [(await each).status for each in more] == [200, 200]

    run(test)


def test_so_many_event_streams_are_open_and_are_no_requests() -> None:
    async def test(house: House) -> None:
        streams = [house.ask("/events") for _ in range(2)]
        await settle()
        refused = await Exchange("/events").run(house.app)
        assert refused.status == 503
        assert refused.answered["content-type"] == "application/vnd.api+json"
        assert json.loads(refused.text)["errors"][0]["code"] == "TOO_MANY_STREAMS"
        assert (await Exchange().run(house.app)).status == 200
        house.gate.set()
        assert [(await stream).text for stream in streams] == ["one"] * 2
        assert (await Exchange("/events").run(house.app)).status == 200

    run(test)


def test_what_is_to_be_a_stream_counts_as_one_before_it_begins() -> None:
    events = ((b"accept", b"text/event-stream"),)

    async def test(house: House) -> None:
        def ask(path: str) -> asyncio.Task[Exchange]:
            return asyncio.create_task(Exchange(path, headers=events).run(house.app))

        working = [house.ask("/slow") for _ in range(2)]
        opening = [ask("/slow-events") for _ in range(2)]
        await settle()
        refused = await ask("/slow-events")
        assert refused.status == 503
        assert json.loads(refused.text)["errors"][0]["code"] == "TOO_MANY_STREAMS"
        refused = await Exchange().run(house.app)
        assert json.loads(refused.text)["errors"][0]["code"] == "OVERLOADED"
        house.gate.set()
        assert [(await each).text for each in working] == ["at last"] * 2
        assert [(await each).text for each in opening] == ["one"] * 2
        # Requests that did not become streams make room too.
        assert [(await ask("/")).text for _ in range(3)] == ["here"] * 3
        assert (await ask("/events")).status == 200

    run(test)
