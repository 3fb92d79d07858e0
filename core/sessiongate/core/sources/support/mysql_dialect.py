"""The SQL in which MariaDB and the versions of MySQL differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES


class LockTables(NamedTuple):
    """The tables in which a server states which transactions wait for which, and for what locks."""

    pairs: str
    requesting: str  # columns of ``pairs``: ids of transactions
    blocking: str
    locks: str | None  # None: reading the names of locks would cost too much

    def pairs_query(self, most: int, blockers: Iterable[int] | None = None) -> str:
        """Return the query for ``most`` pairs of waiting and blocking transactions.

        ``blockers`` are the only blockers to select, by the ids of their transactions.
        """
        query = f"SELECT {self.requesting}, {self.blocking} FROM {self.pairs}"  # noqa: S608 - all constants
        if blockers is not None:
            query += f" WHERE {self.blocking} IN ({','.join(map(str, blockers))})"
        return f"{query} LIMIT {most}"


_INNODB_TABLES = LockTables(
    "information_schema.INNODB_LOCK_WAITS",
    "requesting_trx_id",
    "blocking_trx_id",
    "information_schema.INNODB_LOCKS",
)
_ENGINE_TABLES = LockTables(
    "performance_schema.data_lock_waits",
    "REQUESTING_ENGINE_TRANSACTION_ID",
    "BLOCKING_ENGINE_TRANSACTION_ID",
    None,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The SQL that queries a server for its start, its process list and its locks.

    Each part takes as few locks as possible on that server.
    """

    start: str  # selects one row with one number: seconds since the epoch
    table: str
    info: str  # in bytes, as close as possible to what the client sent
    query_id: str
    idle: str  # in milliseconds
    lock_tables: LockTables

    @classmethod
    def of(cls, version: str, performance_schema: bool) -> Dialect:
        """Return a server's dialect, by its VERSION() and its @@performance_schema."""
        if "mariadb" in version.lower():
            # This tries each thread's lock without waiting; the performance schema has no port.
            return cls(
                start=_START.format("information_schema"),
                table="information_schema.PROCESSLIST",
                info="INFO_BINARY",  # INFO has no character of more than three bytes
                query_id="QUERY_ID",
                idle="CAST(TIME_MS AS SIGNED)",
                lock_tables=_INNODB_TABLES,
            )
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
        # This one takes no mutex that new connections wait for.
        free = performance_schema and numbers >= (8, 0, 22)
        return cls(
            start=_START.format("performance_schema"),
            table=("performance_schema.processlist" if free else "information_schema.PROCESSLIST"),
            info="CAST(INFO AS BINARY)",
            query_id="NULL",
            idle="TIME * 1000",
            lock_tables=_INNODB_TABLES if numbers < (8,) else _ENGINE_TABLES,
        )

    def query(self, *, statements: bool, include_self: bool, most: int) -> str:
        """Return the query for the process list, for at most ``most`` `ThreadRow`s."""
        # One byte more than is kept, to detect truncation.
        info = f"LEFT({self.info}, {MAX_STATEMENT_BYTES + 1})" if statements else "NULL"
        where = "" if include_self else " WHERE ID <> CONNECTION_ID()"
        return f"{self._rows(info)}{where} LIMIT {most}"

    def thread(self, ident: int) -> str:
        """Return the query for the `ThreadRow` of one thread, without its statement."""
        return f"{self._rows('NULL')} WHERE ID = {ident}"

    def _rows(self, info: str) -> str:
        columns = f"ID, USER, HOST, DB, COMMAND, {info}, {_WAIT}, {self.query_id}, {self.idle}"
        return f"SELECT {columns} FROM {self.table}"  # noqa: S608 - all constants


# Uptime is the server's clock now minus its clock when it started, and a statement
# reads the clock only once: the difference is exact, and does not change when the
# clock is set. If the clock is before the start, uptime is 2^64 minus the seconds
# until then, which as a signed number is exact too.
_START = (
    "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(VARIABLE_VALUE AS SIGNED)"
    " FROM {}.global_status WHERE VARIABLE_NAME = 'Uptime'"
)


# Other states say what an active thread does, and change often.
_WAIT = "IF(CAST(STATE AS BINARY) LIKE 'Waiting %' OR STATE = 'User lock', STATE, NULL)"
