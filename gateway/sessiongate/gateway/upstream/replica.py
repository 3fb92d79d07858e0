"""A live copy of the core's sessions, and the proof that it is current.

In informer terms, a `Reflector` lists and watches (one call of WatchSessions does
both), and a `Replica` applies that to a `Store`. The store only takes states that the
table was in: messages are applied together, up to one that carries ``as_of``.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter

from sessiongate.client.age import Clock
from sessiongate.client.cores import ONE_CORE, Cores
from sessiongate.client.reflector import Began, Lost, Reflector, Watch
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.indexes import FoundIds
from sessiongate.gateway.upstream.lookups import Lookups
from sessiongate.gateway.upstream.tallies import ServiceTally
from sessiongate.runtime.memory import untrack
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps, finished, later
from sessiongate.v1.session_service_pb2 import SourceStatus, WatchSessionsResponse
from sessiongate.v1.times import seconds_of

log = logging.getLogger(__name__)

_READ = 500  # sessions decoded at a time: one or two milliseconds of work
_CHANGED = 250  # sessions changed at a time: likewise, or five in a table of a million
_TURN = 0.008  # CPU seconds of changes until others run, to whom the store is not whole

# Dicts of sessions by id: one that grows is copied at once, which takes long if it is large.
_DICTS = 64

_ID = attrgetter("id")

_PAUSE = 1.0  # seconds before the core is followed again after an unexpected error


class Store:
    """Sessions by id, in order, as of one revision of the core's table.

    What it returns stays as it is, whatever is applied later.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.changed = 0.0  # when the table last changed, in seconds since the epoch
        self.read = math.inf  # when it was read, on the same clock, if the core says so
        self.gaps = Gaps()
        self.sources_changed = 0.0  # when a source's state last changed, likewise
        self.is_whole = True  # unless changes are being applied
        self.is_being_indexed = False  # or it was, without being waited for
        self.state = object()  # another one after each message is applied
        self._rows: SortedSequence[SessionRow] = SortedSequence(key=_ID)
        # The same: a search reads about ten rows, and memory is slow at a million.
        self._by_id: Sequence[dict[int, SessionRow]] = [{} for _ in range(_DICTS)]
        self._lookups = Lookups()
        self._all: SortedSequence[SessionRow] | None = None  # what `all` returned
        self._sources: dict[str, SourceStatus] = {}  # by name

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, ident: int) -> SessionRow | None:
        """Return the session with this id, if it is alive."""
        return self._by_id[ident % _DICTS].get(ident)

    def rows(self, ids: Iterable[int], state: SortedSequence[SessionRow]) -> list[SessionRow]:
        """Return the sessions with these ids, as they were when `all` returned ``state``."""
        if state is not self._all:
            return [row for ident in ids if (row := state.find(ident)) is not None]
        dicts = self._by_id
        return [row for ident in ids if (row := dicts[ident % _DICTS].get(ident)) is not None]

    def after(self, ident: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions with the next higher ids, in order."""
        return self.at(self._rows.rank(ident + 1), count)

    def before(self, ident: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions with the next lower ids, in order."""
        stop = self._rows.rank(ident)
        return self._rows[max(0, stop - count) : stop]

    def at(self, index: int, count: int) -> Sequence[SessionRow]:
        """Return the ``count`` sessions from an index in id order."""
        return self._rows[index : index + count]

    @property
    def is_indexed(self) -> bool:
        """Whether `find` and `tallies` do not have to do what `indexing` does."""
        return self._lookups.is_whole

    def indexing(self) -> Steps[None]:
        """Make ready for `find` and `tallies`, in steps; several can share the work."""
        return self._lookups.fill(self._rows)

    def find(self, wanted: Mapping[str, Collection[Hashable]]) -> FoundIds:
        """Return ids by the values of one field: see `AttributeIndexes.find`."""
        finished(self.indexing())
        return self._lookups.indexes.find(wanted)

    def few(self, wanted: Mapping[str, Collection[Hashable]]) -> Sequence[SessionRow] | None:
        """Return the sessions in order, if one value is wanted that few have, else None."""
        if [*map(len, wanted.values())] != [1]:
            return None
        ((field, (value,)),) = wanted.items()
        finished(self.indexing())
        return self._lookups.few(field, value, self.get)

    def tallies(self, services: Collection[str] | None = None) -> Mapping[str, ServiceTally]:
        """Return the tallies of these services, or of all that have sessions, sorted."""
        finished(self.indexing())
        return self._lookups.tallies.of(services)

    def sources(self) -> Sequence[SourceStatus]:
        """Return the status of every source."""
        return tuple(self._sources.values())

    def all(self) -> SortedSequence[SessionRow]:
        """Return all sessions in id order: the same object as long as nothing changes."""
        if self._all is None:
            self._all = self._rows.snapshot()
        return self._all

    def apply(self, messages: Iterable[WatchSessionsResponse]) -> None:
        """Apply messages of one stream, in order."""
        finished(self.applying([*messages]))

    def applying(self, messages: Sequence[WatchSessionsResponse]) -> Steps[None]:
        """Do what `apply` does, in steps. Between two of them, it may not be whole."""
        changes: dict[int, SessionRow | None] = {}
        for message in messages:
            changes |= dict.fromkeys(removal.id for removal in message.changes.removals)
            for sessions in (message.snapshot.sessions, message.changes.upserts):
                for start in range(0, len(sessions), _READ):
                    rows = [*map(SessionRow, sessions[start : start + _READ])]
                    changes |= zip(map(_ID, rows), rows, strict=True)
                    yield
        ids = [*changes]
        began = time.thread_time()
        for start in range(0, len(ids), _CHANGED):
            if start and time.thread_time() - began > _TURN:
                self.is_whole = False
                yield
                began = time.thread_time()
            self._change({ident: changes[ident] for ident in ids[start : start + _CHANGED]})
        for message in messages:
            self._note(message)
        self.is_whole = True

    def _change(self, changes: Mapping[int, SessionRow | None]) -> None:
        """Replace sessions by id, or remove them."""
        old: list[SessionRow] = []
        new: list[SessionRow] = []
        for ident, row in changes.items():
            rows = self._by_id[ident % _DICTS]
            before = rows.pop(ident, None) if row is None else rows.get(ident)
            if before is not None:
                old.append(before)
            if row is not None:
                rows[ident] = row
                new.append(row)
        for number in {ident % _DICTS for ident in changes}:
            untrack(self._by_id[number])
        self._all = None
        self._rows.change(new, map(_ID, old))
        self._lookups.change(old, new)

    def _note(self, message: WatchSessionsResponse) -> None:
        """Take over what a message says besides the changes of sessions."""
        self.state = object()
        if message.sync.sources or message.changes.sources or message.changes.removed_sources:
            self._take_sources(message)
        if message.revision:
            self.revision = message.revision
            self.changed = seconds_of(message.update_time)
        if message.HasField("read_time"):
            self.read = seconds_of(message.read_time)

    def _take_sources(self, message: WatchSessionsResponse) -> None:
        for sources in (message.sync.sources, message.changes.sources):
            self._sources.update({status.name: status for status in sources})
        for name in message.changes.removed_sources:
            self._sources.pop(name, None)
        self.gaps = Gaps.of_statuses(self._sources.values())
        synced = message.HasField("sync")
        changed = message.sync.sources_update_time if synced else message.update_time
        self.sources_changed = seconds_of(changed)


class Replica:
    """Keeps a store in step with a core by `run`, until that is cancelled.

    Answer from ``store`` while `current`; it is replaced as a whole when everything
    has to be requested from the core again.
    """

    def __init__(
        self, watch: Watch, *, staleness: float, clock: Clock, cores: Cores = ONE_CORE
    ) -> None:
        self.store = Store()
        self._watch = watch
        self._cores = cores
        self._staleness = staleness
        self._clock = clock
        self._reflector = self._reflect()
        self._lost_at: float | None = None  # when the core was lost, if it is
        # The moment up to which the store is proven to be current, if there is one. The
        # reflector's proof is of the last message, which may still be being applied.
        self._proven: float | None = None
        self._applied = asyncio.Event()  # clear while messages are being applied
        self._applied.set()
        self._advanced = asyncio.Event()  # set, and replaced, when the store has another state

    @property
    def age(self) -> float | None:
        """An upper bound on the store's age, in seconds; None if nothing proves one."""
        if self._proven is None or not self._reflector.has_proof:
            return None
        return self._clock() - self._proven

    @property
    def current(self) -> bool:
        """Whether the store is whole, and provably no older than the staleness bound."""
        if self._proven is None or not self._reflector.has_proof or not self.store.is_whole:
            return False
        return self._clock() - self._proven <= self._staleness

    async def becomes_current(self) -> bool:
        """Return whether it is current once the changes that are being applied have been.

        To wait for them takes some milliseconds, and the core would take longer to answer.
        """
        if not self.store.is_whole:
            await self._applied.wait()
        return self.current

    async def reach(self, revision: int) -> None:
        """Wait until the store is at a revision of the table, or a later one."""
        while self.store.revision < revision:
            await self._advanced.wait()

    def index_later(self) -> None:
        """Index the store without being waited for."""
        if not self.store.is_being_indexed:
            self.store.is_being_indexed = True
            later(self.indexing())

    def indexing(self) -> Steps[None]:
        """Index the store in steps, unless another one replaces it."""
        store = self.store
        for _ in store.indexing():
            if store is not self.store:
                return
            yield

    async def run(self) -> None:
        """Follow the core forever, through its failures."""
        while True:
            try:
                await self._follow()
            except Exception:
                log.exception("the copy of the core's sessions is dropped")
            self.store = Store()  # it may hold half of a state
            self._proven = None
            self._reflector = self._reflect()
            await asyncio.sleep(_PAUSE)

    def _reflect(self) -> Reflector:
        return Reflector(
            lambda: self.store.revision,
            staleness=self._staleness,
            clock=self._clock,
            cores=self._cores,
        )

    async def _follow(self) -> None:
        store = self.store  # or, until a snapshot is complete, the one that will replace it
        pending: list[WatchSessionsResponse] = []
        size = 0  # sessions in them
        async with aclosing(self._reflector.follow(self._watch)) as events:
            async for event in events:
                if isinstance(event, Lost):
                    self._lose(str(event.error))
                elif isinstance(event, Began):
                    pending.clear()
                    size = 0
                    if not event.resumed:
                        self._restart()
                        self._proven = None
                        store = Store()
                else:
                    pending.append(event)
                    size += len(event.snapshot.sessions) + len(event.changes.upserts)
                    is_state = event.HasField("as_of")
                    # The shown store waits for a state that the table was in; another one,
                    # until there is enough to do at a time.
                    if not is_state and (store is self.store or size < _CHANGED):
                        continue
                    await self._apply(pending, store)
                    pending.clear()
                    size = 0
                    if is_state:
                        self.store = store
                        self._advanced.set()
                        self._advanced = asyncio.Event()
                        self._prove()
                        self._find()

    async def _apply(self, messages: Sequence[WatchSessionsResponse], store: Store) -> None:
        """Apply messages to a store, with turns for others in between."""
        self._applied.clear()
        try:
            for _ in store.applying(messages):
                await asyncio.sleep(0)
        finally:
            self._applied.set()

    def _restart(self) -> None:
        if self.store.revision:
            log.info("the copy of the sessions cannot be resumed: copying all of them")
            self.store = Store()

    def _prove(self) -> None:
        age = self._reflector.age
        self._proven = None if age is None else self._clock() - age

    def _lose(self, why: str) -> None:
        """Log once that the core is lost, however often requests fail."""
        if self._lost_at is None:
            self._lost_at = self._clock()
            log.warning("the core's sessions cannot be followed: %s; asking again", why)

    def _find(self) -> None:
        """Log once that the core is back."""
        if self._lost_at is not None:
            seconds_lost = self._clock() - self._lost_at
            self._lost_at = None
            log.warning("the core's sessions are followed again, after %.1f s", seconds_lost)
