"""Answers to Accept, Accept-Encoding and Content-Type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.negotiation import (
    Accepted,
    check_content_type,
    negotiate,
    negotiate_encoding,
)

API = "application/vnd.api+json"
JSON = "application/json"
EVENTS = "text/event-stream"
PROFILE = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination/"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, API),
        ("", API),
        ("*/*", API),
        ("application/*", API),
        (API, API),
        (JSON, JSON),
        ("APPLICATION/JSON", JSON),
        (f"{API}, {JSON}", API),
        (f"{JSON}, {API}", API),
        # Weights.
        (f"{JSON}, {API};q=0.9", JSON),
        (f"{JSON};q=0.8, {API};q=0.9", API),
        (f"{JSON};q=0.8, */*;q=0.9", API),
        (f"{JSON};q=0.001, text/html", JSON),
        (f"{API};q=0, {JSON}", JSON),
        (f"{JSON};q=0, */*", API),
        (f"{API};q=0, */*;q=0.1", JSON),
        (f"{API};q=0.0, application/*", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", API),
        # Slightly malformed weights; the first is what Java sent before version 19.
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", API),
        (f"{API};q=.8, {JSON};q=.9", JSON),
        (f"{API}; q=.9, {JSON}; q=0.8", API),
        (f"{API};q=0.1, {JSON};q=00.5", JSON),
        (f"{API};q=.5, {JSON};q=1.5, text/html", JSON),
        (f"{API};q=0.9, {JSON};q=1.001, text/html", JSON),
        (f"{API};q=.0, {JSON}", JSON),
        # Exact types, at the same weight.
        (f"{JSON}, text/plain, */*", JSON),
        (f"*/*, {JSON}", JSON),
        ("application/*, */*", API),
        # RFC 9110's own examples, if they accept any of our types.
        ("text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, */*;q=0.5", API),
        ("text/plain; q=0.5, text/html, text/x-dvi; q=0.8, text/x-c, */*;q=0.1", API),
        # JSON has no parameters that would distinguish one kind from another.
        (f"{JSON};charset=utf-8", JSON),
        (f"{JSON} ; charset=utf-8 ; q=1 , text/html", JSON),
        # JSON:API: ranges with other parameters are ignored, those with unknown profiles are not.
        (f"{API};charset=utf-8, {API}", API),
        (f"{API};charset=utf-8, {API};q=0.1, {JSON};q=0.5", JSON),
        (f'{API};ext="https://example.com/ext", {API};q=0.5', API),
        (f'{API};ext=""', API),
        (f'{API};profile="https://example.com/a,b;c"', API),
        # What does not parse is skipped.
        (", ,", API),
        ("nonsense", API),
        (f"nonsense, {JSON}", JSON),
        (f"{JSON};q=high", API),
        (f"{JSON};q=., text/html, {API}", API),
        (f"{JSON};q=1e3, text/html, {API};q=0.1", API),
        (f"{JSON};q=-1, */*", API),
        (f"{API};;q=0.5;", API),
        ('"', API),
    ],
)
def test_which_media_type_is_chosen(accept: str | None, expected: str) -> None:
    assert negotiate(accept) == Accepted(expected)


@pytest.mark.parametrize(
    "accept",
    [
        "application/xml",
        "text/*",
        "*/*;q=0",
        f"{API};q=0",
        f"{API};q=0, {JSON};q=0",
        f"{JSON};q=0, application/xml",
        "application/vnd.api",
        f"{API};charset=utf-8",
        f"{API};charset",
        f'{API};ext="https://example.com/ext"',
        f'{API};ext="a b";profile="c"',
        f'{API};version=1, {API};ext="a"',
        # JSON:API does not allow another media type as a fallback here.
        f"{API};charset=utf-8, {JSON}",
        f"{API};charset=utf-8, */*",
    ],
)
def test_nothing_acceptable_is_406(accept: str) -> None:
    with pytest.raises(RequestError) as caught:
        negotiate(accept)
    (error,) = caught.value.errors
    assert (error.status, error.code, error.header) == (406, "NOT_ACCEPTABLE", "Accept")
    assert API in error.detail


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, API),
        ("*/*", API),
        (EVENTS, EVENTS),
        (f"{EVENTS}, */*;q=0.5", EVENTS),
        (f"{JSON};q=0.5, {EVENTS};q=0.4", JSON),
        ("text/*", EVENTS),
    ],
)
def test_the_caller_says_what_there_is(accept: str | None, expected: str) -> None:
    assert negotiate(accept, (API, JSON, EVENTS)).media_type == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f'{API};profile="{PROFILE}"', (PROFILE,)),
        (f'{API} ; PROFILE = "https://a.example {PROFILE}  {PROFILE}"', (PROFILE,)),
        (f"{API};profile={PROFILE}", (PROFILE,)),
        (f'{API};profile="{PROFILE}", {API}', (PROFILE,)),
        (f'{API};profile="{PROFILE}";q=0.5, {API}', ()),
        (f'{API};profile="{PROFILE}";q=0.5, {API};q=0', (PROFILE,)),
        (f'{JSON};profile="{PROFILE}"', ()),
        (f'*/*;profile="{PROFILE}"', ()),
        (f'{API};profile="https://a.example"', ()),
        (API, ()),
    ],
)
def test_profiles_that_are_known_are_told(accept: str, expected: tuple[str, ...]) -> None:
    assert negotiate(accept, profiles=[PROFILE]).profiles == expected


def test_a_content_type_names_the_profiles_that_are_applied() -> None:
    assert Accepted(API).content_type() == API
    assert Accepted(API, ("a:b", "c:d")).content_type() == f'{API};profile="a:b c:d"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("br", "identity"),
        ("*", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.0, *", "identity"),
        ("*;q=0, gzip", "gzip"),
        ("identity", "identity"),
        ("identity;q=0.5, gzip;q=0.1", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;q=0.2, *;q=0.5", "identity"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        # RFC 9110's examples.
        ("compress, gzip", "gzip"),
        ("compress;q=0.5, gzip;q=1.0", "gzip"),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
        ("gzip;q=x", "identity"),
        ("gzip;q=.5, identity;q=.4", "gzip"),
        ("gzip;q=.3, identity;q=.4", "identity"),
        ("gzip; q=.0, *; q=.5", "identity"),
    ],
)
def test_which_encoding_is_chosen(header: str | None, expected: str) -> None:
    assert negotiate_encoding(header) == expected


@pytest.mark.parametrize("header", ["*;q=0", "identity;q=0", "br, *;q=0", "identity;q=0,gzip;q=0"])
def test_no_acceptable_encoding_is_406(header: str) -> None:
    with pytest.raises(RequestError) as caught:
        negotiate_encoding(header)
    (error,) = caught.value.errors
    assert (error.status, error.header) == (406, "Accept-Encoding")


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (None, False),
        ("text/plain", False),
        ("nonsense", False),
        (f"{JSON};charset=utf-8", False),
        (API, False),
        (API, True),
        (f'{API};profile="https://a.example"', True),
        (f'{API};ext=""', True),
        ("Application/Vnd.Api+Json", True),
        (JSON, True),
        (f"{JSON}; charset=utf-8", True),
    ],
)
def test_content_types_that_are_allowed(header: str | None, body: bool) -> None:
    check_content_type(header, body=body)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (None, True),
        ("", True),
        ("text/plain", True),
        ("nonsense", True),
        ("*/*", True),
        (f"{API}; charset=utf-8", True),
        (f"{API}; charset=utf-8", False),
        (f'{API};ext="https://a.example"', True),
        (f'{API};ext="https://a.example"', False),
        (f'{API};profile="a";x=y', True),
    ],
)
def test_content_types_that_are_415(header: str | None, body: bool) -> None:
    with pytest.raises(RequestError) as caught:
        check_content_type(header, body=body)
    (error,) = caught.value.errors
    assert (error.status, error.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert error.header == "Content-Type"


headers = st.text(max_size=40) | st.lists(
    st.sampled_from(
        [API, JSON, "*/*", "gzip", "*", ";q=0", ";q=1", ";q=", ";", ",", '"', "\\", "a/b", " ", "="]
    ),
    max_size=10,
).map("".join)


@given(headers)
def test_any_header_is_answered_or_a_request_error(header: str) -> None:
    for read, allowed in (
        (negotiate, {406}),
        (negotiate_encoding, {406}),
        (lambda text: check_content_type(text, body=True), {415}),
    ):
        try:
            read(header)
        except RequestError as error:
            assert {fault.status for fault in error.errors} == allowed  # noqa: PT017


weights = st.sampled_from([None, "0", "0.3", "0.300", ".5", "1"])


@given(st.dictionaries(st.sampled_from([API, JSON, "application/*", "*/*", "a/b"]), weights))
def test_the_heaviest_offer_wins(ranges: dict[str, str | None]) -> None:
    """RFC 9110's rule written out: the most specific range gives an offer its weight."""
    header = ", ".join(
        name if weight is None else f"{name};q={weight}" for name, weight in ranges.items()
    )
    found = {}
    for offer in (API, JSON):
        named = [name for name in (offer, "application/*", "*/*") if name in ranges]
        found[offer] = float(ranges[named[0]] or 1) if named else float(not ranges)
    if not any(found.values()):
        with pytest.raises(RequestError):
            negotiate(header)
    else:
        assert found[negotiate(header).media_type] == max(found.values())
