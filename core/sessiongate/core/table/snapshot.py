"""Rows as they were at a moment, while the table goes on changing."""

from __future__ import annotations

from collections.abc import Sequence

from sessiongate.core.place import id_of
from sessiongate.core.table.changelog import ChangeLog
from sessiongate.core.table.indexes import Indexes
from sessiongate.core.table.row import Row
from sessiongate.runtime.turns import Steps


class TableSnapshot:
    """The rows as they were when this was made, for as long as the log has all changes since."""

    def __init__(self, rows: Indexes, log: ChangeLog) -> None:
        self._rows = rows
        self._log = log
        self._seen = log.revision
        self._changed: dict[int, Row] = {}  # since, by id; as they were

    def rows(self, places: Sequence[int]) -> Steps[list[Row] | None]:
        """Return the rows at these places of then; None if the log lacks a change since."""
        while self._seen != self._log.revision:
            if self._seen < self._log.oldest:
                return None
            for step in self._log.between(self._seen, self._log.revision):
                for old in step.old:
                    if old is not None:
                        self._changed.setdefault(old.id, old)
                self._seen = step.last
                yield
        changed, row_of = self._changed, self._rows.row
        if not changed:
            return self._rows.rows(places)
        idents = map(id_of, places)
        return [row for one in idents if (row := changed.get(one) or row_of(one)) is not None]
