"""One source's observations, written to the ledger and then shown in the table.

Only what differs from the observation before costs time. It is written to the ledger, then made
visible, in parts of one transaction each. A source that has nothing to write waits for no disk. No
session is lost because of what could not be read: members keep their last known values, and
while a session's key cannot be read, all known sessions stay until they are stale.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import chain

from sessiongate.core.collect.blocking import waited_for, waiting_for
from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.completeness import Completeness, assess
from sessiongate.core.collect.difference import Difference, difference
from sessiongate.core.collect.endings import Endings
from sessiongate.core.collect.incarnation import Incarnation
from sessiongate.core.collect.plan import Change, PlanPart, SourcePlan
from sessiongate.core.collect.shown_source import ShownSource
from sessiongate.core.collect.step import Entry
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, Target
from sessiongate.core.sources.support.pacing import Pace, ahead, in_order, kept, mapped, parts
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.history_service_pb2 import EndReason

log = logging.getLogger(__name__)

_MANY = 10_000  # sessions more or less: memory is worth returning


class Reconciler:
    """Keeps one source's sessions in sync with what is observed."""

    def __init__(self, config: SourceConfig, context: CollectorContext) -> None:
        self.completeness = Completeness()
        self.is_writing = False  # an observation waits for the ledger
        self._name = config.name
        self._max_sessions = config.max_sessions
        self._ledger = context.ledger
        self._memory = context.memory
        self._stale_after = context.stale_after
        self._now = context.now
        self._shown_source = context.warmed.get(config.name) or ShownSource(
            *(config.name, context.table, context.ledger, context.links),
            *(context.max_session, context.now),
            None if context.scopes is None else context.scopes.of(config),
        )
        self._incarnation = Incarnation(config.place)
        self._last: Observation | None = None
        # On the clock `elapsed`: when that was, and when the first one was compared.
        self._observed_at = self._began = 0.0
        self._continues = True  # whether the source was read without a break
        self._endings = Endings(self._shown_source, context.now, context.terminations)
        # The last plan was not carried out: who waits for whom may lack some.
        self._is_interrupted = False
        self._trimmed = 0  # sessions when memory was last returned
        self._hiding: asyncio.Task[None] | None = None

    async def restore(
        self, place: str | None, held: dict[str, int], covered_until: int | None = None
    ) -> None:
        """Take over ``held``, the open sessions in the ledger, which were read from ``place``.

        The source was last observed at ``covered_until``, in ns since the epoch. Raises
        `LedgerError`.
        """
        self._incarnation.restore(place, await self._ledger.incarnation(self._name))
        self._endings.restore(covered_until)
        await self._shown_source.restore(held, Pace())

    @property
    def session_count(self) -> int:
        """Sessions of the source that are shown."""
        return len(self._shown_source)

    @property
    def stale_at(self) -> float:
        """The time at which what is shown becomes stale, on the clock `elapsed`.

        While a later observation is being taken over, what is shown does not become stale, as
        long as that gets on: hidden and shown again, it would be later still.
        """
        return max(self._observed_at, self._shown_source.progressed_at) + self._stale_after

    async def take(
        self,
        observation: Observation,
        observed_at: float,
        moment: int | None = None,
        *,
        continues: bool = True,
    ) -> None:
        """Show an observation that was made at ``observed_at``, on the clock `elapsed`.

        It was received at ``moment``, in ns since the epoch; by default, now.

        It ``continues`` the one before unless its source could not be read meanwhile.
        Raises `LedgerError`; then nothing has changed, or some of it, and the rest follows.
        """
        await self._endings.observe(self._now() if moment is None else moment, Pace())
        if observation is not self._last or self._shown_source.absent:
            self._shown_source.progress()
            self._continues, self._last = continues, None  # none, if this one is interrupted
            await self._reconcile(observation)
            self._shown_source.progress()
            self._shown_source.warmed_at = None
            self._last = observation
        self._observed_at = observed_at

    def target(self, ident: int) -> Target | None:
        """Return a session as it is shown, to act on it; None if it is not shown."""
        found = self._shown_source.shown_as(ident)
        return None if found is None else Target(*found, self._incarnation.stated)

    def expire(self) -> None:
        """Hide the sessions, which are stale; whether they still exist is unknown.

        Of many, the first are hidden at once, and the rest soon.
        """
        self._last = None
        self._shown_source.hide(self._observed_at)
        if self._shown_source.is_hiding:
            self._hiding = asyncio.ensure_future(self._shown_source.hide_rest(Pace()))

    def close(self) -> None:
        """Stop hiding sessions."""
        if self._hiding is not None:
            self._hiding.cancel()

    async def _reconcile(self, observation: Observation) -> None:
        pace, shown_source = Pace(), self._shown_source
        await pace.rest()  # other sources may begin in this turn of the loop, too
        self._began = self._began or elapsed()
        hidden = -1
        while hidden != shown_source.times_hidden:  # else sessions were hidden meanwhile: again
            await shown_source.hide_rest(pace)
            await shown_source.show_rest(pace)
            hidden = shown_source.times_hidden
            replaced = self._incarnation.replaced(observation.incarnation)
            found = await difference(
                observation.sessions,
                frozenset() if replaced else shown_source.stated,
                shown_source.shown,
                shown_source.held,
                self._max_sessions,
                pace,
            )
            shown_source.progress()
            if hidden != shown_source.times_hidden:
                continue  # what is stated and unchanged would count as absent
            completeness = assess(observation, found, self._max_sessions)
            plan, missing = await self._plan(found, observation, replaced, pace)
            again = await self._again(plan, missing, pace)
            blocking = await waited_for(chain(plan.fresh.values(), again.values()), pace)
            shown_source.progress()
            await self._carry_out(plan, again, blocking, observation.incarnation, pace)
            await mapped(lambda key: shown_source.miss(key, self._observed_at), missing, pace)
            found.let_go_soon()
        self.completeness = replace(
            completeness,
            members=shown_source.unreadable.count,
            example=completeness.example or shown_source.unreadable.example,
        )
        if abs(len(shown_source) - self._trimmed) >= _MANY:
            self._trimmed = len(shown_source)
            self._memory.give_back_soon()

    async def _carry_out(
        self,
        plan: SourcePlan,
        again: Mapping[str, Observed],
        blocking: Set[str],
        incarnation: float | None,
        pace: Pace,
    ) -> None:
        """Write and show a plan, and ``again`` the unchanged sessions that it concerns."""
        shown_source = self._shown_source
        blockers = await self._listed(blocking, plan, pace)
        awaited = {*await kept(plan.fresh.__contains__, blocking, pace)} - blockers.keys()
        late: dict[str, Observed] = {}  # sessions that wait for some of those
        self._is_interrupted = True
        prepared = partial(self._prepared, plan)
        async with aclosing(ahead(plan.parts(shown_source.held), prepared)) as ready:
            async for _, part in ready:
                ids = await self._write(part, incarnation)
                opened = zip(part.opened, ids, strict=True)
                new = await kept(lambda pair: pair[0].key in blocking, opened, pace)
                found = {opening.key: ident for opening, ident in new}
                blockers |= found
                awaited -= found.keys()
                shown = chain(part.fresh(), again.items())
                late |= await waiting_for(awaited, shown, pace)
                entries = chain(part.entries(ids, shown_source.held), self._same(again))
                await shown_source.show(entries, blockers, pace)
                again = {}
                part.let_go_soon()
        await shown_source.show(self._same(late), blockers, pace)
        self._is_interrupted = False

    async def _prepared(self, plan: SourcePlan, changes: Iterator[Change]) -> PlanPart:
        """Prepare a part of a plan."""
        shown_source = self._shown_source
        opening = partial(shown_source.preparation.opening, now=self._now)
        closing = partial(
            self._endings.closing,
            replaced=plan.replaced,
            observed_at=self._observed_at,
            continues=self._continues,
        )
        return await PlanPart.of(plan, changes, shown_source.held, opening, closing)

    async def _plan(
        self,
        found: Difference,
        observation: Observation,
        replaced: EndReason | None,
        pace: Pace,
    ) -> tuple[SourcePlan, Sequence[str]]:
        """Return what becomes of the sessions, and the keys of those missing unless they ended."""
        held = self._shown_source.held
        # If the server has restarted, none of the known sessions still exists.
        ended: Sequence[str]
        missing: Sequence[str] = ()
        if replaced:
            ended = await kept(lambda key: key not in found.fresh, held, pace)
        elif observation.unreadable:
            ended, missing = await self._stale(found, pace), found.gone
        else:
            absent = [*self._shown_source.absent]
            lacking = await kept(lambda key: key not in found.fresh, absent, pace)
            ended = [*found.gone, *lacking] if lacking else found.gone
        known: Mapping[str, int] = {} if replaced else held
        new, is_stated, renamed = 0, False, []
        async for part in parts(found.fresh.pairs(), pace):
            for key, item in part:
                if key not in known:
                    new += 1
                    is_stated = is_stated or item.stated_id is not None
                    if item.former and item.former in known:
                        renamed.append((key, item.former))
        former: dict[str, str] = {}
        if renamed:
            free = {*ended, *missing}
            for key, before in renamed:
                if before in free:
                    free.discard(before)
                    former[key] = before
            ended = [key for key in ended if key in free]
            missing = [key for key in missing if key in free]
        # A restart is written as a whole: what is left of it would count as sessions that go on.
        # So are a move, whose ends are logged, and requested ids, which precede numbers.
        is_divisible = not (replaced or self._incarnation.is_moved or is_stated)
        begin = new - len(former)
        return SourcePlan(found.fresh, former, ended, begin, replaced, is_divisible), missing

    async def _stale(self, found: Difference, pace: Pace) -> list[str]:
        """Return the keys that an incomplete observation lacks and that are stale."""
        shown_source, oldest = self._shown_source, elapsed() - self._stale_after
        absent = [*shown_source.absent.items()]
        lacking = await kept(lambda pair: pair[0] not in found.fresh, absent, pace)
        lacking += [(key, self._observed_at) for key in found.gone]
        # While one row stays unreadable, do not keep any number of short sessions.
        over = len(lacking) - self._max_sessions
        if over > 0:
            lacking = await in_order(
                lacking, lambda pair: (pair[1], id_of(shown_source.held[pair[0]])), pace
            )
        return [
            key
            for index, (key, time) in enumerate(lacking)
            if index < over or max(time, self._began) <= oldest
        ]

    async def _write(self, part: PlanPart, incarnation: float | None) -> Sequence[int]:
        """Write a part of a plan to the ledger; return the ids of what it opens."""
        known = self._incarnation
        drifted = known.has_drifted(incarnation)
        ids: Sequence[int] = ()
        if part.opened or part.closed or part.rekeyed or drifted or known.is_elsewhere:
            self.is_writing = True
            try:
                ids = await self._ledger.record(
                    self._name,
                    opened=part.opened,
                    closed=part.closed,
                    incarnation=incarnation if drifted else None,
                    rekeyed=part.rekeyed,
                    place=known.place if known.is_elsewhere else None,
                    observed=self._endings.moment,
                )
            finally:
                self.is_writing = False
            if known.is_moved and part.closed:
                log.warning(
                    "source %s is read from another place: ended %d sessions of %s",
                    *(self._name, len(part.closed), known.former_place),
                )
            known.former_place = known.place
        known.take(incarnation, is_written=drifted)
        return ids

    async def _again(
        self, plan: SourcePlan, missing: Sequence[str], pace: Pace
    ) -> Mapping[str, Observed]:
        """Return the unchanged sessions, by key, that wait for others that come or go."""
        shown_source, stated = self._shown_source, self._shown_source.stated
        waiting: Mapping[str, Observed] = shown_source.waiting
        if not waiting:
            return {}
        if not self._is_interrupted:
            blocking = await waited_for(waiting.values(), pace)
            come = await kept(lambda key: key not in shown_source.shown, plan.fresh, pace)
            changed = {*await kept(blocking.__contains__, chain(come, plan.left()), pace)}
            waiting = await waiting_for(changed, waiting.items(), pace)
        pairs = waiting.items()
        same = await kept(lambda pair: pair[0] not in plan.fresh and pair[1] in stated, pairs, pace)
        again = dict(same)
        gone = chain(plan.left(), missing)
        for key in await kept(again.__contains__, gone, pace):
            del again[key]
        return again

    async def _listed(self, keys: Set[str], plan: SourcePlan, pace: Pace) -> dict[str, int]:
        """Return the ids of the sessions with these keys that are listed, and go on to be."""
        if not keys:
            return {}
        left = {*await kept(keys.__contains__, plan.left(), pace)}
        held, shown = self._shown_source.held, self._shown_source.shown

        def is_listed(key: str) -> bool:
            if key in plan.fresh:
                return not plan.opens(key, held)
            return key in shown and key not in left

        listed = await kept(is_listed, keys, pace)
        return {key: id_of(held[plan.former.get(key, key)]) for key in listed}

    def _same(self, items: Mapping[str, Observed]) -> Iterator[Entry]:
        """Yield sessions that are shown already."""
        held = self._shown_source.held
        return (Entry(key, item, held[key], key) for key, item in items.items())
