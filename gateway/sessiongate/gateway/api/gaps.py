"""Gaps in responses about sessions: the sources that could not be read completely."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from sessiongate.v1.session_service_pb2 import (
    CountSessionsResponse,
    GetSessionResponse,
    ListSessionsResponse,
    SourceStatus,
)

# Responses of the core that say what the table was like.
TableResponse: TypeAlias = ListSessionsResponse | CountSessionsResponse | GetSessionResponse


class Gaps(NamedTuple):
    """Names of sources, sorted. False if there are none."""

    unreachable: tuple[str, ...] = ()  # those that could not be read
    partial: tuple[str, ...] = ()  # those that were read only in part

    def __bool__(self) -> bool:
        return bool(self.unreachable or self.partial)

    @classmethod
    def of_response(cls, response: TableResponse) -> Gaps:
        """Return the gaps that the core names in a response."""
        return cls((*response.unreachable,), (*response.partial,))

    @classmethod
    def of_statuses(cls, statuses: Iterable[SourceStatus]) -> Gaps:
        """Return the gaps that sources with these statuses cause."""
        known = sorted(statuses, key=lambda status: status.name)
        return cls(
            tuple(status.name for status in known if not status.reachable),
            tuple(status.name for status in known if status.partial),
        )

    def union(self, other: Gaps) -> Gaps:
        """Return the gaps of a combination of two responses."""
        if self == other:
            return self
        return Gaps(
            tuple(sorted({*self.unreachable, *other.unreachable})),
            tuple(sorted({*self.partial, *other.partial})),
        )

    def meta(self) -> dict[str, Any]:
        """Return the members of ``meta``; none if nothing is missing."""
        return {name: list(sources) for name, sources in self._asdict().items() if sources}
