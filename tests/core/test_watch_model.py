"""Watchers over a table, by a model: a copy always equals the table at some revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from sessiongate.core.errors import RevisionNotHeldError
from sessiongate.core.table import watcher as watching
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.table import SessionTable
from sessiongate.core.table.watcher import Watcher
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter, WatchSessionsResponse
from tests.core.copies import Copy
from tests.faults.scale import times

Sessions: TypeAlias = dict[int, Session]
ids = st.integers(1, 12)
services = st.sampled_from("ab")


class Reader:
    """A caller that reads messages at its own pace and resumes where it was cut."""

    def __init__(
        self, table: SessionTable, wanted: SessionFilter | None, clock: Callable[[], float]
    ) -> None:
        self.table = table
        self.wanted = wanted
        self.clock = clock
        self.copy = Copy()
        self.reached = 0  # over all streams
        self.stream = self._open()

    def _open(self) -> AsyncGenerator[bytes]:
        self.began = self.clock()
        wanted = None if self.wanted is None else RowFilter(self.wanted, ())
        return Watcher(self.table, wanted, self.copy.resume(), self.clock).messages()

    def cut(self) -> None:
        self.stream = self._open()

    async def read(self) -> WatchSessionsResponse | None:
        """Read and apply the next message; return None if the stream ended and another began."""
        try:
            message = WatchSessionsResponse.FromString(await anext(self.stream))
        except RevisionNotHeldError:
            self.copy = Copy()
            self.stream = self._open()
            return None
        self.copy.apply(message)
        if message.revision:
            assert message.revision >= self.reached, "never back, from one stream to the next"
            self.reached = message.revision
        return message


class WatchMachine(RuleBasedStateMachine):
    """A small log, small messages, and readers of all speeds."""

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(watching, "SNAPSHOT_SESSIONS", 4)
        self.patch.setattr(watching, "_MESSAGE_BYTES", 100)
        self.patch.setattr(watching, "PROGRESS_INTERVAL", 0)  # nobody ever waits
        self.runner = asyncio.Runner()
        self.table = SessionTable(["s", "t"], 100, Timestamp, log_bytes=8000)
        self.states: dict[int, Sessions] = {100: {}}  # by revision
        self.sources = {"s": False, "t": False}
        self.time = 0
        self.stood = {0: 100}  # the table's revision by time

    def teardown(self) -> None:
        self.runner.close()
        self.patch.undo()

    @initialize(target=readers)
    def first(self) -> object:
        return multiple(self.open(None), self.open(None))

    def open(self, wanted: SessionFilter | None) -> Reader:
        return Reader(self.table, wanted, lambda: self.time)

    def changed(self) -> None:
        """Advance the time; it passes when the table changes, and only then."""
        self.time += 1
        self.stood[self.time] = self.table.revision

    @rule(target=readers, service=services)
    def filtered(self, service: str) -> Reader:
        return self.open(SessionFilter(services=[service]))

    @rule(upserts=st.dictionaries(ids, services, max_size=6), removals=st.sets(ids, max_size=6))
    def change(self, upserts: dict[int, str], removals: set[int]) -> None:
        revision = self.table.revision
        now = dict(self.states[revision])
        for ident in removals:
            if now.pop(ident, None) is not None:
                revision += 1
                self.states[revision] = dict(now)
        sessions = [Session(id=ident, service=name) for ident, name in upserts.items()]
        self.table.apply(sessions, removals)
        for ident in upserts:
            revision += 1
            session = self.table.get(ident)
            assert session is not None
            assert session.revision == revision
            now[ident] = session
            self.states[revision] = dict(now)
        assert self.table.revision == revision
        self.changed()

    @rule(name=st.sampled_from("st"), reachable=st.booleans())
    def source(self, name: str, reachable: bool) -> None:
        before = self.table.revision
        if self.table.set_source(name, reachable=reachable, error="" if reachable else "no"):
            assert self.table.revision == before + 1
            self.states[before + 1] = self.states[before]
            self.changed()
        self.sources[name] = reachable

    @rule(reader=readers, messages=st.integers(1, 4), cut=st.booleans())
    def read(self, reader: Reader, messages: int, cut: bool) -> None:
        for _ in range(messages):
            self.read_one(reader)
        if cut:
            reader.cut()

    def read_one(self, reader: Reader) -> str | None:
        """Read a message, which must leave the copy in the state that it says; return its kind."""
        message = self.runner.run(reader.read())
        if message is None:
            return None
        if message.HasField("as_of"):
            at = reader.began + message.as_of.ToNanoseconds() / 1e9
            assert self.stood[int(at)] == message.revision, "the table was at it then"
        if message.revision:
            self.holds(reader)
        kind: str | None = message.WhichOneof("event")
        return kind

    @rule(reader=readers)
    def catch_up(self, reader: Reader) -> None:
        if not self.table.ready.is_set():
            self.catch_up_without_sync(reader)
            return
        while self.read_one(reader) != "progress":
            pass
        assert reader.copy.revision == self.table.revision
        assert reader.copy.sources == self.sources
        self.holds(reader)

    def catch_up_without_sync(self, reader: Reader) -> None:
        """Read what there is, which a table that is not ready sends, but never a sync."""
        for _ in range(1000):
            assert self.read_one(reader) in ("snapshot", "changes", None)
            assert not reader.copy.revision
            if reader.copy.sessions == self.expected(reader, self.table.revision):
                return
        raise AssertionError("it does not catch up")

    def expected(self, reader: Reader, revision: int) -> Sessions:
        """Return what a reader wants of the table at a revision."""
        services = (reader.wanted or SessionFilter()).services
        return {
            ident: session
            for ident, session in self.states[revision].items()
            if not services or session.service in services
        }

    def holds(self, reader: Reader) -> None:
        """Check that the copy is what of the table at the copy's revision matches."""
        assert reader.copy.sessions == self.expected(reader, reader.copy.revision)


WatchMachine.TestCase.settings = settings(max_examples=times(40, 1000), stateful_step_count=50)
TestWatch = WatchMachine.TestCase
