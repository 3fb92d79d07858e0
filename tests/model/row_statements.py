"""Statements that read and write rows of sessions."""

from __future__ import annotations

from typing import Any

import psycopg

from sessiongate.core.ledger.past import OPEN_SESSION, PAST
from sessiongate.core.ledger.postgresql import open_sessions, ownership, rows
from sessiongate.core.ledger.postgresql.schema import DEFAULT_NUMBER
from tests.model.meanings import means, parameterized, require_version, to_change
from tests.model.server import Server, Session
from tests.model.tables import Row, Transaction


@means(
    "SELECT coalesce(s.name, p.name), incarnation, place"
    " FROM sources s FULL JOIN places p ON p.name = s.name"
)
def _known(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return []


@means("SELECT coalesce(max(noted), 0) FROM shards")
def _noted(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return [(0,)]


@means(ownership._FREE, ownership._TAKE)
def _own(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    if len(values) == 3:  # the second statement
        for name in values[1]:
            tx.put("shard_sources", name, {"shard": values[0]})


@means(ownership._OF_OTHERS)
def _of_others(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return []  # in the model, each source is configured in one shard


@means(open_sessions._HELD)
def _open(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)

    def shard(source: str) -> int:
        return int((tx.row("shard_sources", source) or {"shard": DEFAULT_NUMBER})["shard"])

    return [
        (row["source"], row["key"], ident, row["connect_time"])
        for ident, row in tx.rows("open_sessions")
        if shard(row["source"]) == values[0]
    ]


def _parsed(lines: bytes, columns: Any) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, line.split("\t"), strict=True)) for line in lines.decode().splitlines()
    ]


async def _insert(server: Server, session: Session, tx: Transaction, row: Row) -> bool:
    """Open a session; return False if there is one with its id."""
    ident, named = row["id"], (row["source"], row["key"])
    await server.lock(session, ("open_sessions", ident))
    await server.lock(session, ("open_by_key", named))
    if tx.row("open_sessions", ident) is not None:
        return False
    for _, other in tx.rows("open_sessions"):
        if (other["source"], other["key"]) == named:
            raise psycopg.errors.UniqueViolation("duplicate key in open_by_key")
    tx.put("open_sessions", ident, row)
    return True


@means(rows._COPY_OPEN)
async def _copy_open(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    for row in _parsed(values[0], OPEN_SESSION):
        row |= {"id": int(row["id"]), "connect_time": int(row["connect_time"])}
        if not await _insert(server, session, tx, row):
            raise psycopg.errors.UniqueViolation("duplicate id")


@means(rows._OPEN_AGAIN)
async def _open_again(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    await _insert(server, session, tx, dict(zip(OPEN_SESSION, values, strict=True)))


@means(rows._COPY_PAST)
def _copy_past(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    for row in _parsed(values[0], PAST):
        tx.put("past_sessions", (int(row["end_time"]), int(row["id"])), row)


@means(rows._DESCRIPTIONS)
def _descriptions(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return []


def _numbers(array: str) -> list[int]:
    inside = array.strip("{}")
    return [int(each) for each in inside.split(",")] if inside else []


@means(
    parameterized(rows._DELETE.format("{}"))[0],
    "DELETE FROM open_sessions WHERE id = ANY(%s::bigint[])",
)
async def _close(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    gone = []
    for ident in _numbers(values[0]):
        row = await to_change(server, session, tx, "open_sessions", ident)
        if row is not None:
            await server.lock(session, ("open_by_key", (row["source"], row["key"])))
            tx.put("open_sessions", ident, None)
            gone.append((ident, row["key"]))
    return gone


@means(
    "DELETE FROM past_sessions AS p USING unnest(%s::bigint[], %s::bigint[]) AS u (e, i)"
    " WHERE p.end_time = u.e AND p.id = u.i AND p.end_time BETWEEN %s AND %s"
)
def _open_past(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    taken = 0
    for key in zip(*map(_numbers, values[:2]), strict=True):
        if tx.row("past_sessions", key) is not None:
            tx.put("past_sessions", key, None)
            taken += 1
    return taken


@means("UPDATE shards SET past_rows = past_rows - %s WHERE number = %s")
async def _fewer(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    taken, number = values
    row = await to_change(server, session, tx, "shards", number)
    if row is not None:
        tx.put("shards", number, row | {"past_rows": row["past_rows"] - taken})
