"""The collector: runs the sources and turns what they observe into changes.

Each source has its own task, timeout and back-off; one that fails hurts no
other. An observation is first written to the ledger, then made visible in the
table, under one lock, so that revisions become visible in the order they were
given.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.ledger import Held, Ledger, LedgerError, Opening
from core.links import Links, Wires
from core.sources.base import Observation, Observed, Source, SourceConfig, SourceError
from core.table import SessionTable
from sessiongate.v1 import source_service_pb2
from sessiongate.v1.session_pb2 import Session

log = logging.getLogger(__name__)

DUTY = 4  # between two observations lies at least this many times the first's duration
MAX_BACK_OFF = 30.0  # seconds between two attempts at a source that fails
CLOSING = 2.0  # seconds that a source may take to let go
# A server's stated start may move by this many seconds without a restart.
INCARNATION_TOLERANCE = 2.0
_WORTH_WRITING = INCARNATION_TOLERANCE / 2


@dataclass(slots=True)
class Tally:
    """Observations of a source since the core started."""

    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0  # that those which succeeded took


class Collector:
    """Keeps a table in step with its sources, from `start` to `close`."""

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        sources: Iterable[tuple[SourceConfig, Source]],
        *,
        stale_after: float,
        now: Callable[[], int],
    ) -> None:
        shared = _Shared(table, ledger, Links(), asyncio.Lock(), stale_after, now)
        self._runners = [_Runner(config, source, shared) for config, source in sources]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the ledger and begin to observe. Raises `LedgerError`."""
        for runner in self._runners:
            await runner.restore()
        self._tasks = [asyncio.create_task(runner.run()) for runner in self._runners]

    def reports(self) -> list[source_service_pb2.Source]:
        """How reading each source goes, in the order of the configuration."""
        return [runner.report() for runner in self._runners]

    def tallies(self) -> Mapping[str, Tally]:
        """How often each source was observed, by its name."""
        return {runner.name: runner.tally for runner in self._runners}

    async def close(self) -> None:
        """Stop observing and close the sources; one that hangs or fails is left behind."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING)
        await asyncio.gather(*(runner.close() for runner in self._runners))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the sources' tasks have in common."""

    table: SessionTable
    ledger: Ledger
    links: Links
    writing: asyncio.Lock  # held from the ledger's transaction until its changes show
    stale_after: float
    now: Callable[[], int]


class _Runner:
    """One source's task, and what is known of its sessions."""

    def __init__(self, config: SourceConfig, source: Source, shared: _Shared) -> None:
        self.name = config.name
        self.source = source
        self.tally = Tally()
        self._config = config
        self._table = shared.table
        self._ledger = shared.ledger
        self._links = shared.links
        self._writing = shared.writing
        self._stale_after = shared.stale_after
        self._now = shared.now
        # The sessions that the ledger holds open, by key. In the table too, but
        # for those that went stale or were not seen since the core started.
        self._held: dict[str, Held] = {}
        # The server's start as it last stated it, and as the ledger has it: clocks
        # drift, and a drift followed step by step is never taken for a restart.
        self._incarnation: float | None = None
        self._written: float | None = None
        self._last: Observation | None = None
        # What the table shows, by key: an object that is stated again is unchanged.
        self._shown: Mapping[str, Observed] = {}
        self._truncated = False
        self._succeeded = 0.0  # on the loop's clock
        self._expiry: asyncio.TimerHandle | None = None
        # What is told of the source, but for what the table knows.
        self._report = source_service_pb2.Source(name=config.name, kind=config.kind)

    async def restore(self) -> None:
        self._held = await self._ledger.held(self.name)
        self._incarnation = self._written = await self._ledger.incarnation(self.name)
        self._table.unseen.update({held.id: self.name for held in self._held.values()})

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            try:
                async with asyncio.timeout(self._config.timeout):
                    observation = await self.source.observe()
                took = clock() - began
                await self._accept(observation)
                self.tally.succeeded += 1
                self.tally.seconds += took
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                    raise  # it is this task that is to end, not something that the source awaits
                self._failed(error)
                failures += 1
                pause = min(MAX_BACK_OFF, self._config.interval * 2 ** min(failures, 10))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            else:
                failures = 0
                self._report.last_success_time.FromNanoseconds(self._now())
                self._report.observation_duration.FromNanoseconds(int(took * 1e9))
                await asyncio.sleep(max(self._config.interval, took * DUTY))

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSING):
                await self.source.close()
        except Exception as error:
            log.warning("source %s did not close: %s", self.name, type(error).__name__)

    def report(self) -> source_service_pb2.Source:
        state = self._table.source(self.name)
        states = source_service_pb2.SourceState
        report = source_service_pb2.Source()
        report.CopyFrom(self._report)
        report.truncated = self._truncated
        report.session_count = sum(
            self._table.get(held.id) is not None for held in self._held.values()
        )
        if state.reachable:
            report.state = states.SOURCE_STATE_REACHABLE
        elif state.tried:
            report.state = states.SOURCE_STATE_UNREACHABLE
        else:
            report.state = states.SOURCE_STATE_PENDING
        return report

    async def _accept(self, observation: Observation) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if observation is not self._last or not self._table.source(self.name).reachable:
            async with self._writing:
                await self._take(observation)
            self._last = observation
        self._succeeded = asyncio.get_running_loop().time()

    async def _take(self, observation: Observation) -> None:
        """Write down what is new and what has ended, then show it."""
        observed = self._limited({item.key: item for item in observation.sessions})
        # At the most; before anything is written, so that from there to the table nothing
        # can fail or come in between.
        changes = len(observed) + len(self._held) + len(self._table)
        await self._ledger.reserve(self._table.revision + changes)
        closed = await self._write_down(observed, observation.incarnation)
        linked = self._links.observe(self.name, self._wires(observed))
        shown = self._shown
        self._shown = {}  # until all of this is shown
        changed = [
            session
            for key, held in self._held.items()
            if (
                observed[key] is not shown.get(key)
                or held.id in linked
                or self._table.get(held.id) is None  # the key is a new session by now
            )
            and (session := self._changed(held, observed[key])) is not None
        ]
        own = (held.id for held in self._held.values())
        changed += self._relinked(linked.difference(closed, own))
        for ident in (*(held.id for held in self._held.values()), *closed):
            self._table.unseen.pop(ident, None)
        self._table.apply(changed, closed)
        self._table.set_source(self.name, reachable=True)
        self._shown = observed

    def _limited(self, observed: dict[str, Observed]) -> dict[str, Observed]:
        """At most ``max_sessions`` of what was observed, those known before first."""
        limit = self._config.max_sessions
        truncated = len(observed) > limit
        if truncated and not self._truncated:
            log.warning(
                "source %s is truncated: %d sessions, max_sessions=%d",
                *(self.name, len(observed), limit),
            )
        self._truncated = truncated
        if not truncated:
            return observed
        keys = sorted(observed, key=lambda key: key not in self._held)  # stable: order stays
        kept = set(keys[:limit])
        return {key: item for key, item in observed.items() if key in kept}

    async def _write_down(
        self, observed: Mapping[str, Observed], incarnation: float | None
    ) -> list[int]:
        """Let the ledger hold what was observed, and no more; the ids that ended."""
        held = {} if self._restarted(incarnation) else self._held
        kept = {key: held[key] for key in observed if key in held}
        keeping = {known.id for known in kept.values()}
        closed = [known.id for known in self._held.values() if known.id not in keeping]
        openings = [
            Opening(key, self._start(item)) for key, item in observed.items() if key not in held
        ]
        drifted = self._drifted(incarnation)
        if openings or closed or drifted:
            ids = await self._ledger.record(
                self.name,
                opened=openings,
                closed=closed,
                incarnation=incarnation if drifted else None,
            )
            for ident, opening in zip(ids, openings, strict=True):
                kept[opening.key] = Held(ident, opening.connect_time)
        self._held = kept
        if incarnation is not None:
            self._incarnation = incarnation
        if drifted:
            self._written = incarnation
        return closed

    def _wires(self, observed: Mapping[str, Observed]) -> dict[int, Wires]:
        return {
            held.id: Wires(item.accepted, item.opened)
            for key, held in self._held.items()
            if (item := observed[key]).accepted is not None or item.opened
        }

    def _relinked(self, idents: Iterable[int]) -> list[Session]:
        """Other sources' live sessions, with the links that they have now."""
        sessions = []
        for known in filter(None, map(self._table.get, idents)):
            session = Session()
            session.CopyFrom(known)
            self._link(session)
            sessions.append(session)
        return sessions

    def _link(self, session: Session) -> None:
        session.ClearField("upstream_ids")
        session.ClearField("downstream_ids")
        session.upstream_ids.extend(self._links.upstream(session.id))
        session.downstream_ids.extend(self._links.downstream(session.id))

    def _restarted(self, incarnation: float | None) -> bool:
        return (
            incarnation is not None
            and self._incarnation is not None
            and abs(incarnation - self._incarnation) > INCARNATION_TOLERANCE
        )

    def _drifted(self, incarnation: float | None) -> bool:
        """Whether the start that the ledger knows is worth writing again."""
        if incarnation is None:
            return False
        return self._written is None or abs(incarnation - self._written) > _WORTH_WRITING

    def _start(self, item: Observed) -> int:
        stated = item.session.HasField("connect_time")
        return item.session.connect_time.ToNanoseconds() if stated else self._now()

    def _changed(self, held: Held, item: Observed) -> Session | None:
        """The session as it now is, or None where it is as the table has it."""
        known = self._table.get(held.id)
        session = self._complete(held, item)
        if known is None:
            return session
        session.revision = known.revision
        session.update_time.CopyFrom(known.update_time)
        return None if session == known else session

    def _complete(self, held: Held, item: Observed) -> Session:
        """The observed session, with what the core adds to it."""
        session = item.session
        if session.id:  # observed before: what the table was given is not written to again
            session = Session()
            session.CopyFrom(item.session)
        session.id = held.id
        session.source = self.name
        session.connect_time.FromNanoseconds(held.connect_time)
        self._link(session)
        return session

    def _failed(self, error: BaseException) -> None:
        self.tally.failed += 1
        if isinstance(error, TimeoutError):
            text = f"did not answer within {self._config.timeout:g} s"
        elif isinstance(error, SourceError | LedgerError):
            text = str(error).encode(errors="backslashreplace").decode()
        else:
            text = f"failed unexpectedly: {type(error).__name__}"
            log.error("source %s", self.name, exc_info=error)
        self._report.last_error = text
        self._report.last_error_time.FromNanoseconds(self._now())
        if self._table.set_source(self.name, reachable=False, error=text):
            log.warning("source %s is unreachable: %s", self.name, text)
        if self._expiry is None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_at(self._succeeded + self._stale_after, self._expire)

    def _expire(self) -> None:
        """Let go of sessions last seen too long ago; whether they live is not known."""
        self._shown = {}
        ids = [held.id for held in self._held.values()]
        self._table.unseen.update(dict.fromkeys(ids, self.name))
        linked = self._links.observe(self.name, {}).difference(ids)
        self._table.apply(self._relinked(linked), ids)
