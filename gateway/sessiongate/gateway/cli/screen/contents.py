"""The contents of the grid: sessions, or groups of them."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

from rich.style import Style

from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.screen.grid import GridRow
from sessiongate.gateway.cli.screen.shown_sessions import SessionGroup, ShownSessions
from sessiongate.gateway.cli.session_fields import SessionField
from sessiongate.gateway.cli.terminal_table import LAYOUT, TerminalTable
from sessiongate.gateway.cli.texts import plain
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_pb2 import Session

_PLAIN, _RED = Style(), Style(color="red")
_STYLES: Mapping[int, Style] = {
    session_pb2.ACTIVITY_STATE_ACTIVE: Style(color="green"),
    session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION: Style(color="yellow"),
    session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED: Style(color="yellow"),
    session_pb2.ACTIVITY_STATE_WAITING: _RED,
}
# The titles of what is counted, short enough for 80 columns.
_TITLES: Mapping[int, str] = {
    **{int(state): word for state, word in ACTIVITY_WORDS.items()},
    session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION: "in trans.",
    session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED: "aborted",
    session_pb2.ACTIVITY_STATE_UNSPECIFIED: "unknown",
}


class SessionContent:
    """The shown sessions, one a row."""

    def __init__(self, shown: ShownSessions, fields: Sequence[SessionField]) -> None:
        self._shown = shown
        self._fields = fields
        self._table = TerminalTable(LAYOUT, fields)
        self._width = 0

    def __len__(self) -> int:
        return len(self._shown)

    def part(self, start: int, count: int, width: int) -> tuple[str, Sequence[GridRow]]:
        if width != self._width:  # else columns keep their places, and get wider only
            self._width = width
            self._table = TerminalTable(LAYOUT, self._fields, width)
        sessions = self._shown.rows(start, count)
        head, lines = self._table.part(sessions, time.time())
        pairs = zip(sessions, lines, strict=True)
        return head, [GridRow(session.id, line, _style(session)) for session, line in pairs]

    def position(self, key: Hashable) -> int | None:
        return self._shown.position(key) if isinstance(key, int) else None


class GroupContent:
    """The shown sessions by the value of a field, the largest group first."""

    def __init__(self, shown: ShownSessions, field: SessionField) -> None:
        self.field = field
        self._shown = shown
        self._groups: Sequence[SessionGroup] = ()
        self.renew()

    def __len__(self) -> int:
        return len(self._groups)

    def renew(self) -> None:
        """Group the sessions as they are now."""
        self._groups = self._shown.groups(self.field)

    def part(self, start: int, count: int, width: int) -> tuple[str, Sequence[GridRow]]:
        """Return a column for each thing that a session does, if it fits and one does it."""
        known = {state for group in self._groups for state in group.activities}
        told = [state for state in _TITLES if state in known] if known != {0} else []
        names = [self.field.title, "Sessions", *(_TITLES[state] for state in told)]
        columns = Columns(*names, right=names[1:], room=width, least=[8, *map(len, names[1:])])
        groups = self._groups[start : start + count]
        cells = [
            [
                plain(group.value[:width]) or "-",
                f"{group.count:,}",
                *(
                    f"{group.activities[state]:,}" if group.activities.get(state) else ""
                    for state in told
                ),
            ]
            for group in groups
        ]
        head, *lines = columns.lines(cells)
        return head, [
            GridRow(group.value, line, _PLAIN) for group, line in zip(groups, lines, strict=True)
        ]

    def position(self, key: Hashable) -> int | None:
        values = [group.value for group in self._groups]
        return values.index(key) if isinstance(key, str) and key in values else None


def _style(session: Session) -> Style:
    return _STYLES.get(session.activity.state, _PLAIN)
