"""A live copy of the core's sessions, and the proof that it is current.

In informer terms, a `Reflector` lists and watches (one call of WatchSessions does
both), and a `Replica` applies that to a `Store`. The store only takes states that the
table was in: messages are applied together, up to one that carries ``as_of``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from sessiongate.client.age import Clock
from sessiongate.client.cores import ONE_CORE, Cores
from sessiongate.client.reflector import Began, Lost, Reflector, Watch
from sessiongate.gateway.upstream.store import CHANGED, Store
from sessiongate.runtime.turns import Steps, later
from sessiongate.v1.session_service_pb2 import WatchSessionsResponse

log = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds before the core is followed again after an unexpected error


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
            later(self.store.let_go())
            self.store = Store()  # the last one may hold half of a state
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
                        later(store.let_go())
                        store = Store()
                else:
                    pending.append(event)
                    size += len(event.snapshot.sessions) + len(event.changes.upserts)
                    is_state = event.HasField("as_of")
                    # The shown store waits for a state that the table was in; another one,
                    # until there is enough to do at a time.
                    if not is_state and (store is self.store or size < CHANGED):
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
        self._proven = None

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
