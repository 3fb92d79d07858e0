"""A server with PostgreSQL's rules of locks, transactions, durability and connections."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import CoroutineType
from typing import Any, TypeAlias

import psycopg

from tests.model.tables import Row, Tables, Transaction, apply, copied
from tests.model.virtual import Machine, VirtualTime, Work

_IDLE = 60.0  # seconds: idle_in_transaction_session_timeout
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_LOCK_TIMEOUT = 10.0  # seconds, as cores set it
_FLUSH_EVERY = 0.4  # seconds until what is not durable becomes so


@dataclass(eq=False)
class Session:
    """A connection as the server has it, with the process that serves it."""

    pid: int
    begun: datetime
    application: str
    owner: object  # whose it is
    hear: Callable[[object], None]  # is called with what the server answers
    is_durable: bool = True  # synchronous_commit
    transaction: Transaction | None = None
    warned: bool = False
    # Locks until the transaction, and until the connection ends, in the order of taking them.
    locked: dict[Hashable, None] = field(default_factory=dict)
    kept: dict[Hashable, None] = field(default_factory=dict)
    work: Work | None = None  # a statement that waits for something
    is_told_to_end: bool = False
    is_flushing: bool = False
    asked_at: float = 0.0


class Lost:
    """The error that a client gets when its connection ends."""


# What it gives, or a coroutine that waits for that.
Statement: TypeAlias = Callable[["Server", Session, Transaction, tuple[Any, ...]], Any]


class Server:
    """One server of the ledger at a time: it is killed, restored, or replaced by its standby."""

    def __init__(
        self,
        time: VirtualTime,
        chance: Random,
        statements: Callable[[str], Statement],
        reads: Callable[[str], Statement | None],
    ) -> None:
        self.machine = Machine(time)
        self._time, self._chance = time, chance
        self._statements, self._reads = statements, reads
        self.system, self.timeline = 4711, 1
        self.tables_file = 1  # other tables have another number
        self.forgotten = 0  # how often all tables were lost
        self.tables: Tables = defaultdict(dict)
        self._flushed: Tables = defaultdict(dict)
        self._unflushed: list[Mapping[tuple[str, Hashable], Row | None]] = []
        self._standby: Tables | None = None
        self._is_in_sync = False  # commits wait for the standby
        self.is_up, self.is_writable = True, True  # if it is not writable, its disk hangs
        self.hears_standby = True
        self._unheard: list[asyncio.Future[bool]] = []  # commits that wait for the standby
        self._is_to_drop = False
        self.sessions: dict[Session, None] = {}  # so that each run is the same
        self._owners: dict[Hashable, Session] = {}
        self._queues: defaultdict[Hashable, list[asyncio.Future[bool]]] = defaultdict(list)
        self._pids = 100
        self.committed: list[Callable[[Session, Transaction], None]] = []  # are told of commits
        self.highest: dict[int, int] = {}  # claim by shard that committed on this server
        self.started = self._moment()

    def _moment(self) -> datetime:
        return _EPOCH + timedelta(seconds=self._time.now)

    # Connections.

    def connect(self, application: str, owner: object, hear: Callable[[object], None]) -> Session:
        """Begin a connection, on the server's machine."""
        self._pids += 1
        session = Session(self._pids, self._moment(), application, owner, hear)
        self.sessions[session] = None
        return session

    def ask(self, session: Session, text: str, values: tuple[Any, ...]) -> None:
        """Perform a statement of a connection's, on the server's machine."""
        if session.is_told_to_end or session not in self.sessions:
            return
        assert session.work is None, "a connection asks for one thing at a time"
        session.asked_at = self._time.now
        steps = self._answer(session, text, values)
        try:
            awaited = steps.send(None)
        except StopIteration:  # most wait for nothing
            return
        session.work = Work(self.machine, steps, awaited)

    def read(self, session: Session, text: str, values: tuple[Any, ...]) -> Any:
        """Return the rows of a statement that reads without waiting; None if it is another one."""
        statement = self._reads(text)
        if statement is None or session not in self.sessions or session.is_told_to_end:
            return None
        if session.transaction is not None or session.work is not None:
            return None
        return statement(self, session, Transaction(self.tables), values)

    def terminate(self, session: Session) -> None:
        """End a connection, as soon as it waits for nothing that cannot be interrupted."""
        session.is_told_to_end = True
        if session.work is None:
            self.machine.call_soon(self._end, session)
        elif not session.is_flushing:
            session.work.cancel()

    def _end_if_idle(self, session: Session, begun: Transaction) -> None:
        """End a connection in whose transaction nothing was asked for too long."""
        if session in self.sessions and session.transaction is begun:
            idle = self._time.now - session.asked_at
            if session.work is None and idle >= _IDLE:
                self.terminate(session)
            else:
                self.machine.call_later(max(1.0, _IDLE - idle), self._end_if_idle, session, begun)

    def _end(self, session: Session) -> None:
        if session in self.sessions:
            del self.sessions[session]
            session.transaction = None
            self.release(session, [*session.locked, *session.kept])
            session.hear(Lost())
            self._drop_if_unused()

    async def _answer(self, session: Session, text: str, values: tuple[Any, ...]) -> None:
        session.warned = False
        is_over = True
        try:
            try:
                answer = await self._perform(session, text, values)
            except psycopg.Error as error:
                answer = error
            is_over = session.is_told_to_end
        except Exception as error:
            self.machine.failed.append(error)
        finally:
            session.work = None
            if is_over:
                self._end(session)
        if not is_over:
            session.hear((answer, session.warned))

    async def _perform(self, session: Session, text: str, values: tuple[Any, ...]) -> Any:
        if text.startswith("BEGIN"):
            begun = session.transaction = Transaction(self.tables)
            self.machine.call_later(_IDLE, self._end_if_idle, session, begun)
            return None
        if text == "ROLLBACK":
            self._finish(session)
            return None
        if text == "COMMIT":
            await self._commit(session)
            return None
        statement = self._statements(text)
        if session.transaction is not None:
            answer = statement(self, session, session.transaction, values)
            return await answer if type(answer) is CoroutineType else answer
        transaction = session.transaction = Transaction(self.tables)
        try:
            answer = statement(self, session, transaction, values)
            if type(answer) is CoroutineType:
                answer = await answer
            if transaction.changed:
                await self._commit(session)
            else:
                self._finish(session)
        except BaseException:
            self._finish(session)
            raise
        return answer

    # Transactions.

    async def _commit(self, session: Session) -> None:
        transaction = session.transaction
        if transaction is None:
            return
        if transaction.changed and session.is_durable:
            await self._make_durable(session, transaction)
        elif transaction.changed:
            self._unflushed.append(transaction.changed)
            self.machine.call_later(_FLUSH_EVERY, self._flush)
        self._show(session, transaction)

    async def _make_durable(self, session: Session, transaction: Transaction) -> None:
        session.is_flushing = True  # nothing interrupts that
        try:
            await self._passed(0.002)
            while not self.is_writable:
                await self._passed(0.1)
        finally:
            session.is_flushing = False
        self._unflushed.append(transaction.changed)
        self._flush()
        try:
            if self._is_in_sync:
                await self._passed(0.002)
            while self._is_in_sync and not (self.hears_standby or session.is_told_to_end):
                heard = self.machine.create_future()
                self._unheard.append(heard)
                await heard
        except asyncio.CancelledError:
            if session not in self.sessions:
                raise  # the whole server was killed
            session.is_told_to_end = True
        if self._is_in_sync and session.is_told_to_end:
            session.warned = True  # it is committed here, and perhaps nowhere else

    def _passed(self, seconds: float) -> asyncio.Future[bool]:
        """Return what is done when time has passed."""
        future = self.machine.create_future()
        self.machine.call_later(seconds, _settle, future, True)
        return future

    def _show(self, session: Session, transaction: Transaction) -> None:
        for each in self.committed if transaction.changed else ():
            each(session, transaction)
        if transaction.claim is not None:
            shard, claim = transaction.claim
            assert claim >= self.highest.get(shard, 0), "a higher claim has committed before"
            self.highest[shard] = claim
        apply(self.tables, transaction.changed)
        self._finish(session)

    def _finish(self, session: Session) -> None:
        session.transaction = None
        if session.locked:
            self.release(session, [*session.locked])
            session.locked.clear()
        if self._is_to_drop:
            self._drop_if_unused()

    def _flush(self) -> None:
        if not self.is_writable:
            return
        for changed in self._unflushed:
            apply(self._flushed, changed)
            if self._standby is not None and self.hears_standby:
                apply(self._standby, changed)
        self._unflushed.clear()

    # Locks.

    def holder(self, what: Hashable) -> Session | None:
        """Return who has a lock."""
        return self._owners.get(what)

    def try_lock(self, session: Session, what: Hashable) -> bool:
        """Take a lock until the connection ends, if nobody has it."""
        if self._owners.setdefault(what, session) is session:
            session.kept[what] = None
            return True
        return False

    async def lock(self, session: Session, what: Hashable) -> None:
        """Take a lock until the transaction ends; wait for it."""
        if self._owners.setdefault(what, session) is not session:
            until = self.machine.time() + _LOCK_TIMEOUT
            while self._owners.setdefault(what, session) is not session:
                free = self.machine.create_future()
                self._queues[what].append(free)
                limit = self.machine.call_at(until, _settle, free, False)
                try:
                    if not await free:
                        raise psycopg.errors.LockNotAvailable("canceling: lock timeout")
                finally:
                    limit.cancel()
        if what not in session.kept:
            session.locked[what] = None

    def release(self, session: Session, locks: Sequence[Hashable]) -> None:
        """Give locks back."""
        for what in locks:
            if self._owners.get(what) is session:
                del self._owners[what]
                for waiting in self._queues.pop(what, ()):
                    _settle(waiting, True)
            session.kept.pop(what, None)

    # What happens to it.

    def kill(self) -> None:
        """End at once: what is not durable is lost."""
        self.is_up = self._is_to_drop = False
        for session in [*self.sessions]:
            if session.work is not None:
                session.work.cancel()
            session.is_flushing = False
            self._end(session)

    def start(self) -> None:
        """Start again, with what was durable."""
        self._begin(self._flushed)

    def restore(self, tables: Tables) -> None:
        """Start with what a copy has."""
        self.kill()
        self._standby, self._is_in_sync = None, False
        if "version" not in tables:
            self.forgotten += 1
        self._begin(tables)

    def attach_standby(self, *, is_in_sync: bool) -> None:
        """Let a standby follow; commits wait for it if it is in sync."""
        self._flush()
        self._standby, self._is_in_sync = copied(self._flushed), is_in_sync
        self._hear(is_heard=True)

    def hear_standby(self, *, is_heard: bool) -> None:
        """Lose the standby, or let it catch up."""
        self._hear(is_heard=is_heard)
        if is_heard and self._standby is not None:
            self._standby = copied(self._flushed)

    def _hear(self, *, is_heard: bool) -> None:
        self.hears_standby = is_heard
        waiting, self._unheard = self._unheard, []
        for each in waiting:
            _settle(each, True)

    def promote(self) -> None:
        """Replace the server by its standby."""
        if self._standby is not None:
            self.timeline += 1
            self.restore(self._standby)

    def _begin(self, tables: Tables) -> None:
        self._unflushed.clear()
        # Commits that were being made belong to no server any longer.
        self._flushed, self.tables = copied(tables), copied(tables)
        self.started, self.highest = self._moment(), {}
        self.is_up = self.is_writable = self.hears_standby = True

    def snapshot(self) -> Tables:
        """Return a copy of what is durable."""
        return copied(self._flushed)

    def drop(self) -> None:
        """Drop all tables, as soon as nobody uses them; on the server's machine."""
        self._is_to_drop = True
        self._drop_if_unused()

    def _drop_if_unused(self) -> None:
        if not self._is_to_drop or any(each.transaction for each in self.sessions):
            return
        self._is_to_drop = False
        self.tables_file += 1
        self.forgotten += 1
        self.tables.clear()
        self._flushed.clear()
        self._unflushed.clear()
        self.highest = {}
        if self._standby is not None:
            self._standby.clear()


def _settle(future: asyncio.Future[bool], answer: bool) -> None:
    if not future.done():
        future.set_result(answer)
