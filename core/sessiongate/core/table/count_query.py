"""The query of a CountSessions request: filter, what to group by, and which page of the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessiongate.core.errors import InvalidRequestError, Violation
from sessiongate.core.place import id_of
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.query import (
    excess_of,
    fingerprint_of,
    parse_filter,
    parse_page_size,
    parse_token,
    token_of,
)
from sessiongate.v1 import session_service_pb2
from sessiongate.v1.session_service_pb2 import CountBy, CountSessionsRequest

_MOST_FIELDS = 3
_ALLOWED = frozenset(CountBy.values()) - {session_service_pb2.COUNT_BY_UNSPECIFIED}


@dataclass(frozen=True, slots=True)
class CountQuery:
    """A valid CountSessions request."""

    matching: RowFilter | None  # the filter
    by: Sequence[CountBy]  # one to three, all different
    page_size: int  # 1 to MAX_PAGE_SIZE
    start: int  # number of groups before the page
    fingerprint: bytes  # of everything that a page token depends on

    @classmethod
    def parse(cls, request: CountSessionsRequest) -> CountQuery:
        """Read the query of a request. Raises `InvalidRequestError`."""
        if violation := excess_of(request):
            raise InvalidRequestError(violation)
        violations = _wrong_fields([*request.by])
        page_size = parse_page_size(request, violations)
        matching = parse_filter(request, violations)
        fingerprint = fingerprint_of(request)
        after = parse_token(request.page_token, fingerprint, violations)
        if violations:
            raise InvalidRequestError(*violations)
        start = id_of(after or 0) + request.skip
        return cls(matching, tuple(request.by), page_size, start, fingerprint)

    def token(self, stop: int) -> str:
        """Return the token of the page that follows the first ``stop`` groups."""
        return token_of(self.fingerprint, stop)


def _wrong_fields(by: Sequence[CountBy]) -> list[Violation]:
    """Return the violations of what to group by."""
    if not 1 <= len(by) <= _MOST_FIELDS:
        return [Violation("by", f"must have 1 to {_MOST_FIELDS} values, got {len(by)}")]
    violations = []
    for index, value in enumerate(by):
        if value not in _ALLOWED:
            text = f"must be a CountBy that is not UNSPECIFIED, got {value}"
            violations.append(Violation(f"by[{index}]", text))
        elif value in by[:index]:
            text = f"must differ from by[{by.index(value)}], got {CountBy.Name(value)} twice"
            violations.append(Violation(f"by[{index}]", text))
    return violations
