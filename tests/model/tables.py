"""The tables of a simulated server, and what a transaction changes in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Tables: TypeAlias = dict[str, dict[Hashable, Row]]


class Transaction:
    """The changes so far, and the rows that are locked."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.changed: dict[tuple[str, Hashable], Row | None] = {}
        self.claim: tuple[int, int] | None = None  # the shard, and the claim that was checked
        self.reserved_starts: list[int] = []  # numbers that are given
        self.told_starts: list[int] = []  # as which cores become, or still are, active

    def row(self, table: str, key: Hashable) -> Row | None:
        """Return a row as this transaction sees it."""
        if (table, key) in self.changed:
            return self.changed[table, key]
        return self._tables[table].get(key)

    def rows(self, table: str) -> Iterator[tuple[Hashable, Row]]:
        """Yield all rows of a table."""
        if not self.changed:
            yield from [*self._tables[table].items()]
            return
        mine = (key for name, key in self.changed if name == table)
        for key in dict.fromkeys([*self._tables[table], *mine]):
            row = self.row(table, key)
            if row is not None:
                yield key, row

    def put(self, table: str, key: Hashable, row: Row | None) -> None:
        """Write a row; None deletes it."""
        self.changed[table, key] = row


def copied(tables: Tables) -> Tables:
    """Return a copy; rows are never changed in place."""
    return defaultdict(dict, {name: dict(rows) for name, rows in tables.items()})


def apply(tables: Tables, changed: Mapping[tuple[str, Hashable], Row | None]) -> None:
    """Make changes to tables."""
    for (table, key), row in changed.items():
        if row is not None:
            tables[table][key] = row
        else:
            with suppress(KeyError):
                del tables[table][key]
