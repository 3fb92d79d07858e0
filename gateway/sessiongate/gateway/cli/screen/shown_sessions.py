"""ShownSessions: the sessions that match a search, in an order; a change costs what changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sessiongate.client import SessionChange
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, SessionField
from sessiongate.gateway.cli.texts import joined
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.v1.session_pb2 import Session

# The values that a session is sorted by, and its id.
_Place: TypeAlias = tuple[Any, int]
# Attributes that a search looks at.
_SEARCHED = [
    SESSION_FIELDS[name]
    for name in (
        *("id", "user", "peer", "database", "application", "service", "source", "state"),
        *("activity.state", "activity.native", "activity.wait", "native_id", "connections"),
    )
]


@dataclass(frozen=True, slots=True)
class SessionGroup:
    """The shown sessions that have the same value."""

    value: str  # empty if they have none
    count: int
    activities: Mapping[int, int]  # how many of them are doing what; 0: not known


class ShownSessions:
    """The sessions that a person looks at: those that match, in order."""

    def __init__(
        self, field: SessionField, *, descending: bool = False, limit: int | None = None
    ) -> None:
        """Show all sessions, sorted by ``field``, or the first of them up to a limit."""
        self._limit = limit
        self.field = field
        self.descending = descending
        self.searched = ""
        self.limited_to: tuple[SessionField, str] | None = None  # sessions with this value only
        self._sessions: dict[int, Session] = {}
        self._texts: dict[int, str] = {}  # that a search looks at, by id; made when needed
        self._places: dict[int, _Place] = {}  # of those shown
        self._order: SortedSequence[_Place] = SortedSequence()

    def __len__(self) -> int:
        return len(self._order) if self._limit is None else min(self._limit, len(self._order))

    @property
    def total(self) -> int:
        """How many sessions there are, shown or not."""
        return len(self._sessions)

    def get(self, ident: int) -> Session | None:
        """Return a session, shown or not."""
        return self._sessions.get(ident)

    def rows(self, start: int, count: int) -> Sequence[Session]:
        """Return ``count`` of the shown sessions, from a position."""
        stop = min(start + count, len(self))
        if self.descending:
            size = len(self._order)
            places = self._order[max(0, size - stop) : max(0, size - start)][::-1]
        else:
            places = self._order[start:stop]
        return [self._sessions[ident] for _, ident in places]

    def position(self, ident: int) -> int | None:
        """Return where a session is shown, if it is."""
        place = self._places.get(ident)
        if place is None:
            return None
        rank = self._order.rank(place)
        position = len(self._order) - 1 - rank if self.descending else rank
        return position if position < len(self) else None

    def replace(self, sessions: Mapping[int, Session]) -> None:
        """Look at these sessions instead of all before."""
        known = self._sessions
        gone = [SessionChange(old, None) for ident, old in known.items() if ident not in sessions]
        come = [
            SessionChange(old, new)
            for ident, new in sessions.items()
            if (old := known.get(ident)) is not new
        ]
        self.change([*gone, *come])

    def change(self, changes: Iterable[SessionChange]) -> None:
        """Take over changes: pairs of a session as it was, if it was, and as it is, if it is."""
        gone: list[_Place] = []
        come: dict[int, _Place] = {}
        for old, new in changes:
            session = new or old
            if session is None:
                continue
            ident = session.id
            self._texts.pop(ident, None)
            come.pop(ident, None)
            if (place := self._places.pop(ident, None)) is not None:
                gone.append(place)
            if new is None:
                self._sessions.pop(ident, None)
            else:
                self._sessions[ident] = new
                if self._matches(new):
                    self._places[ident] = come[ident] = (self.field.sort_key(new), ident)
        self._order.change(come.values(), gone)

    def search(self, text: str) -> None:
        """Show only sessions of which some text contains this one, in any case."""
        self.searched = text.casefold()
        self._start_over()

    def limit_to(self, limited_to: tuple[SessionField, str] | None) -> None:
        """Show only sessions with this value of a field, or all again."""
        self.limited_to = limited_to
        self._start_over()

    def sort(self, field: SessionField, *, descending: bool) -> None:
        """Show them in another order."""
        self.field, self.descending = field, descending
        self._start_over()

    def has(self, field: SessionField) -> bool:
        """Return whether any session has a value of a field."""
        return any(field.read(session) is not None for session in self._sessions.values())

    def groups(self, field: SessionField) -> Sequence[SessionGroup]:
        """Group the shown sessions by a field; the largest groups come first."""
        activities: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for ident in self._places:
            session = self._sessions[ident]
            activities[joined(field.read(session) or "")][session.activity.state] += 1
        found = [SessionGroup(value, sum(of.values()), of) for value, of in activities.items()]
        return sorted(found, key=lambda group: (-group.count, group.value))

    def _start_over(self) -> None:
        shown = filter(self._matches, self._sessions.values())
        self._places = {session.id: (self.field.sort_key(session), session.id) for session in shown}
        self._order = SortedSequence(sorted(self._places.values()))

    def _matches(self, session: Session) -> bool:
        if self.limited_to is not None:
            field, value = self.limited_to
            if joined(field.read(session) or "") != value:
                return False
        return not self.searched or self.searched in self._text(session)

    def _text(self, session: Session) -> str:
        text = self._texts.get(session.id)
        if text is None:
            cells = [field.cell(session) for field in _SEARCHED]
            text = self._texts[session.id] = "\t".join(cells).casefold()
        return text
