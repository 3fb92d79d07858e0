"""The reconciler beside a naive model of it, through all that may happen to an observation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessiongate.core.collect import plan, reconciler, shown_source
from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, Unreadable
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import FreeMemory
from sessiongate.v1.session_pb2 import Session

STALE_AFTER = 30.0
LOST = (Unreadable("a row"),)
KEYS = "abcdef"


@dataclass
class Take:
    """One observation, and what happens to it."""

    rows: Sequence[tuple[str, str]]  # keys, each with how it is stated
    restarted: bool
    lost: bool  # a key could not be read
    seconds: float  # since the observation before
    meanwhile: str


takes = st.builds(
    Take,
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(["again", "anew", "odd"]))),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, True]),
    st.sampled_from([1.0, 1.0, 50.0]),
    st.sampled_from(["", "", "stale before", "stale meanwhile", "full", "full meanwhile"]),
)


@dataclass
class Model:
    """The open sessions, by key, and what is shown of them."""

    limit: int
    ids: dict[str, int] = field(default_factory=dict)
    items: dict[str, Observed] = field(default_factory=dict)  # those shown
    users: dict[str, str] = field(default_factory=dict)  # likewise
    stated: list[Observed] = field(default_factory=list)  # in the last observation, and shown
    missing: dict[str, float] = field(default_factory=dict)
    last: float = 0.0
    following: int = 1
    filled: dict[Observed, str] = field(default_factory=dict)  # users, by object

    def expire(self) -> None:
        self.items, self.users, self.stated = {}, {}, []
        self.missing = {key: self.missing.get(key, self.last) for key in self.ids}

    def take(
        self, sessions: Sequence[Observed], now: float, *, restarted: bool, lost: bool
    ) -> None:
        distinct: dict[str, Observed] = {}
        for item in sessions:
            if item.key not in distinct or item is self.items.get(item.key):
                distinct[item.key] = item
        stated = [] if restarted else self.stated

        def rank(key: str) -> int:
            return 0 if distinct[key] in stated else 1 if key in self.ids else 2

        chosen = {*sorted(distinct, key=rank)[: self.limit]}
        if restarted:
            self.ids, self.items, self.users, self.missing = {}, {}, {}, {}
        since = self.last or now
        lacking = {key: self.missing.get(key, since) for key in self.ids if key not in chosen}
        oldest_first = sorted(lacking, key=lambda key: (lacking[key], self.ids[key]))
        newest = oldest_first[-self.limit :] if lost else []
        keep = {key: lacking[key] for key in newest if lacking[key] > now - STALE_AFTER}
        for key in lacking.keys() - keep.keys():
            del self.ids[key]
            self.items.pop(key, None)
            self.users.pop(key, None)
        self.missing = keep
        self.stated = []
        for key, item in distinct.items():
            if key not in chosen:
                continue
            if key not in self.ids:
                self.ids[key] = self.following
                self.following += 1
            if item not in self.filled:  # else it stands for what it was when first shown
                was = self.users.get(key, "")
                self.filled[item] = was if item.unreadable else item.session.user
            self.users[key] = self.filled[item]
            self.items[key] = item
            self.stated.append(item)
        self.last = now


class Rig:
    """A reconciler over a real table and ledger, with a clock of its own."""

    def __init__(self, ledger: SqliteLedger, limit: int) -> None:
        self.ledger = ledger
        self.table = SessionTable(["s"], 1, lambda: Timestamp(seconds=1_700_000_000))
        context = CollectorContext(
            self.table, ledger, Links(), FreeMemory(), STALE_AFTER, 65_536, time.time_ns
        )
        config = SourceConfig.parse(f"synthetic:?name=s&max_sessions={limit}")
        self.reconciler = Reconciler(config, context)
        self.model = Model(limit)
        self.now = 1000.0
        self.incarnation = 1000.0
        self.meanwhile = ""
        self.made = 0
        self.known: dict[str, Observed] = {}

    def item(self, key: str, how: str) -> Observed:
        if how != "again" or key not in self.known:
            self.made += 1
            user = "" if how == "odd" else f"user {self.made}"
            unreadable = (Unreadable("its user", ("user",)),) if how == "odd" else ()
            session = Session(native_id=key, user=user or None)
            self.known[key] = Observed(key, session, unreadable=unreadable)
        return self.known[key]

    def allow_writing(self, allowed: bool) -> None:
        self.ledger._store.database.connection.execute(f"PRAGMA query_only={0 if allowed else 1}")

    def interrupt(self) -> None:
        """Do what is to be done between writing and showing."""
        meanwhile, self.meanwhile = self.meanwhile, ""
        if meanwhile == "stale meanwhile":
            self.reconciler.expire()
        elif meanwhile == "full meanwhile":
            self.ledger._store.ceiling = 0  # a reservation is due
            self.allow_writing(False)

    async def take(self, what: Take) -> None:
        self.now += what.seconds
        self.incarnation += 10.0 * what.restarted
        items = [self.item(key, how) for key, how in what.rows]
        if what.meanwhile == "stale meanwhile":  # what was last known depends on the moment
            items = [item for item in items if item in self.model.filled or not item.unreadable]
        observation = Observation(items, self.incarnation, LOST if what.lost else ())
        if what.meanwhile.startswith("stale"):
            self.model.expire()
        if what.meanwhile == "stale before":
            self.reconciler.expire()
        elif what.meanwhile == "full":
            self.allow_writing(False)
        else:
            self.meanwhile = what.meanwhile
        before = await self.state()
        try:
            await self.reconciler.take(observation, self.now)
        except LedgerError:
            assert what.meanwhile.startswith("full")
            if what.meanwhile == "full":
                held, *shown = await self.state()
                assert held == before[0], "nothing is half written"
                if len(KEYS) <= plan._AT_ONCE:  # else sessions that only changed may be shown
                    assert [held, *shown] == [*before], "nothing is half taken"
            self.allow_writing(True)
            await self.reconciler.take(observation, self.now)
        self.allow_writing(True)
        if self.meanwhile == "stale meanwhile":  # there was nothing to show
            self.reconciler.expire()
            await self.reconciler.take(observation, self.now)
        self.meanwhile = ""
        self.model.take(items, self.now, restarted=what.restarted, lost=what.lost)

    async def state(self) -> tuple[object, ...]:
        while self.reconciler._shown_source.is_hiding:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0)
        held = {key: id_of(place) for key, place in (await self.ledger.held())["s"].items()}
        found = filter(None, map(self.table.get, range(self.model.following)))
        shown = {session.native_id: (session.id, session.user) for session in found}
        return held, shown, dict(self.table.unseen), self.reconciler.session_count

    def expected(self) -> tuple[object, ...]:
        ids, users = self.model.ids, self.model.users
        shown = {key: (ids[key], users[key]) for key in self.model.items}
        unseen = {ident: "s" for key, ident in ids.items() if key not in shown}
        return ids, shown, unseen, len(shown)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    limit=st.sampled_from([3, 100]),
    part=st.sampled_from([1, 2, 1000]),
    step=st.sampled_from([1, 2, 3, 1000]),
    steps=st.lists(takes, min_size=1, max_size=7),
)
def test_it_does_what_a_naive_one_does(limit: int, part: int, step: int, steps: list[Take]) -> None:
    async def main() -> None:
        ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
        await ledger.reserve(1)
        rig = Rig(ledger, limit)

        class Interrupted(Pace):
            rests = 0

            async def rest(self) -> None:
                self.rests += 1
                if self.rests > 1:  # the first is before all
                    rig.interrupt()
                await super().rest()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconciler, "Pace", Interrupted)
            patch.setattr(reconciler, "elapsed", lambda: rig.now)
            patch.setattr(plan, "_AT_ONCE", part)
            patch.setattr(shown_source, "STEP_CHANGES", step)
            await rig.reconciler.restore(None, (await rig.ledger.held())["s"])
            for take in steps:
                await rig.take(take)
                assert await rig.state() == rig.expected(), (limit, part, step, steps, take)
            rig.reconciler.close()
        await ledger.close()

    asyncio.run(main())
