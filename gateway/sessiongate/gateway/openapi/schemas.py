"""JSON Schemas of the documents: the components that answers refer to.

Objects may gain members later; those here stay.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sessiongate.gateway.representation.source import SOURCE_STATES
from sessiongate.v1.states import STATE_WORDS

Schema: TypeAlias = dict[str, Any]

VERSION = "3.1.1"  # of OpenAPI


def ref(name: str) -> Schema:
    """Return a reference to a schema in this file."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, *required: str, about: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = [*required]
    return {"description": about, **made} if about else made


def _array(items: Schema, about: str = "", **more: Any) -> Schema:
    made: Schema = {"type": "array", "items": items, **more}
    return {"description": about, **made} if about else made


def _text(about: str, **more: Any) -> Schema:
    return {"type": "string", "description": about, **more}


def _is(value: str) -> Schema:
    """Return the schema of one fixed text. Generated clients need the type too."""
    return {"type": "string", "const": value}


def _whole(about: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": about}


_ASCTIME = r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$"
_URL = {"type": "string", "format": "uri"}
_OR_NULL = {"type": ["string", "null"], "format": "uri"}


def _identifier(kind: str, about: str) -> Schema:
    return _object({"id": _text(about), "type": _is(kind)}, "id", "type")


def _linkage(identifier: str, about: str) -> Schema:
    return _object({"data": _array(ref(identifier))}, "data", about=about)


def _document(data: Schema, links: Schema, *, included: bool) -> Schema:
    properties = {"links": links, "data": data}
    if included:
        either = {"anyOf": [ref("ServiceResource"), ref("SessionResource")]}
        properties["included"] = _array(either, "What `include` asks for, each thing once.")
    return _object({**properties, "meta": ref("Meta")}, "links", "data")


_RETAINED = _whole("Above 0 while every session has `queries`.")
_API_LINKS = ("self", "describedby", "sessions", "services", "sources")

SCHEMAS: Schema = {
    "SessionAttributes": _object(
        {
            "state": _text("What it is doing.", enum=[*STATE_WORDS.values()]),
            "connected": _text(
                "When the client connected, or when the session was first seen if its source"
                " does not say: C's asctime, in UTC. A filter compares it as a text, `sort` as a"
                " time.",
                pattern=_ASCTIME,
            ),
            "user": _text("The name that the client logged in with."),
            "remote": _text("The client's address, or the path of its Unix socket."),
            "port": _whole("The client's port."),
            "database": _text("The database or schema that it uses."),
            "idle": {
                "type": "number",
                "minimum": 0,
                "description": "Seconds since it last sent or received anything, to a tenth.",
            },
            "connections": _array(
                ref("BackendConnection"), "The connections to servers behind it."
            ),
            "client": _object(
                {
                    "cipher": _text("The TLS cipher of its connection; empty: in the clear."),
                    "connection_attributes": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": "What the client's driver says of itself.",
                    },
                }
            ),
            "queries": _array(
                ref("Query"),
                "Statements, oldest first, if the source's configuration asks for them.",
            ),
            "memory": _object({"total": _whole("Bytes that it takes at its source.")}, "total"),
            "io_activity": _whole("Reads and writes of the last 30 seconds, as MaxScale counts."),
            "thread": _whole("The index of the source's thread that serves it."),
            "application": _text("What the client says that it is."),
            "source": _text("The source that it was read from; there if `native_id` is."),
            "native_id": _text("What the source itself calls the session."),
            "truncated": _array({"type": "string"}, "Names of what was cut; see `--max-session`."),
        },
        about="Each stands there where it is known; `fields[sessions]` leaves out others.",
    ),
    "BackendConnection": _object(
        {
            "server": _text("The server's name or address."),
            "connection_id": _whole("The server's own number for the connection."),
            "cipher": _text("Its TLS cipher; empty: in the clear."),
        },
        "server",
        about="A connection to a server, on behalf of a session.",
    ),
    "Query": _object(
        {
            "statement": _text("Its text, cut at 16 KiB."),
            "received": _text("When it was received.", format="date-time"),
            "completed": _text(
                "When it was completed; left out while it runs.", format="date-time"
            ),
            "truncated": {
                "type": "boolean",
                "description": "Whether the text was cut; left out if it was not.",
            },
        },
        "statement",
        about="A statement that a session ran.",
    ),
    "SessionIdentifier": _identifier("sessions", "The session's id."),
    "ServiceIdentifier": _identifier("services", "The service's name."),
    "FilterIdentifier": _identifier("filters", "The filter's name."),
    "Cursor": _object(
        {
            "page": _object(
                {"cursor": _text("What `page[after]` and `page[before]` take.")}, "cursor"
            )
        },
        about="On pages by cursor only.",
    ),
    "SessionResource": _object(
        {
            "id": _text("A whole number from 1, never given twice.", pattern="^[1-9][0-9]{0,19}$"),
            "type": _is("sessions"),
            "relationships": _object(
                {
                    # `fields` may leave either out.
                    "services": _object(
                        {"links": ref("Links"), "data": _array(ref("ServiceIdentifier"))}
                    ),
                    "filters": _linkage(
                        "FilterIdentifier", "The filters that it passes, in order."
                    ),
                    "upstream": _linkage(
                        "SessionIdentifier", "The same connection one tier on, towards the server."
                    ),
                    "downstream": _linkage(
                        "SessionIdentifier",
                        "The same connection one tier before, towards the client.",
                    ),
                }
            ),
            "attributes": ref("SessionAttributes"),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    ),
    "SourceResource": _object(
        {
            "id": _text("Its name."),
            "type": _is("sources"),
            "attributes": _object(
                {
                    "kind": _text("The scheme of its URL."),
                    "state": _text("How it was last read.", enum=[*SOURCE_STATES.values()]),
                    "sessions": _whole("How many sessions of it are listed."),
                    "truncated": {
                        "type": "boolean",
                        "description": "Whether it has more sessions than are taken from it.",
                    },
                    "partial": _text("Why it was read only in part; empty if it was as a whole."),
                    "unreadable": _object(
                        {
                            "sessions": _whole("Sessions that could not be read."),
                            "members": _whole("Members of other sessions that could not be read."),
                            "example": _text("The place of one, and what was expected there."),
                        },
                        about="What could not be read when it was last read.",
                    ),
                    "last_success": _text("When it last answered.", format="date-time"),
                    "observation_time": {
                        "type": "number",
                        "minimum": 0,
                        "description": "Seconds that its last answer took.",
                    },
                    "last_error": _text("Why it last failed, since the core started."),
                    "last_error_time": _text("When that was.", format="date-time"),
                }
            ),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    ),
    "ServiceResource": _object(
        {
            "id": _text("The service's name.", minLength=1),
            "type": _is("services"),
            "relationships": _object({"sessions": _object({"links": ref("Links")}, "links")}),
            "attributes": _object(
                {
                    "sources": _array({"type": "string"}, "The sources that know it."),
                    "connections": _whole("Its sessions that are not listeners."),
                    "listeners": _whole("Its sessions that are."),
                    "statistics": _object(
                        {"connections": _whole("The same as `connections`, for maxctrl.")},
                        "connections",
                    ),
                    "started": _text("When its earliest listener began.", pattern=_ASCTIME),
                    "router": _text("What routes its sessions, as its source calls that."),
                    "state": _text("How it is, as its source calls that."),
                }
            ),
            "links": ref("Links"),
            "meta": ref("Cursor"),
        },
        "id",
        "type",
        "links",
    ),
    "MaxScaleResource": _object(
        {
            "id": _is("maxscale"),
            "type": _is("maxscale"),
            "attributes": _object({"parameters": _object({"retain_last_statements": _RETAINED})}),
            "links": ref("Links"),
        },
        "id",
        "type",
        "attributes",
        "links",
    ),
    "Links": _object({"self": _URL, "related": _URL}),
    "PageLinks": _object(
        {
            "self": _URL,
            "first": _URL,
            "prev": _OR_NULL,
            "next": _OR_NULL,
            "last": _URL,
        },
        "self",
        about="All but `self` only where a page is asked for. By cursor, null says that"
        " there is no such page; by number, the link is left out.",
    ),
    "Meta": _object(
        {
            "total": _whole("Resources on all pages by number."),
            "page": _object({"total": _whole("Resources on all pages by cursor.")}, "total"),
            "unreachable": _array(
                {"type": "string"},
                "Sources that could not be read: their sessions may be missing or out of date.",
                minItems=1,
            ),
            "partial": _array(
                {"type": "string"},
                "Sources that were read only in part: some of their sessions may be missing.",
                minItems=1,
            ),
        },
    ),
    "Sessions": _document(_array(ref("SessionResource")), ref("PageLinks"), included=True),
    "Session": _document(ref("SessionResource"), ref("Links"), included=True),
    "Sources": _document(_array(ref("SourceResource")), ref("PageLinks"), included=False),
    "Source": _document(ref("SourceResource"), ref("Links"), included=False),
    "Services": _document(_array(ref("ServiceResource")), ref("PageLinks"), included=False),
    "Service": _document(ref("ServiceResource"), ref("Links"), included=False),
    "MaxScale": _document(ref("MaxScaleResource"), ref("Links"), included=False),
    "Linkage": _document(_array(ref("ServiceIdentifier")), ref("Links"), included=False),
    "Api": _object(
        {
            "links": _object(dict.fromkeys(_API_LINKS, _URL), *_API_LINKS),
            "meta": _object({"name": _is("sessiongate")}, "name"),
        },
        "links",
        "meta",
    ),
    "Health": _object(
        {"meta": _object({"status": _text("How it is.", enum=["alive", "ready"])}, "status")},
        "meta",
    ),
    "Description": {
        **_object({"openapi": _is(VERSION)}, "openapi"),
        "additionalProperties": True,
        "description": "This document; what else is in it is OpenAPI's to say.",
    },
    "Page": _text("An HTML page."),
    "Error": _object(
        {
            "status": _text("The HTTP status.", pattern="^[45][0-9]{2}$"),
            "code": _text("What to branch on.", pattern="^[A-Z][A-Z0-9_]*$"),
            "title": _text("The status in words."),
            "detail": _text("What is wrong and what is allowed, for people."),
            "source": _object(
                {
                    "parameter": _text("The query parameter to blame."),
                    "header": _text("The request's header to blame."),
                }
            ),
            "links": _object(
                {"type": _URL},
                about="If the cursor pagination profile names the error.",
            ),
            "meta": _object(
                {"page": _object({"maxSize": _whole("The largest page that there is.")})},
                about="With `MAX_PAGE_SIZE_EXCEEDED` only.",
            ),
        },
        "status",
        "code",
        "title",
        "detail",
    ),
    "Errors": _object(
        {"errors": _array(ref("Error"), minItems=1)},
        "errors",
        about="The shape of every error; all errors of one answer have its status.",
    ),
}
