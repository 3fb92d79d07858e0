"""Request ids and traces: what is accepted from callers, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.telemetry.correlation import (
    Correlation,
    from_headers,
    from_pairs,
    parse_traceparent,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("text", ["a", "x" * 128, "550e8400-e29b-41d4-a716-446655440000", "a=1/b"])
def test_a_safe_request_id_is_kept(text: str) -> None:
    assert from_headers([(b"x-request-id", text.encode())]) == Correlation(text)


@pytest.mark.parametrize("text", [b"", b"x" * 129, b"two words", b"a\x1b[31m", b"a\nb", b"\xe9"])
def test_any_other_request_id_is_replaced(text: bytes) -> None:
    one, other = (from_headers([(b"x-request-id", text)]).request_id for _ in range(2))
    assert len(one) == 24
    assert one != other


def test_two_request_ids_are_none() -> None:
    headers = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
    assert from_headers(headers).request_id not in ("one", "two")


def test_a_trace_is_carried_through_as_it_came() -> None:
    headers = [(b"host", b"x"), (b"traceparent", PARENT.encode()), (b"tracestate", b"a=1,b=2")]
    taken = from_headers(headers)
    assert (taken.traceparent, taken.tracestate, taken.trace_id) == (PARENT, "a=1,b=2", TRACE)
    assert taken.metadata() == (
        ("x-request-id", taken.request_id),
        ("traceparent", PARENT),
        ("tracestate", "a=1,b=2"),
    )
    assert from_pairs(taken.metadata()) == taken


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT.upper(),
        PARENT + "-more",
        PARENT[:-1],
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"0-{TRACE}-b7ad6b7169203331-01",
    ],
)
def test_a_trace_that_is_not_valid_is_dropped_with_its_state(text: str) -> None:
    taken = from_pairs([("traceparent", text), ("tracestate", "a=1")])
    assert (taken.traceparent, taken.tracestate, taken.trace_id) == (None, None, None)
    assert [name for name, _ in taken.metadata()] == ["x-request-id"]


def test_of_a_later_version_the_known_fields_are_kept() -> None:
    assert parse_traceparent(f"cc-{TRACE}-b7ad6b7169203331-01-what-is-to-come") == PARENT


def test_a_trace_given_twice_is_dropped() -> None:
    pair = (b"traceparent", PARENT.encode())
    assert from_headers([pair, pair]).traceparent is None


def test_binary_metadata_is_passed_over() -> None:
    taken = from_pairs([("x-request-id", b"abc"), ("traceparent", PARENT)])
    assert taken.request_id != "abc"
    assert taken.traceparent == PARENT


@given(
    st.lists(
        st.tuples(st.sampled_from([b"x-request-id", b"traceparent", b"tracestate"]), st.binary())
    )
)
def test_whatever_is_sent_can_be_sent_on(headers: list[tuple[bytes, bytes]]) -> None:
    for name, value in from_headers(headers).metadata():
        assert value.isascii()
        assert value.isprintable()
        assert 0 < len(name) + len(value) < 1024
