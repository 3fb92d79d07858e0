"""The write-ahead log of a ledger's file is copied into the file while the ledger writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.v1.session_pb2 import Session
from tests.polling import eventually

_LARGEST = 80 << 20  # bytes: a commit copies 64 MiB itself, and this batch may come on top
_KEPT = 16 << 20  # bytes of a log that is begun anew
_TEXT = "x" * 1000  # of a longer one, a ledger keeps 1 KiB
_LARGE = Session(
    user=_TEXT, remote=_TEXT, service=_TEXT, database=_TEXT, application=_TEXT, tls_cipher=_TEXT
)
_BATCH = 90


async def replace_sessions(ledger: SqliteLedger, batches: int) -> None:
    """Open and close sessions of half a megabyte in each batch."""
    closed: list[Closing] = []
    for _ in range(batches):
        now = time.time_ns()
        opened = [Opening(f"{now}-{n}", now, None, _LARGE) for n in range(_BATCH)]
        ids = await ledger.record("a", opened=opened, closed=closed, incarnation=None)
        closed = [Closing(ident, now, _LARGE) for ident in ids]
        assert await ledger.is_in_place(), "its own copying is no foreign one"
    await ledger.record("a", opened=[], closed=closed, incarnation=None)


def ended_in(file: Path) -> int:
    """Return how many past sessions a file has without its log; 0 while that is copied into it."""
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    with closing(sqlite3.connect(copy)) as connection:
        try:
            ((count,),) = connection.execute("select count(*) from past_sessions")
        except sqlite3.DatabaseError:  # half of its pages are the new ones
            return 0
    return int(count)


def test_the_log_is_opened_for_copying_at_the_start(tmp_path: Path) -> None:
    def opened() -> int:
        found = (os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())
        return [*found].count(str(tmp_path / "ledger.db-wal"))

    async def main() -> None:
        ledger = await SqliteLedger.open(f"sqlite:///{tmp_path}/ledger.db", now=time.time_ns)
        before = opened()
        await replace_sessions(ledger, 10)
        await ledger.close()
        assert before == 2, "one to write by, one to copy by"

    asyncio.run(main())


def test_the_log_is_copied_and_begun_anew_while_much_is_written(tmp_path: Path) -> None:
    file, log = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"

    async def main() -> None:
        ledger = await SqliteLedger.open(f"sqlite:///{file}", now=time.time_ns)
        largest = 0
        for _ in range(15):
            await replace_sessions(ledger, 10)
            largest = max(largest, log.stat().st_size)
        size = file.stat().st_size
        assert size > _LARGEST, "more was written than a log may hold"
        assert largest < _LARGEST
        await ledger.close()

    asyncio.run(main())
    assert not log.exists()


def test_a_log_that_grew_while_somebody_read_is_small_again_afterwards(tmp_path: Path) -> None:
    file, log = tmp_path / "ledger.db", tmp_path / "ledger.db-wal"

    async def main() -> None:
        ledger = await SqliteLedger.open(f"sqlite:///{file}", now=time.time_ns)
        await replace_sessions(ledger, 1)
        with closing(sqlite3.connect(file, isolation_level=None)) as reader:
            reader.execute("begin")
            known = reader.execute("select count(*) from past_sessions").fetchall()
            await replace_sessions(ledger, 40)
            assert log.stat().st_size > _KEPT, "what is still read stays in the log"
            assert reader.execute("select count(*) from past_sessions").fetchall() == known
        for _ in range(100):
            await replace_sessions(ledger, 10)
            if log.stat().st_size <= _KEPT:
                break
        assert log.stat().st_size <= _KEPT
        await ledger.close()

    asyncio.run(main())


def test_a_file_that_is_written_over_after_its_log_was_copied_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"

    async def main() -> None:
        ledger = await SqliteLedger.open(f"sqlite:///{file}", now=time.time_ns)
        before = file.read_bytes()
        await replace_sessions(ledger, 60)  # more rows than the log is left alone for
        eventually(lambda: ended_in(file))
        await ledger.record("a", opened=[], closed=[], incarnation=1.0)
        eventually(lambda: ledger._store._checkpoints._copying.done())  # type: ignore[union-attr]
        assert await ledger.is_in_place()
        file.write_bytes(before)
        assert not await ledger.is_in_place()
        with pytest.raises(LedgerError, match="was removed or replaced"):
            await replace_sessions(ledger, 1)
        await ledger.close()

    asyncio.run(main())
