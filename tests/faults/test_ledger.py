"""The ledger, killed repeatedly while it writes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from sessiongate.core.ledger.past import Opening
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from tests.faults.scale import figure, times
from tests.forked import FORKING
from tests.program import PATIENCE


def write(url: str, number: int, told: Connection) -> None:
    """Open sessions as fast as possible, and tell the ids that they were given."""

    async def go_on() -> None:
        ledger = await SqliteLedger.open(url, now=time.time_ns)
        for turn in count():
            openings = [Opening(f"{number}-{turn}-{i}", 1) for i in range(20)]
            told.send(await ledger.record("a", opened=openings, closed=[], incarnation=None))

    asyncio.run(go_on())


def test_a_ledger_killed_while_it_writes_gives_no_id_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    told: list[int] = []
    rounds = times(5, 50)
    for number in range(rounds):
        told += killed_writer(url, number)
    assert len(told) == len(set(told)), "an id that was told is never told again"
    assert told == sorted(told)

    async def check() -> None:
        ledger = await SqliteLedger.open(url, now=time.time_ns)
        held = {*map(id_of, (await ledger.held())["a"].values())}
        assert set(told) <= held, "what was acknowledged is there"
        await ledger.close()

    asyncio.run(check())
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    figure("ledger killed while writing: times", rounds)
    figure("ledger killed while writing: ids told", len(told))


def killed_writer(url: str, number: int) -> list[int]:
    """Return the ids that a writer told before it was killed at a random moment."""
    found: list[int] = []
    mine, theirs = FORKING.Pipe(duplex=False)
    with mine:
        with theirs:
            process = FORKING.Process(target=write, args=(url, number, theirs))
            process.start()
        try:
            for _ in range(random.Random(number).randrange(1, 30)):
                assert mine.poll(PATIENCE)
                found += mine.recv()
        finally:
            process.kill()
            process.join()
        with suppress(EOFError, OSError):  # if it was killed while it told some, those are not told
            while True:
                found += mine.recv()
    return found
