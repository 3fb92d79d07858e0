"""Statements by which programs join the fleet, beat, and look at it."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from sessiongate.core.fleet import directory, member
from sessiongate.core.ledger.postgresql.locks import NAMES
from tests.model.meanings import (
    counter,
    holder_of_lock,
    means,
    reads,
    require_version,
    set_core,
    to_change,
)
from tests.model.server import Server, Session
from tests.model.tables import Transaction


@means("SELECT current_setting('synchronous_commit')")
def _setting(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [("on",)]


@means("SET synchronous_commit = off", "SELECT set_config('synchronous_commit', %s, false)")
def _set(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    session.is_durable = bool(values) and values[0] != "off"
    return [(None,)]


@means(member._ADD)
def _add(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    name, kind = values
    cores = dict(tx.rows("cores"))
    if name not in cores:
        number = 1 + max((row["number"] for row in cores.values()), default=0)
        row = {"number": number, "kind": kind, "beat": 0, "shard": None, "started": session.begun}
        for column in ("address", "pid", "begun", "pen_pid", "pen_start"):
            row[column] = None
        for column in ("observed", "unreadable", "clock_off"):
            row[column] = None
        tx.put("cores", name, row)


@means(member._DESCRIBE)
async def _describe(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    kind, shard, address, _host, _version, started, pid, begun, _places, *told, name = values
    stated = {"kind": kind, "shard": shard, "address": address, "started": started}
    stated |= {"pid": pid, "begun": begun, "observed": told[0], "unreadable": told[1]}
    return await set_core(server, session, tx, name, **stated)


@means(member._TELL)
async def _tell(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    observed, unreadable, name = values
    return await set_core(server, session, tx, name, observed=observed, unreadable=unreadable)


@means("UPDATE cores SET address = %s WHERE name = %s")
async def _move(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return await set_core(server, session, tx, values[1], address=values[0])


@means(member._BEAT)
async def _beat(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    off, name, *backend = values
    row = await to_change(server, session, tx, "cores", name)
    if row is None or [row["pid"], row["begun"]] != backend:
        return 0
    tx.put("cores", name, row | {"beat": row["beat"] + 1, "clock_off": off})
    return 1


@means("SELECT number, beat, address, host FROM cores WHERE name = %s")
def _named(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    row = tx.row("cores", values[0])
    return [(row["number"], row["beat"], row["address"], "host")] if row else []


@means(member._SOURCES)
def _sources(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    return []


@reads(directory._SHARDS)
def _shards(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    found: list[Any] = []
    cores = dict(tx.rows("cores"))
    for number, shard in tx.rows("shards"):
        holder = holder_of_lock(server, tx, int(str(number)))
        active, former = None, tx.row("actives", number)
        claimed = (shard["claim"], shard.get("pid"), shard.get("begun"))
        if holder and former and (former["claim"], holder.pid, holder.begun) == claimed:
            active = former
        of = {} if active is None else active
        pid, begun = (None, None) if holder is None else (holder.pid, holder.begun)
        beats = [
            row["beat"]
            for row in cores.values()
            if pid is not None and (row["pen_pid"], row["pen_start"]) == (pid, begun)
        ]
        address = cores.get(of.get("core"), {}).get("address")
        for beat in beats or [None]:
            found.append(
                (
                    *(shard["name"], number, [], pid, begun),
                    None if holder is None else holder.application,
                    *(of.get("core"), of.get("claim"), of.get("instance"), None, address, beat),
                    None if former is None else former["core"],
                )
            )
    return found


@reads(directory._MEMBERS)
def _members(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    require_version(tx)
    shards = {number: row["name"] for number, row in tx.rows("shards")}
    return [
        (
            *(name, row["kind"], shards.get(row["shard"]), row["address"], "host", "", None),
            holder_of_lock(server, tx, row["number"] + NAMES) is not None,
            *(row["beat"], row["observed"], row["unreadable"], row["clock_off"]),
        )
        for name, row in sorted(tx.rows("cores"), key=itemgetter(0))
    ]


@reads(directory._COUNTER)
def _last_id(server: Server, session: Session, tx: Transaction, values: Any) -> Any:
    return [(counter(tx, "id"), server.machine.time())]
