"""The cache of documents, and what a document's tag depends on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from sessiongate.gateway.api.document_cache import DocumentCache
from sessiongate.gateway.api.order import Ordered
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.http.in_flight import Body, InFlight
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.store import Store
from sessiongate.gateway.upstream.version import Version
from sessiongate.gateway.upstream.views import DirectView, ReplicaView
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    WatchChanges,
    WatchSessionsResponse,
    WatchSnapshot,
)
from tests.gateway.programs import in_process


def asked(now: float) -> ApiRequest:
    """Make the part of a request that documents are remembered by; always the same request."""
    question = {"fingerprint": b"one", "preferences": SimpleNamespace(gzip=False)}
    return cast(ApiRequest, SimpleNamespace(**question, context=SimpleNamespace(now=now)))


@pytest.fixture
def at_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock at second 5."""
    monkeypatch.setattr("time.time", lambda: 5.9)


@pytest.mark.usefixtures("at_five")
def test_the_same_document_made_again_counts_once() -> None:
    async def main() -> None:
        answers, ask, version = DocumentCache(InFlight(1 << 28)), asked(5.0), Version(1, 0.0)

        made = Body([b"x" * 1_000_000])

        async def document() -> Body:
            return made

        for _ in range(100):
            await answers.make(ask, version, document)
        assert answers.get(ask, version) is made
        assert answers._bytes == 1_000_000

    asyncio.run(main())


def test_what_is_of_an_earlier_second_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.9
    monkeypatch.setattr("time.time", lambda: now)

    async def main() -> None:
        nonlocal now
        answers, version = DocumentCache(InFlight(1 << 28)), Version(1, 0.0)

        made = Body([b"x" * 1000])

        async def document() -> Body:
            return made

        await answers.make(asked(5.9), version, document)
        assert answers.get(asked(5.0), version) is made
        now = 6.0
        await answers.make(asked(6.0), version, document)
        assert answers.get(asked(6.9), version) is made
        assert answers.get(asked(5.9), version) is None
        await answers.make(asked(5.9), version, document)  # began a second ago
        assert answers.get(asked(5.9), version) is None
        assert answers._bytes == 1000
        now = 7.0
        answers._let_go()
        assert answers._bytes == 0

    asyncio.run(main())


def test_a_large_document_is_cached_only_while_others_still_have_room() -> None:
    async def main() -> None:
        flight = InFlight(256 << 20)
        answers = DocumentCache(flight)
        usual, large = 16 << 20, 60 << 20
        assert answers.room_for(usual)
        assert answers.room_for(large)
        assert not answers.room_for(65 << 20)
        held = await flight.take(80 << 20)
        assert answers.room_for(large)
        held.settle(90 << 20)
        assert not answers.room_for(large)
        assert answers.room_for(usual)

    asyncio.run(main())


def test_who_asks_for_a_document_that_is_being_made_needs_no_room_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = iter([True])  # for one document
    monkeypatch.setattr(DocumentCache, "room_for", lambda cache, size: next(rooms, False))

    async def main() -> None:
        sessions = [Session(id=ident) for ident in range(1, 3_001)]
        async with answering_from(replica_of(*sessions)) as http:
            url = "http://localhost/v1/sessions"
            first, second = await asyncio.gather(http.get(url), http.get(url))
            assert first.content == second.content
            for whole in (first, second):  # not streamed, which would write it once more
                assert "content-length" in whole.headers

    asyncio.run(main())


def test_two_documents_do_not_count_on_the_same_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessiongate.gateway.api.document_cache._USUAL", 0)

    async def main() -> None:
        replica = replica_of(*(Session(id=ident) for ident in range(1, 3_001)))
        url = "http://localhost/v1/sessions"
        async with answering_from(replica) as http:
            size = len((await http.get(url)).content)
        limits = Limits(max_in_flight=size * 2)  # three quarters of it are for bodies
        async with answering_from(replica, limits=limits) as http:
            both = await asyncio.gather(
                http.get(url, headers={"Accept-Encoding": "identity"}),
                http.get(url, headers={"Accept-Encoding": "gzip"}),
            )
        assert [len(response.json()["data"]) for response in both] == [3_000, 3_000]
        # One is streamed: to be whole, it would wait until the other one is let go.
        assert sum("content-length" in response.headers for response in both) == 1

    asyncio.run(main())


def test_a_document_is_made_until_the_last_that_waits_for_it_has_left() -> None:
    async def main() -> None:
        answers, ask, version = DocumentCache(InFlight(1 << 28)), asked(5.0), Version(1, 0.0)
        made = Body([b"x"])
        gate, begun, given_up = asyncio.Event(), list[int](), asyncio.Event()

        async def document() -> Body:
            begun.append(1)
            try:
                await gate.wait()
            except asyncio.CancelledError:
                given_up.set()
                raise
            return made

        def wait() -> asyncio.Task[Body]:
            return asyncio.create_task(answers.make(ask, version, document))

        async def leave(waiting: asyncio.Task[Body]) -> None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

        first, second = wait(), wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await leave(first)
        assert not given_up.is_set()
        third = wait()
        await leave(second)
        await leave(third)
        await given_up.wait()
        fourth = wait()
        gate.set()
        assert await fourth is made
        assert len(begun) == 2

    asyncio.run(main())


def replica_of(*sessions: Session) -> Replica:
    """Return a copy at revision 10 that counts as current."""
    replica = Replica(cast(Any, None), staleness=2.0, clock=lambda: 0.0)
    first = WatchSessionsResponse(revision=10)
    first.as_of.FromSeconds(0)
    replica._reflector._take(first)
    first.snapshot.CopyFrom(WatchSnapshot(sessions=sessions))
    replica.store.apply([first])
    replica._prove()
    return replica


@asynccontextmanager
async def answering_from(replica: Replica, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway that has only this copy."""
    async with in_process("127.0.0.1:1", replica_staleness=0.0, **settings) as http:
        view = ReplicaView(replica, DirectView(cast(CoreClient, None)))
        http._transport.app.state.view = view  # type: ignore[attr-defined] # it is an ASGITransport
        yield http


def test_a_page_by_cursor_is_read_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    reads: list[int] = []
    read = Store.after

    def counted(store: Store, ident: int, count: int) -> Sequence[SessionRow]:
        reads.append(ident)
        return read(store, ident, count)

    monkeypatch.setattr(Store, "after", counted)

    async def main() -> None:
        async with answering_from(replica_of(Session(id=5), Session(id=6))) as http:
            url = "http://localhost/v1/sessions?page[size]=1&page[after]=5"
            first, second = await http.get(url), await http.get(url)
            assert first.json()["data"][0]["id"] == "6"
            assert first.content == second.content
            assert reads == [5]
            same = {"If-None-Match": first.headers["etag"]}
            assert (await http.get(url, headers=same)).status_code == 304
            wrong = url.replace("=5", "=x")
            assert (await http.get(wrong, headers={"If-None-Match": "*"})).status_code == 400

    asyncio.run(main())


def test_conditions_hold_for_a_cached_page_by_cursor_with_a_filter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)

    async def main() -> None:
        async with answering_from(replica_of(Session(id=5), Session(id=6, port=1))) as http:
            url = (
                "http://localhost/v1/sessions?page[size]=1&page[after]=5&filter=/attributes/port=1"
            )
            etag = (await http.get(url)).headers["etag"]
            assert (await http.get(url, headers={"If-None-Match": etag})).status_code == 304
            assert (await http.get(url, headers={"If-Match": '"x"'})).status_code == 412

    asyncio.run(main())


def test_too_many_sessions_are_refused_before_they_are_sorted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def add(ordered: Ordered, rows: object) -> Steps[None]:
        raise AssertionError("these need not be sorted")
        yield

    monkeypatch.setattr(Ordered, "add", add)

    async def main() -> None:
        replica = replica_of(Session(id=5), Session(id=6))
        async with answering_from(replica, limits=Limits(max_answer=1)) as http:
            answer = await http.get("http://localhost/v1/sessions?sort=-connected")
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["code"] == "ANSWER_TOO_LARGE"

    asyncio.run(main())


def test_one_session_with_its_service_changes_with_the_service() -> None:
    """Its own revision stays; what is included does not."""

    async def main() -> None:
        replica = replica_of(Session(id=5, service="a", revision=9))
        async with answering_from(replica) as http:
            url = "http://localhost/v1/sessions/5?include=services"
            before = await http.get(url)
            assert before.json()["included"][0]["attributes"]["connections"] == 1
            second = WatchSessionsResponse(revision=11)
            second.changes.CopyFrom(WatchChanges(upserts=[Session(id=6, service="a", revision=11)]))
            replica.store.apply([second])
            after = await http.get(url, headers={"If-None-Match": before.headers["etag"]})
            assert after.status_code == 200
            assert after.json()["included"][0]["attributes"]["connections"] == 2

    asyncio.run(main())
