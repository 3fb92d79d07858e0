"""The table that a core keeps warm while it stands by, and its use when the core is active."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect import observer as observing
from sessiongate.core.collect import runner as collecting
from sessiongate.core.collect.collector import Collector
from sessiongate.core.collect.observer import Observer
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.collect.warm_table import WarmTable
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of, time_of
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, TcpLink
from sessiongate.core.table.draft import unassigned
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.session_pb2 import Session
from tests.core.sources import ScriptedSource, seen

MOST = 65_536  # bytes of a session
PROXY, SERVER = (
    SourceConfig.parse("fake:", {"name": name, "interval": "0.001", "timeout": "3600"})
    for name in ("proxy", "server")
)
NAMES = (PROXY.name, SERVER.name)
SCOPES = Scopes("east")


@dataclass
class LedgersStart:
    """A start for which a table is kept warm, that knows the open sessions of a ledger."""

    ledger: SqliteLedger
    revision: int = 1 << 60
    is_away: bool = False
    asked: list[str] = field(default_factory=list)  # keys

    def is_reserved(self, revision: int) -> bool:
        return revision > self.revision

    async def reserve(self, revision: int) -> None:
        raise LedgerError(f"no revision {revision}")

    async def places(self, source: str, keys: Sequence[str]) -> Mapping[str, int]:
        if self.is_away:
            raise LedgerError("away")
        self.asked += keys
        held = (await self.ledger.held()).get(source, {})
        return {key: held[key] for key in keys if key in held}


@asynccontextmanager
async def a_ledger() -> AsyncIterator[SqliteLedger]:
    ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
    try:
        yield ledger
    finally:
        await ledger.close()


class Place:
    """A proxy and a server behind it, of whose sessions any may come, change and go."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.sources = {name: ScriptedSource() for name in NAMES}
        self.sessions: dict[str, dict[str, Observed]] = {name: {} for name in NAMES}

    def turn(self, times: int) -> None:
        """Let things happen, and let the sources state what there is then."""
        for _ in range(times):
            name, key = self.dice.choice(NAMES), str(self.dice.randrange(12))
            sessions, keys = self.sessions[name], [*map(str, range(12))]
            if key in sessions and self.dice.random() < 0.4:
                del sessions[key]
                continue
            kind = self.dice.randrange(6)
            session = seen(key, connected=5, user=self.dice.choice("uvw")).session
            number = self.dice.randrange(3)
            wire = TcpLink(("10.0.0.5", 40_000 + number), ("10.0.0.7", 5432), number)
            waits: list[str] = []
            if kind == 1:
                session.activity.native = "active"
                waits = self.dice.sample(keys, 2)
            elif kind == 2:
                session.application = "a" * MOST
            accepted, opened = (wire, ()) if name == SERVER.name else (None, (wire,))
            if kind < 4:
                accepted, opened = None, ()
            renamed = self.dice.choice(keys) if self.dice.random() < 0.3 else ""
            sessions[key] = Observed(
                *(key, session, accepted, opened), former=renamed, blocked_by=tuple(waits)
            )
        for name, source in self.sources.items():
            items = [*self.sessions[name].values()]
            self.dice.shuffle(items)
            # A server that restarts has none of the sessions that it had.
            source.again = Observation(items, 1000.0 * self.dice.choice((1, 1, 1, 1, 2)))

    @asynccontextmanager
    async def collected(
        self, ledger: SqliteLedger, warm: WarmTable | None = None
    ) -> AsyncIterator[SessionTable]:
        """Read the sources, as an active core does."""
        table = SessionTable(NAMES, 1, Timestamp) if warm is None else warm.table
        sources = {name: ScriptedSource() for name in NAMES}
        for name, source in sources.items():
            source.again = self.sources[name].again
        self.sources = sources
        collector = Collector(
            *(table, ledger, [(PROXY, sources["proxy"]), (SERVER, sources["server"])]),
            stale_after=30.0,
            now=time.time_ns,
            max_session=MOST,
            scopes=SCOPES,
            warm=warm,
        )
        await collector.start()
        try:
            await self.look()
            yield table
        finally:
            await collector.close()

    async def look(self) -> None:
        """Let each source be read once."""
        await asyncio.gather(*(source.step() for source in self.sources.values()))

    async def warm_up(self, warm: WarmTable) -> None:
        """Let each source be read once by a core that stands by."""
        for config in (PROXY, SERVER):
            observation = self.sources[config.name].again
            assert observation is not None
            await warm.take(config, observation, elapsed())


def a_warm_table(start: LedgersStart) -> WarmTable:
    table = SessionTable(NAMES, start.revision, Timestamp)
    return WarmTable(table, start, (PROXY, SERVER), MOST, SCOPES)


def shown(table: SessionTable) -> dict[int, Session]:
    """Return what is shown, but for what each table assigns by itself."""
    return {row.id: unassigned(row.session) for row in table.following(0, len(table))}


@pytest.mark.parametrize("seed", range(20))
def test_a_warm_table_shows_what_a_cold_one_shows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the core stood by, it may have read the sources at any times, and was stopped."""
    monkeypatch.setattr(collecting, "DUTY", 0)

    async def main() -> None:
        place = Place(seed)
        async with a_ledger() as ledger:
            warm = a_warm_table(LedgersStart(ledger))
            place.turn(20)
            async with place.collected(ledger):
                for _ in range(place.dice.randrange(6)):
                    if place.dice.random() < 0.5:
                        await place.look()
                    if place.dice.random() < 0.7:
                        warming = asyncio.create_task(place.warm_up(warm))
                        for _ in range(place.dice.choice((2, 5, 1000, 1000))):
                            await asyncio.sleep(0)
                        warming.cancel()
                        await asyncio.wait((warming,))
                    place.turn(place.dice.randrange(8))
            async with place.collected(ledger, warm) as warmed:
                found, held = shown(warmed), await ledger.held()
                assert not warmed.unseen
            async with place.collected(ledger) as cold:
                assert found == shown(cold)
            assert held == await ledger.held()
            assert len(found) == sum(map(len, place.sessions.values()))

    asyncio.run(main())


def test_what_has_not_changed_in_a_warm_table_makes_no_event() -> None:
    async def main() -> None:
        place = Place(1)
        async with a_ledger() as ledger:
            start = LedgersStart(ledger)
            warm = a_warm_table(start)
            place.turn(20)
            for source in place.sources.values():
                assert source.again is not None
                source.again = Observation(source.again.sessions)
            await place.warm_up(warm)
            assert len(warm.table) == 0, "the active core has not written any yet"
            assert warm.is_early
            async with place.collected(ledger):
                start.is_away = True
                with pytest.raises(LedgerError):
                    await place.warm_up(warm)
                start.is_away = False
                await place.warm_up(warm)
                assert not warm.is_early
            revision, rows = warm.table.revision, len(warm.table)
            assert rows == sum(map(len, place.sessions.values()))
            start.asked.clear()
            await place.warm_up(warm)
            waiting = {key for each in warm.shown_sources.values() for key in each.waiting}
            assert {*start.asked} == waiting, "only what depends on others is looked at again"
            assert warm.table.revision == revision
            assert warm.table.log.oldest == revision, "nobody reads what has changed"
            async with place.collected(ledger, warm) as table:
                sources = len(NAMES)
                assert (table.revision, len(table)) == (revision + sources, rows)

    asyncio.run(main())


def test_a_core_reads_its_sources_again_and_again_and_hands_over_a_warm_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source fails; and the ledger's server, now and then."""
    monkeypatch.setattr(observing, "OBSERVE_EVERY", 0.001)
    monkeypatch.setattr(observing, "OBSERVE_AGAIN", 0.001)
    told: list[list[str]] = []

    async def tell(unreadable: Sequence[str]) -> None:
        told.append([*unreadable])

    async def main() -> None:
        async with a_ledger() as ledger:
            start = LedgersStart(ledger)
            made: list[WarmTable] = []

            async def warm_up(last: WarmTable | None) -> WarmTable | None:
                if last is None:
                    made.append(a_warm_table(start))
                return made[-1]

            source = ScriptedSource()
            observer = Observer(lambda: [(SERVER, source)], tell, warm_up)
            observer.start()
            observer.start()  # it has begun
            source.again = Observation([seen("a")])
            await source.step()
            source.failing = "no"
            await source.step()
            source.failing, source.raising = "", SystemExit(1)
            await source.step()
            source.raising, start.is_away = None, True
            await source.step()
            assert told == [[], ["server"], ["server"], []]
            (standby,), warm = await observer.stop()
            assert (standby.source, [warm]) == (source, made)
            assert not source.closed
            assert start.asked == ["a"]
            assert await observer.stop() == ([], None)

    asyncio.run(main())


def test_a_session_that_had_ended_meanwhile_begins_when_it_is_seen_again() -> None:
    """A core that stands by, and reads its sources rarely, may not notice."""

    async def main() -> None:
        place = Place(1)
        item = seen("a")  # its start is not stated

        def state(*items: Observed) -> None:
            for name, source in place.sources.items():
                source.again = Observation(items if name == SERVER.name else ())

        async with a_ledger() as ledger:
            warm = a_warm_table(LedgersStart(ledger))
            state(seen("a"))
            async with place.collected(ledger):
                (former,) = (await ledger.held())[SERVER.name].values()
                state(item)
                await place.warm_up(warm)
                state()
                await place.look()
            state(item)
            async with place.collected(ledger, warm) as table:
                (again,) = (await ledger.held())[SERVER.name].values()
                assert id_of(again) != id_of(former)
                assert time_of(again) > time_of(former)
                assert [row.place for row in table.following(0, 9)] == [again]

    asyncio.run(main())


def test_a_session_that_has_the_former_key_of_another_is_shown() -> None:
    """The core that stands by has not noticed that another session has the key now."""

    async def main() -> None:
        place = Place(1)
        one, other = seen("a", connected=5), seen("b", connected=6)
        renamed = Observed("b", other.session, former="a")

        def state(*items: Observed) -> None:
            for name, source in place.sources.items():
                source.again = Observation(items if name == SERVER.name else ())

        async with a_ledger() as ledger:
            warm = a_warm_table(LedgersStart(ledger))
            state(seen("a", connected=5))
            async with place.collected(ledger):
                state(one)
                await place.warm_up(warm)
                state(Observed("b", seen("b", connected=6).session, former="a"))
                await place.look()
                state(seen("a", connected=7), Observed("b", seen("b").session, former="a"))
                await place.look()
                state(one, renamed)
                await place.warm_up(warm)
            state(one, renamed)
            async with place.collected(ledger, warm) as table:
                held = (await ledger.held())[SERVER.name]
                assert {row.place for row in table.following(0, 9)} == {*held.values()}
                assert len(held) == 2

    asyncio.run(main())


def test_a_transaction_in_a_warm_table_counts_until_it_was_read() -> None:
    async def main() -> None:
        place = Place(1)
        second, now = 10**9, time.time_ns()

        def state(*items: Observed) -> None:
            for name, source in place.sources.items():
                source.again = Observation(items if name == SERVER.name else ())

        def busy(key: str) -> Observed:
            session = seen(key, connected=5).session
            session.activity.transaction_start_time.FromNanoseconds(now - 500 * second)
            return Observed(key, session)

        async with a_ledger() as ledger:
            warm = a_warm_table(LedgersStart(ledger))
            state(seen("ends", connected=5), seen("stays", connected=5))
            async with place.collected(ledger):
                observation = Observation([busy("ends"), busy("stays")])
                await warm.take(SERVER, observation, elapsed() - 400)
                state(seen("stays", connected=5))
                held = (await ledger.held())[SERVER.name]
            async with place.collected(ledger, warm):
                state()
                await place.look()
            for key in held:
                past = await ledger.one(id_of(held[key]))
                assert past is not None
                assert past.HasField("end_time")
                assert 90 <= past.longest_transaction.ToSeconds() < 400, key

    asyncio.run(main())


def test_a_source_that_cannot_be_warmed_keeps_no_other_from_being_read() -> None:
    told: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    async def main() -> None:
        async with a_ledger() as ledger:
            warm = a_warm_table(LedgersStart(ledger))

            async def warm_up(last: WarmTable | None) -> WarmTable | None:
                return warm

            odd, usual = ScriptedSource(), ScriptedSource()
            odd.again = Observation([Observed(None, Session())])  # type: ignore[arg-type]
            usual.again = Observation([seen("a")])
            observer = Observer(lambda: [(PROXY, odd), (SERVER, usual)], told.put, warm_up)
            observer.start()
            steps = [asyncio.create_task(source.step()) for source in (odd, usual)]
            assert await told.get() == (PROXY.name,)
            await observer.stop()
            for step in steps:
                step.cancel()

    asyncio.run(main())
