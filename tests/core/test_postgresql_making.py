"""Programs that find a ledger in PostgreSQL without tables, and make them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from sessiongate.core.ledger.postgresql import schema
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import MAKING, require_tables
from tests.core.engines import Engine
from tests.polling import eventually

WAITING = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def test_who_waits_while_another_makes_the_tables_finds_them(engine: Engine) -> None:
    place = LedgerPlace.parse(engine.url(engine.database()))
    with (
        closing(LedgerConnection(place, "one")) as one,
        closing(LedgerConnection(place, "two")) as two,
        engine.server.connect() as looking,
        ThreadPoolExecutor(1) as apart,
    ):
        with one.transaction():
            one.execute("SELECT pg_advisory_xact_lock(%s, %s)", *MAKING)
            waiting = apart.submit(require_tables, two)
            eventually(lambda: looking.execute(WAITING).rowcount)
            schema._require(one)
        waiting.result()
        require_tables(two)
