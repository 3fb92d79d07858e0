"""The operations of a description in a reader's order, and the parameters that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.openapi.schema import Schema

_EVENTS = "events"
_PAST = "/v1/history/"
_ABOUT_EVENTS = (
    "Sessions as they come, change and go, as server-sent events. In a browser, an `EventSource`"
    " follows them, also in the console of this page."
)
# The groups in order; the others follow as they are declared.
_FIRST = ("sessions", "services", "counts", "sources", _EVENTS)


@dataclass(frozen=True, slots=True)
class OperationEntry:
    """An operation, with its references resolved."""

    path: str
    method: str
    name: str
    title: str
    about: str
    group: str
    parameters: tuple[Schema, ...]
    responses: Schema
    errors: frozenset[int]  # the statuses of those that are described elsewhere

    @classmethod
    def of(cls, path: str, method: str, operation: Schema, components: Schema) -> OperationEntry:
        """Read an operation on a path."""
        responses = operation["responses"]
        own = {key: found for key, found in responses.items() if "$ref" not in found}
        is_stream = EVENT_STREAM in own.get("200", {}).get("content", ())
        return cls(
            path,
            method.upper(),
            operation["operationId"],
            operation["summary"],
            operation["description"],
            _EVENTS if is_stream else operation["tags"][0],
            tuple(_resolved(found, components) for found in operation["parameters"]),
            own,
            frozenset(int(key) for key in responses.keys() - own.keys()),
        )

    @property
    def content(self) -> Schema:
        """The content of its successful response, by media type; empty if it has no document."""
        found: Schema = self.responses.get("200", {}).get("content", {})
        return found

    @property
    def document(self) -> Schema:
        """One of these: a schema, and perhaps an example."""
        return next(iter(self.content.values()), {})


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """Operations on the same kind of resource."""

    name: str
    title: str
    about: str
    entries: tuple[OperationEntry, ...]


def operation_groups(description: Schema) -> list[OperationGroup]:
    """Return a description's operations by group, collections before their parts, the past last."""
    about = {tag["name"]: tag["description"] for tag in description["tags"]}
    about[_EVENTS] = _ABOUT_EVENTS
    order = [*dict.fromkeys((*_FIRST, *about))]
    entries = [
        OperationEntry.of(path, method, operation, description["components"])
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if method not in ("head", "options")
    ]
    entries.sort(
        key=lambda entry: (
            order.index(entry.group),
            entry.path.startswith(_PAST),
            entry.method != "GET",
            entry.path.strip("/").count("/"),
        )
    )
    return [
        OperationGroup(name, _title(name), about[name], tuple(found))
        for name, found in groupby(entries, lambda entry: entry.group)
    ]


def _title(name: str) -> str:
    known = {"maxscale": "MaxScale", "api": "The API"}
    return known.get(name, name.capitalize())


def _resolved(found: Schema, components: Schema) -> Schema:
    if "$ref" not in found:
        return found
    kind, name = found["$ref"].split("/")[-2:]
    resolved: Schema = components[kind][name]
    return resolved


def shared_parameters(entries: Iterable[OperationEntry]) -> dict[str, list[Schema]]:
    """Return the parameters that several operations describe alike, by name.

    Each comes with its variants, which differ in their examples. If a name is described in
    several ways, the most frequent is shared.
    """
    uses: dict[str, dict[str, list[Schema]]] = {}
    for entry in entries:
        for parameter in entry.parameters:
            if parameter["in"] != "path":
                alike = uses.setdefault(parameter["name"], {})
                alike.setdefault(parameter["description"], []).append(parameter)
    most = {name: max(alike.values(), key=len) for name, alike in uses.items()}
    return {name: _variants(found) for name, found in most.items() if len(found) > 1}


def is_shared(parameter: Schema, shared: Mapping[str, list[Schema]]) -> bool:
    """Return whether a parameter is described among the `shared_parameters`."""
    variants = shared.get(parameter["name"])
    return variants is not None and variants[0]["description"] == parameter["description"]


def _variants(parameters: Iterable[Schema]) -> list[Schema]:
    found: list[Schema] = []
    for parameter in parameters:
        if all(parameter["example"] != other["example"] for other in found):
            found.append(parameter)
    return found


def parameter_key(parameter: Schema) -> str:
    """Return a parameter's name as part of an anchor: ``page-size`` for ``page[size]``."""
    return re.sub(r"\W+", "-", parameter["name"]).strip("-")


def example_of(parameter: Schema) -> str:
    """Return the example as it is written in a request, before percent-encoding."""
    name, value = parameter["name"], parameter["example"]
    if parameter["in"] != "query":
        return str(value)
    if isinstance(value, dict):
        return "&".join(f"{key}={part}" for key, part in value.items())
    text = ",".join(value) if isinstance(value, list) else value
    return f"{name}={text}"
