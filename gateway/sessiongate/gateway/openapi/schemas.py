"""JSON Schemas of the documents: the components that responses refer to.

Objects may gain members later; the members described here stay.
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
    """Return the schema of a fixed string. Generated clients also need its type."""
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
        properties["included"] = _array(either, "The resources that `include` requests, each once.")
    return _object({**properties, "meta": ref("Meta")}, "links", "data")


_RETAINED = _whole("Greater than 0 while every session has `queries`.")
_API_LINKS = ("self", "describedby", "sessions", "services", "sources")

SCHEMAS: Schema = {
    "SessionAttributes": _object(
        {
            "state": _text("What the session is doing.", enum=[*STATE_WORDS.values()]),
            "connected": _text(
                "When the client connected, or when the session was first seen if its source"
                " does not report it, in the format of C's asctime, in UTC. A filter compares it"
                " as a string, `sort` as a time.",
                pattern=_ASCTIME,
            ),
            "user": _text("The name that the client logged in with."),
            "remote": _text("The client's address, or the path of its Unix socket."),
            "port": _whole("The client's port."),
            "database": _text("The database or schema that the session uses."),
            "idle": {
                "type": "number",
                "minimum": 0,
                "description": "Seconds since the session last sent or received data, to a tenth.",
            },
            "connections": _array(ref("BackendConnection"), "Its connections to servers."),
            "client": _object(
                {
                    "cipher": _text("The TLS cipher of its connection; empty if not encrypted."),
                    "connection_attributes": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": "What the client's driver reports about itself.",
                    },
                }
            ),
            "queries": _array(
                ref("Query"),
                "Statements, oldest first, if the source's configuration asks for them.",
            ),
            "memory": _object({"total": _whole("Bytes that it uses in its source.")}, "total"),
            "io_activity": _whole("Reads and writes in the last 30 seconds, as MaxScale counts."),
            "thread": _whole("The index of the source's thread that serves it."),
            "application": _text("The name that the client program reports."),
            "source": _text("The source of the session; present if `native_id` is."),
            "native_id": _text("The source's own id of the session."),
            "truncated": _array(
                {"type": "string"}, "Names of the cut fields; see `--max-session`."
            ),
        },
        about="Each is present if it is known and `fields[sessions]` does not leave it out.",
    ),
    "BackendConnection": _object(
        {
            "server": _text("The server's name or address."),
            "connection_id": _whole("The server's own id for the connection."),
            "cipher": _text("Its TLS cipher; empty if not encrypted."),
        },
        "server",
        about="A connection to a server, on behalf of a session.",
    ),
    "Query": _object(
        {
            "statement": _text("The statement's text, cut at 16 KiB."),
            "received": _text("When the statement was received.", format="date-time"),
            "completed": _text(
                "When the statement was completed; absent while it runs.", format="date-time"
            ),
            "truncated": {
                "type": "boolean",
                "description": "Whether the text was cut; absent if it was not.",
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
                {"cursor": _text("A value for `page[after]` and `page[before]`.")}, "cursor"
            )
        },
        about="Present on pages by cursor only.",
    ),
    "SessionResource": _object(
        {
            "id": _text("An integer from 1, never assigned twice.", pattern="^[1-9][0-9]{0,19}$"),
            "type": _is("sessions"),
            "relationships": _object(
                {
                    # `fields` may leave either out.
                    "services": _object(
                        {"links": ref("Links"), "data": _array(ref("ServiceIdentifier"))}
                    ),
                    "filters": _linkage(
                        "FilterIdentifier", "The filters that the session passes through, in order."
                    ),
                    "upstream": _linkage(
                        "SessionIdentifier",
                        "The same connection on the next tier, towards the server.",
                    ),
                    "downstream": _linkage(
                        "SessionIdentifier",
                        "The same connection on the previous tier, towards the client.",
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
            "id": _text("The source's name."),
            "type": _is("sources"),
            "attributes": _object(
                {
                    "kind": _text("The scheme of its URL."),
                    "state": _text("How it was last read.", enum=[*SOURCE_STATES.values()]),
                    "sessions": _whole("The number of its sessions that are listed."),
                    "truncated": {
                        "type": "boolean",
                        "description": "Whether it has more sessions than are read from it.",
                    },
                    "partial": _text("Why it was read only in part; empty if read completely."),
                    "unreadable": _object(
                        {
                            "sessions": _whole("The number of unreadable sessions."),
                            "members": _whole("The number of unreadable members of others."),
                            "example": _text("The place of one, and what was expected there."),
                        },
                        about="What could not be read in the last reading.",
                    ),
                    "last_success": _text("When it last answered.", format="date-time"),
                    "observation_time": {
                        "type": "number",
                        "minimum": 0,
                        "description": "Seconds that its last successful reading took.",
                    },
                    "last_error": _text("Why it last failed, since the core started."),
                    "last_error_time": _text("When it last failed.", format="date-time"),
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
                    "sources": _array({"type": "string"}, "The sources that report it."),
                    "connections": _whole("The number of its sessions that are not listeners."),
                    "listeners": _whole("The number of its listeners."),
                    "statistics": _object(
                        {"connections": _whole("The same as `connections`, for maxctrl.")},
                        "connections",
                    ),
                    "started": _text("When its earliest listener started.", pattern=_ASCTIME),
                    "router": _text("What routes its sessions, in the source's own words."),
                    "state": _text("Its state, in the source's own words."),
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
        about="If no page is requested, only `self` is present. If there is no such page, the"
        " link is null on pages by cursor and absent on pages by number.",
    ),
    "Meta": _object(
        {
            "total": _whole("The number of resources on all pages, for pages by number."),
            "page": _object({"total": _whole("The number of resources on all pages.")}, "total"),
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
        {"meta": _object({"status": _text("Its state.", enum=["alive", "ready"])}, "status")},
        "meta",
    ),
    "Description": {
        **_object({"openapi": _is(VERSION)}, "openapi"),
        "additionalProperties": True,
        "description": "This document; OpenAPI defines the rest of its content.",
    },
    "Page": _text("An HTML page."),
    "Error": _object(
        {
            "status": _text("The HTTP status.", pattern="^[45][0-9]{2}$"),
            "code": _text("The reason, for programs to branch on.", pattern="^[A-Z][A-Z0-9_]*$"),
            "title": _text("The status in words."),
            "detail": _text("What is wrong and what is allowed, for people to read."),
            "source": _object(
                {
                    "parameter": _text("The query parameter at fault."),
                    "header": _text("The request header at fault."),
                }
            ),
            "links": _object(
                {"type": _URL},
                about="Present if the cursor pagination profile defines the error.",
            ),
            "meta": _object(
                {"page": _object({"maxSize": _whole("The largest page size.")})},
                about="Present with `MAX_PAGE_SIZE_EXCEEDED` only.",
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
        about="The document of every error; all errors of one response have its status.",
    ),
}
