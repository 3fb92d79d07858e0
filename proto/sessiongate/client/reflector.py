"""The protocol of a watch that goes on through failures: resume, start over, back off, renew.

One loop for every copy of the sessions, as client-go's Reflector is for every store. It does
not hold sessions: it yields the messages of one stream after another, and says where a stream
begins and that the core is lost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import NamedTuple

import grpc

from sessiongate.client.age import AgeBound, Clock
from sessiongate.client.cores import ONE_CORE, SILENCE, Cores
from sessiongate.client.errors import CallError
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_service_pb2 import (
    SessionFilter,
    WatchSessionsRequest,
    WatchSessionsResponse,
)

# Seconds before the core is called again: doubles from the first to the last.
_FIRST_BACKOFF, _LAST_BACKOFF = 0.05, 1.0
# Seconds by which this process notices a silence late if it stood still itself.
_STALL = 1.0
# Seconds before a stream that makes the copy look old is renewed: doubles from the first to
# the last if the next one does, too, as then the connection is slow, not just its beginning.
_FIRST_RENEWAL, _LAST_RENEWAL = 0.25, 15.0

Watch = Callable[[WatchSessionsRequest], AsyncGenerator[WatchSessionsResponse]]
BlockingWatch = Callable[[WatchSessionsRequest], Generator[WatchSessionsResponse]]


class Began(NamedTuple):
    """A stream is requested. Discard the messages since the last ``as_of``."""

    resumed: bool  # if not, a snapshot follows: discard everything, or keep it until then


class Lost(NamedTuple):
    """The core cannot be followed; it is called again when the next event is asked for."""

    error: CallError
    is_vain: bool = False  # whether calling again cannot help


Event = Began | Lost | WatchSessionsResponse


class Reflector:
    """Follows a core. ``revision`` returns what to resume from; 0 asks for a snapshot.

    If there are several ``cores``, it begins with a snapshot at each that is called next:
    a revision of one core means nothing to another.
    """

    def __init__(
        self,
        revision: Callable[[], int],
        filter: SessionFilter | None = None,
        *,
        staleness: float = SILENCE,
        clock: Clock = elapsed,
        cores: Cores = ONE_CORE,
    ) -> None:
        """Renew a stream that makes the copy look older than half of ``staleness`` seconds."""
        self._revision = revision
        self._filter = filter
        self._staleness = staleness
        self._clock = clock
        self._cores = cores
        self._position = self._cores.position  # of the core that the revision is of
        self._marks = AgeBound(clock)  # of the stream that is read
        self._proof: AgeBound | None = None  # of the stream that last brought a state
        self._must_restart = False
        self._has_begun = False  # whether the stream that is read has brought anything
        self._backoff = _FIRST_BACKOFF
        self._renewal = _FIRST_RENEWAL

    @property
    def age(self) -> float | None:
        """An upper bound on the copy's age, in seconds; None if nothing proves one."""
        return None if self._proof is None else self._proof.age

    @property
    def has_proof(self) -> bool:
        """Whether ``age`` is known: a proof has a mark."""
        return self._proof is not None

    @property
    def is_late(self) -> bool:
        """Whether the copy may be older than ``staleness``, as far as messages prove."""
        return self.age is not None and self.age > self._staleness

    async def follow(self, watch: Watch) -> AsyncGenerator[Event]:
        """Yield messages without end. Raises only what is neither silence nor a failed call."""
        while True:
            request = self._begin()
            yield Began(bool(request.resume_revision))
            if self._position != self._cores.position:
                continue
            began = self._clock()
            try:
                async with aclosing(watch(request)) as messages:
                    is_worn = False
                    while not is_worn:
                        began = self._clock()
                        async with asyncio.timeout(SILENCE):
                            message = await anext(messages)
                        is_worn = self._take(message)
                        yield message
                continue  # what is proven so far stays so, and ages meanwhile
            except TimeoutError:
                error = silence()
                if self._clock() - began < SILENCE + _STALL:
                    self._cores.lose(self._position)
            except CallError as failure:
                error = failure
            lost, pause = self._lose(error), self._fail(error)
            if lost is not None:
                yield lost
            await asyncio.sleep(pause)

    def follow_blocking(self, watch: BlockingWatch) -> Generator[Event]:
        """Yield messages as `follow` does. ``watch`` has to fail when the core is silent."""
        while True:
            request = self._begin()
            yield Began(bool(request.resume_revision))
            if self._position != self._cores.position:
                continue
            try:
                with closing(watch(request)) as messages:
                    is_worn = False
                    while not is_worn:
                        message = next(messages)
                        is_worn = self._take(message)
                        yield message
                continue
            except CallError as failure:
                error = failure
            lost, pause = self._lose(error), self._fail(error)
            if lost is not None:
                yield lost
            time.sleep(pause)

    def _begin(self) -> WatchSessionsRequest:
        position = self._cores.position
        self._must_restart |= position != self._position
        self._position = position
        resume = 0 if self._must_restart else self._revision()
        self._has_restarted = not resume
        self._must_restart = False
        self._has_begun = False
        self._marks = AgeBound(self._clock)
        return WatchSessionsRequest(filter=self._filter, resume_revision=resume)

    def _take(self, message: WatchSessionsResponse) -> bool:
        """Return whether another stream could prove more than the one of this message."""
        self._has_begun = True
        if not self._marks.note(message):
            return False
        self._proof = self._marks
        self._backoff = _FIRST_BACKOFF
        half = self._staleness / 2
        if not self._marks.is_worn(half, self._renewal):
            return False
        looks_old = self._marks.age is not None and self._marks.age > half
        self._renewal = min(self._renewal * 2, _LAST_RENEWAL) if looks_old else _FIRST_RENEWAL
        return True

    def _lose(self, error: CallError) -> Lost | None:
        if error.code is grpc.StatusCode.OUT_OF_RANGE:
            # Starting over loses nothing, unless that did not come to an end either.
            is_cut = self._has_restarted and self._marks.age is None
            return Lost(error) if is_cut else None
        # A token that let a stream begin may have a successor; one that lets none begin has not.
        is_renewable = error.reason == Reason.CREDENTIALS_EXPIRED and self._has_begun
        return Lost(error, is_vain=not error.is_transient and not is_renewable)

    def _fail(self, error: CallError) -> float:
        """Note that a stream has ended; return the seconds to wait."""
        self._proof = None
        self._must_restart = error.code is grpc.StatusCode.OUT_OF_RANGE
        pause, self._backoff = self._backoff, min(self._backoff * 2, _LAST_BACKOFF)
        return pause * random.uniform(0.5, 1)  # noqa: S311


def silence() -> CallError:
    """Return the error of a core that says nothing."""
    text = f"the core has sent nothing for {SILENCE:g} seconds"
    return CallError(grpc.StatusCode.DEADLINE_EXCEEDED, None, text)
