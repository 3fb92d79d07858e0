"""Pages and their links, compared with slices of a plain list."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.paging import (
    PARAMETERS,
    CursorPage,
    NumberPage,
    cursor_links,
    invalid_cursor,
    item_meta,
    number_links,
    page_meta,
    parse_page,
    unsupported_sort,
)

URL = "http://127.0.0.1:8990/v1/sessions/"
PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"


def page(values: dict[str, str], profile: bool = False) -> NumberPage | CursorPage | None:
    found = {f"page[{name}]": value for name, value in values.items()}
    return parse_page(found, default_size=100, max_size=1000, profile=profile)


def errors(values: dict[str, str], profile: bool = False) -> list[dict[str, Any]]:
    with pytest.raises(RequestError) as caught:
        page(values, profile)
    return [error.members() for error in caught.value.errors]


def parameters_of(link: str | None) -> list[tuple[str, str]]:
    assert link is not None
    assert link.startswith(URL)
    return parse_qsl(urlsplit(link).query, keep_blank_values=True)


@pytest.mark.parametrize(
    ("values", "profile", "expected"),
    [
        ({}, False, None),
        ({}, True, None),
        ({"size": "1"}, False, NumberPage(1, 0)),
        ({"size": "1000", "number": "0"}, False, NumberPage(1000, 0)),
        ({"size": "010", "number": "007"}, False, NumberPage(10, 7)),
        ({"size": "1", "number": "3"}, True, NumberPage(1, 3)),
        ({"size": "1"}, True, CursorPage(1, None, None)),
        ({"size": "2", "after": "abc"}, False, CursorPage(2, "abc", None)),
        ({"before": "abc"}, False, CursorPage(100, None, "abc")),
        ({"after": ""}, True, CursorPage(100, "", None)),
    ],
)
def test_what_pages_are_asked_for(
    values: dict[str, str], profile: bool, expected: NumberPage | CursorPage | None
) -> None:
    assert page(values, profile) == expected


@pytest.mark.parametrize("size", ["", "0", "00", "-1", "+1", "1.0", "1e3", "abc", " 1", "٣", "0x1"])
@pytest.mark.parametrize("profile", [True, False])
def test_a_size_is_a_positive_whole_number(size: str, profile: bool) -> None:
    (error,) = errors({"size": size}, profile)
    assert (error["status"], error["code"]) == ("400", "INVALID_PARAMETER")
    assert error["source"] == {"parameter": "page[size]"}
    assert "must be an integer of at least 1, got " in error["detail"]


def test_a_size_beyond_the_largest_says_which_that_is() -> None:
    for size in ("1001", "999999999999999999"):
        (error,) = errors({"size": size})
        assert error == {
            "status": "400",
            "code": "MAX_PAGE_SIZE_EXCEEDED",
            "title": "Bad Request",
            "detail": f"page[size] must be at most 1000, got {size}",
            "source": {"parameter": "page[size]"},
            "links": {"type": PROFILE + "max-size-exceeded"},
            "meta": {"page": {"maxSize": 1000}},
        }


def test_a_range_is_not_supported() -> None:
    (error,) = errors({"after": "a", "before": "b"})
    assert (error["status"], error["code"]) == ("400", "RANGE_PAGINATION_NOT_SUPPORTED")
    assert error["links"] == {"type": PROFILE + "range-pagination-not-supported"}
    assert "meta" not in error


@pytest.mark.parametrize(
    "values",
    [
        {"number": "1"},
        {"number": "1", "size": "1", "after": "a"},
        {"number": "1", "size": "1", "before": "a"},
        {"number": "-1", "size": "1"},
        {"number": "x", "size": "1"},
        {"number": "", "size": "1"},
        {"number": "2147483648", "size": "1"},
        {"number": 5000 * "9", "size": "1"},
    ],
)
def test_a_number_is_a_whole_one_and_goes_with_a_size(values: dict[str, str]) -> None:
    (error,) = errors(values)
    assert (error["status"], error["code"]) == ("400", "INVALID_PARAMETER")
    assert error["source"] == {"parameter": "page[number]"}


def test_several_faults_are_several_errors() -> None:
    found = errors({"size": "x", "number": "y", "after": "a", "before": "b"})
    assert [error["source"]["parameter"] for error in found] == [
        "page[size]",
        "page[number]",
        "page[number]",
        "page[before]",
    ]


def test_the_errors_that_only_the_caller_can_find() -> None:
    (error,) = invalid_cursor("page[after]").errors
    assert error.members()["source"] == {"parameter": "page[after]"}
    assert error.members()["code"] == "INVALID_PARAMETER"
    (error,) = unsupported_sort("ids").errors
    assert error.members() == {
        "status": "400",
        "code": "UNSUPPORTED_SORT",
        "title": "Bad Request",
        "detail": "pages by cursor support only ids; page[number] supports every order",
        "source": {"parameter": "sort"},
        "links": {"type": PROFILE + "unsupported-sort"},
    }


def test_links_are_written_as_maxscale_writes_them() -> None:
    def link(number: int) -> str:
        return f"{URL}?page%5Bsize%5D=1&page%5Bnumber%5D={number}"

    asked = [("page[size]", "1"), ("page[number]", "0")]
    assert number_links(URL, asked, NumberPage(1, 0), 2) == {
        "self": link(0),
        "first": link(0),
        "next": link(1),
        "last": link(1),
    }
    assert list(number_links(URL, asked, NumberPage(1, 1), 3)) == [
        "self",
        "first",
        "prev",
        "next",
        "last",
    ]


def test_every_other_parameter_is_kept_in_its_place() -> None:
    others = [
        ("filter", 'attributes/user="a&b"'),
        ("filter[id]", "or(1,2)"),
        ("sort", "-connected,user"),
        ("fields[sessions]", ""),
        ("filter", "id=ne(é €)"),
    ]
    asked = [("page[number]", "1"), *others[:2], ("page[size]", "5"), *others[2:]]
    links = number_links(URL, asked, NumberPage(5, 1), 11)
    assert parameters_of(links["next"]) == [*others, ("page[size]", "5"), ("page[number]", "2")]
    assert "filter=id%3Dne%28%C3%A9%20%E2%82%AC%29&page%5Bsize%5D=5" in links["next"]

    asked = [("page[after]", "x y"), *others, ("page[size]", "5")]
    found = cursor_links(URL, asked, before="b/=", after=None)
    assert parameters_of(found["self"]) == asked
    assert parameters_of(found["first"]) == asked[1:]
    assert parameters_of(found["prev"]) == [*asked[1:], ("page[before]", "b/=")]
    assert found["next"] is None

    asked = [("page[before]", "x"), ("page[size]", "5")]
    found = cursor_links(URL, asked, before="a", after="b")
    assert parameters_of(found["prev"]) == [("page[size]", "5"), ("page[before]", "a")]
    assert parameters_of(found["next"]) == [("page[size]", "5"), ("page[after]", "b")]


def test_behind_the_end_the_last_page_is_the_previous_one() -> None:
    links = number_links(URL, [], NumberPage(5, 9), 11)
    assert links["prev"] == links["last"]
    assert parameters_of(links["last"]) == [("page[size]", "5"), ("page[number]", "2")]
    assert "next" not in links


def test_cursor_links_without_parameters_have_no_query() -> None:
    assert cursor_links(URL, [], before=None, after="c") == {
        "self": URL,
        "first": URL,
        "prev": None,
        "next": f"{URL}?page%5Bafter%5D=c",
    }
    assert page_meta(200) == {"page": {"total": 200}}
    assert item_meta("c") == {"page": {"cursor": "c"}}


def asked_by(link: str) -> NumberPage:
    values = {name: value for name, value in parameters_of(link) if name in PARAMETERS}
    found = parse_page(values, default_size=1, profile=False)
    assert isinstance(found, NumberPage)
    return found


@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 50))
def test_links_by_number_walk_the_whole_list(total: int, size: int, start: int) -> None:
    rows = list(range(total))

    def cut(asked: NumberPage) -> list[int]:
        return rows[asked.offset : asked.offset + asked.size]

    # Forwards from the first page: all rows, in order.
    walked, links = [], number_links(URL, [], NumberPage(size, 0), total)
    link: str | None = links["first"]
    while link is not None:
        at = asked_by(link)
        walked += cut(at)
        links = number_links(URL, [], at, total)
        assert links["self"] == link
        last, link = link, links.get("next")
    assert walked == rows
    assert links["last"] == last
    # Backwards from any page: all rows before it, in order.
    at, walked = NumberPage(size, start), []
    while "prev" in (links := number_links(URL, [], at, total)):
        at = asked_by(links["prev"])
        walked = cut(at) + walked
    assert walked == rows[: start * size]
    assert at.number == 0


@given(
    st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=25) | st.integers().map(str)),
    st.booleans(),
)
def test_any_values_are_a_page_or_a_request_error(values: dict[str, str], profile: bool) -> None:
    try:
        found = parse_page(values, default_size=10, profile=profile)
    except RequestError as error:
        assert {fault.parameter for fault in error.errors} <= set(values)  # noqa: PT017
        return
    assert found is None or found.size > 0


@given(st.lists(st.tuples(st.text(min_size=1), st.text())), st.text(), st.integers(0, 9))
def test_links_keep_any_text(others: list[tuple[str, str]], cursor: str, number: int) -> None:
    others = [pair for pair in others if pair[0] not in PARAMETERS]
    links = number_links(URL, others, NumberPage(1, number), 10)
    assert parameters_of(links["self"])[:-2] == others
    found = cursor_links(URL, others, before=cursor, after=cursor)
    assert parameters_of(found["next"]) == [*others, ("page[after]", cursor)]
    assert parameters_of(found["prev"]) == [*others, ("page[before]", cursor)]
