"""What a core that stands by reads and prepares, and what becomes of that when it is active."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect import observer as observing
from sessiongate.core.collect import runner as collecting
from sessiongate.core.collect.collector import Collector
from sessiongate.core.collect.links import Links, SessionTcpLinks
from sessiongate.core.collect.observer import Observer, StandbySource
from sessiongate.core.collect.preparation import Preparation
from sessiongate.core.collect.prepared import prepared_session
from sessiongate.core.collect.scopes import Scopes, SourceScopes
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Opening
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import place_of
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, TcpLink, Unreadable
from sessiongate.core.sources.synthetic import SyntheticSource
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_pb2 import ActivityState, Session
from tests.core.sources import ScriptedSource, seen

WIRE = TcpLink(("10.0.0.5", 40000), ("10.0.0.7", 5432), 77)
MOST = 65_536  # bytes of a session
CONFIG = SourceConfig.parse("fake:", {"interval": "0.001", "timeout": "3600"})


def odd() -> list[Observed]:
    """Return sessions of which each needs something of its own."""
    late = seen("late", connected=1, user="late")
    late.session.last_active_time.seconds = 1 << 60  # no time of the contract's
    stating = Session(service="app", id=7, revision=7, upstream_ids=[1], truncated=["queries"])
    stating.activity.state = ActivityState.ACTIVITY_STATE_IDLE
    stating.activity.blocked_by_ids.append(9)
    stating.connection_attributes["program"] = "psql"
    return [
        Observed("nothing", Session()),
        late,
        Observed("stating", stating),
        Observed("wired", Session(), WIRE, (WIRE, WIRE)),
        seen("of 1970", connected=0, native_id="x", application="é\0", remote="::ffff:10.0.0.1"),
    ]


def dependent() -> list[Observed]:
    """Return sessions that depend on what only an active core knows."""
    large = seen("large", user="u" * (MOST - MOST // 16 - 40))
    blocked = Observed("blocked", Session(), blocked_by=("large",))
    unreadable = Observed("unreadable", Session(), unreadable=(Unreadable("its user", ("user",)),))
    return [large, blocked, unreadable]


@pytest.mark.parametrize("time", [0, 1, 1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 5])
@pytest.mark.parametrize("scopes", [None, Scopes("east").of(CONFIG)])
def test_a_prepared_session_is_what_the_core_would_make_of_it(
    time: int, scopes: SourceScopes | None
) -> None:
    table = SessionTable(["s"], 1, Timestamp)
    items = [*asyncio.run(SyntheticSource(40, 0, 1).observe()).sessions, *odd()]
    plain = [item for item in items if not item.blocked_by]
    found = [prepared_session(item, "s", MOST, scopes, {}) for item in plain]
    cold = Preparation("s", table, Links(), MOST, scopes, {})
    for ident, (item, prepared) in enumerate(zip(plain, found, strict=True), 127):
        place = place_of(time, ident)
        assert prepared is not None
        assert prepared.draft(place) == cold.ready(item.key, item, place).draft
    assert [prepared_session(item, "s", MOST, None, {}) for item in dependent()] == [None] * 3


def test_only_what_is_as_it_was_prepared_is_shown_so() -> None:
    """A session that keeps its own id, is linked, or is shown already, is prepared anew."""
    table, links = SessionTable(["s"], 1, Timestamp), Links()
    items = {name: seen(name, native_id=name) for name in ("2", "linked", "shown", "plain")}
    items["2"].stated_id = 2
    made = {name: prepared_session(item, "s", MOST, None, {}) for name, item in items.items()}
    prepared = {items[name]: each for name, each in made.items() if each is not None}
    assert len(prepared) == len(items)
    preparation = Preparation("s", table, links, MOST, None, prepared)
    shown = preparation.ready("plain", items["plain"], place_of(5, 4))
    assert shown.session is None, "it was prepared"
    # Between preparation and showing, a link is found: so it is made again.
    links.observe([], [(3, SessionTcpLinks(None, (WIRE,))), (4, SessionTcpLinks(WIRE, ()))])
    draft = preparation.draft(shown)
    assert draft is not None
    assert Session.FromString(draft.body).downstream_ids == [3]
    own = preparation.ready("2", items["2"], place_of(5, 2))
    assert own.session is not None
    assert not own.session.HasField("native_id")
    linked = preparation.ready("linked", items["linked"], place_of(5, 3))
    assert linked.session is not None
    assert linked.session.upstream_ids == [4]
    table.apply([Session(id=6, service="app")], [])
    assert preparation.ready("shown", items["shown"], place_of(5, 6)).session is not None
    assert not prepared


def test_a_core_goes_on_with_what_it_prepared_while_it_stood_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile, sessions change, end and begin, and a source fails."""
    monkeypatch.setattr(observing, "OBSERVE_EVERY", 0.001)
    monkeypatch.setattr(collecting, "DUTY", 0)
    told: list[list[str]] = []

    async def tell(unreadable: Sequence[str]) -> None:
        told.append([*unreadable])

    async def main() -> None:
        source = ScriptedSource()
        observer = Observer(lambda: [(CONFIG, source)], tell, MOST, None)
        a, b, c, other_b, d = (seen(key, connected=5) for key in ("a", "b", "c", "b", "d"))
        other_b.session.user = "other"
        observer.start()
        observer.start()  # it has begun
        source.again = Observation([a, b, c, *dependent()])
        await source.step()
        source.failing = "no"
        await source.step()
        source.failing, source.raising = "", SystemExit(1)
        await source.step()
        source.raising, source.again = None, Observation([a, other_b, c])
        await source.step()
        assert told == [[], ["fake"], ["fake"], []]
        [standby] = await observer.stop()
        assert standby.source is source
        assert not source.closed
        assert [*standby.prepared] == [a, other_b, c]
        assert await observer.stop() == []
        source.again = Observation([d, a, other_b])
        await goes_on(source, standby)
        assert not standby.prepared, "what is not used is not kept"

    asyncio.run(main())


async def goes_on(source: ScriptedSource, standby: StandbySource) -> None:
    """Let a core be active whose ledger has the sessions a, b and c."""
    ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
    openings = [Opening(key, 5 * 10**9) for key in ("a", "b", "c")]
    known = await ledger.record("fake", opened=openings, closed=(), incarnation=None)
    table = SessionTable(["fake"], await ledger.ceiling(), Timestamp)
    collector = Collector(
        *(table, ledger, [(standby.config, standby.source)]),
        stale_after=30.0,
        now=time.time_ns,
        prepared={"fake": standby.prepared},
    )
    await collector.start()
    try:
        await source.step()  # as it still waits for the step of the observation that was ended
        await source.step()
        found = {ident: table.get(ident) for ident in (*known, known[-1] + 1)}
        users = [None if session is None else session.user for session in found.values()]
        assert users == ["", "other", None, ""]
        assert len(table) == 3
    finally:
        await collector.close()
        await ledger.close()
    assert source.closed


def test_a_source_whose_own_task_was_cancelled_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "OBSERVE_EVERY", 0.001)
    told: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    async def main() -> None:
        source = ScriptedSource()
        observer = Observer(lambda: [(CONFIG, source)], told.put, MOST, None)
        observer.start()
        source.raising = asyncio.CancelledError()
        await asyncio.wait_for(source.step(), 30)
        assert await told.get() == ("fake",)
        source.raising = None
        await asyncio.wait_for(source.step(), 30)
        assert await told.get() == ()
        await observer.stop()

    asyncio.run(main())


class _Stubborn(ScriptedSource):
    """A source that goes on when its reading is cancelled, until it is `closed`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def observe(self) -> Observation:
        self.begun.set()
        while not self.ended.is_set():
            with suppress(asyncio.CancelledError):
                await self.ended.wait()
        return Observation([])

    async def close(self) -> None:
        await super().close()
        self.ended.set()


def test_a_source_that_does_not_end_its_reading_is_closed_and_nothing_else_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "_END_TIMEOUT", 0.01)
    opened: list[ScriptedSource] = []
    told: list[Sequence[str]] = []

    async def tell(unreadable: Sequence[str]) -> None:
        told.append(unreadable)

    def opens() -> Sequence[tuple[SourceConfig, ScriptedSource]]:
        opened.extend((stubborn, other))
        return [(CONFIG, stubborn), (CONFIG, other)]

    async def main() -> None:
        observer = Observer(opens, tell, MOST, None)
        observer.start()
        reading = observer._task
        assert reading is not None
        await stubborn.begun.wait()
        [kept] = await observer.stop()
        assert kept.source is other
        await asyncio.wait_for(asyncio.wait((reading,)), 30)
        assert stubborn.closed
        assert (len(opened), told, other.closed) == (2, [], False)

    stubborn, other = _Stubborn(), ScriptedSource()
    asyncio.run(main())


def test_what_was_read_while_standing_by_is_closed_if_the_ledger_fails_at_the_start() -> None:
    async def main() -> None:
        source = ScriptedSource()
        standby = StandbySource(CONFIG, source, MOST, None)
        ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
        await ledger.close()
        config = CoreConfig(sources=(CONFIG,), grpc="127.0.0.1:0")
        with pytest.raises((LedgerError, RuntimeError)):
            await Core(config, ledger, standby_sources=(standby,)).start()
        assert source.closed

    asyncio.run(main())
