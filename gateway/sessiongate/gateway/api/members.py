"""The members of resources by name, from the API description.

MaxScale's own members are included, so that its clients may name them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sessiongate.gateway.jsonapi.members import FREE, UNLISTED, Members, Shape
from sessiongate.gateway.openapi.schema import Schema
from sessiongate.gateway.openapi.schemas import SCHEMAS

# Members of these resources in MaxScale 2.2 to 24.02, from its documentation (REST-API/
# Resources-Session.md and similar files) and its own responses. Naming one of them is not an
# error, although the resources here do not have them.
_LINKAGE: Shape = {"data": [{"id": None, "type": None}], "links": {"self": None, "related": None}}
_BUFFERS: Mapping[str, Shape] = dict.fromkeys(("misc", "readq", "total", "writeq"))
_MAXSCALE: Mapping[str, Mapping[str, Shape]] = {
    "sessions": {
        "attributes": {
            **dict.fromkeys(("default_database", "seconds_alive", "seqno")),
            "client": dict.fromkeys(
                (
                    "sescmd_history_len",
                    "sescmd_history_stored_metadata",
                    "sescmd_history_stored_responses",
                )
            ),
            "connections": [{"protocol_diagnostics": UNLISTED}],
            "log": [None],
            "memory": {
                "connection_buffers": {"backends": UNLISTED, "client": _BUFFERS, "total": None},
                **dict.fromkeys(("exec_metadata", "last_queries", "sescmd_history", "variables")),
            },
            "parameters": UNLISTED,
            "queries": [{"command": None, "responses": [{"duration": None, "server": None}]}],
        },
        "relationships": {"filters": _LINKAGE},
    },
    "services": {
        "attributes": {
            **dict.fromkeys(("total_connections", "users_last_update")),
            "listeners": [UNLISTED],
            "parameters": UNLISTED,
            "router_diagnostics": UNLISTED,
            "source": {"file": None, "type": None},
            "statistics": dict.fromkeys(
                (
                    "active_operations",
                    "avg_sescmd_history_length",
                    "avg_session_lifetime",
                    "failed_auths",
                    "max_connections",
                    "max_sescmd_history_length",
                    "max_session_lifetime",
                    "routed_packets",
                    "total_connections",
                )
            ),
            "users": [UNLISTED],
        },
        "relationships": dict.fromkeys(
            ("filters", "listeners", "monitors", "servers", "services"), _LINKAGE
        ),
    },
    "maxscale": {
        "attributes": {
            **dict.fromkeys(("activated_at", "commit", "config_sync", "process_datadir")),
            **dict.fromkeys(("started_at", "uptime", "version")),
            "parameters": UNLISTED,
            "system": UNLISTED,
        },
    },
}


def _shape(schema: Schema) -> Shape:
    """Return the shape that a schema describes."""
    if "$ref" in schema:
        return _shape(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "additionalProperties" in schema:
        return FREE
    if schema.get("type") == "object":
        return _object(schema)
    return [_shape(schema["items"])] if schema.get("type") == "array" else None


def _object(schema: Schema) -> dict[str, Shape]:
    return {name: _shape(member) for name, member in schema["properties"].items()}


MEMBERS = {
    "sessions": Members(_object(SCHEMAS["SessionResource"]), _MAXSCALE["sessions"]),
    "services": Members(_object(SCHEMAS["ServiceResource"]), _MAXSCALE["services"]),
    "sources": Members(_object(SCHEMAS["SourceResource"])),
    "maxscale": Members(_object(SCHEMAS["MaxScaleResource"]), _MAXSCALE["maxscale"]),
}
# Of sessions in history, which MaxScale does not have.
PAST_MEMBERS = Members(_object(SCHEMAS["PastSessionResource"]))
