"""Conditional requests: RFC 9110's order of precedence written out, tags and dates."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.conditional import (
    Conditions,
    ETag,
    format_date,
    last_modified_of,
    parse_date,
    parse_etags,
    revisions_of,
    unchanged,
    weak_etag,
)
from sessiongate.gateway.jsonapi.errors import RequestError

NOW = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC).timestamp()
CHANGED = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT
REVISIONS = st.integers(0, 2**64 - 1)
TAG = ETag("5-abc", weak=True)

SAME, OTHER = 'W/"5-abc"', '"5-abd"'
BEFORE, AT, AFTER = (
    "Sun, 06 Nov 1994 08:49:36 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:38 GMT",
)


def outcome(
    conditions: Conditions, tag: ETag | None = TAG, changed: int | None = CHANGED
) -> int | None:
    """Return 304, 412, or None to proceed."""
    try:
        return 304 if unchanged(conditions, tag, changed, NOW) else None
    except RequestError as error:
        (fault,) = error.errors
        return fault.status


# How GET and HEAD evaluate each header if the answer has a tag and a date: whether the
# condition holds; None if the header is missing or to be ignored.
IF_MATCH = {None: None, SAME: True, OTHER: False, "*": True, f"{OTHER}, {SAME}": True, "": False}
IF_NONE_MATCH = {None: None, SAME: False, OTHER: True, "*": False, f'{OTHER},"5-abc"': False}
IF_UNMODIFIED_SINCE = {None: None, BEFORE: False, AT: True, AFTER: True, "yesterday": None}
IF_MODIFIED_SINCE = {None: None, BEFORE: True, AT: False, AFTER: False, f"{AT}, {AT}": None}


def by_the_book(conditions: Conditions) -> int | None:
    """Evaluate conditions by RFC 9110, section 13.2.2, step by step."""
    if conditions.if_match is not None:  # 1
        if not IF_MATCH[conditions.if_match]:
            return 412
    elif IF_UNMODIFIED_SINCE[conditions.if_unmodified_since] is False:  # 2
        return 412
    if conditions.if_none_match is not None:  # 3
        return None if IF_NONE_MATCH[conditions.if_none_match] else 304
    if IF_MODIFIED_SINCE[conditions.if_modified_since] is False:  # 4
        return 304
    return None  # 6


def test_the_order_of_precedence() -> None:
    every = product(IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE)
    for conditions in (Conditions(*headers) for headers in every):
        assert outcome(conditions) == by_the_book(conditions), conditions


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(if_match=SAME), 412),
        (Conditions(if_match="*"), None),
        (Conditions(if_none_match=SAME), None),
        (Conditions(if_none_match="*"), 304),
        (Conditions(if_modified_since=AFTER), None),
        (Conditions(if_unmodified_since=BEFORE), None),
    ],
)
def test_an_answer_without_validators(conditions: Conditions, expected: int | None) -> None:
    assert outcome(conditions, None, None) == expected


def test_the_header_to_blame() -> None:
    for conditions, header in (
        (Conditions(if_match=OTHER, if_unmodified_since=BEFORE), "If-Match"),
        (Conditions(if_unmodified_since=BEFORE), "If-Unmodified-Since"),
    ):
        with pytest.raises(RequestError) as caught:
            unchanged(conditions, TAG, CHANGED, NOW)
        (error,) = caught.value.errors
        assert (error.status, error.code, error.header) == (412, "PRECONDITION_FAILED", header)


def test_conditions_are_read_from_the_headers() -> None:
    headers = [
        (b"host", b"localhost"),
        (b"if-none-match", b'"a"'),
        (b"if-modified-since", AT.encode()),
        (b"if-range", b'"a"'),
        (b"if-none-match", b'"b", "\xe4"'),
    ]
    assert Conditions.read(headers) == Conditions(
        if_none_match='"a", "b", "ä"', if_modified_since=AT
    )
    assert Conditions.read([(b"if-match", b"*"), (b"if-unmodified-since", b"x")]) == Conditions(
        if_match="*", if_unmodified_since="x"
    )
    assert Conditions.read([]) == Conditions()


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"xyzzy"', [ETag("xyzzy", False)]),
        ('W/"xyzzy"', [ETag("xyzzy", True)]),
        ('""', [ETag("", False)]),
        ('"a,b" ,\tW/"c"', [ETag("a,b", False), ETag("c", True)]),
        (', ,"a", ,', [ETag("a", False)]),
        ('w/"a", W/ "b", c, "d" e, "f', []),
        ('nonsense, "a"', [ETag("a", False)]),
        ('"a b"', []),
        ("*", []),
        ("", []),
    ],
)
def test_lists_of_tags(header: str, tags: list[ETag]) -> None:
    assert list(parse_etags(header)) == tags


# RFC 9110, section 8.8.3.2; strength does not matter here.
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('W/"1"', 'W/"1"', True),
        ('W/"1"', 'W/"2"', False),
        ('W/"1"', '"1"', True),
        ('"1"', '"1"', True),
    ],
)
def test_weak_comparison(one: str, other: str, same: bool) -> None:
    (first,), (second,) = parse_etags(one), parse_etags(other)
    assert first.same_as(second) is same
    assert (str(first), str(second)) == (one, other)


@given(REVISIONS, st.binary(), REVISIONS, st.binary())
def test_a_tag_stands_for_a_revision_and_a_question(
    revision: int, question: bytes, later: int, another: bytes
) -> None:
    tag = weak_etag(revision, question)
    assert parse_etags(str(tag)) == (tag,)
    assert tag.weak
    same = (revision, question) == (later, another)
    assert tag.same_as(weak_etag(later, another)) is same
    assert outcome(Conditions(if_none_match=str(tag)), tag) == 304
    assert outcome(Conditions(if_match=str(tag)), tag) is None
    assert revisions_of(tag) is None


@given(REVISIONS, REVISIONS, st.binary(), REVISIONS)
def test_a_tag_of_one_resource_tells_who_it_is(
    revision: int, identity: int, question: bytes, other: int
) -> None:
    tag = weak_etag(revision, question, identity)
    assert revisions_of(tag) == (revision, identity)
    assert parse_etags(str(tag)) == (tag,)
    assert tag.same_as(weak_etag(revision, question, other)) is (identity == other)
    assert not tag.same_as(weak_etag(revision, question))


@pytest.mark.parametrize(
    "opaque",
    ["", "1", "1-2", f"1-2-{'0' * 15}", f"1-{'0' * 16}", f"-2-{'0' * 16}", f"1-2-{'0' * 16}-gzip",
     f"1-{'f' * 17}-{'0' * 16}", f"\xb2-2-{'0' * 16}", f"1-+2-{'0' * 16}"],
)  # fmt: skip
def test_other_tags_tell_nothing(opaque: str) -> None:
    assert revisions_of(ETag(opaque, weak=True)) is None


@pytest.mark.parametrize(
    ("changed", "now", "stated"),
    [(5.0, 5.0, None), (5.0, 5.999, None), (5.999, 6.0, 5), (5.0, 6.5, 5), (7.5, 6.0, None)],
)
def test_a_date_is_stated_once_its_second_has_passed(
    changed: float, now: float, stated: int | None
) -> None:
    assert last_modified_of(changed, now) == stated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # RFC 9110's examples, and the same for other times.
        ("Sun, 06 Nov 1994 08:49:37 GMT", CHANGED),
        ("Sunday, 06-Nov-94 08:49:37 GMT", CHANGED),
        ("Sun Nov  6 08:49:37 1994", CHANGED),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        ("Wed May 17 10:06:35 2017", 1_495_015_595),
        # Two digits: not more than 50 years ahead.
        ("Monday, 23-Nov-26 20:00:00 GMT", int(NOW)),
        ("Monday, 23-Nov-76 20:00:00 GMT", 3_373_387_200),
        ("Wednesday, 23-Nov-77 20:00:00 GMT", 249_163_200),
        # Not dates.
        ("", None),
        ("0", None),
        ("yesterday", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 gmt", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT\n", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 31 Nov 1994 08:49:37 GMT", None),
        ("Sun, 00 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06-Nov-94 08:49:37 GMT", None),
        ("Sun Nov 06 08:49:37 94", None),
        ("Sun, 06 Nov ١٩٩٤ 08:49:37 GMT", None),
    ],
)
def test_dates(text: str, expected: int | None) -> None:
    assert parse_date(text, NOW) == expected


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_dates_are_read_as_they_are_written(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    seconds = int(moment.timestamp())
    text = format_date(seconds)
    assert parse_date(text, NOW) == seconds
    assert parse_date(moment.ctime(), NOW) == seconds
    long = f"{moment:%A}, {text[5:7]}-{text[8:11]}-{text[14:16]} {text[17:]}"
    if 1977 <= moment.year <= 2076:
        assert parse_date(long, NOW) == seconds


headers = st.none() | st.text(max_size=30) | st.sampled_from([SAME, OTHER, "*", AT, BEFORE])


@given(headers, headers, headers, headers)
def test_any_headers_have_one_of_three_outcomes(
    match: str | None, none_match: str | None, modified: str | None, unmodified: str | None
) -> None:
    assert outcome(Conditions(match, none_match, modified, unmodified)) in (None, 304, 412)
