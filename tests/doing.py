"""A core whose sessions, and what they are doing, a test chooses, and which can act on them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest

from sessiongate.core import server
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import (
    ActError,
    ActFault,
    Action,
    Observation,
    Observed,
    SourceConfig,
    SourceError,
    Strike,
    Target,
    TcpLink,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Activity, Session
from tests.program import PATIENCE

CONNECTED = 1_790_000_000  # when the sessions connected, in seconds since the epoch


class Shown:
    """The sessions of each source, which a test may change at any time; a text is its fault.

    ``acts`` are those that were done, with the key of the session. One that is ended goes from
    its source, and one whose statement is cancelled is idle, unless it is ``stubborn``.
    """

    def __init__(self, sources: Mapping[str, Sequence[Observed] | str]) -> None:
        self.sources = dict(sources)
        self.address = ""
        self.acts: list[tuple[Action, str]] = []
        self.stubborn = False

    def act(self, source: str, action: Action, key: str) -> None:
        """Act on a session."""
        self.acts.append((action, key))
        stated_ones = self.sources[source]
        if self.stubborn or isinstance(stated_ones, str):
            return
        others = [each for each in stated_ones if isinstance(each, Observed) and each.key != key]
        if action is Action.CANCEL:
            (found,) = (each for each in stated_ones if each not in others)
            session = Session()
            session.CopyFrom(found.session)
            session.activity.state = session_pb2.ACTIVITY_STATE_IDLE
            others.append(
                Observed(
                    key,
                    session,
                    accepted=found.accepted,
                    opened=found.opened,
                    blocked_by=found.blocked_by,
                    stated_id=found.stated_id,
                )
            )
        self.sources[source] = others


class _ShownSource:
    def __init__(self, shown: Shown, name: str) -> None:
        self._shown = shown
        self._name = name

    async def observe(self) -> Observation:
        stated = self._shown.sources[self._name]
        if isinstance(stated, str):
            raise SourceError(stated)
        return Observation(tuple(stated))

    async def close(self) -> None:
        """Do nothing: nothing is held open."""


class _ActingSource(_ShownSource):
    possible_actions = frozenset(Action)

    @asynccontextmanager
    async def aim(self, action: Action, target: Target) -> AsyncIterator[Strike]:
        if isinstance(fault := self._shown.sources[self._name], str):
            raise SourceError(fault)
        state = target.session.activity.state
        if action is Action.CANCEL and state == session_pb2.ACTIVITY_STATE_IDLE:
            raise ActError(ActFault.NO_STATEMENT, "it runs no statement")

        async def strike() -> None:
            self._shown.act(self._name, action, target.item.key)

        yield strike


def stated(
    key: str,
    activity: session_pb2.ActivityState | None = None,
    *,
    since: int = 0,
    accepted: TcpLink | None = None,
    opened: Sequence[TcpLink] = (),
    blocked_by: Sequence[str] = (),
    **fields: object,
) -> Observed:
    """Make a session whose id is its key; ``since`` seconds after it connected, it began this."""
    fields = {"service": "app", "state": session_pb2.SESSION_STATE_STARTED, **fields}
    session = Session(**fields)  # type: ignore[arg-type] # of names
    session.connect_time.FromSeconds(CONNECTED)
    if activity is not None:
        session.activity.CopyFrom(Activity(state=activity))
        session.activity.since_time.FromSeconds(CONNECTED + since)
    return Observed(
        key,
        session,
        accepted=accepted,
        opened=tuple(opened),
        blocked_by=tuple(blocked_by),
        stated_id=int(key),
    )


@contextmanager
def showing(
    sources: Mapping[str, Sequence[Observed] | str],
    actions: Mapping[str, str] = MappingProxyType({}),
    **settings: Any,
) -> Iterator[Shown]:
    """Run a real core of these sources in a thread; yield what it shows, with its address.

    ``actions`` are what may be done to sessions, by their source: "cancel", for example, or
    "" if the source could but may not. Of other sources, the kind cannot. Sessions of a source
    that fails stay, for as long as the tests of a module may take.
    """
    settings = {"stale_after": 86_400.0, **settings}
    shown = Shown(sources)
    stops: list[Callable[[], object]] = []
    ready = threading.Event()

    async def main() -> None:
        ended = asyncio.Event()
        stops.append(partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set))
        async with Core(config) as core:
            await core.table.ready.wait()
            shown.address = core.address
            ready.set()
            await ended.wait()

    config = CoreConfig(
        sources=tuple(
            SourceConfig.parse(f"shown:?name={name}&interval=0.05&actions={actions.get(name, '')}")
            for name in sources
        ),
        grpc="127.0.0.1:0",
        ledger="sqlite://",
        grace=0.1,
        **settings,
    )
    with pytest.MonkeyPatch.context() as patch:
        kinds = dict.fromkeys(actions, _ActingSource)
        patch.setattr(
            *(server, "open_source"),
            lambda each: kinds.get(each.name, _ShownSource)(shown, each.name),
        )
        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        assert ready.wait(PATIENCE)
    try:
        yield shown
    finally:
        stops[0]()
        thread.join(PATIENCE)
