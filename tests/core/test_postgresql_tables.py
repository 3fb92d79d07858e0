"""The memory that a query about the past takes, with a ledger in PostgreSQL."""

from __future__ import annotations

import asyncio
import time
import tracemalloc

from sessiongate.core.ledger.past import PAST
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.tables import PostgresqlTables
from tests.core.engines import Engine

COLUMNS = ", ".join(f'p."{name}"' for name in PAST)
ROWS = 60_000
MOST = 16 << 20  # bytes: all rows take 36 MiB


def test_an_answer_that_is_read_to_its_end_is_not_held_at_once(engine: Engine) -> None:
    """As when a filter that the server does not know leaves nothing of very many sessions."""
    database = engine.database()

    async def make() -> None:
        await (await PostgresqlLedger.open(engine.url(database), now=time.time_ns)).close()

    asyncio.run(make())
    with engine.server.connect(dbname=database) as client:
        client.execute(
            "INSERT INTO sessiongate.past_sessions (end_time, id, source, connect_time,"
            " duration_class, service) SELECT 5, n, 'a', 5, 0, repeat('x', 100)"
            f" FROM generate_series(1, {ROWS}) n".encode()
        )
    tables = PostgresqlTables(LedgerPlace.parse(engine.url(database)), "test")
    question = (
        f"SELECT {COLUMNS} FROM past_sessions AS p WHERE p.end_time > ? ORDER BY p.end_time, p.id"
    )
    tracemalloc.start()
    try:
        with tables.reading():
            found = [row[1] for row in tables.first_rows(question, (1,))]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        tables.close()
    assert found == [*range(1, ROWS + 1)]
    assert peak < MOST
