"""A copy of the core's sessions as of one revision of its table."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.indexes import FoundIds
from sessiongate.gateway.upstream.lookups import Lookups
from sessiongate.gateway.upstream.tallies import ServiceTally
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.split_dict import LAST, SplitDict
from sessiongate.runtime.turns import Steps, finished, let_go
from sessiongate.v1.session_service_pb2 import SourceStatus, WatchSessionsResponse
from sessiongate.v1.times import seconds_of

_READ = 500  # sessions decoded at a time: one or two milliseconds of work
CHANGED = 250  # sessions changed at a time: likewise, or five in a table of a million
_TURN = 0.008  # CPU seconds of changes until others run, which see an incomplete store

_ID = attrgetter("id")


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
        self._by_id: SplitDict[int, SessionRow] = SplitDict()
        self._lookups = Lookups()
        self._all: SortedSequence[SessionRow] | None = None  # what `all` returned
        self._sources: dict[str, SourceStatus] = {}  # by name

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, ident: int) -> SessionRow | None:
        """Return the session with this id, if it is alive."""
        return self._by_id.dicts[hash(ident) & LAST].get(ident)

    def rows(self, ids: Iterable[int], state: SortedSequence[SessionRow]) -> list[SessionRow]:
        """Return the sessions with these ids, as they were when `all` returned ``state``."""
        if state is not self._all:
            return [row for ident in ids if (row := state.find(ident)) is not None]
        dicts = self._by_id.dicts
        return [row for ident in ids if (row := dicts[hash(ident) & LAST].get(ident)) is not None]

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
        for start in range(0, len(ids), CHANGED):
            if start and time.thread_time() - began > _TURN:
                self.is_whole = False
                yield
                began = time.thread_time()
            self._change({ident: changes[ident] for ident in ids[start : start + CHANGED]})
        for message in messages:
            self._note(message)
        self.is_whole = True

    def let_go(self) -> Steps[None]:
        """Forget all sessions, in steps: it takes long. What it has returned stays."""
        self._all = None
        yield from self._lookups.let_go()
        yield from let_go(self._by_id)
        yield from self._rows.let_go()

    def _change(self, changes: Mapping[int, SessionRow | None]) -> None:
        """Replace sessions by id, or remove them."""
        old: list[SessionRow] = []
        new: list[SessionRow] = []
        dicts = self._by_id.dicts
        for ident, row in changes.items():
            rows = dicts[hash(ident) & LAST]
            before = rows.pop(ident, None) if row is None else rows.get(ident)
            if before is not None:
                old.append(before)
            if row is not None:
                rows[ident] = row
                new.append(row)
        self._by_id.untrack()
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
