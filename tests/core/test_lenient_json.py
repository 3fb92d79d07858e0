"""JSON with one value that a parser refuses: what that costs."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.support.lenient_json import JsonError, loads

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON)
def test_what_is_json_is_what_it_is(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("depth", [1_200, 100_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_what_is_nested_too_deeply_costs_itself(depth: int, brackets: str) -> None:
    start = "[" if brackets == "[]" else '{"[\\"{": '
    inner = start * depth + "1" + brackets[1] * depth
    value = loads(f'[{{"a": {inner}, "b": "[[\\"{{"}}, 5]'.encode())
    assert isinstance(value, list)
    assert value[1] == 5
    assert value[0]["b"] == '[["{'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b'["a\xffb", 1]', ["a\ufffdb", 1]),
        (b'["\xed\xa0\x80", 1]', ["\ufffd\ufffd\ufffd", 1]),
        (b'["a\x00\nb", 1]', ["a\x00\nb", 1]),
        (b'\xef\xbb\xbf["\xff"]', ["\ufffd"]),
    ],
)
def test_bytes_that_are_no_text_are_replaced(text: bytes, read: object) -> None:
    assert loads(text) == read


def test_a_number_of_too_many_digits_is_none() -> None:
    value = loads(b"[" + b"9" * 5000 + b", 1]")
    assert isinstance(value, list)
    assert math.isnan(value[0])
    assert value[1] == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b'{"a": 1} x', b"[" * 5000, b"]" * 5000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError, match="line 1, column"):
        loads(text)
