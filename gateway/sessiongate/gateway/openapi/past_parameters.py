"""The parameters of requests about the past, in OpenAPI."""

from __future__ import annotations

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


def past_time(name: str) -> Schema:
    """Return a parameter that is a moment."""
    about, example = _TIMES[name]
    return query_parameter(name, _MOMENT, f"{about} {_FORM}", example)


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
