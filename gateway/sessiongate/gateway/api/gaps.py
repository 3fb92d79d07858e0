"""What an answer about sessions may lack, by the sources that could not be read as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sessiongate.v1.session_service_pb2 import (
    GetSessionResponse,
    ListSessionsResponse,
    SourceStatus,
)


class Gaps(NamedTuple):
    """Names of sources, sorted. False if there are none."""

    unreachable: tuple[str, ...] = ()  # those that could not be read
    partial: tuple[str, ...] = ()  # those that were read only in part

    def __bool__(self) -> bool:
        return bool(self.unreachable or self.partial)

    @classmethod
    def of_response(cls, response: ListSessionsResponse | GetSessionResponse) -> Gaps:
        """The gaps that the core names with an answer."""
        return cls((*response.unreachable,), (*response.partial,))

    @classmethod
    def of_statuses(cls, statuses: Iterable[SourceStatus]) -> Gaps:
        """The gaps that sources in these states make."""
        known = sorted(statuses, key=lambda status: status.name)
        return cls(
            tuple(status.name for status in known if not status.reachable),
            tuple(status.name for status in known if status.partial),
        )

    def union(self, other: Gaps) -> Gaps:
        """The gaps of what is put together from two answers."""
        if self == other:
            return self
        return Gaps(
            tuple(sorted({*self.unreachable, *other.unreachable})),
            tuple(sorted({*self.partial, *other.partial})),
        )

    def meta(self) -> dict[str, Any]:
        """The members of ``meta``; none where nothing is missing."""
        return {name: list(sources) for name, sources in self._asdict().items() if sources}
