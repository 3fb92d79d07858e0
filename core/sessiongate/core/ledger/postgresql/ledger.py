"""A ledger in PostgreSQL, which one core writes to while it holds the server's lock for it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

from sessiongate.core.ledger.base import Current, HistorySize, PageSize, PastSessions
from sessiongate.core.ledger.calls import LedgerCalls
from sessiongate.core.ledger.coverage import Coverage, Interval
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.connection import ANSWER_TIMEOUT, LedgerAwayError
from sessiongate.core.ledger.postgresql.past import PostgresqlPast
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.starts import INSTANCE_BITS
from sessiongate.core.ledger.postgresql.store import PostgresqlStore
from sessiongate.core.ledger.postgresql.upkeep import Upkeep
from sessiongate.core.ledger.rows import Changes
from sessiongate.runtime.background import in_background
from sessiongate.runtime.core_settings import DEFAULT_SHARD
from sessiongate.runtime.telemetry.latency import Durations
from sessiongate.v1.history_service_pb2 import PastSession

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0  # seconds that the last writes may take
_LOOK = 1.0  # seconds between two looks at whether the server answers
_WAIT = (0.5, 5.0)  # seconds between two attempts to reach it at the start

_T = TypeVar("_T")


class PostgresqlLedger:
    """An open ledger, made by `open`; its calls are queued on one thread."""

    def __init__(
        self,
        place: LedgerPlace,
        policy: HistoryPolicy,
        now: Callable[[], int],
        *,
        shard: str = DEFAULT_SHARD,
        core: str = "",
    ) -> None:
        self._place = place
        self._store = PostgresqlStore(place, policy, now, shard=shard, core=core)
        self._upkeep = Upkeep(place, self._store.pen.name, policy)
        self._calls, self._upkeep_calls = LedgerCalls(), LedgerCalls()
        self._past = PostgresqlPast(place, self._store.pen.name, policy)
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        policy: HistoryPolicy = HistoryPolicy(),  # noqa: B008 - frozen
        now: Callable[[], int],
        shard: str = DEFAULT_SHARD,
        core: str = "",
        opening: Callable[[PostgresqlLedger], None] = lambda ledger: None,
    ) -> PostgresqlLedger:
        """Open the ledger at a URL; make its tables if there are none.

        ``policy`` says which past sessions are kept; ``now`` returns ns since the epoch. Others
        see that ``core`` is active for the ``shard``. A server that cannot be reached is
        waited for. ``opening`` is called with the ledger before its pen is asked for. Raises
        `LedgerError`; if another core has the shard, `LedgerHeldError`.
        """
        ledger = cls(LedgerPlace.parse(url), policy, now, shard=shard, core=core)
        opening(ledger)
        ledger._watching = in_background(ledger._watch, "watching the ledger's server")
        try:
            wait, most = _WAIT
            while True:
                try:
                    await ledger._open()
                    return ledger
                except LedgerAwayError as error:
                    log.warning("%s; trying again in %.1f seconds", error, wait)
                await asyncio.sleep(wait)
                wait = min(2 * wait, most)
        except BaseException:
            await ledger.close()
            raise

    async def _open(self) -> None:
        await self._calls.run(self._store.prepare)
        now = await self._calls.run(self._store.confirmed_now)
        await self._upkeep_calls.run(lambda: self._upkeep.make(now))
        self._take_over()

    async def close(self) -> None:
        """Finish queued calls and release the ledger; do not wait for a server that hangs."""
        if self._watching is not None:
            self._watching.cancel()
        self._upkeep.cut()
        await self._past.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._calls.run(self._store.close)
                await self._upkeep_calls.run(self._upkeep.close)
        except TimeoutError:
            log.error("the ledger's server does not answer; exiting without the last writes")
            self._store.pen.cut()
        self._calls.abandon()
        self._upkeep_calls.abandon()

    @property
    def oldest_xmin(self) -> int:
        """The age of the oldest snapshot in the server, in transactions: it keeps old rows."""
        return self._upkeep.oldest_xmin

    @property
    def last_end(self) -> int:
        """The last end of a session for which there is a partition, in ns since the epoch."""
        return self._upkeep.last_end

    @property
    def pen(self) -> Pen:
        """The right to write."""
        return self._store.pen

    async def take_up(self) -> None:
        """Make sure now that this core has the pen, not only when there is something to write."""
        with suppress(LedgerError, RuntimeError):  # the second if the ledger is closed meanwhile
            await self._calls.run(self.pen.make_sure)

    @property
    def policy(self) -> HistoryPolicy:
        """Which past sessions are kept."""
        return self._store.policy

    @property
    def identity(self) -> str:
        """The name of the ledger, which all cores of its shards state."""
        return self._store.identity

    @property
    def began(self) -> int:
        """The earliest time that the clock has shown since the ledger was opened, in ns."""
        return self._store.began

    @property
    def size(self) -> HistorySize:
        """How much was kept of the past when that was last noted or trimmed."""
        return self._store.size

    @property
    def busy_for(self) -> float:
        """Seconds since a call ended, or the first began, while others wait for it."""
        return self._calls.busy_for

    @property
    def durations(self) -> Durations:
        """How long calls that write took, with the time that they waited for others."""
        return self._calls.durations

    @property
    def failures(self) -> int:
        """How many of these calls failed."""
        return self._calls.failures

    async def is_in_place(self) -> bool:
        """Return whether what this core knows is still what the ledger has."""
        return not self._store.pen.is_superseded

    async def ceiling(self) -> int:
        """Return a number above every revision ever used."""
        return self._store.pen.instance << INSTANCE_BITS

    async def latest_time(self) -> int:
        """Return the latest time that a core has noted, in microseconds since the epoch."""
        return self._store.noted // 1000

    def is_reserved(self, revision: int) -> bool:
        """Return whether no later start uses this revision or a lower one."""
        return revision < (self._store.pen.instance + 1) << INSTANCE_BITS

    async def reserve(self, revision: int) -> None:
        """Make sure that no later start uses this revision or a lower one."""
        if not self.is_reserved(revision):
            raise LedgerError(
                f"the ledger ({self._place}) has no revision {revision} for this core"
            )

    async def own(self, sources: Collection[str]) -> None:
        """Note which sources this core's shard has. Raises `LedgerError`, also for another's."""
        await self._calls.run(lambda: self._store.own(sources))

    async def held(self) -> defaultdict[str, dict[str, int]]:
        """Return the places (`core.place`) of the shard's open sessions, by source and key."""
        return await self._calls.run(self._store.held)

    async def incarnation(self, source: str) -> float | None:
        """Return the start of the source's server, as last recorded."""
        return self._store.known(source)[0]

    async def places(self) -> dict[str, str]:
        """Return the place that each source was last read from, by name."""
        return self._store.places()

    async def record(
        self,
        source: str,
        *,
        opened: Sequence[Opening],
        closed: Sequence[Closing],
        incarnation: float | None,
        rekeyed: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,
        observed: int | None = None,
    ) -> list[int]:
        """Record one observation; return the ids of ``opened``, in order.

        Stated ids are not kept: several cores may assign ids. For the arguments see
        `core.ledger.rows.Changes`. Raises `LedgerError`; then nothing is written, or it is
        undone before anything else is read or written.
        """
        changes = Changes(source, opened, closed, incarnation, rekeyed, place, observed)
        return await self._calls.run(lambda: self._store.record(changes))

    async def covered_until(self, source: str) -> int | None:
        """Return when a source was last observed, in ns since the epoch, as far as is written."""
        return await self._calls.run(lambda: self._store.covered_until(source))

    async def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs. Raises `LedgerError`."""
        await self._calls.run(lambda: self._store.note(intervals))

    async def trim(self) -> bool:
        """Drop some past sessions that are no longer kept; return whether there may be more.

        Nothing that is written waits for it. Raises `LedgerError`.
        """
        now = await self._calls.run(self._store.confirmed_now)
        has_more = await self._upkeep_calls.run(lambda: self._upkeep.trim(now))
        self._take_over()
        return has_more

    async def page(
        self,
        selector: PastSelector,
        after: PastPlace | None,
        most: PageSize,
        time: tuple[int, int],
        current: Current,
    ) -> PastSessions:
        """Return the sessions that follow a place, and what is known of a ``time``."""
        return await self._past.page(selector, after, most, time, current)

    async def count(
        self,
        selector: PastSelector,
        moments: Moments,
        column: str | None,
        time: tuple[int, int],
        current: Current,
        counted: Callable[[Counted], None],
    ) -> Coverage:
        """Count the sessions at some moments by a column; return what is known of a ``time``."""
        return await self._past.count(selector, moments, column, time, current, counted)

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id, ended or not."""
        return await self._past.one(ident)

    def _take_over(self) -> None:
        """Use what the upkeep has seen."""
        self._store.last_end, self._store.size = self._upkeep.last_end, self._upkeep.size

    async def _watch(self) -> None:
        """Give up statements that the server does not answer, so that their callers go on."""
        while True:
            await asyncio.sleep(_LOOK)
            for user in (self._store.pen, self._upkeep):
                if user.waits_for > ANSWER_TIMEOUT:
                    log.error("the ledger's server (%s) does not answer", self._place)
                    user.cut()
