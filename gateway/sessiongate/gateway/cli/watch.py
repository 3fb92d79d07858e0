"""Shows sessions as they change, at a terminal or as lines that a program reads."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import NamedTuple, Protocol

import grpc
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sessiongate.gateway.api.events import SILENCE
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.reporting import report
from sessiongate.gateway.cli.tables import gap_lines, plain, session_line, sessions_table
from sessiongate.gateway.errors import error_of, may_pass
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.client import UpstreamError
from sessiongate.gateway.upstream.marks import AgeBound
from sessiongate.gateway.upstream.replica import Store, Watch
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest, WatchSessionsResponse

_PAUSE = 0.5  # seconds before a core that failed is asked again
_TABLE_INTERVAL = 0.25  # seconds between two redraws


class WatchEvent(NamedTuple):
    """A session before and after a change; None if it did not, or does not, exist."""

    old: SessionRow | None
    new: SessionRow | None


class Screen(Protocol):
    """Shows a store that is being followed."""

    def show(self, store: Store, changes: Sequence[WatchEvent]) -> None:
        """Show the store after these changes."""

    def lost(self, why: str) -> None:
        """Say that the core cannot be asked, and is asked again."""


async def follow(watch: Watch, screen: Screen) -> None:
    """Show the core's sessions, through its failures, without end.

    Raises `UpstreamError` if the core cannot be asked at first, or if asking again cannot
    help.
    """
    store, resume, shown = Store(), 0, False
    while True:
        pending: list[WatchSessionsResponse] = []
        request, marks = WatchSessionsRequest(resume_revision=resume), AgeBound(elapsed)
        try:
            async with aclosing(watch(request)) as messages:
                while True:
                    async with asyncio.timeout(SILENCE):
                        message = await anext(messages)
                    pending.append(message)
                    if not marks.note(message):
                        continue
                    if marks.age is not None and marks.age > SILENCE:
                        raise TimeoutError
                    before, store = store, store if resume else Store()
                    old = {ident: before.get(ident) for ident in _told_of(pending, before, resume)}
                    store.apply(pending)
                    pending.clear()
                    pairs = [
                        WatchEvent(row, store.get(ident)) for ident, row in sorted(old.items())
                    ]
                    screen.show(store, [pair for pair in pairs if _differs(pair)])
                    resume, shown = store.revision, True
        except TimeoutError:
            if shown:
                screen.lost("the core says nothing, or too late")
        except UpstreamError as error:
            if error.code is grpc.StatusCode.OUT_OF_RANGE:
                resume = 0
            elif not shown or not may_pass(error):
                raise
            else:
                screen.lost(error_of(error).detail)
        await asyncio.sleep(_PAUSE)


def _told_of(messages: Sequence[WatchSessionsResponse], before: Store, resume: int) -> set[int]:
    """Return the ids that messages may change; for a snapshot, also all ids held before."""
    found = {
        told.id
        for message in messages
        for each in (
            message.snapshot.sessions,
            message.changes.upserts,
            message.changes.removals,
        )
        for told in each
    }
    if not resume:
        found.update(row.id for row in before.at(0, len(before)))
    return found


def _differs(change: WatchEvent) -> bool:
    old, new = change
    if old is None or new is None:
        return old is not new
    return old.revision != new.revision


@contextmanager
def open_screen() -> Iterator[Screen]:
    """Open a live table if a person reads, else lines."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        yield LiveTable(live)


class Lines:
    """Prints a line for each change: ``+`` came, ``~`` changed, ``-`` went."""

    def __init__(self) -> None:
        self._lost = False
        self._gaps = Gaps()

    def show(self, store: Store, changes: Sequence[WatchEvent]) -> None:
        if self._lost:
            self._lost = False
            report("the core answers again")
        if store.gaps != self._gaps:
            self._gaps = store.gaps
            for line in (
                gap_lines(store.gaps) if store.gaps else ["all sources are read as a whole"]
            ):
                report(line)
        for old, new in changes:
            if new is not None:
                print(session_line("~" if old is not None else "+", new.session))
            elif old is not None:
                print(session_line("-", old.session))
        sys.stdout.flush()

    def lost(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            report(f"{why}; asking again")


class LiveTable:
    """Draws as many sessions as there is room for, and how many there are."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._store = Store()
        self._drawn = 0.0

    def show(self, store: Store, changes: Sequence[WatchEvent]) -> None:
        self._store = store
        # The core sends a message at least once a second: what is not drawn now is drawn soon.
        if time.monotonic() - self._drawn >= _TABLE_INTERVAL:
            state = f"{len(store)} sessions"
            for name, sources in store.gaps._asdict().items():
                if sources:
                    state += f"; {name}: {plain(', '.join(sources))}"
            self._draw(Text(state, style="bold"))

    def lost(self, why: str) -> None:
        self._draw(Text(f"{why}; asking again. What follows is out of date.", style="bold red"))

    def _draw(self, state: Text) -> None:
        self._drawn = time.monotonic()
        room = max(1, self._live.console.height - 3)
        rows = self._store.at(0, room)
        table = sessions_table([row.session for row in rows], time.time())
        self._live.update(Group(state, table), refresh=True)
