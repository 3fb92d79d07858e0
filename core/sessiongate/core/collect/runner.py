"""One source's task: observes it again and again, backs off while it fails, and reports on it."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.completeness import Completeness
from sessiongate.core.collect.observed_times import ObservedTimes
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.collect.truncation import fitting_services, printable
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.sources.base import (
    Action,
    Observation,
    Source,
    SourceConfig,
    SourceConnectError,
    SourceError,
    Target,
)
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1 import source_service_pb2

log = logging.getLogger(__name__)

DUTY = 4  # the pause between two observations is at least this many times the first's duration
# Seconds between two attempts at a source that fails, and at one that cannot be connected to.
MAX_BACK_OFF = 5.0
MAX_CONNECT_BACK_OFF = 30.0
WHOLE_AGAIN = 5.0  # seconds that a source is read completely before that is logged
SOURCE_CLOSE_TIMEOUT = 2.0  # seconds that a source may take to close
# Seconds beyond its interval and timeout before a source is overdue: the loop may be late.
LATENESS = 2.0
_LATE = "the last observation was not shown in time: the core is busy"

_ACTIONS: Mapping[Action, source_service_pb2.SessionAction] = {
    Action.CANCEL: source_service_pb2.SESSION_ACTION_CANCEL,
    Action.TERMINATE: source_service_pb2.SESSION_ACTION_TERMINATE,
}


@dataclass(slots=True)
class ObservationCounts:
    """Counts of a source's observations since the core started."""

    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0  # taken by successful ones


class Runner:
    """One source's task, and the state of reading it."""

    def __init__(self, config: SourceConfig, source: Source, context: CollectorContext) -> None:
        self.name = config.name
        self.place = config.place
        self.source = source
        self.counts = ObservationCounts()
        self.config = config
        self._table = context.table
        self._ledger = context.ledger
        self._now = context.now
        self._sessions = Reconciler(config, context)
        self.observed_times = ObservedTimes(config.name)
        # Somebody waits for an observation that begins later than the one under way.
        self._is_wanted = asyncio.Event()
        self._shown = asyncio.Event()  # set when an observation has been shown, and replaced
        self._shown_from = -math.inf  # when that was requested, on `elapsed`
        self._due = 0.0  # when the next observation must have been requested, on `elapsed`
        self._first_reads = context.first_reads  # None once the source was read
        self._is_failing = False
        self._is_taking = False  # an observation is compared, written or shown
        self._logged = _WHOLE  # the completeness that was last logged
        self._whole_since: float | None = None  # on the loop's clock
        # The report on the source, except for what the table and the reconciler know.
        self._report = source_service_pb2.Source(name=config.name, kind=config.kind)

    async def restore(self, place: str | None, held: dict[str, int]) -> None:
        covered_until = await self._ledger.covered_until(self.name)
        self.observed_times.restore(covered_until)
        await self._sessions.restore(place, held, covered_until)

    def target(self, ident: int) -> Target | None:
        """Return a session of this source as it is shown; None if it is not."""
        return self._sessions.target(ident)

    async def observed_since(self, moment: float) -> None:
        """Wait until an observation is shown that was requested then or later, on `elapsed`.

        The next one begins sooner than it otherwise would.
        """
        while self._shown_from < moment:
            self.hurry()
            await self._shown.wait()

    def hurry(self) -> None:
        """Begin the next observation sooner than it otherwise would."""
        self._is_wanted.set()

    async def _rest(self, pause: float, took: float) -> None:
        """Wait until the next observation: ``took`` is how long the last one did."""
        least = min(pause, took)  # at most half of the time is for observations
        await asyncio.sleep(least)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause - least):
                await self._is_wanted.wait()

    async def run(self) -> None:
        failures = 0
        first = elapsed() + self.config.timeout + LATENESS
        self._table.deadlines.set(self._overdue, first)
        while True:
            try:
                if self._first_reads is not None:
                    await self._first_reads.begin(self.name, self._lose)
                requested = elapsed()
                self._is_wanted.clear()
                took, pause = await self.observe(requested)
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                if is_own_cancellation(error):
                    raise
                self._failed(error)
                await self._end_first_read(is_read=False)
                failures += 1
                pause = back_off(error, self.config.interval, failures)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            else:
                failures = 0
                await self._end_first_read(is_read=True)
                self._report.observation_duration.FromNanoseconds(int(took * 1e9))
                await self._rest(pause, took)

    async def _end_first_read(self, *, is_read: bool) -> None:
        reads = self._first_reads
        if reads is not None and await reads.end(self.name, is_read=is_read) and is_read:
            self._first_reads = None

    async def observe(self, requested: float) -> tuple[float, float]:
        """Observe the source once, from ``requested`` on, and show what it has.

        Return the seconds that it took to answer, and those to pause. Raises any exception.
        """
        async with asyncio.timeout(self.config.timeout):
            observation = await self.source.observe()
        if not isinstance(observation, Observation):
            got = type(observation).__name__
            raise SourceError(f"observe() must return an Observation, got {got}")
        took = elapsed() - requested
        if took > self.config.timeout + LATENESS:
            took = 0.0  # this process was stopped meanwhile: how long it took is not known
        pause = max(self.config.interval, min(took, self.config.timeout) * DUTY)
        following = elapsed() + pause + self.config.timeout + LATENESS
        if not await self._accept(observation, requested, following):
            pause = 0.0  # the source has rested meanwhile
        self.counts.succeeded += 1
        self.counts.seconds += took
        return took, pause

    async def close(self) -> None:
        self._sessions.close()
        await close_source(self.name, self.source)

    def report(self) -> source_service_pb2.Source:
        state, completeness = self._table.source(self.name), self._sessions.completeness
        states = source_service_pb2.SourceState
        report = source_service_pb2.Source(
            session_count=self._sessions.session_count,
            truncated=completeness.truncated,
            unreadable_sessions=completeness.sessions,
            unreadable_members=completeness.members,
            unreadable_example=completeness.example,
            partial=state.partial,
            services=state.services,
            actions=sorted(map(_ACTIONS.__getitem__, self.config.actions)),
        )
        report.MergeFrom(self._report)
        if state.reachable:
            report.state = states.SOURCE_STATE_REACHABLE
        elif state.tried:
            report.state = states.SOURCE_STATE_UNREACHABLE
        else:
            report.state = states.SOURCE_STATE_PENDING
        return report

    async def _accept(self, observation: Observation, requested: float, following: float) -> bool:
        """Publish an observation requested at ``requested``; the next is due by ``following``.

        Return whether that was done by then.
        """
        observed, at = self._now(), elapsed()
        continues = self._table.source(self.name).reachable and requested <= self._due
        self._due = following
        self._is_taking = True
        try:
            await self._sessions.take(observation, requested, observed, continues=continues)
        finally:
            self._is_taking = False
        # Of what changed after the request, the source may have stated either.
        self.observed_times.observe(
            *(observed - int((at - requested) * 1e9), requested),
            is_partial=bool(self._sessions.completeness.partial),
            continues=continues,
        )
        self._report.last_success_time.FromNanoseconds(observed)
        if elapsed() >= following:  # outdated while it was written and shown
            self._lose(self._table.source(self.name).error or _LATE)
            return False
        self._table.deadlines.set(self._overdue, following)
        self._table.deadlines.cancel(self._expire)
        self._table.set_source(
            self.name,
            reachable=True,
            partial=self._sessions.completeness.partial,
            services=fitting_services(observation.services, len(self._table.sources())),
        )
        self._shown_from = requested
        self._shown.set()
        self._shown = asyncio.Event()
        if self._is_failing:
            self._is_failing = False
            log.warning("source %s is reachable again", self.name)
        self._log_completeness(self._sessions.completeness)
        return True

    def _log_completeness(self, found: Completeness) -> None:
        """Log one line if the kind, not the number, of unreadable parts has changed."""
        kind, now = _kind(found), asyncio.get_running_loop().time()
        if kind != _WHOLE:
            self._whole_since = None
        if kind == self._logged:
            return
        if kind == _WHOLE:
            # An odd client that comes and goes must not log a line each time.
            self._whole_since = self._whole_since or now
            if now - self._whole_since >= WHOLE_AGAIN:
                self._logged = kind
                log.warning("source %s is read completely again", self.name)
            return
        self._logged = kind
        log.warning(
            "source %s is read only partially: %s; unreadable: sessions %d, members %d%s",
            *(self.name, found.partial or "some members could not be read"),
            *(found.sessions, found.members),
            f", such as {found.example}" if found.example else "",
        )

    def _failed(self, error: BaseException) -> None:
        self.counts.failed += 1
        self._lose(why_failed(self.config, error))

    def _overdue(self) -> None:
        """Report that the last observation is too old to count as current."""
        state = self._table.source(self.name)
        if state.tried and not state.reachable:
            self._lose(state.error)
        elif self._sessions.is_writing and self._ledger.busy_for > self.config.timeout:
            self._lose("the last observation is not stored yet: the ledger's disk hangs or is slow")
        elif self._is_taking and not state.tried:  # nothing is shown as current before its end
            self._table.deadlines.set(self._overdue, elapsed() + LATENESS)
        elif self._is_taking:
            self._lose(_LATE)
        else:
            self._lose("was not read in time: the core was stopped or blocked")

    def _lose(self, text: str) -> None:
        """Report the source as unreachable, and keep its sessions until they are stale."""
        self._report.last_error = text
        self._report.last_error_time.FromNanoseconds(self._now())
        deadlines = self._table.deadlines
        deadlines.cancel(self._overdue)
        deadlines.set(self._expire, self._sessions.stale_at)
        if self._table.set_source(self.name, reachable=False, error=text):
            self._is_failing = True
            log.warning("source %s is unreachable: %s", self.name, text)

    def _expire(self) -> None:
        """Hide the sessions, unless they become stale later than was foreseen."""
        if (stale_at := self._sessions.stale_at) > elapsed():
            self._table.deadlines.set(self._expire, stale_at)
        else:
            self._sessions.expire()


async def close_source(name: str, source: Source) -> None:
    """Close a source; one that hangs or fails is abandoned."""
    try:
        async with asyncio.timeout(SOURCE_CLOSE_TIMEOUT):
            await source.close()
    except Exception as error:
        log.warning("source %s failed to close: %s", name, type(error).__name__)


def is_own_cancellation(error: BaseException) -> bool:
    """Return whether this task is cancelled, and not something that a source awaits."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def why_failed(config: SourceConfig, error: BaseException) -> str:
    """Return in words why a source could not be read; log where, if that was not foreseen."""
    if isinstance(error, TimeoutError):
        return f"did not respond within {config.timeout:g} s"
    if isinstance(error, SourceError | LedgerError):
        return printable(str(error))
    log.error("source %s", config.name, exc_info=error)
    return f"failed unexpectedly: {type(error).__name__}"


def back_off(error: BaseException, interval: float, failures: int) -> float:
    """Return the longest pause before the next attempt, in seconds, after ``failures``."""
    unconnected = isinstance(error, SourceConnectError)
    longest = MAX_CONNECT_BACK_OFF if unconnected else MAX_BACK_OFF
    return float(min(longest, interval * 2 ** min(failures, 10)))


def _kind(found: Completeness) -> tuple[object, ...]:
    """Return the part of an observation's completeness whose changes are logged."""
    return found.partial, found.sessions > 0, found.members > 0


_WHOLE = _kind(Completeness())
