"""Counts of past sessions: the query of a CountPastSessions request, and its result."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate

from sessiongate.core.errors import InvalidRequestError, Violation
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.past_selector import Counted, Moments
from sessiongate.v1 import session_service_pb2
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    ListPastSessionsRequest,
    PastSessionGroup,
)
from sessiongate.v1.session_service_pb2 import CountBy, GroupValue

_DEFAULT_MOMENTS, _MOST_MOMENTS = 60, 500
_DEFAULT_GROUPS, _MOST_GROUPS = 10, 100
_MOST_VALUES = 10_000

_COLUMNS = {
    session_service_pb2.COUNT_BY_SERVICE: "service",
    session_service_pb2.COUNT_BY_SOURCE: "source",
    session_service_pb2.COUNT_BY_USER: "user",
    session_service_pb2.COUNT_BY_APPLICATION: "application",
    session_service_pb2.COUNT_BY_DATABASE: "database",
}
_ALLOWED = ", ".join(CountBy.Name(by) for by in _COLUMNS)


@dataclass(frozen=True, slots=True)
class PastCountsQuery:
    """A valid CountPastSessions request."""

    past: PastQuery
    moments: Moments
    column: str | None  # that sessions are grouped by
    max_groups: int

    @classmethod
    def parse(cls, request: CountPastSessionsRequest, now: int) -> PastCountsQuery:
        """Read a request at a time, in ns since the epoch. Raises `InvalidRequestError`."""
        violations: list[Violation] = []
        number = request.moments or _DEFAULT_MOMENTS
        if not 2 <= number <= _MOST_MOMENTS:
            text = f"must be an integer from 2 to {_MOST_MOMENTS}, got {number}"
            violations.append(Violation("moments", text))
        groups = request.max_groups or _DEFAULT_GROUPS
        if not 1 <= groups <= _MOST_GROUPS:
            text = f"must be an integer from 1 to {_MOST_GROUPS}, got {groups}"
            violations.append(Violation("max_groups", text))
        if request.by and request.by not in _COLUMNS:
            violations.append(Violation("by", f"must be one of {_ALLOWED}"))
        if request.filter.HasField("at_time"):
            text = "is one moment: set start_time and end_time instead"
            violations.append(Violation("filter.at_time", text))
        elif not request.filter.HasField("start_time"):
            violations.append(Violation("filter.start_time", "is required"))
        if violations:
            raise InvalidRequestError(*violations)
        past = PastQuery.parse(ListPastSessionsRequest(filter=request.filter), now)
        start, end = past.selector.start, min(past.selector.end, now)
        step = (end - start) // (number - 1)
        if step < 1:
            text = f"must be before end_time, and in the past, for {number} moments"
            raise InvalidRequestError(Violation("filter.start_time", text))
        return cls(past, Moments(start, step, number), _COLUMNS.get(request.by), groups)


class PastCounts:
    """How many sessions were connected at each moment, in all and by a value."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        # The difference to the moment before, and one entry for what lasts to the end.
        self._total = self._differences()
        self._of: dict[str | None, array[int]] = {}
        self._weights: dict[str | None, int] = {}

    def add(self, counted: Counted) -> None:
        """Count sessions."""
        value, first, stop, count = counted
        if first >= stop:
            return
        self._total[first] += count
        self._total[stop] -= count
        differences = self._of.get(value)
        if differences is None:
            if len(self._of) >= _MOST_VALUES:
                return
            differences = self._of[value] = self._differences()
            self._weights[value] = 0
        differences[first] += count
        differences[stop] -= count
        self._weights[value] += count * (stop - first)

    def _differences(self) -> array[int]:
        return array("q", bytes(8 * (self._moments.number + 1)))

    @property
    def total(self) -> list[int]:
        """Number of sessions at each moment."""
        return [*accumulate(self._total)][:-1]

    def largest(self, number: int) -> list[PastSessionGroup]:
        """Return the largest groups, those of the same size in the order of their values."""
        order = sorted(
            self._of, key=lambda value: (-self._weights[value], value is None, value or "")
        )
        return [
            PastSessionGroup(
                value=GroupValue() if value is None else GroupValue(text=value),
                counts=[*accumulate(self._of[value])][:-1],
            )
            for value in order[:number]
        ]
