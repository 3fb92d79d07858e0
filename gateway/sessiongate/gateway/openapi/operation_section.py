"""One operation of the page: what is its own, a command to try, and links to the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.openapi.errors import ERROR_GROUPS
from sessiongate.gateway.openapi.markup import (
    code,
    details_json,
    heading,
    line,
    link_to,
    prose,
    row,
    table,
)
from sessiongate.gateway.openapi.reference import (
    OperationEntry,
    example_of,
    is_shared,
    parameter_key,
)
from sessiongate.gateway.openapi.schema import Schema
from sessiongate.gateway.openapi.schema_tables import schema_link, type_of

PARAMETER_HEAD = ("Parameter", "Type", "Description")


def operation_section(entry: OperationEntry, shared: Mapping[str, list[Schema]], base: str) -> str:
    """Return the section of an operation; ``shared`` parameters have a section of their own."""
    example = (
        details_json("Example document", entry.document["example"])
        if "example" in entry.document
        else ""
    )
    return "".join(
        [
            f'<section class="operation" id="{escape(entry.name)}">',
            heading(3, entry.name, entry.title),
            f'<p class="path"><b>{entry.method}</b> {code(entry.path)}</p>',
            prose(entry.about),
            f"<h4>Try it</h4>{_command(entry, base)}",
            _parameters(entry, shared),
            "<h4>Responses</h4>",
            table(("Status", "Meaning"), map(_response, entry.responses.items())),
            f"{_errors(entry.errors)}{example}</section>",
        ]
    )


def _command(entry: OperationEntry, base: str) -> str:
    """Return a command that works unchanged if the example's resource exists."""
    path, query = entry.path, []
    is_json = any("json" in media for media in entry.content)
    for parameter in entry.parameters:
        name, value = parameter["name"], parameter["example"]
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        elif parameter.get("required") or name == "filter" or (name == "pretty" and is_json):
            text = ",".join(value) if isinstance(value, list) else value
            query.append(f"{name}={quote(text, safe='=(),/-')}")
    flag = "--no-buffer " if EVENT_STREAM in entry.content else ""
    if entry.method != "GET":
        flag = f"--request {entry.method} "
    if entry.method == "POST":
        flag += f"--header 'Content-Type: {MEDIA_TYPE}' "
    url = base + path + (f"?{'&'.join(query)}" if query else "")
    return f"<pre>curl {flag}'{escape(url)}'</pre>"


def _parameters(entry: OperationEntry, shared: Mapping[str, list[Schema]]) -> str:
    own = [found for found in entry.parameters if not is_shared(found, shared)]
    others = [
        link_to(f"parameter-{parameter_key(found)}", code(found["name"]))
        for found in entry.parameters
        if is_shared(found, shared)
    ]
    rows = [parameter_row(f"{entry.name}-{parameter_key(found)}", [found]) for found in own]
    listed = f"<p>{link_to('parameters', 'Common parameters')}: {', '.join(others)}</p>"
    return (
        "<h4>Parameters</h4>"
        + (table(PARAMETER_HEAD, rows) if rows else "")
        + (listed if others else "")
    )


def parameter_row(anchor: str, variants: list[Schema]) -> str:
    """Return the row of a parameter whose variants have different examples."""
    parameter = variants[0]
    name = code(parameter["name"])
    if parameter.get("required"):
        name += "<br><small>required</small>"
    examples = "<br>".join(code(example_of(variant)) for variant in variants)
    title = "Examples:<br>" if len(variants) > 1 else "Example: "
    about = f"{line(parameter['description'])}<br>{title}{examples}"
    return row(name, _allowed(parameter), about, anchor=anchor)


def _allowed(parameter: Schema) -> str:
    """Return which values a parameter may have, and how several are written."""
    schema = parameter["schema"]
    place = {"path": "in the path", "header": "header"}.get(parameter["in"], "")
    if parameter.get("explode"):
        kind = "string, repeatable"
    elif schema["type"] == "array":
        kind = f"{type_of(schema['items'], plural=True)}, with commas between"
    else:
        kind = type_of(schema)
    return kind + (f"<br>{place}" if place else "")


def _response(response: tuple[str, Any]) -> str:
    status, found = response
    about, names = line(found["description"]), found["headers"]
    if status == "200":
        content = found["content"]
        schema = next(iter(content.values()))["schema"]
        about = f"{schema_link(schema)}, as {' or '.join(map(code, content))}"
    elif "x-codes" in found:
        about = f"{about}<br>Code: {', '.join(map(code, found['x-codes']))}"
        names = ()
    return row(status, about + (f"<br>Headers: {header_links(names)}" if names else ""))


def header_links(names: Iterable[str]) -> str:
    """Return links to the descriptions of response headers."""
    return ", ".join(link_to(f"header-{name}", code(name)) for name in names)


def _errors(statuses: Collection[int]) -> str:
    links = [
        link_to(f"errors-{group.name}", group.title.lower())
        for group in ERROR_GROUPS
        if not group.errors.keys().isdisjoint(statuses)
    ]
    return f"<p>{link_to('errors', 'Common errors')}: {', '.join(links)}</p>"
