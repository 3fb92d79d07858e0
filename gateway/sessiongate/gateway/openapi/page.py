"""The description as one HTML page that loads and runs nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sessiongate.gateway.openapi.schema import Schema

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

# The style is part of the page, so that nothing is loaded; nothing else is allowed.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def page(description: Schema) -> str:
    """Return the page for an OpenAPI description as `describe` returns it."""
    info, base = description["info"], description["servers"][0]["url"]
    paths = description["paths"].items()
    parts = description["components"]
    shown = [(path, _resolved(methods["get"], parts)) for path, methods in paths]
    title = f"{info['title']} {info['version']}"
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<header><h1>{escape(info['title'])}</h1>{_prose(info['description'])}",
            f'<p><a href="{escape(base)}/v1/openapi.json">OpenAPI {description["openapi"]}</a>,',
            " the source of this page. Every path also allows HEAD and OPTIONS.</p></header>",
            f"<nav><ul>{''.join(_entry(path, found) for path, found in shown)}</ul></nav><main>",
            *(_section(path, found, base) for path, found in shown),
            _schemas(parts["schemas"]),
            "</main></body></html>\n",
        ]
    )


def _resolved(operation: Schema, components: Schema) -> Schema:
    """Replace an operation's references to parameters and responses with their targets."""

    def target(found: Schema) -> Schema:
        if "$ref" not in found:
            return found
        kind, name = found["$ref"].split("/")[-2:]
        resolved: Schema = components[kind][name]
        return resolved

    return {
        **operation,
        "parameters": [*map(target, operation["parameters"])],
        "responses": {key: target(found) for key, found in operation["responses"].items()},
    }


def _entry(path: str, operation: Schema) -> str:
    name = escape(operation["operationId"])
    return f'<li><a href="#{name}"><code>{escape(path)}</code></a> {_line(operation["summary"])}'


def _section(path: str, operation: Schema, base: str) -> str:
    found = operation["responses"]["200"]
    content = next(iter(found["content"].values()))
    schema = content["schema"]["$ref"].rpartition("/")[2]
    name = escape(operation["operationId"])
    parts = [
        f'<section id="{name}"><h2><code>GET {escape(path)}</code></h2>',
        _prose(operation["summary"]),
        f"<pre>curl '{escape(_url(path, operation['parameters'], base))}'</pre>",
        _table("Parameters", map(_parameter, operation["parameters"])),
        _table("Responses", map(_response, operation["responses"].items())),
        f'<p>Document: <a href="#schema-{schema}">{schema}</a>, as'
        f" <code>{'</code>, <code>'.join(map(escape, found['content']))}</code>.</p>",
    ]
    if "example" in content:
        parts.append(f"<details><summary>Example</summary>{_json(content['example'])}</details>")
    return "".join([*parts, "</section>"])


def _url(path: str, allowed: Iterable[Schema], base: str) -> str:
    """Return an example URL: the path with its parameters, and one filter if it allows any."""
    query: list[tuple[str, str]] = []
    for parameter in allowed:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(parameter["example"], safe=""))
        elif parameter["name"] == "filter":
            query = [("filter", parameter["example"][0])]
    return base + path + (f"?{urlencode(query)}" if query else "")


def _parameter(parameter: Schema) -> tuple[str, str]:
    name = parameter["name"]
    place = {"path": "in the path", "header": "header"}.get(parameter["in"], "")
    label = f"<code>{escape(name)}</code>" + (f"<br>{place}" if place else "")
    example = escape(_example(parameter))
    return label, f"{_line(parameter['description'])}<br>Example: <code>{example}</code>"


def _example(parameter: Schema) -> str:
    """Return the example as it is written in a request, before percent-encoding."""
    name, value = parameter["name"], parameter["example"]
    if parameter["in"] != "query":
        return str(value)
    if isinstance(value, dict):
        return "&".join(f"{key}={part}" for key, part in value.items())
    text = ",".join(value) if isinstance(value, list) else value
    return f"{name}={text}"


def _response(response: tuple[str, Any]) -> tuple[str, str]:
    status, found = response
    headers = ", ".join(f"<code>{escape(name)}</code>" for name in found.get("headers", ()))
    return f"<code>{status}</code>", _line(found["description"]) + (
        f"<br>Headers: {headers}" if headers else ""
    )


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{first}</td><td>{second}</td></tr>" for first, second in rows)
    return f"<h3>{title}</h3><table>{cells}</table>"


def _schemas(schemas: Schema) -> str:
    found = "".join(
        f'<section id="schema-{name}"><h3>{name}</h3>{_json(schema)}</section>'
        for name, schema in schemas.items()
    )
    return f"<h2>Documents</h2>{found}"


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _prose(text: str) -> str:
    return f"<p>{_line(text)}</p>"


def _line(text: str) -> str:
    """Return text as HTML, with backquoted parts as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
