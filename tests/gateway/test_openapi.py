"""The description: complete, true to what is parsed and answered, and made of nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from jsonschema_rs import Draft202012Validator

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.errors import HTTP_MAPPINGS
from sessiongate.gateway.http.authentication import OPEN
from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.openapi import endpoints
from sessiongate.gateway.openapi.description import describe
from sessiongate.gateway.openapi.endpoints import Written
from sessiongate.gateway.openapi.examples import DOCUMENTS, ERRORS, SERVICE, SESSION
from sessiongate.gateway.openapi.page import page
from sessiongate.gateway.openapi.schemas import SCHEMAS
from sessiongate.runtime.turns import finished
from sessiongate.v1.session_pb2 import Activity, Session
from tests.gateway.programs import ROOT

DESCRIPTION = describe(OPERATIONS, "https://sessions.example/x")


def test_it_is_openapi() -> None:
    import schemathesis  # late: see tests/gateway/described.py

    schemathesis.openapi.from_dict(DESCRIPTION).validate()
    assert DESCRIPTION["servers"] == [{"url": "https://sessions.example/x"}]


def test_it_is_made_once_for_whatever_host_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(operations: Iterable[Operation], base: str) -> dict[str, Any]:
        made.append(base)
        return describe(operations, base)

    monkeypatch.setattr(endpoints, "describe", counted)
    written = Written(OPERATIONS)
    for base in ("http://localhost:8989", "https://[::1]", "https://proxy.example/a'b&c"):
        expected = describe(OPERATIONS, base)
        for pretty in (False, True):
            assert written.document(base, pretty=pretty) == dump(expected, pretty=pretty)
        assert written.page(base) == page(expected).encode()
    assert len(made) == 1


def resolved(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to."""
    if "$ref" in found:
        target: Any = DESCRIPTION
        for step in found["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return resolved(target)
    return found


def parameters_of(operation: Operation) -> list[dict[str, Any]]:
    taken = DESCRIPTION["paths"][operation.path]["get"]["parameters"]
    return [resolved(found) for found in taken]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_it_names_the_parameters_that_are_parsed(operation: Operation) -> None:
    names = {found["name"] for found in parameters_of(operation) if found["in"] == "query"}
    paths = {"filter[JSONPATH]": "filters"}  # whose names are described by a pattern
    assert names == {paths.get(name, name) for name in operation.takes.names}
    in_path = [found["name"] for found in parameters_of(operation) if found["in"] == "path"]
    assert in_path == (["id"] if "{id}" in operation.path else [])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_each_operation_is_described_whole(operation: Operation) -> None:
    methods = DESCRIPTION["paths"][operation.path]
    assert [*methods] == ["get", "head", "options"]
    for parameter in parameters_of(operation):
        assert parameter["description"].endswith(".") or "`" in parameter["description"]
        Draft202012Validator(parameter["schema"]).validate(parameter["example"])
    get = methods["get"]
    success = get["responses"]["200"]
    assert [*success["content"]] == [*operation.offers]
    assert operation.answer in SCHEMAS
    for method in methods.values():
        for answer in method["responses"].values():
            assert resolved(answer)["description"]
    assert {*methods["head"]["responses"]} == {*get["responses"]}
    identifiers = [
        found["operationId"] for path in DESCRIPTION["paths"].values() for found in path.values()
    ]
    assert len(identifiers) == len(set(identifiers))


def query_of(parameter: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how a query parameter's example is written in a URL."""
    name, value = parameter["name"], parameter["example"]
    if isinstance(value, dict):
        return [*value.items()]
    if isinstance(value, list):
        return (
            [(name, part) for part in value] if parameter["explode"] else [(name, ",".join(value))]
        )
    return [(name, str(value))]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_examples_ask_for_what_there_is(operation: Operation) -> None:
    for parameter in parameters_of(operation):
        if parameter["in"] == "query":
            query = query_of(parameter)
            if operation.takes.by and parameter["name"] != "by":
                query.append(("by", "user"))
            if parameter["name"] == "page[number]":
                query.append(("page[size]", "1"))  # required with page[number]
            finished(QueryParameters.parsing(urlencode(query).encode(), operation.takes))


def kind_of(operation: Operation) -> str:
    """Return the type of the resources that an operation answers with; "api" if there are none."""
    if EVENT_STREAM in operation.offers:
        return "sessions"
    data = SCHEMAS[operation.answer].get("properties", {}).get("data")
    if data is None:
        return "api"
    kind: str = resolved(data.get("items", data))["properties"]["type"]["const"]
    return kind


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_each_operation_has_the_tag_of_what_it_answers_with(operation: Operation) -> None:
    for method in DESCRIPTION["paths"][operation.path].values():
        assert method["tags"] == [kind_of(operation)]


def test_tags_are_declared() -> None:
    tags = DESCRIPTION["tags"]
    assert all(tag["description"] for tag in tags)
    assert [tag["name"] for tag in tags] == [
        *("sessions", "services", "counts", "sources", "maxscale", "api")
    ]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda found: found.name)
def test_what_is_open_to_everyone_says_so(operation: Operation) -> None:
    for method in DESCRIPTION["paths"][operation.path].values():
        is_open = operation.path in OPEN
        assert method.get("security", DESCRIPTION["security"]) == (
            [] if is_open else [{}, {"basic": []}, {"bearer": []}]
        )
        assert ({"401", "429"} <= {*method["responses"]}) != is_open


def statuses_in_code() -> set[int]:
    """Return every status that the gateway's code makes an error with."""
    found = {answer.status for answer in HTTP_MAPPINGS.values()}
    for path in Path(ROOT, "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("Error", "PageError")
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, int)
            ):
                found.add(node.args[0].value)
    return found


def test_every_status_of_the_code_is_described() -> None:
    described = {
        int(status)
        for path in DESCRIPTION["paths"].values()
        for method in path.values()
        for status in method["responses"]
    }
    # 404 is also the router's. 405 answers methods that no operation has.
    assert {one for one in described if one >= 400} | {405} == statuses_in_code() | {404}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_are_what_their_schemas_say(name: str) -> None:
    schema = {**DESCRIPTION, "$ref": f"#/components/schemas/{name}"}
    Draft202012Validator(schema).validate(DOCUMENTS[name])


def test_errors_are_what_their_schema_says() -> None:
    schema = {**DESCRIPTION, "$ref": "#/components/schemas/Errors"}
    for status, error in ERRORS.items():
        assert error.status == status
        Draft202012Validator(schema).validate({"errors": [error.members()]})


def test_the_example_has_every_attribute_and_the_schema_describes_each() -> None:
    """No attribute can be added without its description."""
    described = SCHEMAS["SessionAttributes"]["properties"]
    assert [*SESSION["attributes"]] == [*described]
    relationships = SCHEMAS["SessionResource"]["properties"]["relationships"]["properties"]
    assert {*SESSION["relationships"]} == {*relationships}
    services = SCHEMAS["ServiceResource"]["properties"]["attributes"]["properties"]
    assert [*SERVICE["attributes"]] == [*services]
    assert {*SERVICE["attributes"]["statistics"]} == {*services["statistics"]["properties"]}
    for name in ("client", "memory"):
        assert {*SESSION["attributes"][name]} == {*described[name]["properties"]}
    for name in ("connections", "queries"):
        items = resolved(described[name]["items"])["properties"]
        assert {*SESSION["attributes"][name][0]} | {"truncated"} == {*items} | {"truncated"}
    # None of them has all of an activity.
    activity = resolved(described["activity"])["properties"]
    assert {*SESSION["attributes"]["activity"]} | {"wait", "blocked_by"} == {*activity}
    assert len(Activity.DESCRIPTOR.fields) == len(activity)
    # Update the description for each new field of the contract.
    assert len(Session.DESCRIPTOR.fields) == 29


def schemas_in(found: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of the description that is or may hold a schema, with its place."""
    if isinstance(found, dict):
        yield place, found
        for name, part in found.items():
            if name != "example":
                yield from schemas_in(part, f"{place}/{name}")
    if isinstance(found, list):
        for index, part in enumerate(found):
            yield from schemas_in(part, f"{place}/{index}")


def stumbling_blocks(found: Any) -> list[str]:
    """Return what is valid, but what client generators have no name or no type for."""
    faults = []
    for place, schema in schemas_in(found):
        if not {"const", "enum"}.isdisjoint(schema) and "type" not in schema:
            faults.append(f"{place}: without a type")
        if schema.get("const") is True or schema.get("const") is False:
            faults.append(f"{place}: a constant that is no text")
        if schema.get("style") == "deepObject":
            faults.append(f"{place}: an object as parameters with its name before theirs")
        if "$ref" in schema and len(schema) > 1:
            faults.append(f"{place}: a reference beside something else")
        parts = [("items", schema["items"])] if schema.get("type") == "array" else []
        parts += [("anyOf", part) for part in schema.get("anyOf", ())]
        for name, part in parts:
            if part.get("type") == "object" and "title" not in part:
                faults.append(f"{place}/{name}: an object without a name")
    return faults


def test_makers_of_clients_find_a_name_and_a_type_for_everything() -> None:
    assert stumbling_blocks(DESCRIPTION) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"const": "a"},
        {"type": "boolean", "const": True},
        {"$ref": "#/components/schemas/Links", "description": "Links."},
        {"type": "array", "items": {"type": "object"}},
        {"in": "query", "style": "deepObject"},
        {"anyOf": [{"type": "object", "properties": {}}, {"$ref": "#/components/schemas/Links"}]},
    ],
)
def test_what_makers_of_clients_stumble_over_is_noticed(schema: dict[str, Any]) -> None:
    found = stumbling_blocks({"components": {"schemas": {"A": {"properties": {"a": schema}}}}})
    assert len(found) == 1


def test_upstream_is_towards_the_server_and_downstream_towards_the_client() -> None:
    """As in the contract: `upstream_ids` are a session's own connections, one tier on."""
    relationships = SCHEMAS["SessionResource"]["properties"]["relationships"]["properties"]
    told = {name: relationships[name]["description"] for name in ("upstream", "downstream")}
    assert told == {
        "upstream": "The same connection on the next tier, towards the server.",
        "downstream": "The same connection on the previous tier, towards the client.",
    }
