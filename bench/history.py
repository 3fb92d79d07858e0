"""The group ``history``: what keeping past sessions costs, and how fast they are found.

``python -m bench.history PART PAST DROPPED`` measures a part in a process of its own, and prints
its figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BIN, ROOT, BenchError
from bench.stack import core, synthetic, wait_until_whole
from sessiongate.core.ledger.base import Ledger, PageSize
from sessiongate.core.ledger.past import PAST, Closing, Opening, description_of, ended
from sessiongate.core.ledger.past_selector import PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.v1.session_pb2 import Session, SessionState

_RECORDED = "sessions replaced at `Ledger.record`, batches of 500, each committed and synced"
RECORD = Measure(f"{_RECORDED}, the oldest of 10,000", "/s", 30_000, at_most=False)
RECORD_ANY = Measure(f"{_RECORDED}, any of 10,000", "/s")
CPU = Measure(
    "CPU of the core at {listed:,} sessions, 5 % replaced each second, history on to off", "", 1.1
)
_OF = "of {past:,} past sessions"
MOMENT = Measure(f"{_OF}: who was connected 20 hours ago, first page of 100, longest", "ms", 300)
MOMENT_USER = Measure(f"{_OF}: likewise, with a user of 1 %", "ms", 300)
ONE = Measure(f"{_OF}: one by its id, longest", "ms", 100)
BYTES = Measure(f"{_OF}: bytes of each, with indexes", "B", 300)
START = Measure(f"{_OF}: until the ledger is open", "s")
WAIT = Measure("{dropped:,} past sessions dropped: longest wait of a write meanwhile", "ms", 50)
ALONE = Measure("longest wait of a write, likewise, while nothing is dropped", "ms")
RATE = Measure("{dropped:,} past sessions dropped: a second", "/s")

_BATCH = 500
_OPEN = 10_000
_BATCHES = 100
HISTORY_TIMES = 5  # history is on, and as often off
_SETTLING = 3.0  # seconds until CPU counts
HISTORY_ASKED = 15  # moments and ids
_DAYS = 29
_DAY = 24 * 3600 * 10**9
_USERS = 100
_TAKES = 3600.0  # seconds that a part may take


def recording(sizes: Sizes) -> Found:
    """Measure how many sessions are written a second."""
    found = _run("record", sizes)
    yield RECORD, found["oldest"]
    yield RECORD_ANY, found["any"]


def cpu(sizes: Sizes) -> Found:
    """Measure the CPU that a core takes with history to that without."""
    taken: dict[str, list[float]] = {"30d": [], "off": []}
    for _ in range(HISTORY_TIMES):
        for history, values in taken.items():
            values.append(_cpu(history, sizes))
    yield CPU, median(taken["30d"]) / median(taken["off"])


def many(sizes: Sizes) -> Found:
    """Measure a ledger with very many past sessions."""
    found = _run("many", sizes)
    for measure, name in (
        *((BYTES, "bytes"), (START, "start")),
        *((MOMENT, "moment"), (MOMENT_USER, "user"), (ONE, "one")),
        *((WAIT, "wait"), (ALONE, "alone"), (RATE, "rate")),
    ):
        yield measure, found[name]


def _run(part: str, sizes: Sizes) -> Mapping[str, float]:
    command = [str(BIN / "python"), "-m", __name__, part, str(sizes.past), str(sizes.dropped)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=_TAKES, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[1:])}: {done.stderr[-500:]}")
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


def _cpu(history: str, sizes: Sizes) -> float:
    """Return the CPU seconds that a core takes for a second of churn."""
    churn = sizes.listed * 0.05
    with TemporaryDirectory(prefix="bench-") as folder:
        kept = ["--history", history, "--ledger", f"sqlite:///{folder}/ledger.db"]
        options = [*synthetic(sizes.listed, churn), *kept]
        with core(Path(folder), options, LONG) as (program, address):
            wait_until_whole(address, sizes.listed, LONG)
            time.sleep(_SETTLING)
            began, spent = time.monotonic(), program.cpu()
            time.sleep(sizes.seconds)
            return (program.cpu() - spent) / (time.monotonic() - began)


def _session(number: int) -> Session:
    return Session(
        service="orders-rw",
        user=f"user{number % _USERS}",
        remote=f"10.1.{number // 250 % 250}.{number % 250}",
        port=1024 + number % 60_000,
        database="orders",
        application="orders-service",
        native_id=str(number),
        state=SessionState.SESSION_STATE_STARTED,
    )


async def _record(folder: Path) -> Mapping[str, float]:
    return {
        "oldest": await _replacing_in(folder / "oldest.db", lambda opened: None),
        "any": await _replacing_in(folder / "any.db", random.Random(1).shuffle),
    }


async def _replacing_in(path: Path, choose: Callable[[list[Any]], None]) -> float:
    now = time.time_ns()
    ledger = await SqliteLedger.open(f"sqlite:///{path}", now=lambda: now)
    try:
        return await replacing(ledger, now, choose)
    finally:
        await ledger.close()


async def replacing(ledger: Ledger, now: int, choose: Callable[[list[Any]], None]) -> float:
    """Return how many sessions are replaced a second, those first that ``choose`` puts first."""
    numbers = iter(range(1 << 60))
    opened: list[tuple[int, Opening]] = []
    took = 0.0
    for batch in range(-_OPEN // _BATCH, _BATCHES):
        now += _BATCH * 33_000
        openings = [
            Opening(f"tcp4 10.1.2.3:{number}", now, None, _session(number))
            for number, _ in zip(numbers, range(_BATCH), strict=False)
        ]
        gone, opened = (opened[:_BATCH], opened[_BATCH:]) if batch >= 0 else ([], opened)
        closings = [Closing(ident, each.connect_time, each.session) for ident, each in gone]
        began = time.perf_counter()
        ids = await ledger.record(
            "s", opened=openings, closed=closings, incarnation=None, observed=now
        )
        took += time.perf_counter() - began if batch >= 0 else 0.0
        opened += zip(ids, openings, strict=True)
        choose(opened)
    return _BATCH * _BATCHES / took


async def _many(folder: Path, past: int, dropped: int) -> Mapping[str, float]:
    path, now = folder / "ledger.db", time.time_ns()
    url = f"sqlite:///{path}"
    await (await SqliteLedger.open(url, now=time.time_ns)).close()
    size = path.stat().st_size
    _fill(path, past, now)
    found = {"bytes": (path.stat().st_size - size) / past}
    kept = HistoryPolicy(most_bytes=1 << 40)
    began = time.perf_counter()
    ledger = await SqliteLedger.open(url, policy=kept, now=time.time_ns)
    found["start"] = time.perf_counter() - began
    found["moment"] = 1000 * await longest(lambda index: page_of_moment(ledger, now, index))
    found["user"] = 1000 * await longest(lambda index: page_of_moment(ledger, now, index, "user7"))
    step = past // HISTORY_ASKED
    found["one"] = 1000 * await longest(lambda index: ledger.one(index * step + 1))
    await ledger.close()
    old = int(_DAYS * _DAY * (past - dropped) / past)
    ledger = await SqliteLedger.open(
        url, policy=HistoryPolicy(age=old, most_bytes=1 << 40), now=time.time_ns
    )
    began = time.perf_counter()
    trimming = asyncio.create_task(_trim(ledger))
    found["wait"] = 1000 * await write_until(ledger, trimming)
    took = time.perf_counter() - began
    found["rate"] = dropped / took
    resting = asyncio.create_task(asyncio.sleep(took))
    found["alone"] = 1000 * await write_until(ledger, resting)
    await ledger.close()
    return found


async def write_until(ledger: Ledger, work: asyncio.Task[None]) -> float:
    """Write sessions until work ends; return the longest time that one takes, in seconds."""
    longest = 0.0
    while not work.done():
        began = time.perf_counter()
        opening = Opening(f"k{began}", time.time_ns(), None, _session(1))
        await ledger.record("s", opened=[opening], closed=[], incarnation=None)
        longest = max(longest, time.perf_counter() - began)
        await asyncio.sleep(0.02)
    await work
    return longest


async def _trim(ledger: SqliteLedger) -> None:
    """Drop what is not kept, as a core does."""
    has_more = True
    while has_more:
        began = time.perf_counter()
        has_more = await ledger.trim()
        await asyncio.sleep(time.perf_counter() - began)


async def page_of_moment(ledger: Ledger, now: int, index: int, *users: str) -> None:
    """Ask who was connected 20 hours ago and some minutes later."""
    moment = now - 20 * 3600 * 10**9 + index * 60 * 10**9
    names = {"user": users} if users else {}
    selector = PastSelector(moment, moment + 1, now, names=names)
    page = await ledger.page(selector, None, PageSize(100, 10**7), (moment, moment), _nobody)
    if not page.sessions:
        raise BenchError("nobody was connected")


def _nobody(ident: int) -> None:
    """Return an open session as it is now: there is none."""


async def longest(ask: Callable[[int], Coroutine[Any, Any, object]]) -> float:
    """Return the longest time that an answer takes, in seconds."""
    took = []
    for index in range(HISTORY_ASKED):
        began = time.perf_counter()
        await ask(index)
        took.append(time.perf_counter() - began)
    return max(took)


def _fill(path: Path, past: int, now: int) -> None:
    """Write past sessions as a ledger does, in the order of their ends, but without syncing."""
    marks = ", ".join("?" * len(PAST))
    insertion = f"INSERT INTO past_sessions ({', '.join(PAST)}) VALUES ({marks})"
    with closing(connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        rows = _rows(past, now)
        for _ in range(0, past, 100_000):
            connection.execute("BEGIN")
            part = (row for row, _ in zip(rows, range(100_000), strict=False))
            connection.executemany(insertion, part)
            connection.execute("COMMIT")
        connection.execute(f"UPDATE counters SET value = {past} WHERE name = 'history_rows'")
        connection.execute(f"UPDATE counters SET value = {2 * past} WHERE name = 'id'")


def _rows(past: int, now: int) -> Iterator[tuple[Any, ...]]:
    """Yield past sessions that ended evenly over days, and lasted from 0.1 s to 10 days."""
    chance = random.Random(1)
    described = [description_of(_session(number)) for number in range(10_000)]
    step = _DAYS * _DAY // past
    for number in range(past):
        end = now - _DAYS * _DAY + number * step
        start = end - int(10 ** chance.uniform(8, 15))
        row = described[chance.randrange(len(described))]
        yield ended(Closing(number + 1, start), "s", row, end)


def main(part: str, past: str, dropped: str) -> None:
    """Print a part's figures."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        work = _record(folder) if part == "record" else _many(folder, int(past), int(dropped))
        print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main(*sys.argv[1:])
