"""The fields parameter: parts of resources, in their original order."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.fieldsets import Fieldset, fieldset_type

SESSION: dict[str, Any] = {
    "id": "1",
    "type": "sessions",
    "relationships": {
        "services": {"links": {"self": "/v1/services/"}, "data": [{"id": "CLI"}]},
        "filters": {"data": []},
    },
    "attributes": {
        "state": "Session started",
        "user": "app",
        "connections": [{"server": "db1", "connection_id": 7}],
        "client": {"cipher": "", "connection_attributes": {"a/b": "c", "_pid": "1"}},
        "memory": {"total": 9, "variables": {}},
        "empty": {},
    },
    "links": {"self": "/v1/sessions/1"},
}


def cut(value: str) -> tuple[str | None, str | None]:
    """Return the remaining attributes and relationships as JSON: the order counts."""
    resource = Fieldset.parse("fields[sessions]", value).apply(SESSION)
    rest = {name: SESSION[name] for name in ("id", "type", "links")}
    assert {name: resource[name] for name in rest} == rest
    assert [name for name in SESSION if name in resource] == list(resource)
    attributes, relationships = (
        json.dumps(resource[part]) if part in resource else None
        for part in ("attributes", "relationships")
    )
    return attributes, relationships


@pytest.mark.parametrize(
    ("value", "attributes", "relationships"),
    [
        ("state", '{"state": "Session started"}', None),
        ("user,state", '{"state": "Session started", "user": "app"}', None),
        ("services", None, json.dumps({"services": SESSION["relationships"]["services"]})),
        ("filters/data", None, '{"filters": {"data": []}}'),
        ("client/cipher", '{"client": {"cipher": ""}}', None),
        ("/client/cipher", '{"client": {"cipher": ""}}', None),
        ("memory/total,user", '{"user": "app", "memory": {"total": 9}}', None),
        (
            "client/connection_attributes/a~1b",
            '{"client": {"connection_attributes": {"a/b": "c"}}}',
            None,
        ),
        ("memory/total,memory", '{"memory": {"total": 9, "variables": {}}}', None),
        ("memory,memory/total", '{"memory": {"total": 9, "variables": {}}}', None),
        # Arrays and scalars are not entered.
        (
            "connections/server",
            '{"connections": [{"server": "db1", "connection_id": 7}]}',
            None,
        ),
        ("user/name", '{"user": "app"}', None),
        # Missing members are left out, and so are objects that become empty.
        ("nothing", None, None),
        ("client/nothing,state/x", '{"state": "Session started"}', None),
        ("empty", '{"empty": {}}', None),
        # Not prefixes: these name fields with such names.
        ("attributes/user,relationships/services", None, None),
        ("id,type,links", None, None),
        ("", None, None),
    ],
)
def test_which_fields_are_left(
    value: str, attributes: str | None, relationships: str | None
) -> None:
    assert cut(value) == (attributes, relationships)


def test_the_resource_itself_is_not_changed() -> None:
    before = copy.deepcopy(SESSION)
    Fieldset.parse("fields[sessions]", "client/cipher").apply(SESSION)
    assert before == SESSION


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a,,b", "has an empty name"),
        ("a,a", "'a' is listed more than once"),
        ("a//b", "'a//b' is not a field"),
        ("a/", "'a/' is not a field"),
        ("/", "'/' is not a field"),
        ("a~b", "'~' must be written ~0"),
        (",".join(map(str, range(101))), "at most 100 names are allowed, got 101"),
    ],
)
def test_bad_fields_say_what_is_wrong(value: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        Fieldset.parse("fields[sessions]", value)
    (error,) = caught.value.errors
    assert (error.status, error.code) == (400, "INVALID_PARAMETER")
    assert error.parameter == "fields[sessions]"
    assert said in error.detail


def test_which_parameters_are_fieldsets() -> None:
    names = ["fields[sessions]", "fields[]", "fields[a[b]]", "fields", "fields[", "field[a]"]
    assert [fieldset_type(name) for name in names] == ["sessions", "", "a[b]", None, None, None]


@given(st.text(max_size=60) | st.text(alphabet="ab/~01,-", max_size=40))
def test_any_value_is_a_fieldset_or_a_request_error(value: str) -> None:
    try:
        fieldset = Fieldset.parse("fields[sessions]", value)
    except RequestError:
        return
    assert fieldset.apply(SESSION)["id"] == "1"


names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(names, inner, min_size=1), max_leaves=10
)


@given(
    st.dictionaries(names, trees),
    st.lists(st.lists(names, min_size=1).map(tuple), min_size=1, unique=True),
)
def test_a_fieldset_leaves_the_leaves_that_a_pointer_leads_to(
    attributes: dict[str, Any], wanted: list[tuple[str, ...]]
) -> None:
    def leaves(tree: Any, way: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
        if isinstance(tree, int):
            return {way: tree}
        return {k: v for name in tree for k, v in leaves(tree[name], (*way, name)).items()}

    value = ",".join("/".join(tokens) for tokens in wanted)
    resource = {"id": "1", "attributes": attributes}
    left = Fieldset.parse("fields[x]", value).apply(resource).get("attributes", {})
    assert list(leaves(left).items()) == [
        (way, leaf)
        for way, leaf in leaves(attributes).items()
        if any(way[: len(tokens)] == tokens or tokens[: len(way)] == way for tokens in wanted)
    ]
