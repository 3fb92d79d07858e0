"""Shows sessions as they change, at a terminal or as lines that a program reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import nsmallest
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sessiongate.client import AsyncClient, SessionChange, SessionCopy
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.choice import SessionOrder
from sessiongate.gateway.cli.reporting import report
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, SessionField, sort_sessions
from sessiongate.gateway.cli.tables import gap_lines
from sessiongate.gateway.cli.terminal_table import TerminalTable
from sessiongate.gateway.cli.texts import plain
from sessiongate.gateway.errors import error_of
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter

_TABLE_INTERVAL = 0.25  # seconds between two redraws
# What a line says of a session, unless other columns are asked for.
_LINE = [
    SESSION_FIELDS[name]
    for name in ("id", "state", "user", "peer", "service", "connected", "source")
]


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
def open_screen(order: SessionOrder, fields: Sequence[SessionField]) -> Iterator[Screen]:
    """Open a live table if a person reads, else lines. ``fields`` are shown, or the usual ones."""
    if not sys.stdout.isatty():
        yield Lines(fields or _LINE)
        return
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        yield LiveTable(live, order, fields)


class Lines:
    """Prints a line for each change: ``+`` came, ``~`` changed, ``-`` went; tabs between cells."""

    def __init__(self, fields: Sequence[SessionField]) -> None:
        self._fields = fields
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
                self._print("~" if old is not None else "+", new)
            elif old is not None:
                self._print("-", old)
        sys.stdout.flush()

    def lost(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            report(f"{why}; asking again")

    def _print(self, sign: str, session: Session) -> None:
        print("\t".join((sign, *(field.cell(session) for field in self._fields))))


class LiveTable:
    """Draws as many sessions as there is room for, and how many there are."""

    def __init__(self, live: Live, order: SessionOrder, fields: Sequence[SessionField]) -> None:
        self._live = live
        self._order = order
        self._fields = fields
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
            room = min(room, self._order.limit or room)
            self._sessions = self._first(copy.sessions, room)
            self._draw(Text(state, style="bold"))

    def lost(self, why: str) -> None:
        self._draw(Text(f"{why}; asking again. What follows is out of date.", style="bold red"))

    def _first(self, sessions: Mapping[int, Session], count: int) -> Sequence[Session]:
        if self._order.sort:
            return sort_sessions(sessions.values(), self._order.sort)[:count]
        return [sessions[ident] for ident in nsmallest(count, sessions)]

    def _draw(self, state: Text) -> None:
        self._drawn = time.monotonic()
        table = TerminalTable(self._fields, self._live.console.width, has_styles=True)
        lines = table.lines(self._sessions, time.time())
        self._live.update(Group(state, Text.from_ansi("\n".join(lines))), refresh=True)
