"""Streams of events while the core fails, the reader stalls, and nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from starlette.types import Message

import sessiongate.client.age
import sessiongate.client.reflector
import sessiongate.gateway.api.events
from sessiongate.client.errors import CallError
from sessiongate.gateway.api.events import Events
from sessiongate.gateway.app import create_app
from sessiongate.gateway.http.in_flight import InFlight
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.gateway.shutdown import Shutdown
from sessiongate.runtime.auth.identity import (
    ExpiredCredentialsError,
    Identity,
    Proof,
    Refusal,
    WrongCredentialsError,
    caller,
)
from sessiongate.v1.session_service_pb2 import (
    SessionRemoval,
    WatchChanges,
    WatchProgress,
    WatchSessionsRequest,
    WatchSessionsResponse,
    WatchSnapshot,
    WatchSync,
)
from tests.gateway.programs import LONG
from tests.gateway.reading import Event, events_in
from tests.gateway.scripted import session

GONE = CallError(grpc.StatusCode.UNAVAILABLE, None, "text at 192.0.2.1")


def marked(response: WatchSessionsResponse, revision: int) -> WatchSessionsResponse:
    response.revision = revision
    response.as_of.FromSeconds(1)
    return response


def snapshot(*idents: int, revision: int) -> list[WatchSessionsResponse]:
    sessions = WatchSnapshot(sessions=[session(ident, revision=ident) for ident in idents])
    return [
        WatchSessionsResponse(snapshot=sessions),
        marked(WatchSessionsResponse(sync=WatchSync()), revision),
    ]


def progress(revision: int) -> WatchSessionsResponse:
    return marked(WatchSessionsResponse(progress=WatchProgress()), revision)


class Core:
    """Answers each call with the next of its streams: messages, and then an error or silence."""

    def __init__(self, *streams: list[WatchSessionsResponse | CallError]) -> None:
        self._streams = iter(streams)
        self.asked: list[int] = []

    async def watch(self, request: WatchSessionsRequest) -> AsyncGenerator[WatchSessionsResponse]:
        self.asked.append(request.resume_revision)
        for message in next(self._streams):
            if isinstance(message, CallError):
                raise message
            yield message
        await asyncio.Event().wait()


class Stream:
    """A request for events, with no server in between."""

    def __init__(self) -> None:
        self.stopping = Shutdown()
        self.stuck = False  # whether the reader has stopped reading
        self.stalls = asyncio.Event()
        self.gone = asyncio.Event()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.answering: asyncio.Task[None]
        self.in_flight: InFlight

    async def send(self, message: Message) -> None:
        if self.stuck:
            self.stalls.set()
            await asyncio.Event().wait()
        await self.sent.put(message)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def status(self) -> int:
        """Return the answer's status."""
        status = (await self.sent.get())["status"]
        assert isinstance(status, int)
        return status

    async def text(self, last: str) -> str:
        """Return what arrives, up to and with a text."""
        found = ""
        while last not in found:
            found += (await self.sent.get())["body"].decode()
        return found

    async def events(self, last: str) -> list[Event]:
        """Return the events that arrive, up to and with the first one of a name."""
        return list(events_in((await self.text(f"event: {last}\n")).splitlines()))

    async def whole(self) -> bool:
        """Wait for the answer's end; return whether it says that nothing is missing."""
        await self.answering
        ended = False
        while not self.sent.empty():
            ended = not self.sent.get_nowait().get("more_body", False)
        return ended


@asynccontextmanager
async def opened(core: Core, *headers: tuple[bytes, bytes]) -> AsyncIterator[Stream]:
    app = create_app(GatewayConfig(core=("127.0.0.1:1",), replica_staleness=0))
    stream = Stream()
    async with app.router.lifespan_context(app), asyncio.timeout(LONG):
        app.state.events = Events(core.watch, stream.stopping)
        stream.in_flight = app.state.in_flight
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/sessions",
            "raw_path": b"/v1/sessions",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"accept", b"text/event-stream"), *headers],
            "client": ("127.0.0.1", 4711),
            "server": ("127.0.0.1", 8989),
        }
        stream.answering = asyncio.create_task(app(scope, stream.receive, stream.send))
        try:
            yield stream
        finally:
            stream.answering.cancel()
            with suppress(asyncio.CancelledError):
                await stream.answering


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def test_a_core_that_cannot_be_asked_is_an_error_at_first() -> None:
    async def test() -> None:
        async with opened(Core([GONE])) as stream:
            assert await stream.status() == 503

    run(test)


def test_who_resumes_waits_for_the_core() -> None:
    async def test() -> None:
        core = Core([GONE], [GONE], [progress(9)])
        async with opened(core, (b"last-event-id", b"7")) as stream:
            assert await stream.status() == 200
            events = await stream.events("sync")
            assert names(events) == ["lost", "sync"], "it is told once"
            [error] = events[0].data["errors"]
            assert (error["status"], error["code"]) == ("503", "UNAVAILABLE")
            assert "192.0.2.1" not in str(error)
            assert events[1].ident == "9"
        assert core.asked == [7, 7, 7]

    run(test)


def test_who_resumes_from_what_is_forgotten_waits_for_the_core_too() -> None:
    async def test() -> None:
        forgotten = CallError(grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD", "no")
        core = Core([forgotten], [GONE], [*snapshot(1, revision=9)])
        async with opened(core, (b"last-event-id", b"7")) as stream:
            assert await stream.status() == 200
            assert names(await stream.events("sync")) == ["lost", "snapshot", "upsert", "sync"]
        assert core.asked == [7, 0, 0]

    run(test)


def test_a_stream_outlives_the_core() -> None:
    async def test() -> None:
        removal = WatchChanges(removals=[SessionRemoval(id=1, revision=21)])
        changes = marked(WatchSessionsResponse(changes=removal), 21)
        core = Core([*snapshot(1, 2, revision=20), GONE], [changes])
        async with opened(core) as stream:
            assert await stream.status() == 200
            assert names(await stream.events("lost"))[-2:] == ["sync", "lost"]
            events = await stream.events("sync")
            assert [(event.name, event.ident) for event in events] == [
                ("remove", "21"),
                ("sync", "21"),
            ]
        assert core.asked == [0, 20]

    run(test)


def test_a_core_that_has_forgotten_begins_anew() -> None:
    async def test() -> None:
        forgotten = CallError(grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD", "no")
        core = Core([*snapshot(1, revision=20), forgotten], [*snapshot(3, revision=5)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            await stream.events("sync")
            events = await stream.events("sync")
            assert names(events) == ["snapshot", "upsert", "sync"]
        assert core.asked == [0, 0]

    run(test)


def test_a_snapshot_that_was_cut_begins_anew() -> None:
    async def test() -> None:
        core = Core([snapshot(1, 2, revision=9)[0], GONE], [*snapshot(2, revision=9)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            events = await stream.events("sync")
            assert names(events) == [
                "snapshot", "upsert", "upsert", "lost", "snapshot", "upsert", "sync"
            ]  # fmt: skip

    run(test)


def test_what_asking_again_cannot_help_ends_the_stream() -> None:
    async def test() -> None:
        refused = CallError(grpc.StatusCode.UNAUTHENTICATED, "TOKEN", "secret")
        async with opened(Core([refused])) as stream:
            assert await stream.status() == 502
        async with opened(Core([*snapshot(1, revision=2), refused])) as stream:
            assert await stream.status() == 200
            end = (await stream.events("end"))[-1]
            assert [error["status"] for error in end.data["errors"]] == ["502"]
            assert await stream.whole()

    run(test)


def test_a_core_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessiongate.client.reflector, "SILENCE", 0.05)

    async def test() -> None:
        core = Core([*snapshot(1, revision=2)], [progress(2)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            lost = (await stream.events("lost"))[-1]
            assert [error["code"] for error in lost.data["errors"]] == ["DEADLINE_EXCEEDED"]
            assert names(await stream.events("sync")) == ["sync"]

    run(test)


def test_a_core_that_answers_late_is_lost_until_it_answers_in_time() -> None:
    async def test() -> None:
        late = progress(3)
        late.as_of.FromSeconds(-10)  # it was made 10 seconds before it could have been
        core = Core([*snapshot(1, revision=2), late, late, progress(3)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            await stream.events("sync")
            events = await stream.events("sync")
            assert names(events) == ["lost", "sync"], "it is told once"
            [error] = events[0].data["errors"]
            assert error["code"] == "DEADLINE_EXCEEDED"
        assert core.asked == [0], "and goes on where it was"

    run(test)


def test_a_stream_that_is_renewed_is_in_step_without_another_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessiongate.client.age, "RENEWAL_INTERVAL", 0.0)

    async def test() -> None:
        removal = WatchChanges(removals=[SessionRemoval(id=1, revision=3)])
        core = Core([*snapshot(1, revision=2)], [marked(WatchSessionsResponse(changes=removal), 3)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            await stream.events("sync")
            assert names(await stream.events("remove")) == ["remove"]
        assert core.asked[:2] == [0, 2]

    run(test)


@pytest.mark.parametrize("refusal", [ExpiredCredentialsError(), WrongCredentialsError()])
@pytest.mark.parametrize("goes_on", [[progress(2)], [], [GONE]], ids=["told", "silent", "failed"])
def test_a_stream_ends_when_its_callers_credentials_do(
    refusal: Refusal,
    goes_on: list[WatchSessionsResponse | CallError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessiongate.client.reflector, "SILENCE", 0.05)
    refusals: list[Refusal] = []

    def confirm() -> None:
        for each in refusals:
            raise each

    async def test() -> None:
        core = Core([*snapshot(1, revision=2)], *[goes_on] * 1000)
        caller.set(Identity("bob", Proof.TOKEN, confirm))
        async with opened(core) as stream:
            assert await stream.status() == 200
            await stream.events("sync")
            refusals.append(refusal)
            end = (await stream.events("end"))[-1]
            assert [error["code"] for error in end.data["errors"]] == [refusal.reason]
            assert await stream.whole()

    run(test)


def test_credentials_that_end_amid_a_message_end_it_there() -> None:
    asked = iter([True, True])

    def confirm() -> None:
        if not next(asked, False):
            raise WrongCredentialsError

    async def test() -> None:
        caller.set(Identity("bob", Proof.TOKEN, confirm))
        async with opened(Core([*snapshot(*range(1, 201), revision=300)])) as stream:
            assert await stream.status() == 200
            *told, end = await stream.events("end")
            assert [error["code"] for error in end.data["errors"]] == ["CREDENTIALS_WRONG"]
            assert 0 < len(told) < 200
            assert await stream.whole()

    run(test)


def test_comments_keep_it_alive_and_move_the_id_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessiongate.gateway.api.events, "ALIVE", 0.0)

    async def test() -> None:
        core = Core([*snapshot(revision=2), progress(5), GONE], [GONE], [progress(7)])
        async with opened(core) as stream:
            assert await stream.status() == 200
            text = await stream.text("id: 7\n")
            assert ": alive\nid: 5\n\n" in text
            assert ": alive\nid: 5\n\n" in text.partition("event: lost\n")[2]
            events = list(events_in([*text.splitlines(), ""]))
            assert names(events) == ["snapshot", "sync", "lost", "sync"], "comments are no events"

    run(test)


@pytest.mark.parametrize("stops", [False, True])
def test_a_reader_that_stalls_is_cut_off(monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    monkeypatch.setattr(sessiongate.gateway.api.events, "STALLED", LONG if stops else 0.05)
    monkeypatch.setattr(sessiongate.gateway.api.events, "_GRACE", 0.05)

    async def test() -> None:
        messages: list[WatchSessionsResponse | CallError] = [*snapshot(1, revision=2)]
        async with opened(Core(messages)) as stream:
            assert await stream.status() == 200
            stream.stuck = True
            await stream.stalls.wait()
            if stops:
                stream.stopping.begin()
            assert not await stream.whole()

    run(test)


def test_a_reader_that_stalls_takes_what_answers_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessiongate.gateway.api.events, "_SOON", 0.05)

    async def test() -> None:
        messages: list[WatchSessionsResponse | CallError] = [*snapshot(1, revision=2)]
        async with opened(Core(messages)) as stream:
            await stream.status()
            stream.stuck = True
            while stream.in_flight.used < sessiongate.gateway.api.events._HELD:
                await stream.stalls.wait()
                await asyncio.sleep(0.01)
            stream.gone.set()
            await stream.answering
            assert stream.in_flight.used == 0
        async with opened(Core(messages)) as stream:
            held = await stream.in_flight.take(stream.in_flight.limit)
            await stream.status()
            stream.stuck = True
            assert not await stream.whole()  # long before `STALLED`
            assert stream.in_flight.used == held.size

    run(test)


def test_a_reader_that_leaves_ends_the_call() -> None:
    async def test() -> None:
        left = asyncio.Event()

        class Followed(Core):
            async def watch(
                self, request: WatchSessionsRequest
            ) -> AsyncGenerator[WatchSessionsResponse]:
                try:
                    async for message in super().watch(request):
                        yield message
                finally:
                    left.set()

        async with opened(Followed([*snapshot(1, revision=2)])) as stream:
            assert await stream.status() == 200
            await stream.events("sync")
            stream.gone.set()
            await left.wait()
            await stream.answering

    run(test)
