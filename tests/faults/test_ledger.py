"""The ledger, killed repeatedly while it writes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from tests.faults.scale import figure, times

# Opens sessions as fast as it can and prints the ids it was given.
WRITER = """
import asyncio, itertools, sys, time
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.ledger.past import Opening

async def main():
    ledger = await SqliteLedger.open(sys.argv[1], now=time.time_ns)
    print("open", flush=True)
    for number in itertools.count():
        openings = [Opening(f"{sys.argv[2]}-{number}-{i}", 1) for i in range(20)]
        ids = await ledger.record("a", opened=openings, closed=[], incarnation=None)
        print(*ids, flush=True)

asyncio.run(main())
"""


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
    """Return the ids that a writer printed before it was killed at a random moment."""
    told: list[int] = []
    lines = random.Random(number).randrange(1, 30)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(number)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            for _ in range(lines):
                told += map(int, process.stdout.readline().split())
        finally:
            process.kill()
        for line in process.stdout:
            if line.endswith("\n"):  # otherwise it was killed while printing
                told += map(int, line.split())
    return told
