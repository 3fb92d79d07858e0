"""Statements that make the tables of a ledger, and number its shards."""

from __future__ import annotations

from typing import Any

from sessiongate.core.ledger.postgresql.schema import MAKING, TABLES_FILE
from tests.model.meanings import ENGINE, ONLY, means, require_version
from tests.model.server import Server, Session
from tests.model.tables import Transaction


@means("SELECT to_regclass(%s) FROM pg_namespace LIMIT 1")
def _is_there(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [("version" if tx.row("version", ONLY) else None,)]


@means("SELECT number, oldest FROM version")
def _version(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    row = tx.row("version", ONLY) or {}
    return [(row["number"], row["oldest"])]


@means("SELECT pg_advisory_xact_lock(%s, %s)")
async def _lock_for_now(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    assert values == MAKING
    await server.lock(session, values)
    return [(None,)]


@means("SET LOCAL", "CREATE ", "ALTER TABLE ", "DELETE FROM first_reads", prefix=True)
def _nothing(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return None


@means("SELECT to_regnamespace(%s)")
def _has_schema(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [("sessiongate",)]


@means("INSERT INTO version VALUES (1, 1)")
def _make_version(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    tx.put("version", ONLY, {"number": 1, "oldest": 1})


@means("UPDATE version SET number = %s")
def _set_version(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    tx.put("version", ONLY, {"number": values[0], "oldest": 1})


@means(f"INSERT INTO engine VALUES (%s, %s, %s, {TABLES_FILE}, 1, %s)")
def _make_engine(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    names = ("system", "timeline", "started", "lock_class")
    tx.put(ENGINE, ONLY, dict(zip(names, values, strict=True)) | {"tables": server.tables_file})


@means("INSERT INTO counters VALUES (%s, %s)")
def _make_counter(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    tx.put("counters", values[0], {"value": values[1]})


@means(
    "INSERT INTO shards (number, name, claim, writes, past_rows) VALUES (%s, %s, 0, 0, 0)",
    "INSERT INTO shards (number, name, claim, writes, past_rows)"
    " SELECT max(number) + 1, %s, 0, 0, 0 FROM shards ON CONFLICT (name) DO NOTHING",
)
def _make_shard(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    *_, name = values
    shards = dict(tx.rows("shards"))
    if all(row["name"] != name for row in shards.values()):
        number = len(shards) + 1
        tx.put(
            "shards", number, {"name": name, "claim": 0, "writes": 0, "past_rows": 0, "pid": None}
        )


@means("SELECT number FROM shards WHERE name = %s")
def _shard_number(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return [(number,) for number, row in tx.rows("shards") if row["name"] == values[0]]
