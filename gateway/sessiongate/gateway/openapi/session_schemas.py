"""JSON Schemas of a session's attributes."""

from __future__ import annotations

from typing import Any

from sessiongate.gateway.openapi.schema import (
    ASCTIME,
    Schema,
    array_of,
    object_of,
    ref,
    text_of,
    whole,
)
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.states import STATE_WORDS

_COUNTED = {
    "service": "The service of the sessions.",
    "source": "Their source.",
    "user": "Their user.",
    "application": "Their application.",
    "database": "Their database.",
    "remote": "The address of their client, in one spelling, or the path of its Unix socket.",
}


def _counted(about: str, **more: Any) -> Schema:
    return {"type": ["string", "null"], "description": about, **more}


SESSION_SCHEMAS: Schema = {
    "SessionAttributes": object_of(
        {
            "state": text_of("Where the session is in its life.", enum=[*STATE_WORDS.values()]),
            "connected": text_of(
                "When the client connected, or when the session was first seen if its source"
                " does not report it, in the format of C's asctime, in UTC. A filter compares it"
                " as a string, `sort` as a time.",
                pattern=ASCTIME,
            ),
            "user": text_of("The name that the client logged in with."),
            "remote": text_of("The client's address, or the path of its Unix socket."),
            "port": whole("The client's port."),
            "database": text_of("The database or schema that the session uses."),
            "activity": ref("Activity"),
            "idle": {
                "type": "number",
                "minimum": 0,
                "description": "Seconds since the session last sent or received data, to a tenth."
                " Absent while it is active, waiting or connecting.",
            },
            "connections": array_of(ref("BackendConnection"), "Its connections to servers."),
            "client": object_of(
                {
                    "cipher": text_of("The TLS cipher of its connection; empty if not encrypted."),
                    "connection_attributes": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": "What the client's driver reports about itself.",
                    },
                }
            ),
            "queries": array_of(
                ref("Query"),
                "Statements, oldest first, if the source's configuration asks for them.",
            ),
            "memory": object_of({"total": whole("Bytes that it uses in its source.")}, "total"),
            "io_activity": whole("Reads and writes in the last 30 seconds, as MaxScale counts."),
            "thread": whole("The index of the source's thread that serves it."),
            "application": text_of("The name that the client program reports."),
            "source": text_of("The source of the session; present if `native_id` is."),
            "native_id": text_of("The source's own id of the session."),
            "truncated": array_of(
                {"type": "string"}, "Names of the cut fields; see `--max-session`."
            ),
        },
        about="Each is present if it is known and `fields[sessions]` does not leave it out.",
    ),
    "CountAttributes": object_of(
        {
            **{name: _counted(about) for name, about in _COUNTED.items()},
            "state": _counted("The state of the sessions.", enum=[*STATE_WORDS.values(), None]),
            "activity": _counted("What they are doing.", enum=[*ACTIVITY_WORDS.values(), None]),
            "count": whole("The number of sessions."),
        },
        "count",
        about="What `by` names is present; null if the sessions have none.",
    ),
    "Activity": object_of(
        {
            "state": text_of("What it is doing.", enum=[*ACTIVITY_WORDS.values()]),
            "since": text_of("When that began.", format="date-time"),
            "native": text_of("The source's own word for it."),
            "wait": text_of("What it waits for, in the source's own words."),
            "transaction_started": text_of("When its transaction began.", format="date-time"),
            "blocked_by": array_of(
                {"type": "string"}, "The ids of the sessions that it waits for, at most 100."
            ),
        },
        about="What a session is doing now. Each member is present if it is known.",
    ),
    "BackendConnection": object_of(
        {
            "server": text_of("The server's name or address."),
            "connection_id": whole("The server's own id for the connection."),
            "cipher": text_of("Its TLS cipher; empty if not encrypted."),
        },
        "server",
        about="A connection to a server, on behalf of a session.",
    ),
    "Query": object_of(
        {
            "statement": text_of("The statement's text, cut at 16 KiB."),
            "received": text_of("When the statement was received.", format="date-time"),
            "completed": text_of(
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
}
