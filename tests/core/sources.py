"""A source for tests, with named switches for faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sessiongate.core.sources.base import Observation, Observed, SourceError
from sessiongate.v1.session_pb2 import Session, SessionState


def seen(key: str, *, connected: int | None = None, **fields: str | int) -> Observed:
    """Make an observed session; ``connected`` is in seconds since the epoch."""
    session = Session(service="app", state=SessionState.SESSION_STATE_STARTED)
    for name, value in fields.items():
        setattr(session, name, value)
    if connected is not None:
        session.connect_time.FromSeconds(connected)
    return Observed(key, session)


class ScriptedSource:
    """Answers with the latest observation set; ``failing`` and ``hanging`` are its faults.

    Each observation begins when `step` says so, and `step` waits for its end.
    """

    def __init__(self) -> None:
        self.keys: dict[str, int | None] = {}
        self.fields: dict[str, dict[str, str | int]] = {}
        self.incarnation: float | None = None
        self.failing = ""
        self.hanging = False
        self.raising: BaseException | None = None
        self.closed = False
        self.again: Observation | None = None  # answer with this very object
        self._go: asyncio.Queue[None] = asyncio.Queue()
        self._idle = asyncio.Event()

    def show(self, keys: Iterable[str], connected: int | None = None) -> None:
        self.keys = dict.fromkeys(keys, connected)

    async def step(self) -> None:
        """Let one observation happen, and wait until the next is requested."""
        await self._idle.wait()
        self._idle.clear()
        self._go.put_nowait(None)
        await self._idle.wait()

    async def observe(self) -> Observation:
        self._idle.set()
        await self._go.get()
        if self.hanging:
            await asyncio.Event().wait()
        if self.raising is not None:
            raise self.raising
        if self.failing:
            raise SourceError(self.failing)
        if self.again is not None:
            return self.again
        sessions = [
            seen(key, connected=connected, **self.fields.get(key, {}))
            for key, connected in self.keys.items()
        ]
        return Observation(sessions, self.incarnation)

    async def close(self) -> None:
        self.closed = True
