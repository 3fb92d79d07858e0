"""Long work in short steps gives the same result as in one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessiongate.core.sources.support import pacing
from sessiongate.core.sources.support.pacing import (
    STEP,
    Pace,
    ahead,
    in_order,
    kept,
    mapped,
    sorted_apart,
)
from sessiongate.core.sources.support.stream import (
    _BETWEEN_BLOCKS,
    _BETWEEN_LINES,
    _STEP,
    MAX_STREAM,
    _split,
)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=30), st.integers(1, 200))
def test_items_are_sorted_and_those_of_one_key_stay_as_they_are(
    items: list[tuple[int, int]], times: int
) -> None:
    items = items * times
    found = asyncio.run(in_order(items, lambda item: item[0], Pace()))
    assert found == sorted(items, key=lambda item: item[0])


def test_each_item_is_looked_at() -> None:
    assert asyncio.run(mapped(lambda item: item + 1, range(1234))) == [*range(1, 1235)]


TEXTS = ["\n", "\n ", "a", " ", "b" * 1000, "c" * MAX_STREAM, "d" * (_STEP - 1)]


@example([6, 0, 2, 6])
@example([6, 0, 0, 0, 2, 5, 5, 0, 2])
@given(st.lists(st.integers(0, len(TEXTS) - 1)))  # by number: a text is too long to be shown
def test_a_text_is_split_as_if_at_once(chosen: list[int]) -> None:
    parts = [TEXTS[number] for number in chosen]

    def known(pieces: Iterable[str]) -> list[str | None]:
        """Return the pieces, with None for each that is too long."""
        found = filter(None, (piece.strip("\n") for piece in pieces))
        return [piece if len(piece) <= MAX_STREAM else None for piece in found]

    for between in (_BETWEEN_LINES, _BETWEEN_BLOCKS):
        assert known(_split(between, parts)) == known(between.split("".join(parts)))


@pytest.mark.parametrize("others", [True, False])
def test_a_turn_that_took_long_leaves_the_loop_to_others_that_use_it(
    monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    pauses: list[float] = []
    call_later = asyncio.BaseEventLoop.call_later

    def noted(
        loop: asyncio.BaseEventLoop, delay: float, *arguments: Any, **named: Any
    ) -> asyncio.TimerHandle:
        pauses.append(delay)
        return call_later(loop, delay, *arguments, **named)

    def spin(seconds: float) -> None:
        began = perf_counter()
        while perf_counter() - began < seconds:
            pass

    async def work() -> None:
        await Pace().rest()
        spin(2 * STEP)

    async def other(working: asyncio.Future[Any]) -> None:
        while not working.done():
            spin(STEP / 4)
            await asyncio.sleep(0)

    async def main() -> None:
        working = asyncio.gather(*(work() for _ in range(4)))
        if others:
            await other(working)
        await working

    monkeypatch.setattr(pacing, "_USED", STEP / 8 if others else 60.0)
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", noted)
    asyncio.run(main())
    assert len(pauses) == (3 if others else 0), "one between two turns"
    assert not pauses or min(pauses) >= 2 * STEP


def test_the_items_of_which_something_holds_are_kept_in_their_order() -> None:
    assert asyncio.run(kept(lambda item: item % 3 == 0, range(1000))) == [*range(0, 1000, 3)]


def test_no_search_for_garbage_goes_through_what_very_many_items_become() -> None:
    assert not gc.is_tracked(asyncio.run(kept(bool, [1, 2])))
    assert not gc.is_tracked(asyncio.run(mapped(str, [1, 2])))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=30), st.integers(1, 200))
def test_items_are_sorted_in_a_thread_as_they_are_on_the_loop(
    items: list[tuple[int, int]], times: int
) -> None:
    items = items * times
    found = [*sorted_apart(items, lambda item: item[0], Pace())]
    assert found == sorted(items, key=lambda item: item[0])


def test_work_on_the_next_item_begins_before_the_last_one_is_asked_for() -> None:
    begun: list[int] = []

    async def double(number: int) -> int:
        begun.append(number)
        if number == 4:
            raise ValueError("four")
        return number * 2

    async def main() -> None:
        async for each in ahead((), double):
            raise AssertionError(each)
        read: list[tuple[int, int]] = []

        async def read_all() -> None:
            async for pair in ahead((1, 2, 3, 4, 5), double):
                read.append(pair)
                await asyncio.sleep(0)
                assert begun == [*range(1, pair[0] + 2)]

        with pytest.raises(ValueError, match="four"):
            await read_all()
        # What was read before the failure is whole.
        assert read == [(1, 2), (2, 4), (3, 6)]

    asyncio.run(main())


def test_work_ahead_ends_with_what_it_is_for() -> None:
    ended: list[int] = []

    async def hang(number: int) -> int:
        try:
            if number > 1:
                await asyncio.Event().wait()
        finally:
            ended.append(number)
        return number

    async def main() -> None:
        numbers = ahead((1, 2, 3), hang)
        assert await anext(numbers) == (1, 1)
        await asyncio.sleep(0)
        await numbers.aclose()
        assert ended == [1, 2]

    asyncio.run(main())
