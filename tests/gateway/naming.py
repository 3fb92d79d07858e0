"""Whether what a query names is there: held against the schemas of what it is asked of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.jsonapi import paging
from gateway.jsonapi.fieldsets import Fieldset, fieldset_type
from gateway.jsonapi.filters import Filter, is_filter
from gateway.jsonapi.paths import Path
from gateway.openapi.schemas import SCHEMAS

_RESOURCES = {
    "sessions": "SessionResource",
    "services": "ServiceResource",
    "sources": "SourceResource",
}


def resource(kind: str) -> dict[str, Any]:
    """A resource object with every member that its schema has; arrays have one item."""
    made: dict[str, Any] = _made(SCHEMAS[_RESOURCES[kind]])
    return made


def _made(schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _made(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if schema.get("type") == "object":
        return {name: _made(member) for name, member in schema.get("properties", {}).items()}
    return [_made(schema["items"])] if schema.get("type") == "array" else schema.get("const")


def unknown_names(kind: str, query: Iterable[tuple[str, str]]) -> list[str]:
    """What of a query for resources of this kind names nothing that these have."""
    return [
        f"{parameter}: {name}"
        for parameter, value in query
        for name, known in _named(kind, parameter, value)
        if not known
    ]


def _named(kind: str, parameter: str, value: str) -> Iterator[tuple[str, bool]]:
    """Each name in a parameter, and whether it is known."""
    names = value.split(",") if value else []
    if fielded := fieldset_type(parameter):
        for name in names:
            cut = Fieldset.parse(parameter, name).apply(resource(fielded))
            yield name, "attributes" in cut or "relationships" in cut
    elif is_filter(parameter):
        path = Filter.parse(parameter, value).path
        yield path.text, _leads_somewhere(path, kind)
    elif parameter == "sort":
        for name in names:
            yield name, _leads_somewhere(Path.of_name(name.removeprefix("-")), kind)
    elif parameter == "include":
        for name in names:
            yield name, _is_related(name.split("."), kind)
    else:
        yield parameter, parameter in ("pretty", "sync", *paging.PARAMETERS)


def _leads_somewhere(path: Path, kind: str) -> bool:
    return any(True for _ in path.values(resource(kind)))


def _is_related(names: list[str], kind: str) -> bool:
    for name in names:
        relationships = resource(kind)["relationships"]
        if name not in relationships:
            return False
        [item] = relationships[name]["data"]
        kind = item["type"]
    return True
