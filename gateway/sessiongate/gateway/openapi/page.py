"""The description as one HTML page, a reference to read and to search.

All that it needs is in it. The script only searches: without it, the page is complete.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from http import HTTPStatus
from itertools import chain
from pathlib import Path

from sessiongate.gateway.openapi.errors import ERROR_GROUPS, ErrorGroup
from sessiongate.gateway.openapi.markup import code, heading, line, link_to, prose, row, table
from sessiongate.gateway.openapi.operation_section import (
    PARAMETER_HEAD,
    header_links,
    operation_section,
    parameter_row,
)
from sessiongate.gateway.openapi.reference import (
    OperationGroup,
    operation_groups,
    parameter_key,
    shared_parameters,
)
from sessiongate.gateway.openapi.schema import Schema
from sessiongate.gateway.openapi.schema_tables import reached, schema_section

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "page.css").read_text(encoding="utf-8")
_SCRIPT = (_FOLDER / "page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


# The style and the script are part of the page, so that nothing is loaded. What people type in
# the console may ask the gateway itself.
POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)};"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)

_ERRORS = (
    "is the document of every error; branch on `code`. If the core gives no reason,"
    " `code` is the name of its gRPC status. A path that does not exist returns 404 with"
    " `NOT_FOUND`, and a method that its path does not allow 405 with `METHOD_NOT_ALLOWED`."
)
_ABOUT_COMMANDS = (
    "The commands on this page work unchanged for a name or an id that exists. If the gateway"
    " requires credentials, add `--user NAME` or `--header 'Authorization: Bearer TOKEN'`. In a"
    " URL, percent-encode brackets, quotes and spaces; with `--globoff`, curl sends brackets as"
    " they are. Every path allows OPTIONS, and HEAD if it allows GET."
)
_SCHEMAS = (
    "What documents contain. Objects may gain members; these stay. The OpenAPI description has the"
    " patterns of strings, too."
)


def page(description: Schema, *, ui: bool = True) -> str:
    """Return the page for an OpenAPI description as `describe` returns it.

    ``ui`` is whether it links to the page that shows the sessions.
    """
    info, base = description["info"], description["servers"][0]["url"]
    parts, groups = description["components"], operation_groups(description)
    entries = [*chain.from_iterable(group.entries for group in groups)]
    shared = shared_parameters(entries)
    documents = (entry.document for entry in entries if entry.document)
    first = (document["schema"]["$ref"].rpartition("/")[2] for document in documents)
    schemas = reached(parts["schemas"], [*first, "Errors"])
    links = [("Live sessions", "/")] if ui else []
    links += [("Sessions as JSON", "/v1/sessions"), ("OpenAPI", "/v1/openapi.json")]
    anchors = "".join(f'<li><a href="{escape(base + path)}">{name}</a>' for name, path in links)
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])} REST API</title><style>{_STYLE}</style></head><body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            f"<header><h1>{escape(info['title'])} <span>REST API</span></h1>",
            f"<p>{escape(info['version'])}</p><ul>{anchors}</ul></header>",
            _contents(groups, schemas),
            '<main id="content" tabindex="-1">',
            f'<section id="start">{heading(2, "start", "Start here")}',
            f"{prose(info['description'])}{prose(_ABOUT_COMMANDS)}</section>",
            *(_group(group, shared, base) for group in groups),
            _shared(shared),
            _headers(parts["headers"]),
            _errors(parts["responses"]),
            f'<section id="schemas">{heading(2, "schemas", "Schemas")}',
            prose(_SCHEMAS),
            *(schema_section(name, parts["schemas"]) for name in schemas),
            f"</section></main><script>{_SCRIPT}</script></body></html>\n",
        ]
    )


def _contents(groups: Iterable[OperationGroup], schemas: Iterable[str]) -> str:
    """Return the list of what is on the page, and where its search goes."""
    listed = [_part("start", "Start here", [])]
    listed += [
        _part(
            f"group-{group.name}",
            group.title,
            [(entry.name, entry.title) for entry in group.entries],
        )
        for group in groups
    ]
    listed += [
        _part("parameters", "Common parameters", []),
        _part("headers", "Response headers", []),
        _part("errors", "Common errors", []),
        _part("schemas", "Schemas", [(f"schema-{name}", name) for name in schemas]),
    ]
    return (
        '<nav aria-label="Contents"><div role="search" hidden>'
        '<label for="search">Search this page</label>'
        '<input id="search" type="search" placeholder="Search" autocomplete="off"'
        ' spellcheck="false"><kbd>/</kbd></div><p id="found" role="status"></p>'
        '<ul id="results" hidden></ul><details id="contents"><summary>Contents</summary>'
        f"<ul>{''.join(listed)}</ul></details></nav>"
    )


def _part(anchor: str, title: str, entries: Iterable[tuple[str, str]]) -> str:
    below = "".join(f"<li>{link_to(name, escape(text))}" for name, text in entries)
    return f"<li>{link_to(anchor, escape(title))}" + (f"<ul>{below}</ul>" if below else "")


def _group(group: OperationGroup, shared: Schema, base: str) -> str:
    anchor = f"group-{group.name}"
    sections = (operation_section(entry, shared, base) for entry in group.entries)
    return (
        f'<section id="{anchor}">{heading(2, anchor, group.title)}{prose(group.about)}'
        f"{''.join(sections)}</section>"
    )


def _shared(shared: dict[str, list[Schema]]) -> str:
    rows = [
        parameter_row(f"parameter-{parameter_key(variants[0])}", variants)
        for variants in shared.values()
    ]
    return (
        f'<section id="parameters">{heading(2, "parameters", "Common parameters")}'
        f"{prose('Each operation links to those that it accepts.')}"
        f"{table(PARAMETER_HEAD, rows)}</section>"
    )


def _headers(headers: Schema) -> str:
    rows = [
        row(code(name), line(found["description"]), anchor=f"header-{name}")
        for name, found in headers.items()
    ]
    return (
        f'<section id="headers">{heading(2, "headers", "Response headers")}'
        f"{table(('Header', 'Description'), rows)}</section>"
    )


def _errors(responses: Schema) -> str:
    groups = "".join(_error_group(group, responses) for group in ERROR_GROUPS)
    return (
        f'<section id="errors">{heading(2, "errors", "Common errors")}'
        f"<p>{link_to('schema-Errors', 'Errors')} {line(_ERRORS)}</p>{groups}</section>"
    )


def _error_group(group: ErrorGroup, responses: Schema) -> str:
    anchor = f"errors-{group.name}"
    rows = [_error(status, responses[f"Error{status}"]) for status in group.errors]
    return (
        f'<section id="{anchor}">{heading(3, anchor, group.title)}'
        f"{table(('Status', 'Meaning and codes'), rows)}</section>"
    )


def _error(status: int, response: Schema) -> str:
    codes = "".join(
        f'<li id="code-{escape(name)}">{code(name)}'
        + (f" <span>{line(about)}</span>" if about else "")
        for name, about in response["x-codes"].items()
    )
    own = [name for name in response["headers"] if name not in ("Cache-Control", "Vary")]
    return row(
        f"{status} {HTTPStatus(status).phrase}",
        line(response["description"])
        + f"<ul>{codes}</ul>"
        + (f"Headers: {header_links(own)}" if own else ""),
        anchor=f"error-{status}",
    )
