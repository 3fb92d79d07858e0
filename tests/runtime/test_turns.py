"""Work in turns: how long a round is, whose turn it is, and what happens to abandoned work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from sessiongate.runtime.turns import SLICE, Steps, TooMuchWorkError, Turns, let_go_soon


class Clock:
    """A clock that only work advances, by ``STEP`` at each step."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


STEP = SLICE / 4


def work(clock: Clock, steps: int, note: Callable[[], None] = lambda: None) -> Steps[int]:
    for _ in range(steps):
        clock.now += STEP
        note()
        yield
    return steps


async def rounds(clock: Clock, worked: list[float], done: asyncio.Event) -> None:
    """Note the work of each round of the loop."""
    while not done.is_set():
        before = clock.now
        await asyncio.sleep(0)
        worked.append(clock.now - before)


def test_work_leaves_the_loop_to_others_after_each_slice() -> None:
    async def scenario() -> None:
        clock, worked, done = Clock(), list[float](), asyncio.Event()
        turns = Turns(100, clock)
        watcher = asyncio.create_task(rounds(clock, worked, done))
        callers = [turns.run(f"caller {n % 3}", work(clock, 40)) for n in range(9)]
        assert await asyncio.gather(*callers) == [40] * 9
        done.set()
        await watcher
        assert sum(worked) == pytest.approx(9 * 40 * STEP)
        assert max(worked) <= SLICE + STEP

    asyncio.run(scenario())


def test_short_work_shares_a_round() -> None:
    async def scenario() -> None:
        clock, worked, done = Clock(), list[float](), asyncio.Event()
        turns = Turns(100, clock)
        await asyncio.gather(*(turns.run("a", work(clock, 0)) for _ in range(50)))
        watcher = asyncio.create_task(rounds(clock, worked, done))
        await asyncio.gather(*(turns.run("a", work(clock, 1)) for _ in range(8)))
        done.set()
        await watcher
        assert max(worked) == pytest.approx(SLICE)

    asyncio.run(scenario())


def test_work_that_begins_late_in_a_round_has_the_rest_of_it() -> None:
    async def scenario() -> None:
        clock, worked, done = Clock(), list[float](), asyncio.Event()
        turns = Turns(100, clock)
        watcher = asyncio.create_task(rounds(clock, worked, done))
        await asyncio.sleep(0)
        calls = [turns.run("a", work(clock, steps)) for steps in (3, 40)]
        assert await asyncio.gather(*calls) == [3, 40]
        done.set()
        await watcher
        assert max(worked) <= SLICE + STEP

    asyncio.run(scenario())


def test_what_a_call_costs_its_caller_waits_for() -> None:
    async def scenario() -> None:
        clock, order = Clock(), list[str]()
        turns = Turns(100, clock)

        async def call(whose: str, steps: int) -> None:
            await turns.run(whose, work(clock, steps))
            order.append(f"{whose} {steps}")

        calls = [asyncio.create_task(call("greedy", 400)) for _ in range(8)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls += [asyncio.create_task(call("greedy", 3)), asyncio.create_task(call("modest", 3))]
        began = clock.now
        await calls[-1]
        assert clock.now - began < 5 * SLICE
        await calls[-2]
        assert order == ["modest 3", "greedy 3"]
        await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_work_that_is_given_up_ends_and_makes_room() -> None:
    async def scenario() -> None:
        clock, steps = Clock(), [0] * 4
        turns = Turns(4, clock)

        def counting(index: int) -> Callable[[], None]:
            def count() -> None:
                steps[index] += 1

            return count

        calls = [
            asyncio.create_task(turns.run("a", work(clock, 1000, counting(n)))) for n in range(4)
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(TooMuchWorkError):
            await turns.run("a", work(clock, 1))
        assert await turns.run("b", work(clock, 1)) == 1
        for call in calls[:3]:
            call.cancel()
        await asyncio.gather(*calls[:3], return_exceptions=True)
        left = steps[:3]
        assert await calls[3] == 1000
        assert steps[:3] == left
        assert await turns.run("a", work(clock, 1)) == 1

    asyncio.run(scenario())


def test_a_slice_that_comes_as_its_work_is_given_up_is_passed_on() -> None:
    async def scenario() -> None:
        clock = Clock()
        for rest in range(8):
            turns = Turns(10, clock)
            calls = [asyncio.create_task(turns.run("a", work(clock, 50))) for _ in range(3)]
            for _ in range(rest):
                await asyncio.sleep(0)
            calls[0].cancel()
            calls[1].cancel()
            async with asyncio.timeout(60):
                assert await calls[2] == 50

    asyncio.run(scenario())


def test_pieces_come_one_by_one_with_rests_between() -> None:
    async def scenario() -> None:
        clock = Clock()
        turns = Turns(10, clock)
        for given, expected in (([None, 1, None, None, 2, 3], [1, 2, 3]), ([None], [])):
            pieces: Iterator[int | None] = iter(given)
            assert [piece async for piece in turns.each("a", pieces)] == expected

    asyncio.run(scenario())


def test_what_is_large_is_freed_in_steps_and_what_is_small_with_whoever_has_it() -> None:
    async def test() -> None:
        few, rest = [*range(10)], dict.fromkeys(range(100))
        let_go_soon(few, rest)
        assert (len(few), len(rest)) == (10, 100)
        many, kept = [*range(20_000)], {*range(100)}
        let_go_soon(many, kept, rest)
        for expected in range(len(many), 0, -500):
            assert len(many) == expected
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (many, kept, rest) == ([], set(), {})

    asyncio.run(test())
