"""Long work on requests: other requests run meanwhile, and the result is the same."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from sessiongate.core.sources.synthetic import SyntheticSource
from sessiongate.gateway.api import request
from sessiongate.gateway.http.work import each, work
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.views import DirectView, ReplicaView
from sessiongate.runtime.memory import collect_rarely
from sessiongate.runtime.turns import SLICE, Steps, Turns, later, let_go
from sessiongate.v1.session_service_pb2 import WatchSessionsResponse, WatchSnapshot
from tests.gateway.programs import in_process

NEW_TURNS = "sessiongate.gateway.http.take_turns.new_turns"
SESSIONS = 200
HEAVY = [
    "filter=/attributes/port=or(1,2,3)",
    "filter[$..[?@.server%3D%3D'x']]=1",
    'filter=/attributes/user=ne("nobody")',
    "sort=-user,remote,database",
    "sort=-user&page[size]=50&page[number]=2",
    "page[size]=150&pretty",
    "fields[sessions]=user",
    "include=services",
    "",
]


class Steady:
    """A clock by which each step takes more than half of a slice."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += SLICE * 0.6
        return self.now


async def view() -> ReplicaView:
    """Make a replica of made-up sessions."""
    observation = await SyntheticSource(SESSIONS, 0, 1).observe()
    message = WatchSessionsResponse(revision=10, snapshot=WatchSnapshot())
    for number, observed in enumerate(observation.sessions):
        observed.session.id = number + 1
        message.snapshot.sessions.append(observed.session)
    replica = Replica(cast(Any, None), staleness=2.0, clock=lambda: 0.0)
    message.as_of.FromSeconds(0)
    replica._reflector._take(message)
    replica.store.apply([message])
    replica._prove()
    return ReplicaView(replica, DirectView(cast(CoreClient, None)))


async def asked(path: str, status: int = 200) -> tuple[Any, int]:
    """Return the document, and how many rounds the loop made meanwhile."""
    rounds, done = 0, False

    async def count() -> None:
        nonlocal rounds
        while not done:
            rounds += 1
            await asyncio.sleep(0)

    async with in_process("127.0.0.1:1", replica_staleness=0.0) as http:
        http._transport.app.state.view = await view()  # type: ignore[attr-defined] # it is an ASGITransport
        counting = asyncio.create_task(count())
        answer = await http.get(path)
        done = True
        await counting
        assert answer.status_code == status, answer.text
        return answer.json(), rounds


@pytest.mark.parametrize("query", HEAVY)
def test_long_work_leaves_others_their_turn(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/v1/sessions?{query}"
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    expected, few = asyncio.run(asked(path))
    monkeypatch.setattr(NEW_TURNS, lambda: Turns(100, Steady()))
    found, many = asyncio.run(asked(path))
    assert found == expected
    assert many > few + 5, (few, many)


def test_a_query_is_read_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    # Finding what was meant by each of these names takes about a millisecond.
    query = "&".join(f"filter=/attributes/client/cphr{number}=1" for number in range(100))
    monkeypatch.setattr(NEW_TURNS, lambda: Turns(100, Steady()))
    document, rounds = asyncio.run(asked(f"/v1/sessions?{query}", 400))
    assert len(document["errors"]) == 100
    assert rounds > 100


def test_what_many_short_requests_ask_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    known = request.KnownPreferences()
    monkeypatch.setattr(request, "_known", known)
    monkeypatch.setattr(request, "_KEPT", 2 * request._SHORT)
    read: list[bytes] = []
    reading = request._reading

    def note(*asked: Any) -> Any:
        read.append(asked[2])
        return reading(*asked)

    monkeypatch.setattr(request, "_reading", note)

    async def main() -> None:
        async with in_process("127.0.0.1:1", replica_staleness=0.0) as http:

            async def is_read(value: str) -> bool:
                before = len(read)
                await http.get(f"/v1/?sync={value}")
                return len(read) > before

            for number in range(100):
                await is_read(str(number))
            assert 20 < len(known) < 100
            assert not await is_read("99")
            assert await is_read("0"), "the oldest makes room"
            kept, long = len(known), "x" * request._SHORT
            assert await is_read(long)
            assert await is_read(long), "what is long is not kept"
            assert len(known) == kept

    asyncio.run(main())


def test_services_and_queries_are_looked_for_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/v1/services", "/v1/maxscale"):
        monkeypatch.setattr(NEW_TURNS, lambda: Turns(100, Steady()))
        document, _ = asyncio.run(asked(path))
        assert document["data"]


def test_work_for_no_request_is_done_at_once() -> None:
    def steps() -> Steps[int]:
        yield
        return 7

    async def main() -> None:
        assert await work(steps()) == 7
        pieces: list[int | None] = [None, 1, None, 2]
        assert [piece async for piece in each(iter(pieces))] == [1, 2]

    asyncio.run(main())


def test_what_is_let_go_of_at_last_goes_round_by_round() -> None:
    found = [[object() for _ in range(2000)], [object()]]

    async def main() -> None:
        later(let_go(*found))
        rounds = 0
        while any(found):
            rounds += 1
            await asyncio.sleep(0)
        assert rounds >= 4

    asyncio.run(main())


def test_garbage_is_looked_for_rarely_among_all_objects() -> None:
    before = gc.get_threshold()
    try:
        collect_rarely()
        young, middle, old = gc.get_threshold()
        assert young * middle * old > 1_000_000
        assert young * middle <= 10_000  # are scanned in one go, some milliseconds
        assert len(gc.get_objects()) < gc.get_freeze_count()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
