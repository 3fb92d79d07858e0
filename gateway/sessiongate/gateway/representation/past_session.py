"""Sessions of the past as resource objects: as they were last seen, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sessiongate.gateway.jsonapi.parameters import query_string
from sessiongate.gateway.representation.session import rfc3339, session_resource
from sessiongate.v1.history_service_pb2 import (
    EndReason,
    GapReason,
    HistoryGap,
    PastSession,
)

END_REASONS = {
    EndReason.END_REASON_CLOSED: "closed",
    EndReason.END_REASON_SOURCE_RESTARTED: "source_restarted",
    EndReason.END_REASON_REPLACED: "replaced",
    EndReason.END_REASON_NOT_SEEN: "not_seen",
    EndReason.END_REASON_TERMINATED: "terminated",
}
GAP_REASONS = {
    GapReason.GAP_REASON_UNREACHABLE: "unreachable",
    GapReason.GAP_REASON_CORE_DOWN: "core_down",
    GapReason.GAP_REASON_PARTIAL: "partial",
    GapReason.GAP_REASON_BEFORE_HISTORY: "before_history",
    GapReason.GAP_REASON_RETENTION: "retention",
    GapReason.GAP_REASON_BELOW_MINIMUM: "below_minimum",
}
# Attributes that the core does not keep.
NOT_KEPT = (
    *("idle", "activity", "queries"),
    *("connections", "memory", "io_activity", "thread"),
)


def past_sessions_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/history/sessions/"


def past_session_url(base: str, ident: int) -> str:
    """Return the URL of one session of the past."""
    return f"{base}/v1/history/sessions/{ident}"


def past_session_resource(past: PastSession, base: str) -> dict[str, Any]:
    """Return the resource object of one session of the past."""
    resource = session_resource(past.session, base, 0.0)
    attributes = resource["attributes"]
    for name in NOT_KEPT:
        attributes.pop(name, None)
    if past.HasField("end_time"):
        attributes["ended"] = rfc3339(past.end_time)
        if past.end_reason in END_REASONS:  # else this version does not know it
            attributes["end_reason"] = END_REASONS[past.end_reason]
        if past.HasField("last_seen_time"):
            attributes["end_from"] = rfc3339(past.last_seen_time)
            attributes["end_to"] = attributes["ended"]
        if past.ended_by:
            attributes["ended_by"] = past.ended_by
    if past.HasField("longest_transaction"):
        attributes["longest_transaction"] = past.longest_transaction.ToMilliseconds() / 1000
    for name in ("upstream", "downstream"):
        if name in resource["relationships"]:
            linkage = resource["relationships"][name]["data"]
            related = _those_url(base, [one["id"] for one in linkage])
            resource["relationships"][name] = {"links": {"related": related}, "data": linkage}
    return {**resource, "links": {"self": past_session_url(base, past.session.id)}}


def _those_url(base: str, idents: Sequence[str]) -> str:
    """Return the URL of the sessions of the past with these ids."""
    quoted = [f'"{ident}"' for ident in idents]
    wanted = quoted[0] if len(quoted) == 1 else f"or({','.join(quoted)})"
    return f"{past_sessions_url(base)}?{query_string([('filter', f'id={wanted}')])}"


def gap_meta(gap: HistoryGap) -> dict[str, Any]:
    """Return a gap as ``meta`` shows it."""
    members: dict[str, Any] = {"source": gap.source}
    if gap.HasField("start_time"):
        members["from"] = rfc3339(gap.start_time)
    members["to"] = rfc3339(gap.end_time)
    if gap.reason in GAP_REASONS:  # else this version does not know it
        members["reason"] = GAP_REASONS[gap.reason]
    return members
