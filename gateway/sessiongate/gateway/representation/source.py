"""Sources as resource objects: what the core reports about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sessiongate.gateway.representation.session import rfc3339
from sessiongate.v1.source_service_pb2 import SessionAction, Source, SourceState

SOURCE_STATES = {
    SourceState.SOURCE_STATE_UNSPECIFIED: "unknown",
    SourceState.SOURCE_STATE_PENDING: "pending",
    SourceState.SOURCE_STATE_REACHABLE: "reachable",
    SourceState.SOURCE_STATE_UNREACHABLE: "unreachable",
}
# Actions on a source's sessions. Later versions may add more.
SESSION_ACTIONS = {
    SessionAction.SESSION_ACTION_CANCEL: "cancel",
    SessionAction.SESSION_ACTION_TERMINATE: "terminate",
}


def sources_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/sources/"


def source_url(base: str, name: str) -> str:
    """Return the URL of one source; its name may contain any character."""
    return f"{base}/v1/sources/{quote(name, safe='')}"


def source_resource(source: Source, base: str) -> dict[str, Any]:
    """Return the resource object, without members for what never happened."""
    attributes: dict[str, Any] = {
        "kind": source.kind,
        "state": SOURCE_STATES[source.state],
        "sessions": source.session_count,
        "truncated": source.truncated,
        "partial": source.partial,
        "unreadable": {
            "sessions": source.unreadable_sessions,
            "members": source.unreadable_members,
            "example": source.unreadable_example,
        },
    }
    if source.HasField("last_success_time"):
        attributes["last_success"] = rfc3339(source.last_success_time)
    if source.HasField("observation_duration"):
        # In seconds, to the microsecond.
        attributes["observation_time"] = source.observation_duration.ToMicroseconds() / 1e6
    if source.HasField("last_error_time"):
        attributes["last_error"] = source.last_error
        attributes["last_error_time"] = rfc3339(source.last_error_time)
    if source.actions:
        words = (SESSION_ACTIONS.get(action) for action in source.actions)
        attributes["actions"] = [word for word in words if word is not None]
    if source.shard:
        attributes |= {"shard": source.shard, "core": source.core}
    return {
        "id": source.name,
        "type": "sources",
        "attributes": attributes,
        "links": {"self": source_url(base, source.name)},
    }


def source_resources(sources: Sequence[Source], base: str) -> list[dict[str, Any]]:
    """Return the resource objects in the order of their ids."""
    return [source_resource(source, base) for source in sorted(sources, key=_name)]


def _name(source: Source) -> str:
    return source.name
