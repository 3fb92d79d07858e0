"""The nearest valid word, by edits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.suggestion import (
    MAX_NAME_LENGTH,
    closest,
    did_you_mean,
    edits,
    nearest,
    quoted_name,
    shorten,
)

words = st.text("abc_", max_size=8)


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("", "", 0),
        ("user", "user", 0),
        ("usr", "user", 1),
        ("usre", "user", 1),  # two letters swapped
        ("staet", "state", 1),
        ("staet", "started", None),  # 2 of 7 would be accepted; this needs 3
        ("conected", "connected", 1),
        ("id", "ip", None),  # half of it differs
        ("abcdef", "abcdzz", 2),
        ("abcdef", "abczzz", None),
        ("a" * MAX_NAME_LENGTH, "a" * MAX_NAME_LENGTH, 0),
        ("a" * (MAX_NAME_LENGTH + 1), "a" * MAX_NAME_LENGTH, None),
    ],
)
def test_edits_are_counted_up_to_a_third(one: str, other: str, count: int | None) -> None:
    assert edits(one, other) == count


def by_definition(one: str, other: str) -> int:
    """Compute the optimal string alignment distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    ways = [
        by_definition(one[:-1], other) + 1,
        by_definition(one, other[:-1]) + 1,
        by_definition(one[:-1], other[:-1]) + (one[-1] != other[-1]),
    ]
    if len(one) > 1 and one[-2:] == other[:-3:-1]:
        ways.append(by_definition(one[:-2], other[:-2]) + 1)
    return min(ways)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_those_of_the_definition(one: str, other: str) -> None:
    count = by_definition(one, other)
    assert edits(one, other) == (count if count <= max(len(one), len(other)) // 3 else None)


@given(words, st.lists(words, unique=True))
def test_the_nearest_come_first_and_equals_in_their_order(word: str, known: list[str]) -> None:
    found = closest(word, known)
    keys = [(edits(word, name) or 0, known.index(name)) for name in found]
    assert keys == sorted(keys)
    assert set(found) == {name for name in known if edits(word, name) is not None}


def test_what_is_asked() -> None:
    known = ["state", "started", "stale_after", "page[size]", "page[number]"]
    assert did_you_mean("staet", known) == "; did you mean 'state'?"
    assert did_you_mean("STATE", known) == "; did you mean 'state'?"
    assert did_you_mean("page", known) == "; did you mean 'page[size]' or 'page[number]'?"
    assert did_you_mean("colour", known) == ""
    assert nearest("ab", ["abx", "aby"]) == ["abx"]  # of equally near ones, the first
    assert quoted_name("x" * 50) == f"'{'x' * MAX_NAME_LENGTH}'..."
    assert shorten("x" * 50) == f"{'x' * MAX_NAME_LENGTH}..."
