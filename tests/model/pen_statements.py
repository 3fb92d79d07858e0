"""Statements of the pen: locks, claims, counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sessiongate.core.ledger.postgresql import ids, pen, starts
from sessiongate.core.ledger.postgresql.locks import HELD_LOCKS
from sessiongate.core.ledger.postgresql.schema import TABLES_FILE
from tests.model.meanings import (
    ENGINE,
    ONLY,
    counter,
    engine_row,
    holder_of_lock,
    lock_of,
    means,
    parameterized,
    require_version,
    set_core,
    to_change,
)
from tests.model.server import Server, Session
from tests.model.tables import Transaction


@means("SELECT FROM counters WHERE name = %s")
def _is_copied(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return 0


@means("SELECT lock_class FROM engine")
async def _identity(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [(engine_row(tx)["lock_class"],)]


@means("SELECT pg_try_advisory_lock(lock_class, %s) FROM engine")
def _try(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [(server.try_lock(session, lock_of(tx, values[0])),)]


@means("SELECT pg_advisory_unlock(lock_class, %s) FROM engine")
def _unlock(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    server.release(session, [lock_of(tx, values[0])])


@means(f"SELECT * FROM ({HELD_LOCKS}) h WHERE lock = %s")
def _held(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    found = holder_of_lock(server, tx, values[0])
    return [(values[0], found.pid, found.begun, found.application, "u")] if found else []


@means("SELECT pg_terminate_backend(%s)")
def _terminate(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    for each in [*server.sessions]:
        if each.pid == values[0]:
            server.terminate(each)
    return [(True,)]


@means(
    f"SELECT pg_terminate_backend(pid) FROM ({HELD_LOCKS}) h"
    " WHERE lock = %s AND (pid, backend_start) = (%s, %s)"
)
def _end_holder(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    found = holder_of_lock(server, tx, values[0])
    if found is not None and (found.pid, found.begun) == values[1:]:
        server.terminate(found)


@means(
    f"SELECT system_identifier, timeline, started, tables = {TABLES_FILE} FROM engine FOR UPDATE"
)
async def _meet(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    await server.lock(session, (ENGINE, ONLY))
    row = engine_row(tx)
    is_same = row["tables"] == server.tables_file
    return [(row["system"], row["timeline"], row["started"], is_same)]


@means(
    f"UPDATE engine SET system_identifier = %s, timeline = %s, started = %s,"
    f" tables = {TABLES_FILE}, generation = generation + 1"
)
async def _is_met(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    row = await to_change(server, session, tx, ENGINE, ONLY) or {}
    system, timeline, started = values
    now = {"system": system, "timeline": timeline, "started": started}
    tx.put(ENGINE, ONLY, row | now | {"tables": server.tables_file})


@means(pen._CLAIM)
async def _claim(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    pid, begun, number = values
    row = await to_change(server, session, tx, "shards", number)
    if row is None:
        return []
    row |= {"claim": row["claim"] + 1, "pid": pid, "begun": begun}
    tx.put("shards", number, row)
    tx.claim = number, row["claim"]
    return [(row["claim"], row["writes"])]


@means(parameterized(pen._CHECK % (0, 0, 0, 0))[0])
async def _check(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    _, past, number, claim, writes = values
    row = await to_change(server, session, tx, "shards", number)
    if row is None or (row["claim"], row["writes"], row["pid"]) != (claim, writes, session.pid):
        return 0
    row |= {"writes": writes + 1, "past_rows": row["past_rows"] + past}
    tx.put("shards", number, row)
    tx.claim = number, claim
    return 1


@means(pen._STATE)
async def _state(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return await set_core(server, session, tx, values[2], pen_pid=values[0], pen_start=values[1])


@means(pen._TELL)
async def _tell_active(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    await server.lock(session, ("actives", values[0]))
    shard, claim, core, instance = values
    tx.put("actives", shard, {"claim": claim, "core": core, "instance": instance})
    tx.told_starts.append(instance)


@means(pen._FORMER)
async def _former(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    row = await to_change(server, session, tx, "shards", values[0]) or {}
    return [(row.get("pid"), row.get("begun"))]


def _has_others(tx: Transaction, number: int, name: str) -> bool:
    shards, cores = tx.rows("shards"), tx.rows("cores")
    return any(key != number and row["claim"] for key, row in shards) or any(
        key != name and row["kind"] == "core" for key, row in cores
    )


@means(ids.COUNTERS)
def _counters(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [(counter(tx, "id"), counter(tx, "instance"), _has_others(tx, *values))]


@means("SELECT name, value FROM counters")
def _all_counters(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return [(name, row["value"]) for name, row in tx.rows("counters")]


async def count_up(
    server: Server, session: Session, tx: Transaction, name: str, value: Callable[[int], int]
) -> Any:
    row = await to_change(server, session, tx, "counters", name) or {"value": 0}
    row["value"] = value(row["value"])
    tx.put("counters", name, row)
    return [(row["value"],)]


@means("UPDATE counters SET value = greatest(value, %s) WHERE name = 'instance'")
async def _raise(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return await count_up(server, session, tx, "instance", lambda now: max(now, values[0]))


@means(starts._TAKE)
async def _take(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    *known, lost, least = values
    ((*last, is_same),) = await _meet(server, session, tx, ())
    lost = 0 if is_same and last == known else lost
    ((number,),) = await count_up(
        server, session, tx, "instance", lambda now: max(now + lost, least) + 1
    )
    tx.reserved_starts.append(number)
    return [(number,)]


@means(starts._NUMBERS)
def _numbers(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    shards = {number for number, row in tx.rows("shards") if row["name"] == values[0]}
    actives = [row["instance"] for number, row in tx.rows("actives") if number in shards]
    return [(counter(tx, "instance"), max(actives, default=0))]


@means(ids.BLOCK)
async def _block(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    size, *own = values
    ((last,),) = await count_up(server, session, tx, "id", lambda now: now + size)
    return [(last, _has_others(tx, *own))]


@means("UPDATE counters SET value = %s WHERE name = 'id' AND value = %s")
async def _give_back(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    last, expected = values
    require_version(tx)
    return await count_up(server, session, tx, "id", lambda now: last if now == expected else now)


@means(ids.JUMP)
async def _jump(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    clock = int(server.machine.time() * 1_000_000)
    return await count_up(server, session, tx, "id", lambda now: max(now, *values, clock))
