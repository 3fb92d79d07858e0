"""Follows sessions, and prints their changes as lines that a program reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from sessiongate.client import AsyncClient, SessionChange, SessionCopy
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.reporting import report
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, SessionField
from sessiongate.gateway.cli.tables import gap_lines
from sessiongate.gateway.errors import error_of
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter

# The columns of a line, unless others are asked for.
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


class Lines:
    """Prints a line for each change: ``+`` came, ``~`` changed, ``-`` went; tabs between cells."""

    def __init__(self, fields: Sequence[SessionField] = ()) -> None:
        """Print ``fields``, or the usual ones."""
        self._fields = fields or _LINE
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
