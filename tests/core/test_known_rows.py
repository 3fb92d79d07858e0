"""Rows that a response states again: what was made of them is used again, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.support import known_rows
from sessiongate.core.sources.support.known_rows import KnownRows
from sessiongate.core.sources.support.pacing import Pace

Row = tuple[int, int, int]  # its name, what is compared, and what is not
Known = KnownRows[Row, tuple[int, int], "Made"]


class Made:
    """The object made of a row."""

    def __init__(self, row: Row) -> None:
        self.row = row


def is_lasting(made: Made) -> bool:
    return made.row[1] > 0


def known_of() -> Known:
    return KnownRows(itemgetter(0), lambda rows: [row[:2] for row in rows], is_lasting)


def read(known: Known, rows: Sequence[Row]) -> list[Made]:
    return asyncio.run(known.read(rows, lambda row, _before: Made(row), Pace(), is_still_right))


def is_still_right(row: Row, made: Made) -> bool:
    return row[2] == made.row[2]


# Of many more rows than are compared at once, most stay as and where they are.
ROWS = [(name, 1 + name % 3, 0) for name in range(3 * known_rows._PART)]
NAMES = st.integers(0, len(ROWS) - 1)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("value"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("time"), NAMES, st.integers(0, 3)),
        st.tuples(st.just("insert"), NAMES, st.integers(1000, 1005)),
        st.tuples(st.just("delete"), NAMES, NAMES),
        st.tuples(st.just("swap"), NAMES, NAMES),
        st.tuples(st.just("forget"), NAMES, NAMES),
    ),
    max_size=6,
)


def changed(rows: Sequence[Row], known: Known, forgotten: set[int], changes: object) -> list[Row]:
    found = [*rows]
    for what, place, value in changes:  # type: ignore[attr-defined]
        number = place % len(found)
        name, compared, time = found[number]
        match what:
            case "value":
                found[number] = name, value, time
            case "time":
                found[number] = name, compared, value
            case "insert" if value not in map(itemgetter(0), found):
                found.insert(number, (value, 1, 0))
            case "delete":
                del found[number : number + 1 + value % 150]
            case "swap":
                other = value % len(found)
                found[number], found[other] = found[other], found[number]
            case "forget":
                known.forget([name])
                forgotten.add(name)
        found = found or [ROWS[0]]
    return found


@given(st.lists(CHANGES, max_size=4))
def test_only_what_is_stated_otherwise_is_made_anew(responses: list[object]) -> None:
    known = known_of()
    rows: list[Row] = [*ROWS]
    made = read(known, rows)
    assert [each.row for each in made] == rows
    for changes in responses:
        last, before, forgotten = dict(zip(rows, made, strict=True)), made, set[int]()
        by_name = {row[0]: each for row, each in last.items()}
        rows = changed(rows, known, forgotten, changes)
        made = read(known, rows)
        assert len(made) == len(rows)
        for row, each in zip(rows, made, strict=True):
            was = by_name.get(row[0])
            is_again = was is not None and was.row[:2] == row[:2] and row[0] not in forgotten
            is_right = is_lasting(each) or (was is not None and is_still_right(row, was))
            assert (each is was) == (is_again and is_right)
            assert each is was or each.row == row
            assert known.made(row[0]) is each
            assert known.stated(row[0]) == row[:2]
        assert (made is before) == (made == before)


def test_rows_with_the_same_name_are_all_read() -> None:
    known = known_of()
    twice: list[Row] = [(1, 1, 0), (1, 2, 0), (2, 1, 0)]
    for _ in range(3):
        assert [each.row for each in read(known, twice)] == twice


def test_what_is_known_stays_if_reading_fails() -> None:
    known = known_of()
    made = read(known, ROWS)

    def fail(row: Row, _before: Made | None) -> Made:
        raise ValueError(row)

    with pytest.raises(ValueError, match="-1"):
        asyncio.run(known.read([*ROWS[:-1], (-1, 1, 0)], fail, Pace()))
    assert read(known, ROWS) is made
