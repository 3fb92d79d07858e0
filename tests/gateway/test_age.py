"""Real programs with delays between them: no session is shown for too long after its end.

Sessions come and go all the time, and a watcher of the core itself notes when each was gone.
The gateway's answers are compared with that, by this process's own clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf

import grpc
import httpx
import pytest

from sessiongate.v1.session_service_pb2 import WatchSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.gateway.programs import (
    LONG,
    Gateway,
    answers_alone,
    running_core,
    running_gateway,
    worker_of,
)
from tests.relay import Relay, at_once

pytestmark = pytest.mark.long

STALENESS = 1.0
LATE = 4.0
# The most by which two clocks of a machine and the cutting of as_of to nanoseconds may differ.
MARGIN = 0.01
CHURN = "synthetic:?sessions=20&churn=20"


class Truth:
    """The latest time at which each session was gone from the core."""

    def __init__(self) -> None:
        self.gone: dict[int, float] = {}

    async def follow(self, core: str) -> None:
        async with grpc.aio.insecure_channel(core) as channel:
            async for message in SessionServiceStub(channel).WatchSessions(WatchSessionsRequest()):
                now = time.monotonic()
                for removal in message.changes.removals:
                    self.gone.setdefault(removal.id, now)

    def check(self, answer: httpx.Response, asked: float) -> bool:
        """Return whether an answer to a request at ``asked`` shows sessions; all must be recent."""
        if answer.status_code != 200:
            assert answer.status_code in (503, 504)
            return False
        shown = [int(found["id"]) for found in answer.json()["data"]]
        ends = [self.gone[ident] for ident in shown if ident in self.gone]
        oldest = asked - min(ends, default=asked)
        assert oldest <= STALENESS + MARGIN, f"a session was shown {oldest:.2f} s after its end"
        return True


class Stage:
    """A core whose sessions come and go, a gateway of it behind a relay, and the truth."""

    def __init__(self, core: str, relay: Relay, gateway: Gateway, truth: Truth) -> None:
        self.core = core
        self.relay = relay
        self.gateway = gateway
        self.truth = truth
        self.http = httpx.AsyncClient(base_url=gateway.url, timeout=LONG)

    async def ask(self) -> bool:
        """Ask for all sessions; return whether they were shown."""
        asked = time.monotonic()
        return self.truth.check(await self.http.get("/v1/sessions"), asked)

    async def await_sessions(self) -> None:
        """Ask until they are shown."""
        async with asyncio.timeout(LONG):
            async for _ in _ticks():
                if await self.ask():
                    return

    async def ask_for(self, seconds: float) -> list[bool]:
        """Ask repeatedly."""
        until = time.monotonic() + seconds
        return [await self.ask() async for _ in _ticks(until)]


async def _ticks(until: float = inf) -> AsyncIterator[float]:
    """Yield the time, again and again, with pauses in which the programs go on."""
    while (now := time.monotonic()) < until:
        yield now
        await asyncio.sleep(0.05)


@asynccontextmanager
async def stage(delay: Callable[[int], float]) -> AsyncIterator[Stage]:
    truth = Truth()
    with running_core(CHURN) as core:
        following = asyncio.create_task(truth.follow(core))
        async with Relay(int(core.rpartition(":")[2])) as relay:
            relay.delay = delay
            with running_gateway(
                f"127.0.0.1:{relay.port}", replica_staleness=STALENESS, core_timeout=1.0
            ) as gateway:
                made = Stage(core, relay, gateway, truth)
                yield made
                await made.http.aclose()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        assert truth.gone


def after_first_bytes(passed: int) -> float:
    return LATE if passed > 200 else 0.0


def from_the_beginning(passed: int) -> float:
    return LATE if passed else 0.0  # except for HTTP/2's greeting, so that there is a connection


def at_random(_passed: int) -> float:
    return random.choice((0.0, 0.0, 0.3, 0.8, LATE)) * random.random()


def in_bursts(_passed: int) -> float:
    return -time.monotonic() % LATE


def test_no_session_is_shown_for_longer_than_the_staleness() -> None:
    delays = (after_first_bytes, from_the_beginning, at_random, in_bursts)

    async def ask(made: Stage) -> None:
        await made.ask_for(3 * LATE)
        made.relay.delay = at_once
        await made.await_sessions()

    async def main() -> None:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for made in [await stack.enter_async_context(stage(delay)) for delay in delays]:
                group.create_task(ask(made))

    asyncio.run(main())


def test_readiness_behind_a_late_way_is_not_claimed() -> None:
    async def main() -> None:
        async with stage(at_once) as made:
            async with asyncio.timeout(LONG):
                async for _ in _ticks():
                    if (await made.http.get("/readyz")).status_code == 200:
                        break
            made.relay.delay = lambda _passed: LATE
            late = time.monotonic()
            async for asked in _ticks(late + LATE + 3):
                status = (await made.http.get("/readyz")).status_code
                assert status != 200 or asked - late <= STALENESS + MARGIN

    asyncio.run(main())


def test_a_gateway_that_was_stopped_is_as_honest_at_once() -> None:
    async def main() -> None:
        async with stage(at_once) as made:
            await made.await_sessions()
            worker = worker_of(made.gateway)
            for _ in range(3):
                worker.suspend()
                waiting = asyncio.create_task(made.ask())
                try:
                    await asyncio.sleep(2 * STALENESS)
                finally:
                    worker.resume()
                first = [asyncio.create_task(made.ask()) for _ in range(20)]
                await asyncio.gather(waiting, *first)

    asyncio.run(main())


def test_an_event_stream_says_so_when_the_core_comes_late() -> None:
    async def main() -> None:
        async with stage(later(0.0, at_most=0.0)) as made:
            await made.await_sessions()
            async with made.http.stream(
                "GET", "/v1/sessions", headers={"Accept": "text/event-stream"}
            ) as events:
                lines = events.aiter_lines()
                await _until(lines, "event: sync")
                # It is never silent for long, but reports the state of 8 s ago.
                made.relay.delay = later(time.monotonic(), at_most=8.0)
                await _until(lines, "event: lost")
                made.relay.delay = at_once
                await _until(lines, "event: sync")

    asyncio.run(main())


def later(start: float, *, at_most: float) -> Callable[[int], float]:
    """Return a delay that grows with each second since ``start``, up to ``at_most``."""
    return lambda _passed: min(0.7 * (time.monotonic() - start), at_most)


async def _until(lines: AsyncIterator[str], wanted: str) -> None:
    async with asyncio.timeout(2 * LONG):
        async for line in lines:
            if line == wanted:
                return
    raise AssertionError(f"no {wanted}")


def test_a_core_that_is_slow_to_begin_is_answered_from_again() -> None:
    async def main() -> None:
        begins: list[float] = []

        def slow_to_begin(passed: int) -> float:
            if not passed:
                return 0.0  # HTTP/2's greeting, so that there is a connection
            now = time.monotonic()
            begins.append(now + LATE)
            return begins[0] - now

        with running_core(CHURN) as core:
            async with Relay(int(core.rpartition(":")[2])) as relay:
                relay.hold = slow_to_begin
                with running_gateway(
                    f"127.0.0.1:{relay.port}", replica_staleness=2.0, core_timeout=1.0
                ) as gateway:
                    async with asyncio.timeout(LONG):
                        while not await asyncio.to_thread(answers_alone, core, gateway):
                            pass

    asyncio.run(main())
