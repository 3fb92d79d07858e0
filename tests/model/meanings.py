"""Notes what the statements that cores send mean to the simulated server."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import psycopg

from tests.model.server import Server, Session, Statement
from tests.model.tables import Row, Transaction

ENGINE = "engine"
ONLY = "only"  # the key of the row of a table that has one
_found: dict[str, Statement] = {}
_prefixes: dict[str, Statement] = {}
_reads: dict[str, Statement] = {}


@cache
def normal(text: str) -> str:
    """Return a statement without what its layout is made of."""
    return " ".join(text.split())


_NUMBERS = re.compile(r"'(\{[\d,]*\})'|\b(\d+)\b")


def parameterized(text: str) -> tuple[str, tuple[Any, ...]]:
    """Return a statement with its numbers and arrays as parameters, and these."""
    if not text.lstrip().startswith(("UPDATE ", "DELETE ")):
        return normal(text), ()
    found = [array or int(number) for array, number in _NUMBERS.findall(text)]
    return normal(_NUMBERS.sub("%s", text)), tuple(found)


def means(*texts: str, prefix: bool = False) -> Callable[[Statement], Statement]:
    """Note that a function does what some texts, or all with these beginnings, ask for."""

    def note(statement: Statement) -> Statement:
        for text in texts:
            (_prefixes if prefix else _found)[normal(text)] = statement
        return statement

    return note


def reads(text: str) -> Callable[[Statement], Statement]:
    """Note that a function returns the rows that a text asks for, without waiting."""

    def note(statement: Statement) -> Statement:
        _reads[normal(text)] = statement
        return means(text)(statement)

    return note


def reading(text: str) -> Statement | None:
    """Return what a statement does that only reads, and is known to."""
    return _reads.get(text)


def meaning(text: str) -> Statement:
    """Return what a statement does; each that a core sends must be known here."""
    text = normal(text)
    if (found := _found.get(text)) is not None:
        return found
    for prefix, statement in _prefixes.items():
        if text.startswith(prefix):
            _found[text] = statement
            return statement
    raise AssertionError(f"the model does not know what this means: {text}")


async def to_change(
    server: Server, session: Session, transaction: Transaction, table: str, key: Hashable
) -> dict[str, Any] | None:
    """Lock a row, and return what to change of it; None if there is none."""
    await server.lock(session, (table, key))
    row = transaction.row(table, key)
    return None if row is None else dict(row)


def require_version(transaction: Transaction) -> None:
    if transaction.row("version", ONLY) is None:
        raise psycopg.errors.UndefinedTable("relation does not exist")


def engine_row(transaction: Transaction) -> Row:
    require_version(transaction)
    row = transaction.row(ENGINE, ONLY)
    assert row is not None
    return row


def lock_of(transaction: Transaction, number: int) -> Hashable:
    return (engine_row(transaction)["lock_class"], number)


def holder_of_lock(server: Server, transaction: Transaction, number: int) -> Session | None:
    return server.holder(lock_of(transaction, number))


def counter(tx: Transaction, name: str) -> int:
    require_version(tx)
    return int((tx.row("counters", name) or {"value": 0})["value"])


async def set_core(
    server: Server, session: Session, tx: Transaction, name: str, **values: Any
) -> Any:
    require_version(tx)
    row = await to_change(server, session, tx, "cores", name)
    if row is None:
        return 0
    tx.put("cores", name, row | values)
    return 1
