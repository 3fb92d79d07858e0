"""Counts over time as resource objects: how many sessions were connected at each moment."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sessiongate.gateway.representation.count import MISSING_VALUE
from sessiongate.gateway.representation.session import rfc3339
from sessiongate.v1.history_service_pb2 import CountPastSessionsResponse

ALL, OTHER = "*all", "*other"  # ids that no value has


def past_counts_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/history/counts/"


def past_times(counts: CountPastSessionsResponse) -> list[str]:
    """Return the moments that counts are of."""
    return [rfc3339(time) for time in counts.times]


def past_count_resources(counts: CountPastSessionsResponse, by: str | None) -> list[dict[str, Any]]:
    """Return the resource objects of counts: by value, or of all sessions.

    The sessions whose value has no resource object of its own are together the last one.
    """
    total = [*counts.total_counts]
    if by is None:
        return [_resource(ALL, {"counts": total})]
    found = []
    for group in counts.groups:
        text = group.value.text if group.value.HasField("text") else None
        ident = MISSING_VALUE if text is None else quote(text, safe="")
        found.append(_resource(ident, {by: text, "counts": [*group.counts]}))
        total = [rest - count for rest, count in zip(total, group.counts, strict=True)]
    if any(total):
        found.append(_resource(OTHER, {"counts": total}))
    return found


def _resource(ident: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"id": ident, "type": "counts", "attributes": attributes}
