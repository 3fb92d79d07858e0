"""The parameters of requests about the past, in OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable

from sessiongate.gateway.api.past_counts import (
    BY,
    DEFAULT_GROUPS,
    DEFAULT_MOMENTS,
    MOMENTS,
    MOST_GROUPS,
    MOST_MOMENTS,
    PAST_COUNTED_BY,
)
from sessiongate.gateway.api.past_time import AT, FROM, TO
from sessiongate.gateway.jsonapi.paging import AFTER, SIZE
from sessiongate.gateway.jsonapi.query import DEFAULT_PAGE_RESOURCES, QueryLimits
from sessiongate.gateway.openapi.schema import Schema, query_parameter

# Narrower than what is read, so that each value that matches is a moment.
_MOMENT: Schema = {
    "type": "string",
    "pattern": r"^(?:-[0-9]{1,4}[smhd]|(?:19[7-9][0-9]|20[0-9]{2})-(?:0[1-9]|1[0-2])"
    r"-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z)$",
}
_FORM = (
    "Absolute, such as 2026-11-26T14:05:00Z (RFC 3339), or how long ago, such as -15m (in s, m, h"
    " or d; -0s is now). Links have it absolute."
)
_TIMES = {
    AT: (
        "Returns only sessions that were connected at this moment: that connected then or earlier,"
        f" and ended later, or not yet. Not allowed with `{FROM}` or `{TO}`.",
        "2026-11-26T14:05:00Z",
    ),
    FROM: (
        "Returns only sessions that had not ended by then. Without it, all that are remembered.",
        "-1h",
    ),
    TO: ("Returns only sessions that connected before then. Without it, until now.", "-15m"),
}


_COUNTED_TIMES = {
    FROM: ("The first moment; without it, an hour before the last one.", "-6h"),
    TO: ("The last moment; without it, and if it is in the future, now.", "-15m"),
}
_COUNTED = (
    query_parameter(
        MOMENTS,
        {"type": "integer", "minimum": 2, "maximum": MOST_MOMENTS},
        "Number of moments, at equal intervals, from the first to the last; without it,"
        f" {DEFAULT_MOMENTS}.",
        DEFAULT_MOMENTS,
    ),
    query_parameter(
        BY,
        {"type": "string", "enum": [*PAST_COUNTED_BY]},
        "What to count by; without it, all sessions are counted together.",
        PAST_COUNTED_BY[0],
    ),
    query_parameter(
        SIZE,
        {"type": "integer", "minimum": 1, "maximum": MOST_GROUPS},
        f"Number of values to return, those of the most sessions; without it, {DEFAULT_GROUPS}. The"
        " sessions with other values are counted together.",
        DEFAULT_GROUPS,
    ),
)


def past_parameters(names: Iterable[str], *, are_counted: bool) -> list[Schema]:
    """Return the parameters that are moments, and what else counts over time take."""
    found = []
    for name in names:
        times = _COUNTED_TIMES if are_counted else _TIMES
        if name in times:
            about, example = times[name]
            found.append(query_parameter(name, _MOMENT, f"{about} {_FORM}", example))
    return [*found, *(each for each in _COUNTED if each["name"] in names)]


def past_filters() -> list[Schema]:
    """Return the parameters that select what is counted, narrower than what is read."""
    fields, value = "(?:user|database|application)", r'eq\("[A-Za-z0-9_-]{1,30}"\)'
    return [
        query_parameter(
            "filter",
            {
                "type": "array",
                "items": {"type": "string", "pattern": f"^/?attributes/{fields}={value}$"},
                "maxItems": 1,
            },
            "Counts only sessions whose value at a JSON Pointer matches: `POINTER=EXPRESSION`, with"
            " a service, user, state, database, application, source or address, and `eq` of a"
            " string or an `or` of these. A session must match all filters.",
            ['/attributes/user=eq("app")'],
            style="form",
            explode=True,
        ),
        query_parameter(
            "filters",
            {
                "type": "object",
                "patternProperties": {
                    rf"^filter\[(?:\$\.)?attributes\.{fields}\]$": {
                        "type": "string",
                        "pattern": f"^{value}$",
                    }
                },
                "additionalProperties": False,
                "maxProperties": 1,
            },
            "The same with a JSONPath (RFC 9535): `filter[JSONPATH]=EXPRESSION`. The path is part"
            " of the parameter's name, so the name `filters` itself never appears in a URL.",
            {"filter[attributes.database]": 'eq("orders")'},
            style="form",
            explode=True,
        ),
    ]


def past_sort(orders: tuple[str, ...]) -> Schema:
    """Return the order of a list of the past."""
    return query_parameter(
        "sort",
        {"type": "string", "enum": [*orders]},
        "When sessions connected, or when they ended; a minus sign means descending. Sessions that"
        " have not ended count as ending last. Equal times are in the order of ids. Without it,"
        f" the order is `{orders[0]}`.",
        orders[-1],
    )


def past_pages(limits: QueryLimits) -> list[Schema]:
    """Return the parameters of pages that follow each other in one direction."""
    return [
        query_parameter(
            SIZE,
            {"type": "integer", "minimum": 1, "maximum": limits.page_size},
            f"Number of sessions on a page; without it, {DEFAULT_PAGE_RESOURCES}. A page may have"
            " fewer, or none, if few of many sessions pass the filters: the list ends only where"
            " `links.next` is null.",
            100,
        ),
        query_parameter(
            AFTER,
            {"type": "string", "minLength": 1},
            "The cursor in `links.next`, for the page that follows. It belongs to a list: times,"
            " filters and `sort` have to be those of that link.",
            "AAAA",
        ),
    ]
