"""The parameters of requests, in OpenAPI.

`AllowedParameters` lists the parameters of an operation; this module describes their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sessiongate.gateway.api.host_names import MAX_LOOKUPS, RDNS, WAIT
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.jsonapi import fieldsets, paths, sorting
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM, LAST_EVENT_ID
from sessiongate.gateway.jsonapi.members import Members, as_field, as_jsonpath, as_name, as_pointer
from sessiongate.gateway.jsonapi.paging import AFTER, BEFORE, MAX_NUMBER, NUMBER, PROFILE, SIZE
from sessiongate.gateway.jsonapi.query import MAX_BY, MAX_VALUE, QueryLimits
from sessiongate.gateway.openapi.past_parameters import (
    past_filters,
    past_pages,
    past_parameters,
    past_sort,
)
from sessiongate.gateway.openapi.schema import Schema, query_parameter

_JSON = r'(?:"[^"\\\u0000-\u001f]*"|-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?|true|false|null)'
_ORDERED = r'(?:"[^"\\\u0000-\u001f]*"|-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?)'
_TEST = rf"(?:{_JSON}|(?:eq|ne)\({_JSON}\)|(?:lt|le|gt|ge)\({_ORDERED}\))"
_EXPRESSION = rf"(?:{_TEST}|(?:and|or|not)\({_TEST}(?:,{_TEST}){{0,3}}\))"


class _Examples(NamedTuple):
    """Example parameters for one kind of resource, with names that such resources have."""

    fields: list[str]
    filter: str
    filter_by_path: dict[str, str]
    sort: list[str]


_EXAMPLES = {
    "sessions": _Examples(
        ["state", "user", "client/cipher"],
        "id=and(ge(1),le(100))",
        {"filter[relationships.services.data[*].id]": '"orders-rw"'},
        ["-connected", "client.cipher"],
    ),
    "services": _Examples(
        ["connections"],
        "/attributes/connections=gt(0)",
        {"filter[attributes.sources[*]]": '"maxscale-1"'},
        ["-connections", "id"],
    ),
    "sources": _Examples(
        ["kind", "state"],
        '/attributes/state="unreachable"',
        {"filter[attributes.kind]": 'or("mariadb","mysql")'},
        ["-sessions", "id"],
    ),
}
_EXAMPLES["counts"] = _EXAMPLES["sessions"]  # which are selected
_FIELDS_EXAMPLES = {
    **{kind: examples.fields for kind, examples in _EXAMPLES.items()},
    "maxscale": ["parameters"],
}


def parameters(operation: Operation) -> list[Schema]:
    """Return an operation's parameters, in the order in which a reader looks for them."""
    takes = operation.takes
    found = [] if operation.kind is None else [_ident(operation.kind)]
    if operation.acts:
        from sessiongate.gateway.openapi.actions import action_parameters

        return [*found, *action_parameters(operation), _pretty(), _sync()]
    is_count_of_past = bool(takes.texts) and operation.tag == "counts"
    found += past_parameters(takes.texts, are_counted=is_count_of_past)
    if is_count_of_past:
        found += past_filters()
    elif takes.collection:
        cursor = _SESSION_CURSOR if operation.tag == "sessions" else _ANY
        limits, examples = takes.limits, _EXAMPLES[operation.tag]
        found += [
            *([_by(takes.by)] if takes.by else []),
            _filter(takes.collection, limits, examples),
            _filter_by_path(takes.collection, examples),
        ]
        if takes.orders:
            found.append(past_sort(takes.orders))
        elif takes.ordered:
            found.append(_sort(takes.collection, examples))
        pages = past_pages(limits) if takes.forward else _pages(cursor, limits)
        found += (page for page in pages if page["name"] in takes.pages)
        found += [_number(name, _NUMBERS[name]) for name in takes.numbers]
    if takes.include:
        found.append(_include(takes.include))
    found += [_fields(kind, members) for kind, members in takes.fields.items()]
    found += [_pretty(), _sync()]
    if RDNS in takes.switches:
        found.append(_rdns())
    if EVENT_STREAM in operation.offers:
        found.append(header_parameter(*_LAST_EVENT))
    return (
        found + [header_parameter(*header) for header in _CONDITIONS] if operation.live else found
    )


def _ident(kind: str) -> Schema:
    about = "Its name, percent-encoded. A name may contain any character."
    schema: Schema = {"type": "string", "minLength": 1}
    example = "RW-Split-Router" if kind == "services" else "maxscale-1"
    if kind == "sessions":
        about, example = "The session's id.", "1"
        schema = {"type": "string", "pattern": "^0*[1-9][0-9]{0,18}$"}
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": about,
        "schema": schema,
        "example": example,
    }


def _any_of(names: Iterable[str]) -> str:
    """Return a pattern for these names and no others."""
    return f"(?:{'|'.join(map(re.escape, names))})"


def _filter(members: Members, limits: QueryLimits, examples: _Examples) -> Schema:
    pointers = (as_pointer(place).removeprefix("/") for place in members.places())
    return query_parameter(
        "filter",
        {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": f"^/?{_any_of(pointers)}={_EXPRESSION}$",
            },
        },
        "Returns only resources whose value at a JSON Pointer matches: `POINTER=EXPRESSION`. An"
        " expression is a JSON value; `eq(…)`, `ne`, `lt`, `le`, `gt` or `ge` of a JSON value; or"
        " `and(…)`, `or` or `not` of expressions. A path that does not exist never matches, even"
        " under `ne` or `not`. A resource must match all filters. A filter may be at most"
        f" {limits.filter_length} characters long, its path at most {paths.MAX_PATH_LENGTH}, and"
        f" brackets may nest at most {limits.filter_depth} deep.",
        [examples.filter],
        style="form",
        explode=True,
    )


def _filter_by_path(members: Members, examples: _Examples) -> Schema:
    return query_parameter(
        "filters",
        {
            "type": "object",
            "patternProperties": {
                rf"^filter\[(?:\$\.)?{_any_of(map(as_jsonpath, members.places()))}\]$": {
                    "type": "string",
                    "pattern": f"^{_EXPRESSION}$",
                }
            },
            "additionalProperties": False,
        },
        "The same with a JSONPath (RFC 9535): `filter[JSONPATH]=EXPRESSION`. A resource matches"
        " if any value at the path matches. The path is part of the parameter's name, so the name"
        " `filters` itself never appears in a URL.",
        examples.filter_by_path,
        style="form",
        explode=True,
    )


def _sort(members: Members, examples: _Examples) -> Schema:
    return query_parameter(
        "sort",
        {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": f"^-?{_any_of(map(as_name, members.places()))}$",
            },
            "minItems": 1,
            "maxItems": sorting.MAX_SORT_FIELDS,
            "uniqueItems": True,
        },
        "Fields to sort by; a minus sign means descending, and missing values come last. A field"
        " is `id`, the name of an attribute, or the path to a part of one, with dots. A path may"
        " begin with `attributes`.",
        examples.sort,
        style="form",
        explode=False,
    )


_ANY: Schema = {"type": "string"}
_SESSION_CURSOR: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}


def _pages(cursor: Schema, limits: QueryLimits) -> list[Schema]:
    # One parameter each: many clients write no object as page[size]=1&page[number]=0.
    size = {"type": "integer", "minimum": 1, "maximum": limits.page_size}
    number = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    return [
        query_parameter(
            SIZE,
            size,
            "Number of resources on a page. On its own, it requests the first page by number, or"
            f' by cursor if `Accept` requests the profile "{PROFILE}".',
            100,
        ),
        query_parameter(
            NUMBER,
            number,
            "Number of the page, from 0; requires `page[size]`. Resources that come and go move"
            " the others from page to page.",
            0,
        ),
        query_parameter(
            AFTER,
            cursor,
            "Cursor right before the page, in the order of ids: a resource that stays is listed"
            " once, whatever comes and goes. Not allowed with `page[before]`, `page[number]` or"
            " `sort`.",
            "1",
        ),
        query_parameter(
            BEFORE,
            cursor,
            "Cursor right after the page, in the order of ids. Not allowed with `page[after]`,"
            " `page[number]` or `sort`.",
            "9",
        ),
    ]


def _by(allowed: tuple[str, ...]) -> Schema:
    return query_parameter(
        "by",
        {
            "type": "array",
            "items": {"type": "string", "enum": [*allowed]},
            "minItems": 1,
            "maxItems": MAX_BY,
            "uniqueItems": True,
        },
        "What to count sessions by: those with the same values are counted together.",
        ["user", "application"],
        required=True,
        style="form",
        explode=False,
    )


def _include(paths: tuple[str, ...]) -> Schema:
    return query_parameter(
        "include",
        {"type": "array", "items": {"type": "string", "enum": [*paths]}, "uniqueItems": True},
        "Related resources to return as well, each once.",
        [paths[0]],
        style="form",
        explode=False,
    )


def _fields(kind: str, members: Members) -> Schema:
    return query_parameter(
        f"fields[{kind}]",
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{_any_of(map(as_field, members.fields()))}$"},
            "maxItems": fieldsets.MAX_FIELDS,
            "uniqueItems": True,
        },
        f"Attributes and relationships of {kind} to return; all others are left out. A JSON"
        " Pointer selects a part of one.",
        _FIELDS_EXAMPLES[kind],
        style="form",
        explode=False,
    )


_SWITCH = {
    "type": "string",
    "enum": ["true", "false", "yes", "no", "on", "off", "1", "0"],
}


def _pretty() -> Schema:
    about = "Whether to indent the document for people. Without a value, it is true."
    return query_parameter("pretty", _SWITCH, about, "true")


def _rdns() -> Schema:
    about = (
        "Whether `remote` shows the names of clients' addresses, if DNS has them. Filters and"
        f" `sort` use the addresses. A request looks up at most {MAX_LOOKUPS} names and waits at"
        f" most {WAIT * 1000:.0f} ms for them; an address without a name by then is shown as it"
        " is. Such a response has no validators."
    )
    return query_parameter(RDNS, _SWITCH, about, "true")


def _sync() -> Schema:
    about = "Accepted for MaxScale's clients; has no effect."
    return query_parameter("sync", {"type": "string"}, about, "true")


_NUMBERS = {
    "min_idle": "Returns only sessions with an `idle` of at least this many seconds.",
    "min_activity_duration": "Returns only sessions whose `activity` began at least this many"
    " seconds ago.",
}


def _number(name: str, about: str) -> Schema:
    schema = {"type": "number", "minimum": 0, "maximum": MAX_VALUE}
    return query_parameter(name, schema, f"{about} Such a response has no validators.", 60)


_LAST_EVENT = (LAST_EVENT_ID, "The id of the last event received, to resume after it.", "7")
_CONDITIONS = (
    ("If-None-Match", "Returns 304 if the ETag is one of these.", 'W/"1f-c0ffee"'),
    ("If-Match", "Returns 412 unless the ETag is one of these, weak ETags included.", "*"),
    (
        "If-Modified-Since",
        "Returns 304 if nothing has changed since then. Ignored with If-None-Match.",
        "Wed, 17 May 2017 10:06:36 GMT",
    ),
    (
        "If-Unmodified-Since",
        "Returns 412 if something has changed since then. Ignored with If-Match.",
        "Wed, 17 May 2017 10:06:36 GMT",
    ),
)


def header_parameter(name: str, about: str, example: str) -> Schema:
    """Return a header of the request."""
    return {
        "name": name,
        "in": "header",
        "description": about,
        "schema": {"type": "string"},
        "example": example,
    }
