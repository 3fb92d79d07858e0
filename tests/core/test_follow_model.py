"""A front over cores, by a model, on a clock of its own: at peace it equals what its cores show.

The cores are tables with watchers, without gRPC: they can be killed, can hang, and can be replaced.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sessiongate.client import reflector
from sessiongate.client.errors import CallError
from sessiongate.core.errors import (
    RevisionNotHeldError,
    SessionNotFoundError,
    ShuttingDownError,
)
from sessiongate.core.follow import follower, front, shard, shown_shard
from sessiongate.core.follow.follower import SILENT_AFTER, CoreToFollow
from sessiongate.core.follow.front import Front
from sessiongate.core.follow.lookup import Lookup
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.table.deadlines import Deadlines
from sessiongate.core.table.table import SessionTable
from sessiongate.core.table.watcher import Watcher
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest, WatchSessionsResponse
from sessiongate.v1.source_service_pb2 import Source
from tests.faults.scale import times

SHARDS = "ab"
STALE_AFTER = 10.0
INSTANCE = 1 << 40
shards = st.sampled_from(SHARDS)
sources = st.sampled_from("12")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes as fast as nothing happens."""

    def __init__(self) -> None:
        super().__init__(_VirtualSelector(self))
        self.now = 1000.0

    def time(self) -> float:
        return self.now


class _VirtualSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("nothing will ever happen")
        if not found and timeout:
            self._loop.now += timeout
        return found


class ModelCore:
    """A core of a shard: what it shows, to whoever watches."""

    def __init__(self, machine: FollowMachine, name: str, activity: int) -> None:
        self.machine = machine
        self.shard = name
        self.core = CoreToFollow(f"core-{activity}", f"{name}{activity}:1", activity)
        self.table = SessionTable(
            [f"{name}1", f"{name}2"], activity * INSTANCE, Timestamp, log_bytes=20_000
        )
        self.table.deadlines = Deadlines(machine.clock)
        self.hangs = asyncio.Event()
        self.hangs.set()
        self.is_alive = True

    def show(self, source: str, *, reachable: bool = True) -> None:
        """Show what there is of a source, or that it cannot be read."""
        if reachable:
            truth = self.machine.truth[self.shard]
            wanted = {ident: one for ident, one in truth.items() if one.source == source}
            following = self.table.following(0, 1000)
            mine = {row.id: row for row in following if row.group.values.source == source}
            changed = [
                made(one)
                for ident, one in wanted.items()
                if ident not in mine or mine[ident].session.user != one.user
            ]
            self.table.apply(changed, mine.keys() - wanted.keys())
        error = "" if reachable else "no"
        self.table.set_source(source, reachable=reachable, error=error)

    def kill(self) -> None:
        self.is_alive = False
        self.table.log.close()

    async def watch_sessions(
        self, request: WatchSessionsRequest
    ) -> AsyncGenerator[WatchSessionsResponse]:
        if not self.is_alive:
            raise CallError(grpc.StatusCode.UNAVAILABLE, None, "refused")
        watcher = Watcher(self.table, None, request.resume_revision, self.machine.clock)
        try:
            async for message in watcher.messages():
                await self.hangs.wait()
                yield WatchSessionsResponse.FromString(message)
        except RevisionNotHeldError:
            raise CallError(grpc.StatusCode.OUT_OF_RANGE, None, "gone") from None
        except ShuttingDownError:
            raise CallError(grpc.StatusCode.UNAVAILABLE, None, "killed") from None

    async def list_sources(self, *, timeout: float) -> list[Source]:  # noqa: ASYNC109
        return []

    async def close(self) -> None:
        pass


class _Pace:
    """Leaves the loop to others, without a look at the real clock."""

    async def pause(self) -> None:
        await asyncio.sleep(0)

    rest = pause


def made(session: Session) -> Session:
    copy = Session()
    copy.CopyFrom(session)
    return copy


def bare(session: Session) -> Session:
    """Return a session without what each table assigns itself."""
    copy = made(session)
    for name in ("revision", "identity_revision", "update_time"):
        copy.ClearField(name)
    return copy


class FollowMachine(RuleBasedStateMachine):
    """Shards with two sources each, whose sessions come and go, and cores that replace others."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(shown_shard, "STEP_CHANGES", 2)
        for module in (follower, shard):
            self.patch.setattr(module, "Pace", _Pace)
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        loop = self.runner.get_loop()
        self.clock = loop.time
        for module in (follower, front, shard, shown_shard, reflector):
            if hasattr(module, "elapsed"):
                self.patch.setattr(module, "elapsed", self.clock)
        self.truth: dict[str, dict[int, Session]] = {name: {} for name in SHARDS}
        # By shard, all that has been true, each from a time on.
        self.was: dict[str, list[tuple[float, dict[int, Session]]]] = {}
        for name in SHARDS:
            self.was[name] = [(0.0, {})]
        self.ledger_is_away = False
        self.activity = 1
        self.active: dict[str, ModelCore | None] = dict.fromkeys(SHARDS)
        self.cores: dict[str, ModelCore] = {}  # by address
        self.run(self.begin())

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runner.run(work)

    async def begin(self) -> None:
        self.table = SessionTable((), 1, Timestamp)
        self.table.deadlines = Deadlines(self.clock)
        self.front = Front(self.table, self.connect, stale_after=STALE_AFTER)
        await self.front.start()
        for name in SHARDS:
            self.replace(name)
        self.tell()
        await self.table.ready.wait()

    def connect(self, address: str) -> Any:
        return self.cores[address]

    def teardown(self) -> None:
        for core in self.cores.values():
            core.hangs.set()
        self.run(self.front.close())
        self.runner.close()
        self.patch.undo()

    def replace(self, name: str, unreadable: str = "") -> ModelCore:
        """Make another core active, which cannot read some sources."""
        self.activity += 1
        core = ModelCore(self, name, self.activity)
        self.active[name] = self.cores[core.core.address] = core
        for number in "12":
            core.show(name + number, reachable=number not in unreadable)
        return core

    def tell(self) -> None:
        """Tell the front which cores are active."""
        self.front.follow(
            {name: core.core if core else "no core" for name, core in self.active.items()}
        )

    @rule(
        name=shards,
        users=st.dictionaries(st.integers(1, 9), st.sampled_from("xyz"), max_size=5),
        gone=st.sets(st.integers(1, 9), max_size=5),
    )
    def change(self, name: str, users: dict[int, str], gone: set[int]) -> None:
        self.run(self.changed(name, users, gone))

    async def changed(self, name: str, users: dict[int, str], gone: set[int]) -> None:
        truth = dict(self.truth[name])
        offset = 100 * SHARDS.index(name)
        for number in gone:
            truth.pop(offset + number, None)
        for number, user in users.items():
            ident, source = offset + number, f"{name}{number % 2 + 1}"
            session = Session(id=ident, source=source, service="s", user=user)
            session.connection_attributes.update({"one": "1", "two": "2", "three": user})
            truth[ident] = session
        self.truth[name] = truth
        self.was[name].append((self.clock(), truth))
        for core in self.cores.values():  # those that were active still read, until they end
            if core.shard == name and core.is_alive:
                for each in core.table.sources():
                    if each.reachable:
                        core.show(each.name)

    @rule(name=shards, unreadable=st.sampled_from(["", "1", "2", "12"]), dies=st.booleans())
    def take_over(self, name: str, unreadable: str, dies: bool) -> None:
        self.run(self.taken_over(name, unreadable, dies=dies))

    async def taken_over(self, name: str, unreadable: str, *, dies: bool) -> None:
        former = self.active[name]
        if former is not None and dies:
            former.kill()
        self.replace(name, unreadable)
        self.tell()

    @rule(name=shards, number=sources, reachable=st.booleans())
    def read(self, name: str, number: str, reachable: bool) -> None:
        self.run(self.was_read(name, number, reachable=reachable))

    async def was_read(self, name: str, number: str, *, reachable: bool) -> None:
        core = self.active[name]
        if core is not None and core.is_alive:
            core.show(name + number, reachable=reachable)

    @rule(name=shards)
    def kill(self, name: str) -> None:
        core, self.active[name] = self.active[name], None
        if core is not None:
            self.run(self.killed(core))

    async def killed(self, core: ModelCore) -> None:
        core.kill()
        self.tell()

    @rule(name=shards)
    def hang_or_go_on(self, name: str) -> None:
        core = self.active[name]
        if core is not None and core.hangs.is_set():
            core.hangs.clear()
        elif core is not None:
            core.hangs.set()

    @rule()
    def lose_or_reach_the_ledger(self) -> None:
        self.ledger_is_away = not self.ledger_is_away

    @rule(seconds=st.sampled_from([0.01, 0.5, SILENT_AFTER + 0.5, STALE_AFTER + 4]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(dies=st.booleans())
    def peace(self, dies: bool) -> None:
        """Each shard has a core that reads all: the front shows what they show."""
        self.run(self.has_peace())
        before = self.table.revision
        for name in SHARDS:
            self.run(self.taken_over(name, "", dies=dies))
        self.run(self.has_peace())
        steps = self.table.log.between(before, self.table.revision)
        assert not [step for step in steps if step.new], "a take-over makes no event"

    async def has_peace(self) -> None:
        for name in SHARDS:
            core = self.active[name]
            if core is None or not core.is_alive:
                core = self.replace(name)
            core.hangs.set()
            for number in "12":
                core.show(name + number)
        self.tell()
        await asyncio.sleep(SILENT_AFTER + 1.5)
        expected = {ident: one for name in SHARDS for ident, one in self.truth[name].items()}
        assert self.shown() == expected
        assert not self.table.unreachable
        assert not self.table.unseen
        assert self.clock() - self.table.current_until() < SILENT_AFTER

    def shown(self) -> dict[int, Session]:
        return {row.id: bare(row.session) for row in self.table.following(0, 1000)}

    @invariant()
    def what_is_shown_as_reachable_is_as_current_as_the_front_says(self) -> None:
        self.run(self.is_true())

    async def is_true(self) -> None:
        self.table.deadlines.enforce()
        current, showing = self.table.current_until(), self.shown()
        assert self.clock() - min(current, self.clock()) <= SILENT_AFTER + 0.01
        for state in self.table.sources():
            if not state.reachable or self.front.shards[state.name[0]]._lock.locked():
                continue  # several steps are being shown, each as soon as the loop allows
            mine = {ident: one for ident, one in showing.items() if one.source == state.name}
            was = self.was[state.name[0]]
            ends = [*(begun for begun, _ in was[1:]), float("inf")]
            possible = [
                {ident: one for ident, one in truth.items() if one.source == state.name}
                for (_, truth), end in zip(was, ends, strict=True)
                if end >= current
            ]
            assert mine in possible, "it was so, then or later"

    @invariant()
    def what_is_not_shown_of_an_unreachable_source_is_not_denied(self) -> None:
        reachable = {state.name for state in self.table.sources() if state.reachable}
        assert not reachable & {*self.table.unseen.values()}
        assert not [ident for ident in self.table.unseen if ident in self.table]

    @invariant()
    def what_is_open_is_not_denied(self) -> None:
        self.run(self.is_known())

    async def is_known(self) -> None:
        lookup = Lookup(self.table, self.in_the_ledger)
        for ident in [ident for truth in self.truth.values() for ident in truth]:
            if ident not in self.table:
                error = await lookup.missing(ident)
                assert not isinstance(error, SessionNotFoundError)

    async def in_the_ledger(self, ident: int) -> PastSession | None:
        if self.ledger_is_away:
            raise LedgerError("away")
        found = [truth[ident] for truth in self.truth.values() if ident in truth]
        return PastSession(session=found[0]) if found else None


FollowMachine.TestCase.settings = settings(max_examples=times(15, 500), stateful_step_count=30)
TestFollow = FollowMachine.TestCase


def test_what_a_core_stated_before_it_hung_does_not_make_its_shard_heard() -> None:
    front = FollowMachine()
    try:
        front.hang_or_go_on("a")
        front.change("a", {1: "x"}, set())
        front.wait(SILENT_AFTER + 0.5)
        assert {each.name for each in front.table.sources() if each.reachable} == {"b1", "b2"}
        front.hang_or_go_on("a")  # first comes what was on its way, which is old
        front.what_is_shown_as_reachable_is_as_current_as_the_front_says()
        front.take_over("a", "", dies=True)
        front.what_is_shown_as_reachable_is_as_current_as_the_front_says()
        front.run(front.has_peace())
    finally:
        front.teardown()
