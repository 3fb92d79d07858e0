"""Documents that are read as they arrive: the same as when read whole, in short steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import UnreadableError
from sessiongate.core.sources.support import elements
from sessiongate.core.sources.support.elements import (
    BATCH,
    MAX_ELEMENT,
    MAX_WEIGHT,
    WINDOW,
    ElementBatch,
    Elements,
    More,
)
from sessiongate.core.sources.support.excerpt import MAX_STRING, Excerpt
from sessiongate.core.sources.support.lenient_json import JsonError, loads

LIGHT = 20_000  # values, or levels: twice what may be read of an element, in some tests
SPACE = b" " * WINDOW

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def batches(reading: Elements, body: bytes, size: int) -> Iterator[ElementBatch]:
    parts = (body[start : start + size] for start in range(0, len(body), size))
    for step in reading.read():
        if isinstance(step, More):
            reading.feed(next(parts, b""))
        elif isinstance(step, ElementBatch):
            yield step


def read(body: bytes, size: int = 4096, most: int = 1_000_000) -> list[Any]:
    return [value for batch in batches(Elements(most), body, size) for value in batch.values]


@given(
    values=st.lists(JSON),
    others=st.dictionaries(st.text().filter(lambda name: name != "data"), JSON),
    size=st.integers(1, 60),
    indent=st.none() | st.integers(0, 4),
    is_ascii=st.booleans(),
)
def test_elements_are_what_they_are_however_the_document_comes(
    values: list[Any], others: dict[str, Any], size: int, indent: int | None, is_ascii: bool
) -> None:
    document = {**others, "data": values, "other": others}
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
    body = text.encode(errors="replace")
    assert read(body, size) == loads(body)["data"]  # type: ignore[index]


@given(raw=st.binary(), size=st.integers(1, 9))
def test_any_bytes_are_read_or_refused(raw: bytes, size: int) -> None:
    for body in (raw, b'{"data": [' + raw + b"]}"):
        try:
            expected: Any = loads(body)
        except JsonError:
            with pytest.raises((JsonError, UnreadableError)):
                read(body, size)
            continue
        if isinstance(expected, dict) and isinstance(expected.get("data"), list):
            assert json.dumps(read(body, size)) == json.dumps(expected["data"])
        else:
            with pytest.raises(UnreadableError):
                read(body, size)


@pytest.mark.parametrize("text", ["x" * 3 * WINDOW, "ä\\\n" * WINDOW, '"{[]}\\' * WINDOW])
def test_a_long_element_that_is_text_is_read(text: str) -> None:
    values = [1, {"id": text, "more": [text]}, 2]
    body = json.dumps({"data": values}, ensure_ascii=False).encode()
    assert read(body) == values


@pytest.mark.parametrize(
    "odd",
    [
        b'"' + b"x" * MAX_ELEMENT + b'"',
        b"[" + b"{}," * LIGHT + SPACE + b"{}]",
        b"[" * LIGHT + SPACE + b"]" * LIGHT,
        b"9" * (MAX_ELEMENT + 1),
        b'"' + b"\\n" * MAX_ELEMENT + b'"',
        b'{"a":' * LIGHT + SPACE + b"1" + b"}" * LIGHT,
    ],
    ids=["text", "many", "deep", "digits", "escapes", "deep objects"],
)
def test_an_element_that_is_too_large_costs_no_other(
    odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "MAX_WEIGHT", LIGHT // 2)
    found = read(b'{"data":[1,' + odd + b",2]}", 65536)
    assert (found[0], found[2], len(found)) == (1, 2, 3)


@pytest.mark.parametrize("size", [1000, 65536])
def test_an_id_that_is_too_long_is_named_as_the_contract_names_it(size: int) -> None:
    session = {"id": "9" * 2 * 1024 * 1024, "attributes": {"state": "Started"}}
    (found,) = read(json.dumps({"data": [session]}).encode(), size)
    assert found["attributes"]["truncated"] == ["native_id"]


@pytest.mark.parametrize("size", [1000, 65536])
def test_of_a_session_that_is_too_large_the_rest_is_kept(size: int) -> None:
    text, many = "ü\\" * MAX_STRING, MAX_WEIGHT // 10
    attributes: dict[str, object] = {
        "state": "Started",
        "user": text,
        "queries": [{"statement": "SELECT 1", "completed": None}] * many,
        "connections": [{"server": "a"}],
        "client": {"cipher": "", "connection_attributes": {str(n): "x" for n in range(many)}},
        "database": "shop",
    }
    session = {"id": "1", "type": "sessions", "attributes": attributes, "links": {"self": "x"}}
    (found,) = read(json.dumps({"data": [session]}, ensure_ascii=False).encode(), size)
    kept = found["attributes"]
    assert text.startswith(kept.pop("user"))
    assert 1000 < len(kept.pop("queries")) < many
    assert kept.pop("truncated") == ["connection_attributes", "connections", "queries", "user"]
    assert kept == {"state": "Started", "connections": [], "client": {"cipher": ""}} | {
        "client": {"cipher": "", "connection_attributes": {}},
        "database": "shop",
    }
    assert (found["id"], found["links"]) == ("1", {"self": "x"})


def is_part(part: object, whole: object) -> bool:
    """Return whether a value is another one, without some ends and items."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_part(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_part, part, whole))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return part == whole


@given(
    value=JSON,
    most=st.integers(0, 100),
    weight=st.integers(0, 40),
    size=st.integers(2, 9),  # an escape is taken as a whole
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
)
def test_an_excerpt_is_a_part_of_the_value(
    value: Any, most: int, weight: int, size: int, indent: int | None, is_ascii: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    data = text.encode(errors="replace") + b" "
    excerpt, position = Excerpt(most, weight), 0
    while not excerpt.ended:
        position = excerpt.follow(data, position, min(position + size, len(data)))
    assert data[position:].strip() == b""
    found, whole = json.loads(excerpt.text), json.loads(data)
    assert is_part(found, whole)
    assert (found == whole) == (not excerpt.cut)
    if len(data) <= most and 2 * len(data) <= weight:
        assert found == whole


@pytest.mark.parametrize("most", [1, 10, 50_000])
def test_no_more_are_read_than_may_be(most: int) -> None:
    reading = Elements(most)
    endless = b'{"data":[' + b"{}," * 200_000
    assert sum(len(batch.values) for batch in batches(reading, endless, 65536)) == most
    assert reading.truncated
    assert f"only the first {most} " in reading.partial


@pytest.mark.parametrize("odd", [b"{}", '"é"'.encode()])
def test_a_step_has_so_many_elements_at_most(odd: bytes) -> None:
    body = b'{"data":[' + b",".join([odd] * 30_000) + b"]}"
    counts = [len(batch.values) for batch in batches(Elements(1_000_000), body, 65536)]
    assert sum(counts) == 30_000
    assert max(counts) == BATCH


def test_as_many_as_may_be_are_all() -> None:
    reading = Elements(2)
    assert [batch.values for batch in batches(reading, b'{"data":[1,2]}', 99)] == [[1, 2]]
    assert not reading.truncated
