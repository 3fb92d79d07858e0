"""Memory for answers that are not read yet: shared, waited for, and given back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from sessiongate.gateway.app import create_app
from sessiongate.gateway.http import in_flight
from sessiongate.gateway.http.in_flight import SMALL, Body, Charge, InFlight
from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.representation.row import SessionRow, cut_rows
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime import memory
from sessiongate.v1.session_pb2 import Session
from tests.gateway.asgi import Exchange
from tests.gateway.programs import LONG
from tests.gateway.scripted import ScriptedCore, page

LARGE = 10 * SMALL


def run(test: Callable[[InFlight], Awaitable[None]], limit: int = 2 * LARGE) -> None:
    async def main() -> None:
        async with asyncio.timeout(LONG):
            await test(InFlight(limit * 4 // 3 + 1))

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_memory_is_returned_once_no_large_response_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    returned = asyncio.Event()
    monkeypatch.setattr(memory, "give_back", returned.set)
    monkeypatch.setattr(memory, "_IDLE", 0.0)

    async def test(flight: InFlight) -> None:
        garbage: list[object] = []
        garbage.append(garbage)
        gc.collect()
        del garbage
        for _ in range(2):
            async with flight.making():
                assert not returned.is_set()
        before = gc.get_stats()[2]["collected"]
        await returned.wait()
        assert gc.get_stats()[2]["collected"] > before

    run(test)


def test_what_is_shared_counts_once_and_as_long_as_it_is_held() -> None:
    async def test(flight: InFlight) -> None:
        body = Body([b"x" * LARGE], await flight.take(SMALL))
        readers = [body] * 100
        assert flight.used == LARGE
        del body
        assert flight.used == LARGE
        readers.clear()
        assert flight.used == 0

    run(test)


def test_large_ones_wait_for_their_turn_and_small_ones_never() -> None:
    async def test(flight: InFlight) -> None:
        held = [await flight.take(LARGE), await flight.take(LARGE)]
        first = asyncio.ensure_future(flight.take(2 * LARGE))
        second = asyncio.ensure_future(flight.take(SMALL + 1))
        await settle()
        small = await flight.take(SMALL)
        del small
        held.pop()
        await settle()
        assert not first.done()
        assert not second.done()  # it came later
        with pytest.raises(RequestError, match="have not read"):
            flight.take_now(SMALL + 1)
        held.pop()
        await first
        assert flight.used == 2 * LARGE
        assert not second.done()
        del first
        await second

    run(test)


def test_who_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_PATIENCE", 0.01)

    async def test(flight: InFlight) -> None:
        held: list[Charge] = [await flight.take(2 * LARGE)]
        with pytest.raises(RequestError) as refused:
            await flight.take(SMALL + 1)
        assert [error.code for error in refused.value.errors] == ["OVERLOADED"]
        assert flight.used == 2 * LARGE
        held.clear()
        await flight.take(LARGE)

    run(test)


def test_who_leaves_while_it_waits_holds_up_nobody() -> None:
    async def test(flight: InFlight) -> None:
        held = [await flight.take(LARGE), await flight.take(LARGE)]
        leaves = asyncio.ensure_future(flight.take(2 * LARGE))
        stays = asyncio.ensure_future(flight.take(LARGE))
        await settle()
        held.pop()
        leaves.cancel()
        await settle()
        assert (await stays).size == LARGE

    run(test)


def test_what_is_larger_than_all_that_there_may_be_is_made_alone() -> None:
    async def test(flight: InFlight) -> None:
        held = [await flight.take(LARGE)]
        waits = asyncio.ensure_future(flight.take(LARGE))
        await settle()
        assert not waits.done()
        held.clear()
        await waits

    run(test, limit=SMALL)


def test_large_answers_are_made_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_PATIENCE", 0.01)

    async def test(flight: InFlight) -> None:
        async with flight.making(), flight.making():
            with pytest.raises(RequestError, match="overloaded"):
                async with flight.making():
                    pass
        async with flight.making():
            pass

    run(test)


def test_large_sessions_come_in_parts_of_fewer() -> None:
    sessions = [SessionRow(Session(id=number, database="x" * 300_000)) for number in range(1, 11)]
    parts = list(cut_rows(sessions, 2000, 1024 * 1024))
    assert [row for part in parts for row in part] == sessions
    assert [len(part) for part in parts] == [4, 4, 2]
    assert [len(part) for part in cut_rows(sessions, 3, 1024 * 1024)] == [3, 3, 3, 1]
    assert list(cut_rows([], 2000, 1024 * 1024)) == [[]]


@pytest.fixture
def no_garbage() -> Iterator[None]:
    """Keep cycles uncollected, as they may be for minutes: garbage is rarely collected."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def leave(readers: list[asyncio.Task[Exchange]]) -> None:
    """Cancel the last reader and drop it; a task that is held holds its traceback."""
    reader = readers.pop()
    assert not reader.done()
    reader.cancel()
    await asyncio.wait((reader,))


@pytest.mark.usefixtures("no_garbage")
@pytest.mark.parametrize("query", ["", "sort=idle", "pretty"])
def test_nothing_is_held_for_an_answer_whose_last_reader_left_while_it_was_made(
    query: str, scripted: tuple[ScriptedCore, str]
) -> None:
    core, address = scripted
    core.pages = [page(1, 3000)]

    async def main() -> None:
        app = create_app(GatewayConfig(core=(address,), replica_staleness=0.0))
        async with app.router.lifespan_context(app), asyncio.timeout(LONG):
            flight: InFlight = app.state.in_flight
            readers = [
                asyncio.create_task(Exchange("/v1/sessions", query=query.encode()).run(app))
                for _ in range(2)
            ]
            while not flight.used:
                await settle()
            await leave(readers)
            await leave(readers)
            while flight.used:
                await settle()

    asyncio.run(main())


@pytest.mark.usefixtures("no_garbage")
def test_nothing_is_held_for_a_reader_who_left(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    core.pages = [page(1, 1000)]

    async def main() -> None:
        app = create_app(GatewayConfig(core=(address,), replica_staleness=0.0))
        async with app.router.lifespan_context(app), asyncio.timeout(LONG):
            exchange = Exchange("/v1/sessions", query=b"sort=idle", stuck=asyncio.Event())
            readers = [asyncio.create_task(exchange.run(app))]
            while not exchange.sent:
                await settle()
            assert app.state.in_flight.used > SMALL
            await leave(readers)
            while app.state.in_flight.used:
                await settle()

    asyncio.run(main())
