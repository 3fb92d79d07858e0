"""Forgets a core or a front that has ended."""

from __future__ import annotations

from contextlib import closing

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.locks import NAMES, obtain_lock
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import require_tables
from sessiongate.runtime.suggestion import did_you_mean


def forget_member(url: str, name: str) -> None:
    """Remove a core or front from those that a ledger knows.

    Raises `LedgerError`, also if it runs, as its lock shows.
    """
    looking = LedgerConnection(LedgerPlace.parse(url), "sessiongate fleet forget")
    with closing(looking) as connection, connection.naming_errors():
        require_tables(connection)
        question = "SELECT name, number FROM cores ORDER BY name"
        numbers: dict[str, int] = dict(connection.execute(question).fetchall())
        if name not in numbers:
            hint = did_you_mean(name, numbers) or (
                f"; known: {', '.join(numbers)}" if numbers else "; no core has joined the fleet"
            )
            raise LedgerError(f"there is no core or front {name!r}{hint}")
        holder = obtain_lock(connection, NAMES + numbers[name], set())
        if holder is not None:
            raise LedgerError(f"{name} runs: {holder}; stop it first")
        connection.execute("DELETE FROM cores WHERE name = %s", name)
