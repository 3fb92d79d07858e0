"""Gaps in what is known of the past, as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from sessiongate.gateway.cli.texts import local_time_text, plain
from sessiongate.gateway.representation.past_session import GAP_REASONS
from sessiongate.v1.history_service_pb2 import GapReason, HistoryGap

_MOST = 20  # lines, and names of a line
_MEANINGS = {
    GapReason.GAP_REASON_UNREACHABLE: "could not be read",
    GapReason.GAP_REASON_CORE_DOWN: "no core ran",
    GapReason.GAP_REASON_PARTIAL: "read only in part",
    GapReason.GAP_REASON_BEFORE_HISTORY: "not observed before",
    GapReason.GAP_REASON_RETENTION: "sessions that have ended are not kept any more: see --history"
    " of the core",
    GapReason.GAP_REASON_BELOW_MINIMUM: "short sessions are not kept: see --history-min of the"
    " core",
}


def past_gap_lines(gaps: Sequence[HistoryGap], now: float | None = None) -> Iterator[str]:
    """Yield a line for each time of which not all is known, with its reason and sources.

    With ``now``, times are as short as at a terminal.
    """
    sources: dict[tuple[str, GapReason], list[str]] = {}
    for gap in gaps:
        sources.setdefault((_when(gap, now), gap.reason), []).append(gap.source)
    for (when, reason), names in islice(sources.items(), _MOST):
        word = GAP_REASONS.get(reason, "gap")
        meaning = f" ({_MEANINGS[reason]})" if reason in _MEANINGS else ""
        yield f"{word}: {plain(_listed(names))} {when}{meaning}"
    if len(sources) > _MOST:
        yield f"and {len(sources) - _MOST} more gaps; --output json names them"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def _when(gap: HistoryGap, now: float | None) -> str:
    end = local_time_text(gap.end_time, now)
    if not gap.HasField("start_time"):
        return f"until {end}"
    start = local_time_text(gap.start_time, now)
    return f"at {start}" if gap.start_time == gap.end_time else f"from {start} to {end}"
