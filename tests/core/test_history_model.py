"""History beside a naive record of the truth, whatever happens to a core and its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sessiongate.core.collect import endings, reconciler, shown_source
from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.observed_times import ObservedTimes
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.history.counts import PastCountsQuery
from sessiongate.core.history.history import History, PastPage
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.opening import open_ledger
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, Unreadable
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import FreeMemory
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    EndReason,
    GapReason,
    ListPastSessionsRequest,
    PastSessionFilter,
)
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import running_engine
from tests.faults.scale import times

SECOND = 10**9
START = 1_700_000_000 * SECOND
KEYS = "abcdef"


@dataclass
class Moment:
    """A time at which the source was asked, and the truth about it then."""

    time: int  # as the clock showed it, in ns since the epoch
    alive: dict[str, int]  # starts, by key with its life
    kind: str  # "whole", "partial" or "unreachable"
    stretch: int  # how often the clock had been set
    is_noted: bool = False  # the ledger knows, even if the core is killed


@dataclass
class Truth:
    """Live sessions: keys, each with its life, and its start in ns since the epoch."""

    lives: dict[str, int] = field(default_factory=dict)
    alive: dict[str, tuple[str, int]] = field(default_factory=dict)

    def turn(self, keys: set[str], now: int) -> None:
        """Let sessions with these keys be alive: others end, and new ones begin now."""
        for key in self.alive.keys() - keys:
            del self.alive[key]
        for key in sorted(keys - self.alive.keys()):
            self.lives[key] = self.lives.get(key, 0) + 1
            self.alive[key] = (f"{key}{self.lives[key]}", now)


class HistoryMachine(RuleBasedStateMachine):
    """One source, whose server, core and clock do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory()
        self.url = self.place()
        self.patch = pytest.MonkeyPatch()
        self.wall, self.elapsed = START, 1000.0
        for module in (reconciler, shown_source, endings):
            self.patch.setattr(module, "elapsed", lambda: self.elapsed)
        self.truth = Truth()
        self.moments: list[Moment] = []
        self.first = 0  # of the moments since the core's last start
        self.begins = [START]  # what the clock has been set to
        self.acknowledged: set[int] = set()
        self.runner.run(self._start())

    def place(self) -> str:
        """Return the URL of a new ledger."""
        return f"sqlite:///{Path(self.folder.name) / 'ledger.db'}"

    def read(self, question: str) -> Iterable[tuple[int]]:
        """Return what the ledger's database answers."""
        ledger: Any = self.ledger
        return ledger._store.database.connection.execute(question)  # type: ignore[no-any-return]

    def teardown(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()
        self.folder.cleanup()
        self.patch.undo()

    async def _start(self) -> None:
        self.ledger = await open_ledger(self.url, policy=HistoryPolicy(), now=lambda: self.wall)
        ceiling = await self.ledger.ceiling()
        await self.ledger.reserve(ceiling)
        self.table = SessionTable(["s"], ceiling, lambda: Timestamp(seconds=self.wall // SECOND))
        context = CollectorContext(
            self.table, self.ledger, Links(), FreeMemory(), 1e9, 65_536, lambda: self.wall
        )
        self.source = Reconciler(SourceConfig.parse("host:?name=s"), context)
        held = (await self.ledger.held())["s"]
        covered_until = await self.ledger.covered_until("s")
        await self.source.restore((await self.ledger.places()).get("s"), held, covered_until)
        self.times = ObservedTimes("s")
        self.times.restore(covered_until)
        self.is_reachable = False
        self.items: dict[str, Observed] = {}
        self.history = History(
            self.ledger,
            self.table,
            lambda now: self.times.until(now, self.elapsed, is_current=self.is_reachable),
            lambda: self.wall,
        )

    async def _stop(self) -> None:
        self.source.close()
        await self.ledger.close()

    @rule(seconds=st.integers(1, 5), keys=st.sets(st.sampled_from(KEYS)))
    def observe(self, seconds: int, keys: set[str]) -> None:
        self._turn(seconds, keys)
        self.runner.run(self._take(Observation([*self._items(keys)])))
        self._record("whole")

    @rule(
        seconds=st.integers(1, 5),
        keys=st.sets(st.sampled_from(KEYS)),
        seen=st.sets(st.sampled_from(KEYS)),
    )
    def observe_in_part(self, seconds: int, keys: set[str], seen: set[str]) -> None:
        self._turn(seconds, keys)
        lost = (Unreadable("a row"),)
        partial = Observation([*self._items(keys & seen)], unreadable=lost, partial="a row is odd")
        self.runner.run(self._take(partial))
        self._record("partial")

    @rule(seconds=st.integers(1, 5), keys=st.sets(st.sampled_from(KEYS)))
    def fail(self, seconds: int, keys: set[str]) -> None:
        self._turn(seconds, keys)
        self.is_reachable = False
        self._record("unreachable")

    @rule()
    def note(self) -> None:
        """Write when the source was observed, as the collector does every few seconds."""
        intervals = self.times.intervals
        self.runner.run(self.ledger.note(intervals))
        self.times.written(intervals)
        for moment in self.moments[self.first :]:
            moment.is_noted = True

    @rule(seconds=st.integers(1, 100), is_killed=st.booleans(), keys=st.sets(st.sampled_from(KEYS)))
    def restart(self, seconds: int, is_killed: bool, keys: set[str]) -> None:
        if not is_killed:
            self.note()
        self.runner.run(self._stop())
        self._turn(seconds, keys)
        self.first = len(self.moments)
        self.runner.run(self._start())

    @rule(seconds=st.integers(-200, 200))
    def set_the_clock(self, seconds: int) -> None:
        self.wall += seconds * SECOND
        self.begins.append(self.wall)

    @precondition(lambda self: self.moments)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """Every answer is right or names its gap."""
        asked = data.draw(st.sampled_from(self.moments))
        if any(begin <= asked.time for begin in self.begins[asked.stretch + 1 :]):
            return  # the clock was set back to before this time: it may be shown twice
        page = self._ask(asked.time)
        found = {past.session.native_id for past in page.sessions}
        gaps = {gap.reason for gap in page.gaps}
        if not gaps:
            expected = {name for name, start in asked.alive.items() if start <= asked.time}
            assert found == expected, "the answer is right, or names its gap"
        if asked.kind == "unreachable":
            assert gaps, "what could not be seen is named"
        if asked.kind == "partial":
            assert gaps
        if asked.kind == "whole" and asked.is_noted:
            assert gaps <= {GapReason.GAP_REASON_PARTIAL}, "what was seen and noted is known"
        self._check_count(asked.time, len(page.sessions))
        for past in page.sessions:
            if past.HasField("end_time"):
                assert past.end_time.ToNanoseconds() >= past.session.connect_time.ToNanoseconds()
                assert past.end_reason != EndReason.END_REASON_UNSPECIFIED

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        is_open, is_past = (
            {ident for (ident,) in self.read(f"select id from {table}")}
            for table in ("open_sessions", "past_sessions")
        )
        assert not is_open & is_past, "no session is both live and ended"
        self.acknowledged |= self.table_ids()
        assert self.acknowledged <= is_open | is_past, "what was acknowledged survives"

    def table_ids(self) -> set[int]:
        return {ident for ident in range(1, 1000) if self.table.row(ident) is not None}

    def _ask(self, time: int) -> PastPage:
        request = ListPastSessionsRequest(filter=PastSessionFilter())
        request.filter.at_time.FromNanoseconds(time)
        return self.runner.run(self.history.page(PastQuery.parse(request, self.wall)))

    def _check_count(self, time: int, expected: int) -> None:
        """Check that a count says of a moment as many as are listed, whatever the others are."""
        if time >= self.wall:
            return
        request = CountPastSessionsRequest(moments=3)
        request.filter.start_time.FromNanoseconds(time)
        request.filter.end_time.FromNanoseconds(self.wall)
        query = PastCountsQuery.parse(request, self.wall)
        counts, _ = self.runner.run(self.history.counts(query))
        assert counts.total[0] == expected
        assert counts.total[1] == len(self._ask(query.moments[1]).sessions)

    def _turn(self, seconds: int, keys: set[str]) -> None:
        """Let time pass, and sessions come and go at its end."""
        self.wall += seconds * SECOND
        self.elapsed += seconds
        self.truth.turn(keys, self.wall)

    def _items(self, keys: set[str]) -> list[Observed]:
        found = []
        for key in sorted(keys):
            name, start = self.truth.alive[key]
            session = Session(service="x", native_id=name)
            session.connect_time.FromNanoseconds(start)
            found.append(self.items.setdefault(name, Observed(name, session)))
        return found

    async def _take(self, observation: Observation) -> None:
        continues = self.is_reachable
        await self.source.take(observation, self.elapsed, self.wall, continues=continues)
        self.times.observe(
            *(self.wall, self.elapsed),
            is_partial=bool(self.source.completeness.partial),
            continues=continues,
        )
        self.is_reachable = True

    def _record(self, kind: str) -> None:
        alive = dict(self.truth.alive.values())
        self.moments.append(Moment(self.wall, alive, kind, len(self.begins) - 1))


HistoryMachine.TestCase.settings = settings(
    max_examples=times(20, 500),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestHistory = HistoryMachine.TestCase


def test_history_in_postgresql_is_the_same() -> None:
    with running_engine() as engine:

        class InPostgresql(HistoryMachine):
            def place(self) -> str:
                return engine.url(engine.database())

            def read(self, question: str) -> Iterable[tuple[int]]:
                ledger: Any = self.ledger
                return ledger._store.pen.connection.execute(question)  # type: ignore[no-any-return]

        run_state_machine_as_test(
            InPostgresql,
            settings=settings(max_examples=times(2, 100), stateful_step_count=30, deadline=None),
        )
