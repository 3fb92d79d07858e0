"""Shows sessions as they change, at a terminal or as lines that a program reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import nsmallest
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sessiongate.client import AsyncClient, SessionChange, SessionCopy
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.reporting import report
from sessiongate.gateway.cli.tables import (
    bold,
    gap_lines,
    plain,
    session_cells,
    session_columns,
    session_line,
)
from sessiongate.gateway.errors import error_of
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter

_TABLE_INTERVAL = 0.25  # seconds between two redraws


class Screen(Protocol):
    """Shows a copy of the sessions that is being followed."""

    def show(self, copy: SessionCopy, changes: Sequence[SessionChange]) -> None:
        """Show the copy after these changes."""

    def lost(self, why: str) -> None:
        """Say that the core cannot be asked, and is asked again."""


async def follow(client: AsyncClient, wanted: SessionFilter, screen: Screen) -> None:
    """Show the core's sessions that match, through its failures, without end.

    Raises `CallError` if the core cannot be asked at first, or if asking again cannot help.
    """
    shown = False
    async for copy, changes, lost in client.follow(wanted):
        if lost is None:
            screen.show(copy, changes)
            shown = True
        elif not shown:
            raise lost
        else:
            screen.lost(str(lost) if lost.reason else error_of(lost).detail)


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

    def show(self, copy: SessionCopy, changes: Sequence[SessionChange]) -> None:
        if self._lost:
            self._lost = False
            report("the core answers again")
        gaps = Gaps.of_statuses(copy.sources.values())
        if gaps != self._gaps:
            self._gaps = gaps
            for line in gap_lines(gaps) if gaps else ["all sources are read as a whole"]:
                report(line)
        for old, new in changes:
            if new is not None:
                print(session_line("~" if old is not None else "+", new))
            elif old is not None:
                print(session_line("-", old))
        sys.stdout.flush()

    def lost(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            report(f"{why}; asking again")


class LiveTable:
    """Draws as many sessions as there is room for, and how many there are."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._sessions: Sequence[Session] = ()
        self._drawn = 0.0

    def show(self, copy: SessionCopy, changes: Sequence[SessionChange]) -> None:
        # The core sends a message at least once a second: what is not drawn now is drawn soon.
        if time.monotonic() - self._drawn >= _TABLE_INTERVAL:
            state = f"{len(copy.sessions)} sessions"
            for name, sources in Gaps.of_statuses(copy.sources.values())._asdict().items():
                if sources:
                    state += f"; {name}: {plain(', '.join(sources))}"
            room = max(1, self._live.console.height - 3)
            first = nsmallest(room, copy.sessions)
            self._sessions = [copy.sessions[ident] for ident in first]
            self._draw(Text(state, style="bold"))

    def lost(self, why: str) -> None:
        self._draw(Text(f"{why}; asking again. What follows is out of date.", style="bold red"))

    def _draw(self, state: Text) -> None:
        self._drawn = time.monotonic()
        now = time.time()
        columns = session_columns(self._live.console.width)
        rows = (session_cells(session, now) for session in self._sessions)
        table = Text.from_ansi("\n".join(columns.lines(rows, bold)))
        self._live.update(Group(state, table), refresh=True)
