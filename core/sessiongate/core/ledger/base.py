"""The interface of a ledger, whatever database keeps it.

Times are ns since the epoch. Calls raise `LedgerError`; then nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from sessiongate.core.ledger.coverage import Coverage, Interval
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.runtime.telemetry.latency import Durations
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.session_pb2 import Session

# Returns an open session as it is now, by its id; any thread may call it.
Current: TypeAlias = Callable[[int], Session | None]


class PageSize(NamedTuple):
    """The most that a page may hold; it has at least one session."""

    sessions: int
    size: int  # bytes


class PastSessions(NamedTuple):
    """A page of sessions, with what is known of the time that was asked about."""

    sessions: list[PastSession]
    following: PastPlace | None  # the place of the next page, if there is one
    coverage: Coverage


class HistorySize(NamedTuple):
    """The size of the past that is kept."""

    rows: int  # sessions that have ended
    size: int  # bytes of the whole ledger
    oldest_end: int | None  # when the first of them ended


class PastLedger(Protocol):
    """An open ledger, as questions about the past need it."""

    @property
    def policy(self) -> HistoryPolicy:
        """Which past sessions are kept."""

    @property
    def began(self) -> int:
        """The earliest time that the clock has shown since the ledger was opened."""

    @property
    def identity(self) -> str:
        """The name of the ledger, which no other one has; see ``ListSourcesResponse``."""

    async def close(self) -> None:
        """Finish queued calls and release the ledger; do not wait for a disk that hangs."""

    async def page(
        self,
        selector: PastSelector,
        after: PastPlace | None,
        most: PageSize,
        time: tuple[int, int],
        current: Current,
    ) -> PastSessions:
        """Return the sessions that follow a place, and what is known of a ``time``."""

    async def count(
        self,
        selector: PastSelector,
        moments: Moments,
        column: str | None,
        time: tuple[int, int],
        current: Current,
        counted: Callable[[Counted], None],
    ) -> Coverage:
        """Count the sessions at some moments by a column; return what is known of a ``time``.

        ``counted`` is called on another thread with each count; they add up.
        """

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id, ended or not, as the ledger describes it."""


class Revisions(Protocol):
    """The revisions that a table may use."""

    def is_reserved(self, revision: int) -> bool:
        """Return whether no later start uses this revision or a lower one."""

    async def reserve(self, revision: int) -> None:
        """Make sure that no later start uses this revision or a lower one."""


class Ledger(PastLedger, Revisions, Protocol):
    """An open ledger, which no other core uses.

    It keeps the id of each session, who was connected, and when sources were observed.
    """

    @property
    def size(self) -> HistorySize:
        """How much was kept of the past when that was last noted or trimmed."""

    @property
    def durations(self) -> Durations:
        """How long calls that write took, with the time that they waited for others."""

    @property
    def failures(self) -> int:
        """How many of these calls failed."""

    @property
    def busy_for(self) -> float:
        """Seconds since a call ended, or the first began, while others wait for it."""

    async def is_in_place(self) -> bool:
        """Return whether the ledger is still the one that was opened."""

    async def ceiling(self) -> int:
        """Return a number above every revision ever used."""

    async def latest_time(self) -> int:
        """Return the latest time that a write has noted, or a little later, in microseconds."""

    async def own(self, sources: Collection[str]) -> None:
        """Note which sources the core has.

        Of others that it had, nothing is kept for it once no session of theirs is open. Raises
        `LedgerError` if they belong to other cores.
        """

    async def held(self) -> Mapping[str, dict[str, int]]:
        """Return the places (`core.place`) of the open sessions, by source and key."""

    async def incarnation(self, source: str) -> float | None:
        """Return the start of the source's server, as last recorded, in seconds."""

    async def places(self) -> dict[str, str]:
        """Return the place that each source was last read from, by name."""

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
        """Record an observation, or a part of one, all or nothing; return the ids of ``opened``.

        They are in its order: the stated ones if they were never assigned, or else the next
        numbers. ``rekeyed`` are new keys of sessions, with their ids; ``place`` is where the source
        is read from; ``observed`` is when, by default now. What is None stays as it is.
        """

    async def covered_until(self, source: str) -> int | None:
        """Return when a source was last observed, as far as is written."""

    async def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs."""

    async def trim(self) -> bool:
        """Delete some past sessions that are no longer kept; return whether there may be more."""
