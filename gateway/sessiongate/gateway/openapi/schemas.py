"""JSON Schemas of the documents: the components that responses refer to.

Objects may gain members later; the members described here stay.
"""

from __future__ import annotations

from sessiongate.gateway.openapi.past_session_schemas import PAST_SESSION_SCHEMAS
from sessiongate.gateway.openapi.schema import (
    ASCTIME,
    Schema,
    array_of,
    fixed,
    object_of,
    ref,
    text_of,
    whole,
)
from sessiongate.gateway.openapi.session_schemas import SESSION_SCHEMAS
from sessiongate.gateway.representation.source import SESSION_ACTIONS, SOURCE_STATES

VERSION = "3.1.1"  # of OpenAPI


_URL = {"type": "string", "format": "uri"}
_OR_NULL = {"type": ["string", "null"], "format": "uri"}


def _identifier(kind: str, about: str) -> Schema:
    return object_of({"id": text_of(about), "type": fixed(kind)}, "id", "type")


def _linkage(identifier: str, about: str, *, linked: bool = False) -> Schema:
    links = {"links": ref("Links")} if linked else {}
    return object_of({**links, "data": array_of(ref(identifier))}, "data", about=about)


def _document(data: Schema, links: Schema, *, included: bool) -> Schema:
    properties = {"links": links, "data": data}
    if included:
        either = {"anyOf": [ref("ServiceResource"), ref("SessionResource")]}
        properties["included"] = array_of(
            either, "The resources that `include` requests, each once."
        )
    return object_of({**properties, "meta": ref("Meta")}, "links", "data")


def _session_resource(attributes: str, *, is_past: bool = False) -> Schema:
    """Return the schema of a session, which has links to its relatives if it is a past one."""
    filters = _linkage("FilterIdentifier", "The filters that the session passes through, in order.")
    return object_of(
        {
            "id": text_of("An integer from 1, never assigned twice.", pattern="^[1-9][0-9]{0,19}$"),
            "type": fixed("sessions"),
            "relationships": object_of(
                {
                    # `fields` may leave either out.
                    "services": object_of(
                        {"links": ref("Links"), "data": array_of(ref("ServiceIdentifier"))}
                    ),
                    **({} if is_past else {"filters": filters}),
                    "upstream": _linkage(
                        "SessionIdentifier",
                        "The same connection on the next tier, towards the server.",
                        linked=is_past,
                    ),
                    "downstream": _linkage(
                        "SessionIdentifier",
                        "The same connection on the previous tier, towards the client.",
                        linked=is_past,
                    ),
                }
            ),
            "attributes": ref(attributes),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    )


_RETAINED = whole("Greater than 0 while every session has `queries`.")
_API_LINKS = ("self", "describedby", "sessions", "services", "sources", "counts", "history")

SCHEMAS: Schema = {
    **SESSION_SCHEMAS,
    **PAST_SESSION_SCHEMAS,
    "SessionIdentifier": _identifier("sessions", "The session's id."),
    "ServiceIdentifier": _identifier("services", "The service's name."),
    "FilterIdentifier": _identifier("filters", "The filter's name."),
    "Cursor": object_of(
        {
            "page": object_of(
                {"cursor": text_of("A value for `page[after]` and `page[before]`.")}, "cursor"
            )
        },
        about="Present on pages by cursor only.",
    ),
    "SessionResource": _session_resource("SessionAttributes"),
    "PastSessionResource": _session_resource("PastSessionAttributes", is_past=True),
    "SourceResource": object_of(
        {
            "id": text_of("The source's name."),
            "type": fixed("sources"),
            "attributes": object_of(
                {
                    "kind": text_of("The scheme of its URL."),
                    "state": text_of("How it was last read.", enum=[*SOURCE_STATES.values()]),
                    "sessions": whole("The number of its sessions that are listed."),
                    "truncated": {
                        "type": "boolean",
                        "description": "Whether it has more sessions than are read from it.",
                    },
                    "partial": text_of("Why it was read only in part; empty if read completely."),
                    "unreadable": object_of(
                        {
                            "sessions": whole("The number of unreadable sessions."),
                            "members": whole("The number of unreadable members of others."),
                            "example": text_of("The place of one, and what was expected there."),
                        },
                        about="What could not be read in the last reading.",
                    ),
                    "last_success": text_of("When it last answered.", format="date-time"),
                    "observation_time": {
                        "type": "number",
                        "minimum": 0,
                        "description": "Seconds that its last successful reading took.",
                    },
                    "last_error": text_of("Why it last failed, since the core started."),
                    "last_error_time": text_of("When it last failed.", format="date-time"),
                    "actions": array_of(
                        {"type": "string", "enum": [*SESSION_ACTIONS.values()]},
                        "What operators may do to its sessions; missing if nothing.",
                    ),
                    "shard": text_of("The shard that it belongs to; only in a fleet."),
                    "core": text_of("The core that reads it for that shard; empty if none does."),
                }
            ),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    ),
    "ServiceResource": object_of(
        {
            "id": text_of("The service's name.", minLength=1),
            "type": fixed("services"),
            "relationships": object_of({"sessions": object_of({"links": ref("Links")}, "links")}),
            "attributes": object_of(
                {
                    "sources": array_of({"type": "string"}, "The sources that report it."),
                    "connections": whole("The number of its sessions that are not listeners."),
                    "listeners": whole("The number of its listeners."),
                    "statistics": object_of(
                        {"connections": whole("The same as `connections`, for maxctrl.")},
                        "connections",
                    ),
                    "started": text_of("When its earliest listener started.", pattern=ASCTIME),
                    "router": text_of("What routes its sessions, in the source's own words."),
                    "state": text_of("Its state, in the source's own words."),
                }
            ),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    ),
    "CountResource": object_of(
        {
            "id": text_of(
                "The values that the sessions have in common, percent-encoded, with commas between;"
                " a missing value is `*`."
            ),
            "type": fixed("counts"),
            "attributes": ref("CountAttributes"),
        },
        "id",
        "type",
        "attributes",
    ),
    "MaxScaleResource": object_of(
        {
            "id": fixed("maxscale"),
            "type": fixed("maxscale"),
            "attributes": object_of(
                {"parameters": object_of({"retain_last_statements": _RETAINED})}
            ),
            "links": ref("Links"),
        },
        "id",
        "type",
        "attributes",
        "links",
    ),
    "Links": object_of({"self": _URL, "related": _URL}),
    "PageLinks": object_of(
        {
            "self": _URL,
            "first": _URL,
            "prev": _OR_NULL,
            "next": _OR_NULL,
            "last": _URL,
        },
        "self",
        about="If no page is requested, only `self` is present. If there is no such page, the"
        " link is null on pages by cursor and absent on pages by number. Lists of the past have no"
        " `prev`.",
    ),
    "Meta": object_of(
        {
            "total": whole("The number of resources on all pages, for pages by number."),
            "page": object_of({"total": whole("The number of resources on all pages.")}, "total"),
            "unreachable": array_of(
                {"type": "string"},
                "Sources that could not be read: their sessions may be missing or out of date.",
                minItems=1,
            ),
            "partial": array_of(
                {"type": "string"},
                "Sources that were read only in part: some of their sessions may be missing.",
                minItems=1,
            ),
            "gaps": array_of(
                ref("HistoryGap"),
                "What is not known about the time asked for; only of the past.",
            ),
            "times": array_of(
                {"type": "string", "format": "date-time"},
                "The moments of counts over time, in order.",
            ),
        },
    ),
    "Sessions": _document(array_of(ref("SessionResource")), ref("PageLinks"), included=True),
    "Session": _document(ref("SessionResource"), ref("Links"), included=True),
    "PastSession": _document(ref("PastSessionResource"), ref("Links"), included=False),
    "PastSessions": _document(
        array_of(ref("PastSessionResource")), ref("PageLinks"), included=False
    ),
    "Sources": _document(array_of(ref("SourceResource")), ref("PageLinks"), included=False),
    "Source": _document(ref("SourceResource"), ref("Links"), included=False),
    "Counts": _document(array_of(ref("CountResource")), ref("PageLinks"), included=False),
    "PastCounts": _document(array_of(ref("PastCountResource")), ref("Links"), included=False),
    "Services": _document(array_of(ref("ServiceResource")), ref("PageLinks"), included=False),
    "Service": _document(ref("ServiceResource"), ref("Links"), included=False),
    "MaxScale": _document(ref("MaxScaleResource"), ref("Links"), included=False),
    "Events": text_of(
        "Server-sent events: a snapshot, `sync`, and then the changes; docs/watch.md has each."
    ),
    "Linkage": _document(array_of(ref("ServiceIdentifier")), ref("Links"), included=False),
    "Api": object_of(
        {
            "links": object_of(dict.fromkeys(_API_LINKS, _URL), *_API_LINKS),
            "meta": object_of(
                {
                    "name": fixed("sessiongate"),
                    "operator": {
                        "type": "boolean",
                        "description": "Whether you may act on sessions, as far as sources allow"
                        " that. Missing if nobody may.",
                    },
                },
                "name",
            ),
        },
        "links",
        "meta",
    ),
    "Health": object_of(
        {"meta": object_of({"status": text_of("Its state.", enum=["alive", "ready"])}, "status")},
        "meta",
    ),
    "Description": {
        **object_of({"openapi": fixed(VERSION)}, "openapi"),
        "additionalProperties": True,
        "description": "This document; OpenAPI defines the rest of its content.",
    },
    "Page": text_of("An HTML page."),
    "Error": object_of(
        {
            "status": text_of("The HTTP status.", pattern="^[45][0-9]{2}$"),
            "code": text_of("The reason, for programs to branch on.", pattern="^[A-Z][A-Z0-9_]*$"),
            "title": text_of("The status in words."),
            "detail": text_of("What is wrong and what is allowed, for people to read."),
            "source": object_of(
                {
                    "parameter": text_of("The query parameter at fault."),
                    "header": text_of("The request header at fault."),
                }
            ),
            "links": object_of(
                {
                    "type": _URL,
                    "about": _URL,
                },
                about="`type` is present if the cursor pagination profile defines the error,"
                " `about` if there may be more to read: the history of a session that has ended.",
            ),
            "meta": object_of(
                {"page": object_of({"maxSize": whole("The largest page size.")})},
                about="Present with `MAX_PAGE_SIZE_EXCEEDED` only.",
            ),
        },
        "status",
        "code",
        "title",
        "detail",
    ),
    "Errors": object_of(
        {"errors": array_of(ref("Error"), minItems=1)},
        "errors",
        about="The document of every error; all errors of one response have its status.",
    ),
}
