"""A core that is late gets no more calls than it can answer; the rest wait, then get 503."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from sessiongate.client.errors import CallError
from sessiongate.gateway.http.work import WorkContext, new_turns, work_context
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.upstream import client as upstream
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, ListSessionsResponse
from tests.gateway.programs import DATA, LONG, core_process, in_process, running_core
from tests.gateway.scripted import ScriptedCore

Asking = Callable[[httpx.AsyncClient], Awaitable[None]]
PAGE = "/v1/sessions?page[size]=10"
PAST_PAGE, PAST_COUNTS = "/v1/history/sessions?page[size]=10", "/v1/history/counts"
MANY = Limits(max_requests=1000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_PATIENCE", 0.2)


def asking(core: str, test: Asking, **settings: object) -> None:
    async def main() -> None:
        settings.setdefault("replica_staleness", 0.0)
        async with in_process(core, core_timeout=LONG, limits=MANY, **settings) as http:
            http.timeout = httpx.Timeout(LONG)
            await test(http)

    asyncio.run(main())


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def code_of(answer: httpx.Response) -> str:
    return "200" if answer.status_code == 200 else str(answer.json()["errors"][0]["code"])


@pytest.mark.parametrize(
    ("path", "places"),
    [("/v1/sessions/1", 16), (PAGE, 4), (PAST_PAGE, 4), (PAST_COUNTS, 4)],
)
def test_a_suspended_core_gets_few_calls_and_the_rest_get_503(path: str, places: int) -> None:
    async def test(http: httpx.AsyncClient) -> None:
        with suspended(core_process(address)):
            answers = asyncio.as_completed([http.get(path) for _ in range(200)])
            refused = [await next(answers) for _ in range(200 - places)]
            assert {code_of(answer) for answer in refused} == {"CORE_BUSY"}
            assert refused[0].status_code == 503
            assert refused[0].headers["retry-after"] == "1"
            assert (await http.get("/healthz")).status_code == 200
        assert [code_of(await answer) for answer in answers] == ["200"] * places
        again = await asyncio.gather(*(http.get(path) for _ in range(places)))
        assert [code_of(answer) for answer in again] == ["200"] * places

    with running_core(f"document:{DATA / 'sessions.json'}") as address:
        asking(address, test)


def test_single_sessions_do_not_wait_for_lists(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    core.silent_from = 0

    async def test(http: httpx.AsyncClient) -> None:
        lists = [asyncio.create_task(http.get(PAGE)) for _ in range(5)]
        [refused], stuck = await asyncio.wait(lists, return_when=asyncio.FIRST_COMPLETED)
        assert code_of(refused.result()) == "CORE_BUSY"
        assert code_of(await http.get("/v1/sessions/1")) == "200"
        for one in stuck:
            one.cancel()
        await asyncio.wait(stuck)

    asking(address, test)


def test_only_the_first_call_of_a_request_is_refused(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    core.silent_from = 1

    async def main() -> None:
        client = CoreClient(address, LONG)
        began, may_go_on = asyncio.Event(), asyncio.Event()

        async def request() -> None:
            work_context.set(WorkContext(new_turns(), "192.0.2.1"))
            await client.list_sessions()
            began.set()
            await may_go_on.wait()
            await client.list_sessions()

        def stuck() -> asyncio.Task[ListSessionsResponse]:
            return asyncio.create_task(client.list_sessions(ListSessionsRequest(page_token="1")))

        requested = asyncio.create_task(request())
        await began.wait()
        calls = [stuck() for _ in range(4)]
        await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(CallError) as caught:
            await client.list_sessions()
        assert caught.value.reason == "CORE_BUSY"
        assert not requested.done()
        calls[0].cancel()
        await requested
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await client.close()

    asyncio.run(main())
