"""The filter parameter: MaxScale's examples, a naive evaluator, and untrusted input."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessiongate.gateway.jsonapi.errors import RequestError
from sessiongate.gateway.jsonapi.filters import Filter, is_filter


def session(ident: str, service: str = "RW-Split-Router", **attributes: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "type": "sessions",
        "relationships": {"services": {"data": [{"id": service, "type": "services"}]}},
        "attributes": {"state": "Session started", **attributes},
    }


SESSIONS = [
    session("1", user="app", port=3306, idle=0.5, connections=[{"server": "db1"}]),
    session("50", "CLI", user="root", port=3307, idle=10, connections=[]),
    session("75", user="ünïcode", connections=[{"server": "db1"}, {"server": "db2"}]),
    session("100", "CLI", user="app", native_id="5"),
    session("101", client={"cipher": "", "connection_attributes": {"a/b": "c", "d.e": "f"}}),
]


def matching(parameter: str, value: str) -> list[str]:
    found = Filter.parse(parameter, value)
    return [resource["id"] for resource in SESSIONS if found.matches(resource)]


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        # MaxScale's documentation.
        ("filter", "id=and(ge(50),le(100))", ["50", "75", "100"]),
        ("filter", "id=or(eq(1),eq(5),eq(100))", ["1", "100"]),
        ("filter", "id=not(eq(1),eq(50),eq(100))", ["75", "101"]),
        ("filter", '/relationships/services/data/0/id="CLI"', ["50", "100"]),
        ("filter[id]", 'eq("75")', ["75"]),
        ("filter[attributes.port]", "eq(3306)", ["1"]),
        # The same path, in every notation.
        ("filter", 'attributes/user="app"', ["1", "100"]),
        ("filter", '/attributes/user=eq("app")', ["1", "100"]),
        ("filter[attributes.user]", '"app"', ["1", "100"]),
        ("filter[$.attributes.user]", 'eq("app")', ["1", "100"]),
        ("filter[$['attributes']['user']]", 'eq("app")', ["1", "100"]),
        ('filter[$["attributes"].user]', 'eq("app")', ["1", "100"]),
        ("filter[$.attributes.user]", '"ünïcode"', ["75"]),
        # One matching element is enough, but it must match the whole expression.
        ("filter[$.attributes.connections[*].server]", 'eq("db2")', ["75"]),
        ("filter[$.attributes.connections[*].server]", 'ne("db1")', ["75"]),
        ("filter[$.attributes.connections[*].server]", 'and("db1",ne("db1"))', []),
        ("filter[$.attributes.connections[0,1].server]", 'eq("db2")', ["75"]),
        ("filter[$.attributes.connections[-1].server]", 'eq("db1")', ["1"]),
        ("filter[$.attributes.connections[0].server]", 'eq("db1")', ["1", "75"]),
        ("filter[$.attributes.connections[1:].server]", 'eq("db2")', ["75"]),
        ("filter[$.attributes.*]", 'eq("app")', ["1", "100"]),
        ("filter[$..server]", 'eq("db2")', ["75"]),
        ("filter[$..id]", "eq(75)", ["75"]),
        ("filter[$.attributes.connections[?@.server == 'db2'].server]", 'ne("")', ["75"]),
        # A missing value never matches, even if the expression is negated.
        ("filter", 'attributes/user=ne("app")', ["50", "75"]),
        ("filter", 'attributes/user=not("app")', ["50", "75"]),
        ("filter", "attributes/nothing=ne(1)", []),
        ("filter", "attributes/user/name=ne(1)", []),
        ("filter", "attributes/connections/7=ne(1)", []),
        ("filter", "attributes/connections/x=ne(1)", []),
        # Numbers compare as numbers; an id is a number in a string, other strings are not.
        ("filter", "attributes/idle=lt(9.5)", ["1"]),
        ("filter", "attributes/idle=10.0", ["50"]),
        ("filter", "attributes/native_id=5", []),
        ("filter", 'attributes/native_id="5"', ["100"]),
        ("filter", 'id=lt("2")', ["1", "100", "101"]),
        ("filter", "id=or(100.0,50.5)", ["100"]),
        ("filter", "attributes/port=gt(3306)", ["50"]),
        ("filter", 'attributes/port=ge("")', []),
        ("filter", 'attributes/user=ge("ü")', ["75"]),
        # JSON of every kind, spaces, escapes.
        ("filter", "attributes/connections=[]", ["50"]),
        ("filter", 'attributes/connections=[{"server":"db1"}]', ["1"]),
        ("filter", "attributes/connections=ne(null)", ["1", "50", "75"]),
        ("filter", 'attributes/client/connection_attributes/a~1b="c"', ["101"]),
        ("filter[$.attributes.client.connection_attributes['d.e']]", '"f"', ["101"]),
        ("filter", 'attributes/user=eq("\\u0061pp")', ["1", "100"]),
        ("filter", "id= or ( eq ( 1 ) , not( gt(1) ) )\n", ["1"]),
    ],
)
def test_what_a_filter_lets_through(parameter: str, value: str, expected: list[str]) -> None:
    assert matching(parameter, value) == expected


def test_true_is_not_one() -> None:
    resource = session("1", yes=True, one=1, nested={"list": [1, True]})
    assert Filter.parse("filter", "attributes/yes=true").matches(resource)
    assert not Filter.parse("filter", "attributes/yes=1").matches(resource)
    assert not Filter.parse("filter", "attributes/yes=ge(0)").matches(resource)
    assert not Filter.parse("filter", "attributes/one=true").matches(resource)
    assert Filter.parse("filter", 'attributes/nested={"list":[1.0,true]}').matches(resource)
    assert not Filter.parse("filter", 'attributes/nested={"list":[true,1]}').matches(resource)


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("filter", "nonsense", "'nonsense' has no '='"),
        ("filter", "", "has no '='"),
        ("filter", "=1", "a path is required"),
        ("filter", "id=", "at offset 3, the end is not a JSON value; allowed are"),
        ("filter", "attributes/user=app", "at offset 16, 'app' is not a JSON value; allowed are"),
        ("filter", 'id=like("x")', "strings in double quotes"),
        ("filter", "id=eq()", "at offset 6, ')' is not a JSON value; eq() requires one JSON value"),
        ("filter", "id=eq(1", "at offset 7, expected ')' to close eq(, got the end"),
        ("filter", "id=eq(1,2)", "at offset 7, expected ')' to close eq("),
        ("filter", "id=eq(eq(1))", "eq() requires one JSON value"),
        ("filter", "id=and()", "at offset 7, ')' is not a JSON value; allowed are"),
        ("filter", "id=and(1,)", "at offset 9"),
        ("filter", "id=or(1 2)", "at offset 8, expected ')' to close or(, got '2)'"),
        ("filter", "id=1 2", "at offset 5, unexpected '2' after the expression"),
        ("filter", "id=eq(1))", "at offset 8, unexpected ')' after the expression"),
        ("filter", 'id="open', "at offset 3, '\"open' is not a JSON value"),
        ("filter", 'id={"a" 1}', "at offset 8"),
        ("filter", "id=NaN", "NaN is not JSON"),
        ("filter", "id=-Infinity", "-Infinity is not JSON"),
        ("filter", "id=1e999", "a number is too large"),
        ("filter", "id=lt(true)", "at offset 6, lt() requires a number or a string"),
        ("filter", "id=ge([1])", "at offset 6, ge() requires a number or a string"),
        ("filter", "a~b=1", "at offset 1, '~' must be written ~0"),
        ("filter", "id=" + 33 * "not(" + "1" + 33 * ")", "nest deeper than the maximum, 32"),
        (
            "filter",
            "id=" + 33 * "[" + 33 * "]",
            "at offset 35, brackets nest deeper than the maximum, 32",
        ),
        ("filter", "id=" + 5000 * "1", "at most 4096 characters long, got 5003"),
        ("filter", 257 * "a" + "=1", "at most 256 characters long, got 257"),
        ("filter[]", "eq(1)", "a path is required"),
        ("filter[$.]", "eq(1)", "is not a JSONPath (RFC 9535, without functions): at offset 2"),
        ("filter[a..]", "eq(1)", "at offset 3"),
        ("filter[/attributes/user]", "eq(1)", "is not a JSONPath"),
        ("filter[attributes/user]", "eq(1)", "at offset 10"),
        ("filter[$.a[?match(@.b, '(a+)+')]]", "eq(1)", "'match' is not defined"),
        ("filter[$.a[?count(@.b) > 1]]", "eq(1)", "'count' is not defined"),
        ("filter[$.a[?@..b]]", "eq(1)", "a path inside '?' may consist only of names and indexes"),
        (
            "filter[$.a[?@[?@.b]]]",
            "eq(1)",
            "a path inside '?' may consist only of names and indexes",
        ),
        ("filter[$..a..b]", "eq(1)", "too expensive"),
        ("filter[$[*,*,*,*,*][*,*,*,*,*][*,*,*]]", "eq(1)", "64 combinations of selectors"),
        ("filter[$.a[?@ == 1e400]]", "eq(1)", "a number in it is too large"),
        ("filter[$" + 60 * "[?(@" + "]", "eq(1)", "is not a JSONPath"),
    ],
)
def test_a_bad_filter_says_what_is_wrong_and_where(parameter: str, value: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        Filter.parse(parameter, value)
    (error,) = caught.value.errors
    assert (error.status, error.code, error.parameter) == (400, "INVALID_PARAMETER", parameter)
    assert said in error.detail


def test_the_limits_are_the_callers() -> None:
    assert Filter.parse("filter", "id=not(not(1))", max_depth=2)
    with pytest.raises(RequestError, match="deeper than the maximum, 1"):
        Filter.parse("filter", "id=not(not(1))", max_depth=1)
    assert Filter.parse("filter", "id=12", max_length=5)
    with pytest.raises(RequestError, match="at most 4 characters long"):
        Filter.parse("filter", "id=12", max_length=4)


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("filter", 'attributes/user="app"', ("/attributes/user", ("app",))),
        ("filter[attributes.user]", 'eq("a/b")', ("/attributes/user", ("a/b",))),
        ("filter[$.a['b/c']]", 'or("x",eq("y"),"x")', ("/a/b~1c", ("x", "y"))),
        (
            "filter",
            '/relationships/services/data/0/id="CLI"',
            ("/relationships/services/data/0/id", ("CLI",)),
        ),
        (
            "filter[relationships.services.data[0].id]",
            '"CLI"',
            ("/relationships/services/data/0/id", ("CLI",)),
        ),
        ("filter", "id=1", None),
        ("filter", 'id=or("1",2)', None),
        ("filter", 'id=or("1",ne("2"))', None),
        ("filter", 'id=and("1","1")', None),
        ("filter", 'id=not("1")', None),
        ("filter", 'id=ne("1")', None),
        ("filter[$.a[*]]", '"x"', None),
        ("filter[$.a[-1]]", '"x"', None),
        ("filter[$..a]", '"x"', None),
    ],
)
def test_a_filter_for_strings_in_one_place_is_known_as_such(
    parameter: str, value: str, expected: tuple[str, tuple[str, ...]] | None
) -> None:
    assert Filter.parse(parameter, value).equals == expected


def test_which_parameters_are_filters() -> None:
    names = ["filter", "filter[id]", "filter[$.a[0]]", "filter[", "filters", "filter]", "Filter"]
    assert [name for name in names if is_filter(name)] == ["filter", "filter[id]", "filter[$.a[0]]"]


# A naive evaluator: expressions as tuples, paths as lists, nothing compiled.

NAMES = ["id", "a", "b", "0", "1"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 1.5, -2.5, 2**53, 2**53 + 1, float(2**53)])
    | st.sampled_from(["", "0", "1", "2", "10", "01", "-1", "a", "ab", "ü", "\U0001f600", "￿"])
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)
resources = st.dictionaries(st.sampled_from(NAMES), documents, min_size=1)
numbers_and_strings = scalars.filter(lambda value: not isinstance(value, bool | None))
expressions: st.SearchStrategy[Any] = st.recursive(
    st.tuples(st.sampled_from(["", "eq", "ne"]), documents)
    | st.tuples(st.sampled_from(["lt", "le", "gt", "ge"]), numbers_and_strings),
    lambda inner: st.tuples(
        st.sampled_from(["and", "or", "not"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
paths = st.lists(st.sampled_from(["id", "a", "b", 0, 1, "*"]), min_size=1, max_size=4)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def naive_equal(one: Any, other: Any) -> bool:
    if is_number(one) and is_number(other):
        return Fraction(one) == Fraction(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(naive_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return sorted(one) == sorted(other) and all(naive_equal(one[k], other[k]) for k in one)
    return json.dumps(one) == json.dumps(other) and type(one) is type(other)


def naive_order(one: Any, other: Any) -> int | None:
    if is_number(one) and is_number(other):
        difference = Fraction(one) - Fraction(other)
        return (difference > 0) - (difference < 0)
    if isinstance(one, str) and isinstance(other, str):
        points, others = [ord(c) for c in one], [ord(c) for c in other]
        return (points > others) - (points < others)
    return None


def naive_match(expression: Any, found: Any, of_id: bool) -> bool:
    name, argument = expression
    if name == "and":
        return all(naive_match(part, found, of_id) for part in argument)
    if name == "or":
        return any(naive_match(part, found, of_id) for part in argument)
    if name == "not":
        return all(not naive_match(part, found, of_id) for part in argument)
    if (
        of_id
        and isinstance(found, str)
        and is_number(argument)
        and found.isdecimal()
        and str(int(found)) == found
    ):
        found = int(found)
    if name in ("", "eq"):
        return naive_equal(found, argument)
    if name == "ne":
        return not naive_equal(found, argument)
    order = naive_order(found, argument)
    if order is None:
        return False
    return {"lt": order < 0, "le": order <= 0, "gt": order > 0, "ge": order >= 0}[name]


def naive_values(value: Any, path: list[Any]) -> list[Any]:
    if not path:
        return [value]
    step, rest = path[0], path[1:]
    below: list[Any] = []
    if isinstance(value, list):
        below = value if step == "*" else value[step : step + 1] if isinstance(step, int) else []
    elif isinstance(value, dict):
        below = list(value.values()) if step == "*" else [value[step]] if step in value else []
    return [found for child in below for found in naive_values(child, rest)]


def written(expression: Any, blank: str) -> str:
    name, argument = expression
    if name in ("and", "or", "not"):
        inner = f"{blank},{blank}".join(written(part, blank) for part in argument)
    else:
        inner = json.dumps(argument)
    return f"{name}{blank}({blank}{inner}{blank})" if name else inner


def jsonpath(path: list[Any]) -> str:
    steps = {"*": "[*]", 0: "[0]", 1: "[1]"}
    return "$" + "".join(steps.get(step, f".{step}") for step in path)


@given(resources, paths, expressions, st.sampled_from(["", " ", "\n\t"]))
def test_filters_agree_with_a_naive_evaluator(
    resource: dict[str, Any], path: list[Any], expression: Any, blank: str
) -> None:
    of_id = path[-1] == "id"
    expected = any(naive_match(expression, found, of_id) for found in naive_values(resource, path))
    fast = Filter.parse(f"filter[{jsonpath(path)}]", written(expression, blank))
    assert fast.matches(resource) is expected
    # Naming the last step twice only changes who walks the path: the library.
    twice = {"*": "[*,*]", 0: "[0,0]", 1: "[1,1]"}.get(path[-1], f"['{path[-1]}','{path[-1]}']")
    slow = Filter.parse(f"filter[{jsonpath(path[:-1])}{twice}]", written(expression, blank))
    assert slow.path.query is not None
    assert slow.matches(resource) is expected


@given(resources, st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), expressions)
def test_pointers_enter_objects_by_name_and_arrays_by_index(
    resource: dict[str, Any], tokens: list[str], expression: Any
) -> None:
    values: list[Any] = [resource]
    for token in tokens:
        values = [
            found
            for value in values
            for found in naive_values(value, [token])
            + (naive_values(value, [int(token)]) if token.isdecimal() else [])
        ]
    expected = any(naive_match(expression, found, tokens[-1] == "id") for found in values)
    found = Filter.parse("filter", f"{'/'.join(tokens)}={written(expression, '')}")
    assert found.matches(resource) is expected


# Untrusted input.

grammar = st.text(alphabet="eqnltgandor()[]{},\"\\:~/=*.$@?!&|<>-01 \t\n'aé", max_size=40)


def parsed(parameter: str, value: str) -> Filter | None:
    """Return the filter, or None if it is refused in the one allowed way."""
    try:
        return Filter.parse(parameter, value)
    except RequestError:
        return None


@given(st.text(max_size=60) | grammar.map("id={}".format) | grammar)
@example('id="\\ud800"')
@example("id=" + '"\\"' * 600)
@example("id=" + "1" * 4090)
def test_any_value_is_a_filter_or_a_request_error(value: str) -> None:
    if found := parsed("filter", value):
        assert {found.matches(resource) for resource in SESSIONS} <= {True, False}


@given(st.text(max_size=60) | grammar | grammar.map("$.attributes.connections{}".format))
@example("$[?" + "@||" * 80 + "@]")
@example("$[?" + "!" * 200 + "@]")
@example("$[?@.a<1&&@.b>'x']")
@example("$.attributes.*[?@.server<2]")
@example("$.attributes.*[?@.server==$.id||!@.port]")
@example("$[99999999999999999999]")
def test_any_path_is_a_filter_or_a_request_error(path: str) -> None:
    if found := parsed(f"filter[{path}]", "or(1,lt(2),ne(3))"):
        assert {found.matches(resource) for resource in SESSIONS} <= {True, False}
