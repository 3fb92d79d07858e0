"""The sort parameter: orders that hold for values of any kind."""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.paths import Path, Resource
from sessiongate.gateway.jsonapi.sorting import Sort

values = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from(["", "1", "a", "b", "\U0001f600", "￿"])
    | st.just([1])
    | st.just({"a": 1})
)
resources = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(["1", "2", "10", "010", "a"])},
        optional={
            "attributes": st.fixed_dictionaries({}, optional={"user": values, "port": values})
        },
    ),
    max_size=12,
)


def ordered(rows: list[Resource], sort: str) -> list[Resource]:
    return sorted(rows, key=Sort.parse(sort).key())


def named(idents: list[str], sort: str) -> list[str]:
    return [row["id"] for row in ordered([{"id": ident} for ident in idents], sort)]


def kind(value: object) -> int:
    """Return which values compare with each other: 0, 1, 2; 3 for those that never come first."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int | float):
        return 1
    return 2 if isinstance(value, str) else 3


@given(resources, st.booleans())
def test_one_field_orders_by_kind_then_value_and_keeps_ties(
    rows: list[Resource], descending: bool
) -> None:
    def value(row: Resource) -> Any:
        return row.get("attributes", {}).get("user")

    result = ordered(rows, "-user" if descending else "user")
    present = [row for row in result if kind(value(row)) < 3]
    assert [row for row in result if kind(value(row)) == 3] == result[len(present) :]
    assert result[len(present) :] == [row for row in rows if kind(value(row)) == 3]
    for row, following in pairwise(present):
        one, other = value(row), value(following)
        if kind(one) != kind(other):
            assert (kind(one) > kind(other)) is descending
        elif one == other:
            places = [next(i for i, r in enumerate(rows) if r is x) for x in (row, following)]
            assert places == sorted(places)
        else:
            assert (one > other) is descending
    assert len(result) == len(rows)


@given(resources, st.booleans(), st.booleans())
def test_several_fields_are_several_stable_sorts(
    rows: list[Resource], first: bool, second: bool
) -> None:
    one, other = "-port" if first else "port", "-user" if second else "user"
    assert ordered(rows, f"{one},{other}") == ordered(ordered(rows, other), one)


@given(resources, st.integers(0, 5))
def test_the_smallest_few_are_the_beginning_of_all(rows: list[Resource], few: int) -> None:
    key = Sort.parse("-user,port,-id").key()
    assert heapq.nsmallest(few, rows, key=key) == sorted(rows, key=key)[:few]


def test_ids_that_are_numbers_sort_as_numbers_and_before_others() -> None:
    idents = ["b", "10", "9", "09", "100", "a"]
    assert named(idents, "id") == ["9", "10", "100", "09", "a", "b"]
    assert named(idents, "-id") == ["b", "a", "09", "100", "10", "9"]


@given(st.lists(st.text() | st.text("a\0z￿\U0001f600"), unique=True))
def test_text_sorts_by_code_points(texts: list[str]) -> None:
    rows = [{"id": "x", "attributes": {"user": text}} for text in texts]
    expected = sorted(texts, key=lambda text: [ord(character) for character in text])
    assert [row["attributes"]["user"] for row in ordered(rows, "user")] == expected
    assert [row["attributes"]["user"] for row in ordered(rows, "-user")] == expected[::-1]


def test_a_caller_may_sort_other_rows_by_other_values() -> None:
    asked = []

    def getter(path: Path) -> Any:
        asked.append(path.pointer)
        return {"/attributes/connected": len, "/id": str.lower}[path.pointer or ""]

    key = Sort.parse("-connected,id").key_by(getter)
    assert sorted(["b", "CC", "a", "dd"], key=key) == ["CC", "dd", "a", "b"]
    assert asked == ["/attributes/connected", "/id"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "has an empty name"),
        (",", "has an empty name"),
        ("a,", "has an empty name"),
        ("-", "a path is required"),
        ("a..b", "'a..b' is not the name of a field"),
        ("a/~", "'~' must be written ~0"),
        ("a,b,a", "'a' is listed more than once"),
        ("a,b,c,d,e,f,g,h,i", "at most 8 names are allowed, got 9"),
    ],
)
def test_a_bad_sort_says_what_is_wrong(value: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        Sort.parse(value)
    (error,) = caught.value.errors
    assert (error.status, error.code, error.parameter) == (400, "INVALID_PARAMETER", "sort")
    assert said in error.detail


@given(st.text(max_size=40) | st.text(alphabet="ab-,./~01", max_size=40), resources)
def test_any_value_is_an_order_or_a_request_error(value: str, rows: list[Resource]) -> None:
    try:
        sort = Sort.parse(value)
    except RequestError:
        return
    assert len(sorted(rows, key=sort.key())) == len(rows)
