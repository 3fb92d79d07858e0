"""JSON:API documents and queries, independent of sessions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.document import CollectionWriter, dump
from sessiongate.gateway.jsonapi.errors import Error, RequestError, errors_response
from sessiongate.gateway.jsonapi.query import MAX_PARAMETERS, AllowedParameters, QueryParameters
from sessiongate.runtime.turns import finished

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["[", "]", "0", "\n", "]}", '"data": [']
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
members = st.dictionaries(texts.filter(lambda name: name != "data"), values, max_size=3)


@given(
    before=members,
    pages=st.lists(st.lists(objects, max_size=3), max_size=4),
    after=members,
    pretty=st.booleans(),
)
def test_pieces_make_the_document(
    before: dict[str, object],
    pages: list[list[dict[str, object]]],
    after: dict[str, object],
    pretty: bool,
) -> None:
    after = {name: value for name, value in after.items() if name not in before}
    writer = CollectionWriter(pretty=pretty)
    pieces = [writer.opening(before), *map(writer.items, pages), writer.closing(after)]
    items = [item for page in pages for item in page]
    assert b"".join(pieces) == dump({**before, "data": items, **after}, pretty=pretty)


@given(value=values)
def test_an_indented_document_is_what_json_would_write(value: object) -> None:
    expected = json.dumps(value, ensure_ascii=False, indent=4)
    assert dump(value, pretty=True).decode() == expected


def test_text_is_utf_8_and_not_escaped() -> None:
    assert dump({"é": "☃"}, pretty=False) == '{"é":"☃"}'.encode()
    assert dump({"é": ["☃"]}, pretty=True) == '{\n    "é": [\n        "☃"\n    ]\n}'.encode()


@pytest.mark.parametrize(
    ("query", "pretty"),
    [
        (b"", False),
        (b"pretty", True),
        (b"sync=pretty", False),
        (b"sync=1&pretty", True),
        (b"pretty&sync=1", True),
        (b"pretty=true", True),
        (b"pretty=YES", True),
        (b"pretty=on", True),
        (b"pretty=1", True),
        (b"pretty=false", False),
        (b"pretty=No", False),
        (b"pretty=off", False),
        (b"pretty=0", False),
        (b"%70retty=t%72ue", True),
        (b"sync=true&pretty=true", True),
        (b"sync=", False),
        (b"&&pretty=true&", True),
    ],
)
def test_a_good_query_is_read(query: bytes, pretty: bool) -> None:
    assert finished(QueryParameters.parsing(query, AllowedParameters())) == QueryParameters(
        pretty=pretty
    )


NO_SWITCH = (
    "pretty must be one of true, yes, on, 1, false, no, off, 0, got {}; without a value, it is true"
)


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        (b"pretty=", [("pretty", NO_SWITCH.format("''"))]),
        (b"pretty=2", [("pretty", NO_SWITCH.format("'2'"))]),
        (b"pretty&pretty", [("pretty", "'pretty' is given more than once")]),
        (b"prettyy", [("prettyy", "unknown parameter 'prettyy'; did you mean 'pretty'?")]),
        (b"pretty=1&pretty=1", [("pretty", "'pretty' is given more than once")]),
        (b"sync=1&sync=1", [("sync", "'sync' is given more than once")]),
        (b"Pretty=1", [("Pretty", "unknown parameter 'Pretty'; did you mean 'pretty'?")]),
        (
            b"page%5Bsize%5D=1&pretty=x",
            [
                ("pretty", NO_SWITCH.format("'x'")),
                ("page[size]", "unknown parameter 'page[size]'; allowed are pretty, sync"),
            ],
        ),
        ("é=1".encode(), [("é", "unknown parameter 'é'; allowed are pretty, sync")]),
        (b"\xff=1", [(None, "the query must be percent-encoded UTF-8")]),
        (b"pretty=%FF", [(None, "the query must be percent-encoded UTF-8")]),
        (
            b"&".join([b"a"] * (MAX_PARAMETERS + 1)),
            [(None, "a query may have at most 100 parameters")],
        ),
    ],
)
def test_each_fault_of_a_query_is_an_error(
    query: bytes, faults: list[tuple[str | None, str]]
) -> None:
    with pytest.raises(RequestError) as caught:
        finished(QueryParameters.parsing(query, AllowedParameters()))
    errors = caught.value.errors
    assert [(error.parameter, error.detail) for error in errors] == faults
    assert {(error.status, error.code) for error in errors} == {(400, "INVALID_PARAMETER")}


def test_an_error_document_says_what_is_to_blame() -> None:
    answer = errors_response(
        [
            Error(400, "A", "a is wrong", parameter="a"),
            Error(400, "B", "b is wrong", header="B"),
            Error(400, "C", "all is wrong"),
        ],
        {"Retry-After": "1"},
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.headers["retry-after"] == "1"
    common = {"status": "400", "title": "Bad Request"}
    assert json.loads(bytes(answer.body)) == {
        "errors": [
            {**common, "code": "A", "detail": "a is wrong", "source": {"parameter": "a"}},
            {**common, "code": "B", "detail": "b is wrong", "source": {"header": "B"}},
            {**common, "code": "C", "detail": "all is wrong"},
        ]
    }
