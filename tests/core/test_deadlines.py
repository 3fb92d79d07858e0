"""Deadlines: enforced by whoever answers, and by a timer."""

from __future__ import annotations

import asyncio

from sessiongate.core.table.deadlines import Deadlines


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_due_is_done_once_and_before_the_loop_turns() -> None:
    async def main() -> None:
        clock, done = Clock(), list[str]()
        deadlines = Deadlines(clock)

        def first() -> None:
            done.append("first")
            deadlines.set(second, 101.0)

        def second() -> None:
            done.append("second")

        deadlines.set(first, 102.0)
        deadlines.enforce()
        assert done == []
        clock.now = 150.0  # as after a stop: both are due by now
        deadlines.enforce()
        deadlines.enforce()
        assert done == ["first", "second"]

    asyncio.run(main())


def test_a_deadline_that_was_moved_or_cancelled_is_not_held_to() -> None:
    async def main() -> None:
        clock, done = Clock(), list[str]()
        deadlines = Deadlines(clock)

        def moved() -> None:
            done.append("moved")

        def cancelled() -> None:
            done.append("cancelled")

        deadlines.set(moved, 101.0)
        deadlines.set(cancelled, 101.0)
        deadlines.set(moved, 110.0)
        deadlines.cancel(cancelled)
        clock.now = 105.0
        deadlines.enforce()
        assert done == []
        clock.now = 110.0
        deadlines.enforce()
        assert done == ["moved"]

    asyncio.run(main())


def test_a_timer_holds_to_it_when_nobody_asks() -> None:
    async def main() -> None:
        done = asyncio.Event()
        deadlines = Deadlines(asyncio.get_running_loop().time)
        deadlines.set(done.set, asyncio.get_running_loop().time() + 0.01)
        await asyncio.wait_for(done.wait(), 60)

    asyncio.run(main())
