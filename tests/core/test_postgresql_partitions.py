"""The hours in which past sessions lie, in a ledger in PostgreSQL, and what drops them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from sessiongate.core.ledger.base import PageSize
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.past_selector import PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql import partitions
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.partitions import HOUR
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine

SECOND = 10**9
DAY = 24 * HOUR
NOON = 1_700_000_000 * SECOND // HOUR * HOUR
AHEAD = partitions.AHEAD  # ledgers in tests make fewer partitions
FOREVER = 1 << 62


class History:
    """A ledger, with a clock, in a database of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.database = engine.database()
        self.now = NOON
        self.policy = HistoryPolicy()

    def run(self, work: Callable[[PostgresqlLedger], Awaitable[None]]) -> None:
        async def main() -> None:
            url = self.engine.url(self.database)
            ledger = await PostgresqlLedger.open(url, policy=self.policy, now=lambda: self.now)
            try:
                await work(ledger)
            finally:
                await ledger.close()

        asyncio.run(main())

    @contextmanager
    def client(self) -> Iterator[psycopg.Connection]:
        """Connect to the database as the superuser."""
        with self.engine.server.connect(dbname=self.database) as connection:
            yield connection

    def parts(self) -> dict[str, int]:
        """Return the partitions with how many sessions are in each that has some."""
        with self.client() as client:
            rows = client.execute(
                "SELECT tableoid::regclass::text, count(*) FROM sessiongate.past_sessions"
                " GROUP BY 1"
            ).fetchall()
            return {name.removeprefix("sessiongate.past_sessions_"): rows for name, rows in rows}

    def tables(self) -> set[str]:
        with self.client() as client:
            rows = client.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'sessiongate'"
                " AND tablename LIKE 'past_sessions_%'"
            ).fetchall()
            return {name.removeprefix("past_sessions_") for (name,) in rows}


@pytest.fixture
def history(engine: Engine) -> History:
    return History(engine)


def hour(time: int) -> str:
    return str(time // HOUR)


async def lived(ledger: PostgresqlLedger, *ends: int, start: int = 0) -> list[int]:
    """Let sessions end at some times; return their ids."""
    opened = [
        Opening(f"{end}", start or end - SECOND, session=Session(service="x", user="u" * 500))
        for end in ends
    ]
    ids = await ledger.record("a", opened=opened, closed=[], incarnation=None)
    for ident, opening, end in zip(ids, opened, ends, strict=True):
        closing = Closing(ident, opening.connect_time, opening.session)
        await ledger.record("a", opened=[], closed=[closing], incarnation=None, observed=end)
    return ids


async def known(ledger: PostgresqlLedger) -> list[int]:
    """Return the ids of all past sessions."""
    selector = PastSelector(-FOREVER, FOREVER, FOREVER)
    page = await ledger.page(selector, None, PageSize(10**6, 10**9), (0, 0), lambda ident: None)
    return [each.session.id for each in page.sessions]


async def trimmed(ledger: PostgresqlLedger) -> None:
    while await ledger.trim():
        pass


def test_each_hour_has_a_part_and_is_dropped_as_a_whole(history: History) -> None:
    history.policy = HistoryPolicy(age=2 * DAY)

    async def live(ledger: PostgresqlLedger) -> None:
        for day in range(4):
            history.now = NOON + day * DAY
            await ledger.note([])
            await trimmed(ledger)
            await lived(ledger, history.now, history.now + HOUR - 1, history.now + HOUR)

    async def check(ledger: PostgresqlLedger) -> None:
        await ledger.note([])
        await trimmed(ledger)
        assert history.parts() == {
            hour(NOON + day * DAY + late): rows
            for day in (2, 3)
            for late, rows in ((0, 2), (HOUR, 1))
        }
        assert len(await known(ledger)) == 6
        assert (ledger.size.rows, ledger.size.oldest_end) == (6, NOON + 2 * DAY)
        assert hour(NOON + DAY) not in history.tables()
        assert hour(history.now + partitions.AHEAD - HOUR) in history.tables()

    history.run(live)
    history.now = NOON + 4 * DAY
    history.run(check)


def test_whatever_the_clock_shows_an_end_has_its_place(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert AHEAD == 48 * HOUR
    monkeypatch.setattr(partitions, "AHEAD", AHEAD)

    async def work(ledger: PostgresqlLedger) -> None:
        before, late = NOON - 900 * DAY, NOON + 900 * DAY
        old, beyond = await lived(ledger, before, late)
        assert history.parts() == {"first": 1, hour(NOON + AHEAD - HOUR): 1}
        found = await ledger.one(beyond)
        assert found is not None
        assert found.end_time.ToNanoseconds() == NOON + AHEAD - 1
        assert found.session.connect_time.ToNanoseconds() == NOON + AHEAD - 1, "never after its end"
        history.now = NOON + 900 * DAY
        await trimmed(ledger)
        assert await known(ledger) == [old, beyond], "the clock has to be confirmed first"

    async def later(ledger: PostgresqlLedger) -> None:
        await trimmed(ledger)
        (ident,) = await lived(ledger, history.now - 20 * DAY)
        assert hour(NOON + AHEAD) in history.parts(), "one part for all the days of a pause"
        assert ident in await known(ledger)

    history.policy = HistoryPolicy(age=5000 * DAY)
    history.run(work)
    history.now = NOON + 40 * DAY
    with history.client() as client:
        client.execute("DELETE FROM sessiongate.counters WHERE name = 'history_clock'")
    history.run(later)


@pytest.mark.long
def test_an_hour_that_is_being_read_is_dropped_later_and_no_write_waits(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_PATIENCE", "'6s'")  # longer than the writes take

    async def work(ledger: PostgresqlLedger) -> None:
        await ledger.note([])
        await lived(ledger, NOON, NOON + HOUR)
        history.now = NOON + 30 * DAY + 2 * HOUR
        with history.client() as export:
            export.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            export.execute("SELECT count(*) FROM sessiongate.past_sessions")
            ledger._store._clock._time = history.now
            trimming = asyncio.ensure_future(ledger.trim())
            ids = await lived(ledger, *(history.now + each for each in range(20)))
            assert not trimming.done(), "the writes did not wait"
            assert await trimming is False
            monkeypatch.setattr(partitions, "_PATIENCE", "'1s'")
            assert await ledger.trim() is False, "nor is another hour detached meanwhile"
            assert (await known(ledger))[1:] == ids, "the first is not read any longer"
            assert hour(NOON) in history.tables()
            ((seen,),) = export.execute("SELECT count(*) FROM sessiongate.past_sessions").fetchall()
            assert seen == 2, "who reads goes on"
            export.execute("COMMIT")
        await trimmed(ledger)
        assert not history.tables() & {hour(NOON), hour(NOON + HOUR)}
        assert ledger.size.rows == 20

    history.run(work)


def test_what_takes_too_much_space_goes_hour_by_hour_but_not_this_one(history: History) -> None:
    async def fill(ledger: PostgresqlLedger) -> None:
        history.now = NOON + 2 * HOUR
        await lived(ledger, *(NOON + index * HOUR for index in range(3)))

    async def trim(ledger: PostgresqlLedger) -> None:
        await trimmed(ledger)
        assert history.parts() == {hour(NOON + 2 * HOUR): 1}
        page = await ledger.page(
            PastSelector(0, 1, 1), None, PageSize(1, 1), (NOON, NOON), lambda ident: None
        )
        assert page.coverage.horizon == NOON + 2 * HOUR - 1

    history.run(fill)
    history.policy = HistoryPolicy(most_bytes=1)
    history.run(trim)


def test_what_an_interrupted_upkeep_has_left_is_finished(history: History) -> None:
    async def fill(ledger: PostgresqlLedger) -> None:
        await lived(ledger, NOON, NOON + HOUR)

    async def check(ledger: PostgresqlLedger) -> None:
        assert hour(NOON) not in history.tables()
        assert len(await known(ledger)) == 1
        assert ledger.size.rows == 1

    history.run(fill)
    with history.client() as client:
        client.execute(
            f"ALTER TABLE sessiongate.past_sessions DETACH PARTITION"
            f" sessiongate.past_sessions_{hour(NOON)}"
        )
    history.run(check)
