"""Locks of the server's that say who has something: a shard's pen, a core's name, the upkeep.

They are advisory locks of the ledger's own class, each held by a connection for as long as that
lasts.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

from sessiongate.core.ledger.postgresql.connection import (
    Backend,
    LedgerAwayError,
    LedgerConnection,
)
from sessiongate.runtime.elapsed import elapsed

# Numbers of locks: those of shards are the shards'.
UPKEEP = 0x53474D
NAMES = 1 << 24  # plus a core's number
# The holder of each lock; each row has a process that can be seen.
HELD_LOCKS = """
SELECT l.objid::bigint AS lock, a.pid, a.backend_start, a.application_name, a.usename
FROM pg_locks l JOIN engine e ON l.classid::bigint = e.lock_class
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_FREEING = 5.0  # seconds that a backend may take to end
_LOOK = 0.05  # seconds


class LockHolder(NamedTuple):
    """The connection that has a lock, as the server shows it."""

    backend: Backend
    application: str
    user: str

    def __str__(self) -> str:
        name = self.application or "a program"
        return f"{name} (user {self.user}, backend {self.backend.pid})"


def ledger_identity(connection: LedgerConnection) -> str:
    """Return the name of a ledger: its locks' class, which is drawn when its tables are made."""
    ((number,),) = connection.execute("SELECT lock_class FROM engine")
    return f"postgresql-{number:08x}"


def try_lock(connection: LedgerConnection, number: int) -> bool:
    """Take a lock for a connection if nobody has it; return whether that was possible."""
    found = connection.execute(
        "SELECT pg_try_advisory_lock(lock_class, %s) FROM engine", number
    ).fetchone()
    return found == (True,)


def unlock(connection: LedgerConnection, number: int) -> None:
    """Give a lock back."""
    connection.execute("SELECT pg_advisory_unlock(lock_class, %s) FROM engine", number)


def holder_of(connection: LedgerConnection, number: int) -> LockHolder | None:
    """Return who has a lock."""
    found = connection.execute(f"SELECT * FROM ({HELD_LOCKS}) h WHERE lock = %s", number).fetchone()  # noqa: S608
    if found is None:
        return None
    _, pid, begun, application, user = found
    return LockHolder(Backend(pid, begun), application, user)


def obtain_lock(
    connection: LedgerConnection, number: int, mine: Collection[Backend]
) -> LockHolder | None:
    """Take a lock for a connection; return who has it if that is not possible.

    A backend that has it and is in ``mine``, the lost connections of this program, is ended.
    Raises `LedgerAwayError` if that takes long.
    """
    end = elapsed() + _FREEING
    while not try_lock(connection, number):
        holder = holder_of(connection, number)
        if holder is None and elapsed() < end:
            continue  # it has just ended
        if holder is None:
            raise LedgerAwayError(str(connection.error("is locked by no process")))
        if holder.backend not in mine:
            return holder
        if elapsed() > end:
            lost = holder.backend.pid
            raise LedgerAwayError(
                str(connection.error(f"is still in use by the lost connection {lost}"))
            )
        connection.execute("SELECT pg_terminate_backend(%s)", holder.backend.pid)
        time.sleep(_LOOK)
    return None


def end_holder(connection: LedgerConnection, number: int, backend: Backend) -> None:
    """End a backend if it is the one that has a lock: in one statement, so that no other is hit."""
    connection.execute(
        f"SELECT pg_terminate_backend(pid) FROM ({HELD_LOCKS}) h"  # noqa: S608 - our own text
        " WHERE lock = %s AND (pid, backend_start) = (%s, %s)",
        *(number, *backend),
    )
