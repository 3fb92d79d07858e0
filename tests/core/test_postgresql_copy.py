"""Copying a ledger's file to PostgreSQL, whatever the file has."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.postgresql.from_sqlite import copy_ledger
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from tests.core.engines import Engine

DAY = 24 * 3600 * 10**9
NOW = time.time_ns()
KEYS = ("x\x00y", "\x01", "\x010", "None", "\\N", "a\tb\n")


def report(_done: int, _number: int) -> None:
    """Take no notice of progress."""


def test_whatever_a_file_has_is_there_afterwards(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys with any character; ends that a clock has noted that was years ahead, or behind."""
    file, url = f"sqlite:///{tmp_path / 'ledger.db'}", engine.url(engine.database())

    async def work() -> None:
        ledger = await SqliteLedger.open(file, now=time.time_ns)
        opened = [Opening(key, NOW) for key in (*KEYS, "early", "late")]
        *_, early, late = await ledger.record("a", opened=opened, closed=[], incarnation=None)
        for ident, start, end in ((early, 5, 7), (late, NOW, NOW + 400 * DAY)):
            closed = [Closing(ident, start)]
            await ledger.record("a", opened=[], closed=closed, incarnation=None, observed=end)
        before = (await ledger.held())["a"]
        await ledger.close()
        assert await copy_ledger(file, url, report) == len(opened)
        copy = await PostgresqlLedger.open(url, now=time.time_ns)
        held = (await copy.held())["a"]
        assert held == before
        assert [id_of(place) for place in held.values()] == [*range(1, len(KEYS) + 1)]
        for ident, first, last in ((early, 7, 7), (late, NOW, NOW + 3 * DAY)):
            past = await copy.one(ident)
            assert past is not None
            assert first <= past.end_time.ToNanoseconds() <= last
        assert copy.size.rows == 2
        await copy.close()

    asyncio.run(work())
    with engine.server.connect(dbname=url.rpartition("/")[2]) as client:
        ((parts,),) = client.execute(
            "SELECT count(*) FROM pg_inherits"
            " WHERE inhparent = 'sessiongate.past_sessions'::regclass"
        ).fetchall()
    assert parts < 60, "one for each hour ahead, none for years without sessions"
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_corrupt_file_is_not_taken_for_an_empty_one(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content := b"not a ledger" * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        asyncio.run(copy_ledger(f"sqlite:///{path}", engine.url(engine.database()), report))
    assert path.read_bytes() == content
    assert not [*tmp_path.glob("*.corrupt-*")]
