"""The rows of the group ``history`` for a ledger in PostgreSQL, in a server that is started here.

``python -m bench.history_postgresql ROWS`` prints the figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from urllib.parse import quote

import psycopg

from bench.history import longest, page_of_moment, replacing, write_until
from bench.measures import Found, Measure, Sizes
from bench.programs import BIN, ROOT, BenchError
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.partitions import HOUR

RECORD = Measure(
    "in PostgreSQL: sessions replaced at `Ledger.record`, batches of 500, each committed and"
    " synced, the oldest of 10,000",
    *("/s", 50_000),
    at_most=False,
)
_OF = "in PostgreSQL, {hour:,} ended in an hour, 720 hours"
MOMENT = Measure(f"{_OF}: who was connected 20 hours ago, warm, first page of 100", "ms", 200)
ONE = Measure(f"{_OF}: one by its id, warm, longest", "ms", 100)
WAIT = Measure(
    f"{_OF}: that hour dropped, and the next made, beside an export that is open: longest wait of"
    " a write",
    *("ms", 100),
)
ALONE = Measure(f"{_OF}: longest wait of a write, likewise, while nothing is done", "ms")

_HOURS = 720
_OTHERS = 2_000  # sessions of each other hour
_TAKES = 3600.0  # seconds
_FILL = """
INSERT INTO sessiongate.past_sessions (end_time, id, source, connect_time, duration_class, state,
    service, "user", remote, port, database, application, native_id)
SELECT ended, %(id)s + i, 's', ended - lasted,
    CASE WHEN lasted >> 30 = 0 THEN 0 ELSE floor(log(2, (lasted >> 30)::numeric))::int + 1 END,
    5, 'orders-rw', 'user' || i %% 100, '10.1.' || i %% 250 || '.' || i %% 249,
    1024 + i %% 60000, 'orders', 'orders-service', i::text
FROM (SELECT i, %(hour)s + i * (3600000000000 / %(rows)s) AS ended,
    power(10, 8 + random() * 7)::bigint AS lasted FROM generate_series(0, %(rows)s - 1) AS i) AS x
"""


def in_postgresql(sizes: Sizes) -> Found:
    """Measure a ledger in PostgreSQL."""
    command = [str(BIN / "python"), "-m", __name__, str(sizes.hour)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_TAKES, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:])}: {done.stderr[-500:]}")
    found: Mapping[str, float] = json.loads(done.stdout)
    for measure, name in (
        *((RECORD, "record"), (MOMENT, "moment"), (ONE, "one")),
        *((WAIT, "wait"), (ALONE, "alone")),
    ):
        yield measure, found[name]


async def _record(url: str) -> float:
    now = time.time_ns()
    ledger = await PostgresqlLedger.open(url, now=lambda: now)
    try:
        return await replacing(ledger, now, lambda opened: None)
    finally:
        await ledger.close()


async def _past(url: str, client: psycopg.Connection, rows: int) -> Mapping[str, float]:
    now = time.time_ns()
    clock = [now - _HOURS * HOUR]
    for clock[0] in range(now - _HOURS * HOUR, now + 1, 48 * HOUR):
        ledger = await _open(url, clock)
        await ledger.trim()
        await ledger.close()
    clock[0] = now
    asked = (now - 20 * HOUR) // HOUR * HOUR
    for number, hour in enumerate(
        range(now // HOUR * HOUR - _HOURS * HOUR, now // HOUR * HOUR, HOUR)
    ):
        many = rows if hour == asked else _OTHERS
        client.execute(_FILL, {"id": (number + 1) * 10**7, "hour": hour, "rows": many})
    client.execute("ANALYZE sessiongate.past_sessions")
    client.execute("CHECKPOINT")
    ledger = await _open(url, clock)
    first = (_HOURS - 19) * 10**7
    for _ in range(3):  # at first the server plans, and reads from the disk
        found = {
            "moment": 1000 * await longest(lambda index: page_of_moment(ledger, now, index)),
            "one": 1000 * await longest(lambda index: ledger.one(first + index * rows // 20)),
        }
    resting = asyncio.create_task(asyncio.sleep(20))
    found["alone"] = 1000 * await write_until(ledger, resting)
    await ledger.close()
    kept = HistoryPolicy(age=asked_age(now, asked), most_bytes=1 << 40)
    ledger = await _open(url, clock, kept)
    dropping = asyncio.create_task(_drop(ledger, client, clock))
    found["wait"] = 1000 * await write_until(ledger, dropping)
    await ledger.close()
    return found


def asked_age(now: int, asked: int) -> int:
    """Return an age by which the hour that was asked about is just too old."""
    return max(now - asked - HOUR, 24 * HOUR)


async def _drop(ledger: PostgresqlLedger, client: psycopg.Connection, clock: list[int]) -> None:
    """Let hours pass and old ones go, first beside an export that is open."""
    read = "SELECT count(*) FROM sessiongate.past_sessions"
    for question in ("BEGIN ISOLATION LEVEL REPEATABLE READ", read):
        await asyncio.to_thread(client.execute, question)
    for _ in range(5):
        clock[0] += HOUR
        await ledger.trim()
    await asyncio.to_thread(client.execute, "COMMIT")
    while await ledger.trim():
        pass


async def _open(
    url: str, clock: list[int], policy: HistoryPolicy | None = None
) -> PostgresqlLedger:
    policy = policy or HistoryPolicy(most_bytes=1 << 40)
    return await PostgresqlLedger.open(url, policy=policy, now=lambda: clock[0])


def main(rows: str) -> None:
    """Measure, and print the figures."""
    from tests.postgres import PASSWORD, SUPERUSER, running_postgres

    settings = {
        **{"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "4GB"},
        "wal_level": "replica",  # as servers have it unless they replicate single tables
    }
    with running_postgres(PASSWORD, **settings) as server:
        server.execute("CREATE DATABASE records", "CREATE DATABASE past")
        place = f"postgresql://{SUPERUSER}:{quote(PASSWORD)}@127.0.0.1:{server.port}"
        record = asyncio.run(_record(f"{place}/records"))
        with server.connect(dbname="past") as client:
            found = asyncio.run(_past(f"{place}/past", client, int(rows)))
    print(json.dumps({"record": record, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
