"""One source's sessions in the table, and the steps that change what it shows.

What changes at once stays together as far as readers can take it: up to `STEP_CHANGES` changes
become visible in one step of the table, more of them in several. After each step the
table, the links and what is recorded here agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from operator import indexOf

from sessiongate.core.collect.completeness import UnreadableMembers
from sessiongate.core.collect.links import Links, Stated, stated_by
from sessiongate.core.collect.preparation import Preparation, PreparedSession
from sessiongate.core.collect.scopes import SourceScopes
from sessiongate.core.collect.step import Effects, Entry, SourceStep
from sessiongate.core.ledger.base import Revisions
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.pacing import Pace, granted, kept, parts
from sessiongate.core.table.draft import STEP_BYTES, STEP_CHANGES
from sessiongate.core.table.encoding import piece
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import unsearched, untracked
from sessiongate.runtime.split_dict import SplitDict
from sessiongate.v1.session_pb2 import Session

_AT_ONCE = 8  # sessions that are prepared before a rest may be due


class ShownSource:
    """The sessions of one source in the table.

    Invariant: each session in ``held`` is ``stated`` (as the object that ``shown`` has),
    ``absent``, or about to be hidden.
    """

    def __init__(
        self,
        source: str,
        table: SessionTable,
        revisions: Revisions,
        links: Links,
        max_session: int,
        now: Callable[[], int],
        scopes: SourceScopes | None = None,
    ) -> None:
        self._source = source
        self._now = now
        self._table = table
        self._revisions = revisions
        self._links = links
        self.preparation = Preparation(source, table, links, max_session, scopes)
        # The places of the open sessions in the ledger, by key.
        self.held: SplitDict[str, int] = SplitDict()
        # What the last observation states: an object that is stated again is unchanged.
        self.stated: set[Observed] = untracked(set())
        self._stated_since = 0  # entries since that was last copied
        self.unreadable = UnreadableMembers()  # of those
        # By key, sessions that it lacks: when each was last observed, on the clock `elapsed`.
        self.absent: SplitDict[str, float] = SplitDict()
        # By key, sessions in the table. Those that it lacks are in its `unseen`.
        self.shown: SplitDict[str, Observed] = SplitDict()
        self.waiting: SplitDict[str, Observed] = SplitDict()  # those that wait for others
        # By id, the longest transaction of a session, in ns, of those that have ended.
        self._longest: dict[int, int] = {}
        # When a core that stood by read what is shown, in ns since the epoch; None if this one has.
        self.warmed_at: int | None = None
        self._hiding: SplitDict[str, Observed] = SplitDict()  # they are stale, and in the table
        self._stale_since = 0.0  # when those were last observed
        self.times_hidden = 0
        self.progressed_at = 0.0  # when taking over an observation last got on, on that clock
        # What is still to show, and the ledger has already; of that, what has been prepared.
        self._pending: Iterator[Entry] = iter(())
        self._prepared: list[Entry] = []

    def __len__(self) -> int:
        """Return the number of sessions in the table."""
        return len(self.shown) + len(self._hiding)

    def shown_as(self, ident: int) -> tuple[Observed, Session] | None:
        """Return the object that a session was shown by, and the session; None if it is not."""
        row = self._table.row(ident)
        if row is None or row.group.values.source != self._source:
            return None
        with suppress(ValueError):  # to look is quick, and rare: no index is worth its memory
            place = indexOf(self.held.values(), row.place)
            item = self.shown.get(next(islice(self.held, place, None)))
            return None if item is None else (item, row.session)
        return None

    def last_seen(self, key: str) -> tuple[bytes | None, int | None]:
        """Return a session as it was last shown, if it is, and its longest transaction in ns.

        It is encoded, as field 1 of a message.
        """
        ident = id_of(self.held[key])
        row = self._table.row(ident)
        longest = self._longest.get(ident)
        if row is None:
            return None, longest
        seen, linked = row.piece, self._links.last_of(ident)
        if any(linked):
            # The other end of a connection may have been found to have ended before this one.
            session, more = row.session, Session()
            for name, ids in zip(("upstream_ids", "downstream_ids"), linked, strict=True):
                if not getattr(session, name):
                    getattr(more, name).extend(ids)
            seen += piece(more)
        return seen, _longer(longest, row.transaction, self._seen_at)

    @property
    def _seen_at(self) -> int:
        """When what is shown was certainly so, in ns since the epoch: now, if it is observed."""
        return self._now() if self.warmed_at is None else self.warmed_at

    def progress(self) -> None:
        """Note that taking over an observation gets on."""
        self.progressed_at = elapsed()

    @property
    def is_hiding(self) -> bool:
        """Whether stale sessions are still in the table."""
        return bool(self._hiding)

    async def restore(self, held: Mapping[str, int], pace: Pace) -> None:
        """Take over the sessions that are open in the ledger, before any is observed.

        Those that have been shown otherwise, by a core that stood by, are removed.
        """
        self.drop_pending()
        self._longest.clear()  # as far as a core may know that stands by
        read_at = self.progressed_at
        if self.shown:
            self.warmed_at = self._now() - int((elapsed() - read_at) * 1e9)
        gone = await kept(lambda key: held.get(key) != self.held[key], self.held, pace)
        await self.show((Entry(key, None, self.held[key], key) for key in gone), {}, pace)
        self.progressed_at = read_at
        places: SplitDict[str, int] = SplitDict()
        async for part in parts(held.items(), pace):
            for key, place in part:
                places[key] = place
                if key not in self.shown:
                    self.absent[key] = 0.0
                    self._table.unseen[id_of(place)] = self._source
        self.held = places

    def drop_pending(self) -> None:
        """Drop what is still to show; count those that wait for others as not observed."""
        self._pending, self._prepared = iter(()), []
        for key in self.waiting:
            self.miss(key, 0.0)

    def hide(self, since: float) -> None:
        """Hide all sessions, which were last observed ``since``: the first of them at once.

        Many sources may become stale in the same turn of the loop: together they hide at once
        what fits into a step.
        """
        self.times_hidden += 1
        self._stale_since = since
        if self._hiding:
            self._hiding.put_all(self.shown.items())
            self._hiding.untrack()
        else:
            self._hiding = self.shown
        self.shown, self.waiting, self.stated = SplitDict(), SplitDict(), untracked(set())
        self.unreadable.clear()
        if at_once := granted(len(self._hiding), STEP_CHANGES):
            self._hide_some(at_once)

    async def hide_rest(self, pace: Pace) -> None:
        """Hide the rest of the stale sessions."""
        while self._hiding:
            await pace.rest()
            self._hide_some(STEP_CHANGES)

    def _hide_some(self, most: int) -> None:
        effects, size = Effects(), 0
        while self._hiding and len(effects.removals) < most and size < STEP_BYTES:
            key, item = self._hiding.popitem()
            ident = id_of(self.held[key])
            effects.withdrawn += stated_by(ident, item)
            effects.removals.append(ident)
            size += len(self._table.piece(ident) or b"")
            self.absent[key] = self.absent.pop(key, self._stale_since)
            self._table.unseen[ident] = self._source
        self._change(effects, SourceStep(self._seen))

    def miss(self, key: str, since: float) -> None:
        """Record that a session was last observed ``since``; it stays in the table."""
        item = self.shown.get(key)
        if item is not None and item in self.stated:
            self.stated.discard(item)
            self.unreadable.discard(item)
            self.absent[key] = since

    async def show(self, entries: Iterator[Entry], blockers: Mapping[str, int], pace: Pace) -> None:
        """Show what the ledger has, in steps. Raises `LedgerError`; then `show_rest` continues.

        ``blockers`` are the ids of the listed sessions, by key, that these wait for.
        """
        self._pending = entries
        self.preparation.blockers = blockers
        await self.show_rest(pace)

    async def show_rest(self, pace: Pace) -> None:
        """Show what is left of the last `show`, if that was interrupted."""
        again, step = iter(self._prepared), SourceStep(self._seen)
        try:
            for number, entry in enumerate(chain(again, self._pending)):
                step.entries.append(entry)
                self._prepare(step, entry)
                if step.is_full:
                    await self._finish(step, pace)
                    step = SourceStep(self._seen)
                if number % _AT_ONCE == 0 and pace.is_due:
                    await pace.rest()
            if step.entries:
                await self._finish(step, pace)
                step = SourceStep(self._seen)
        finally:
            self._prepared = [*step.entries, *again]

    @property
    def _seen(self) -> tuple[int, int]:
        """The state of table and links: the same as long as nothing changes in either."""
        return self._table.revision, self._links.changes

    def _prepare(self, step: SourceStep, entry: Entry) -> None:
        """Prepare the last entry of a step; remove it if it changes nothing that is shown."""
        key, item, place, former = entry
        if item is None:
            step.bytes += len(self._table.piece(id_of(place)) or b"")
            return
        before = self.shown.get(key)
        is_known = before is not None and former == key and self.held.get(key) == place
        ready = None
        if item is not before or not is_known or item.blocked_by:
            ready = self.preparation.ready(key, item, place)
        is_same = before and is_known and (ready is None or ready.draft is None)
        if before and is_same and stated_by(0, before) == stated_by(0, item):
            step.entries.pop()
            self._enter(entry, Effects())
            self._keep(entry, {})
            return
        ready = ready or self.preparation.ready(key, item, place)
        step.ready.append(ready)
        step.bytes += ready.size

    async def _finish(self, step: SourceStep, pace: Pace) -> None:
        """Make a step visible, once no later start uses its revisions."""
        self.progress()
        self._stated_since += len(step.entries)
        if self._stated_since > len(self.stated) // 10:
            # Room for as many more, without which it would grow within some step.
            self.stated, self._stated_since = untracked(set(self.stated)), 0
            await pace.pause()
        await pace.rest()  # other sources' changes become visible in their own steps
        most = 2 * len(step.entries)
        while not self._revisions.is_reserved(self._table.revision + most + len(self._table)):
            await self._revisions.reserve(self._table.revision + most + len(self._table))
        effects = Effects()
        with unsearched():
            for entry in step.entries:
                self._enter(entry, effects)
            self.shown.untrack()
            self.waiting.untrack()
            self._note_transactions(step.ready)
            rows = self._change(effects, step)
        for entry in step.entries:
            self._keep(entry, rows)

    def _note_transactions(self, changed: Sequence[PreparedSession]) -> None:
        """Note how long those lasted that have ended."""
        for ready in changed:
            row = ready.row
            if row is None or row.transaction is None:
                continue
            activity = ready.session.activity
            if activity.transaction_start_time.ToNanoseconds() != row.transaction:
                longest = _longer(self._longest.get(row.id), row.transaction, self._seen_at)
                if longest is not None:
                    self._longest[row.id] = longest

    def _enter(self, entry: Entry, effects: Effects) -> None:
        """Record what becomes of a session, and add its effects."""
        key, item, place, former = entry
        withdrawn: list[Stated] = []
        if (before := self.held.get(former)) is not None:
            old = self.shown.get(former)
            if old in self.stated:
                self.stated.discard(old)
            else:
                old = old or self._hiding.pop(former, None)
                self.absent.pop(former, None)
                self._table.unseen.pop(id_of(before), None)
            if old is not None:
                self.unreadable.discard(old)
                withdrawn = stated_by(id_of(before), old)
                if item is None or id_of(place) != id_of(before):
                    self._longest.pop(id_of(before), None)
                    effects.removals.append(id_of(before))
            if item is None or former != key:
                self.held.pop(former, None)
                self.shown.pop(former, None)
            self.waiting.pop(former, None)
            if item is None or not item.unreadable:
                self.preparation.forget(former)
        if item is not None:
            self.held[key] = place
            self.shown[key] = item
            if item.blocked_by:
                self.waiting[key] = item
            self.stated.add(item)
            self.unreadable.add(item)
        added = stated_by(id_of(place), item) if item is not None else []
        if withdrawn != added:
            effects.withdrawn += withdrawn
            effects.added += added

    def _change(self, effects: Effects, step: SourceStep) -> Mapping[int, Row]:
        """Change links and table in one step; return the rows that are new."""
        linked = self._links.observe(effects.withdrawn, effects.added)
        for ident in effects.removals:
            self._links.forget(ident)
        is_still = step.seen == self._seen  # else what they were compared with may have changed
        drafts = self.preparation.drafts(step.ready, is_still=is_still)
        if linked:
            linked.difference_update(effects.removals, (each.session.id for each in step.ready))
            drafts += self.preparation.relinked(linked)
        return self._table.show(drafts, effects.removals)

    def _keep(self, entry: Entry, rows: Mapping[int, Row]) -> None:
        """Share the encoded session with the table, which may have it in these ``rows``."""
        ident = id_of(entry.place)
        row = rows.get(ident) or self._table.row(ident)
        if entry.item is not None and row is not None:
            entry.item.keep(row.piece)


def _longer(longest: int | None, start: int | None, until: int) -> int | None:
    """Return the longer one: the longest so far, or the transaction that began at ``start``."""
    return longest if start is None else max(longest or 0, until - start)
