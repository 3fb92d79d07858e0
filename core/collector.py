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
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from core.ledger import Held, Ledger, LedgerError, Opening
from core.sources.base import Observation, Observed, Source, SourceError
from core.table import SessionTable
from sessiongate.v1.session_pb2 import Session

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between the end of an observation and the next
DUTY = 4  # an observation takes at most one part in this many of the time
TIMEOUT = 10.0  # seconds that one observation may take
MAX_BACK_OFF = 30.0  # seconds between two attempts at a source that fails
# A server's stated start may move by this many seconds without a restart.
INCARNATION_TOLERANCE = 2.0
_WORTH_WRITING = INCARNATION_TOLERANCE / 2


class Collector:
    """Keeps a table in step with its sources, from `start` to `close`."""

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        sources: Mapping[str, Source],
        *,
        stale_after: float,
        now: Callable[[], int],
    ) -> None:
        self._table = table
        self._writing = asyncio.Lock()
        self._runners = [
            _Runner(name, source, table, ledger, self._writing, stale_after, now)
            for name, source in sources.items()
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the ledger and begin to observe. Raises `LedgerError`."""
        for runner in self._runners:
            await runner.restore()
        self._tasks = [asyncio.create_task(runner.run()) for runner in self._runners]

    async def close(self) -> None:
        """Stop observing and close the sources."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with AsyncExitStack() as stack:
            for runner in self._runners:
                stack.push_async_callback(runner.source.close)


class _Runner:
    """One source's task, and what is known of its sessions."""

    def __init__(
        self,
        name: str,
        source: Source,
        table: SessionTable,
        ledger: Ledger,
        writing: asyncio.Lock,
        stale_after: float,
        now: Callable[[], int],
    ) -> None:
        self.name = name
        self.source = source
        self._table = table
        self._ledger = ledger
        self._writing = writing
        self._stale_after = stale_after
        self._now = now
        # The sessions that the ledger holds open, by key. In the table too, but
        # for those that went stale or were not seen since the core started.
        self._held: dict[str, Held] = {}
        # The server's start as it last stated it, and as the ledger has it: clocks
        # drift, and a drift followed step by step is never taken for a restart.
        self._incarnation: float | None = None
        self._written: float | None = None
        self._last: Observation | None = None
        self._succeeded = 0.0  # on the loop's clock
        self._expiry: asyncio.TimerHandle | None = None

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
                async with asyncio.timeout(TIMEOUT):
                    observation = await self.source.observe()
                await self._accept(observation)
            except Exception as error:
                self._failed(error)
                failures += 1
                pause = min(MAX_BACK_OFF, INTERVAL * 2 ** min(failures, 10))
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            else:
                failures = 0
                await asyncio.sleep(max(INTERVAL, (clock() - began) * DUTY))

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
        incarnation = observation.incarnation
        held = self._held
        if self._restarted(incarnation):
            held = {}
        observed = {item.key: item for item in observation.sessions}
        opened = [item for key, item in observed.items() if key not in held]
        kept = {key: held[key] for key in observed if key in held}
        keeping = {known.id for known in kept.values()}
        closed = [known.id for known in self._held.values() if known.id not in keeping]
        changed = [
            session
            for key, known in kept.items()
            if (session := self._changed(known, observed[key])) is not None
        ]
        openings = [Opening(item.key, self._start(item)) for item in opened]
        drifted = self._drifted(incarnation)
        if openings or closed or drifted:
            changes = len(openings) + len(closed) + len(changed)
            ids = await self._ledger.record(
                self.name,
                opened=openings,
                closed=closed,
                incarnation=incarnation if drifted else None,
                revision=self._table.revision + changes,
            )
        else:
            await self._ledger.reserve(self._table.revision + len(changed))
            ids = []
        for ident, opening, item in zip(ids, openings, opened, strict=True):
            kept[opening.key] = Held(ident, opening.connect_time)
            changed.append(self._complete(kept[opening.key], item))
        self._held = kept
        if incarnation is not None:
            self._incarnation = incarnation
        if drifted:
            self._written = incarnation
        for ident in (*(known.id for known in kept.values()), *closed):
            self._table.unseen.pop(ident, None)
        changed.sort(key=lambda session: session.id)
        self._table.apply(changed, closed)
        self._table.set_source(self.name, reachable=True)

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
        return session

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            text = f"did not answer within {TIMEOUT:g} s"
        elif isinstance(error, SourceError | LedgerError):
            text = str(error)
        else:
            text = f"failed unexpectedly: {type(error).__name__}"
            log.error("source %s", self.name, exc_info=error)
        if self._table.set_source(self.name, reachable=False, error=text):
            log.warning("source %s is unreachable: %s", self.name, text)
        if self._expiry is None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_at(self._succeeded + self._stale_after, self._expire)

    def _expire(self) -> None:
        """Let go of sessions last seen too long ago; whether they live is not known."""
        ids = [item.id for item in self._held.values()]
        self._table.unseen.update(dict.fromkeys(ids, self.name))
        self._table.apply([], ids)
