"""Short lists as they were last encoded: most callers ask for the same few pages."""

from __future__ import annotations

from sessiongate.core.grpc.in_flight import SMALL_LIST
from sessiongate.core.table.table import SessionTable

_MOST = 64  # lists, of up to `SMALL_LIST` bytes each


class RecentLists:
    """Lists by their encoded requests, for as long as the table does not change."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._revision = table.revision
        self._known: dict[bytes, bytes] = {}

    def get(self, request: bytes) -> bytes | None:
        """Return the list that was put for a request, if it is still the answer."""
        return self._known.get(request) if self._revision == self._table.revision else None

    def put(self, request: bytes, answer: bytes) -> None:
        """Keep a list of the table as it is now, unless it is large."""
        if len(answer) > SMALL_LIST:
            return
        if self._revision != self._table.revision or len(self._known) >= _MOST:
            self._revision = self._table.revision
            self._known.clear()
        self._known[request] = answer
