"""A table of sessions: one line each, in the columns that say something and have room."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeAlias, TypeVar

from sessiongate.gateway.cli.columns import BETWEEN, Columns, widest
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, Field
from sessiongate.gateway.cli.texts import bold, red
from sessiongate.v1.session_pb2 import SESSION_STATE_STARTED

_T = TypeVar("_T")


@dataclass(frozen=True)
class Layout(Generic[_T]):
    """The columns of a table, unless others are asked for: names of fields."""

    fields: Mapping[str, Field[_T]]
    source: Callable[[_T], str]
    usual: Sequence[str]  # from left to right
    more: Sequence[str]  # follow them in a wide table
    first: Sequence[str]  # get room first, even if texts are cut
    then: Sequence[str]  # get room next, if texts have `_COMFORTABLE` cells
    # Columns that may say nothing new, and of which sessions they say something.
    telling: Mapping[str, Callable[[_T], bool]]


LAYOUT = Layout(
    SESSION_FIELDS,
    attrgetter("source"),
    usual=(
        *("id", "user", "peer", "database", "application", "activity.state", "activity.since"),
        *("activity.blocked_by", "service", "source", "state", "connected", "idle"),
    ),
    more=(
        *("activity.wait", "activity.transaction_started", "native_id", "connections"),
        *("upstream", "downstream", "client.cipher"),
    ),
    first=(
        *("id", "user", "activity.state", "activity.since", "activity.blocked_by", "idle", "peer"),
        *("remote", "database", "application"),
    ),
    then=("service", "source", "state", "connected"),
    telling={
        "state": lambda session: session.state != SESSION_STATE_STARTED,
        "source": lambda session: session.source != session.service,
        "idle": lambda session: not session.activity.HasField("since_time"),
    },
)
_COMFORTABLE = 20
# Below this many cells, a terminal has no room for clients' ports.
_NARROW = 100

_Cells: TypeAlias = Mapping[Field[_T], Sequence[str]]  # of each session, by column


class TerminalTable(Generic[_T]):
    """Makes the lines of a table, part by part.

    ``fields`` are its columns. Without them, a part adds those of the ``layout`` that say something
    about its sessions, as far as they fit in ``room`` cells of a terminal: a head precedes the
    first part and each that adds a column. ``is_wide`` considers more columns. If ``has_styles``,
    heads are bold, and sessions of sources that could not be read completely are red.
    """

    def __init__(
        self,
        layout: Layout[_T],
        fields: Sequence[Field[_T]] = (),
        room: int | None = None,
        *,
        is_wide: bool = False,
        has_styles: bool = False,
    ) -> None:
        self._layout = layout
        self._fields = fields
        names = [*layout.usual, *(layout.more if is_wide else ())]
        if room is not None and room < _NARROW:
            names = ["remote" if name == "peer" else name for name in names]
        self._candidates = [layout.fields[name] for name in names]
        self._room = room
        self._has_styles = has_styles
        self._shown: Sequence[Field[_T]] = ()
        self._columns = Columns()

    def lines(
        self, sessions: Sequence[_T], now: float, incomplete: Container[str] = ()
    ) -> Sequence[str]:
        """Return the lines of the next sessions; ``incomplete`` are names of sources."""
        if not sessions:
            return []
        fields = self._fields or self._candidates
        room = self._room
        cells = {field: [field.cell(each, now, room) for each in sessions] for field in fields}
        shown = self._fields or self._chosen(sessions, cells)
        lines: list[str] = []
        if shown != self._shown:
            lines = [""] if self._shown else []
            self._shown = shown
            self._columns = self._laid_out(shown)
        rows = [*zip(*(cells[field] for field in shown), strict=True)]
        found = self._columns.lines(rows, bold if self._has_styles else str)
        head, body = found[: -len(sessions)], found[-len(sessions) :]
        if self._has_styles and incomplete:
            body = [
                red(line) if self._layout.source(session) in incomplete else line
                for line, session in zip(body, sessions, strict=True)
            ]
        return [*lines, *head, *body]

    def part(self, sessions: Sequence[_T], now: float) -> tuple[str, Sequence[str]]:
        """Return the head, and the lines of these sessions, at the widths reached so far."""
        lines = self.lines(sessions, now)
        head = self._columns.head() if self._shown else ""
        return head, lines[len(lines) - len(sessions) :]

    def _chosen(self, sessions: Sequence[_T], cells: _Cells[_T]) -> Sequence[Field[_T]]:
        """Return the columns shown so far, and those that say something and fit, in order."""
        telling = [
            field
            for field in self._candidates
            if field in self._shown or (any(cells[field]) and self._tells(field, sessions))
        ]
        if self._room is None:
            return telling
        natural = {
            field: max(len(field.title), widest(cells[field])) + len(BETWEEN) for field in telling
        }

        def width(field: Field[_T], comfort: int) -> int:
            least = natural[field] if field.least is None else max(field.least, comfort)
            return min(natural[field], least + len(BETWEEN))

        room = self._room + len(BETWEEN)
        fitting: list[Field[_T]] = []
        for field in sorted(telling, key=lambda each: self._rank(each, cells[each])):
            comfort = (
                0
                if field.name in self._layout.first and not _is_constant(cells[field])
                else _COMFORTABLE
            )
            taken = sum(width(each, comfort) for each in (*fitting, field))
            if field in self._shown or taken <= room or not fitting:
                fitting.append(field)
        return [field for field in telling if field in fitting]

    def _tells(self, field: Field[_T], sessions: Sequence[_T]) -> bool:
        tells = self._layout.telling.get(field.name)
        return tells is None or any(map(tells, sessions))

    def _rank(self, field: Field[_T], cells: Sequence[str]) -> tuple[bool, int]:
        """Return a column's place among those that want room; those that are constant are last."""
        order = (*self._layout.first, *self._layout.then)
        place = order.index(field.name) if field.name in order else len(order)
        return _is_constant(cells), place

    def _laid_out(self, fields: Sequence[Field[_T]]) -> Columns:
        return Columns(
            *(field.title for field in fields),
            right={field.title for field in fields if field.is_right},
            room=self._room,
            least=[_ANY_WIDTH if field.least is None else field.least for field in fields],
        )


_ANY_WIDTH = 1 << 16  # more cells than a terminal has: a column that is not cut


def _is_constant(cells: Sequence[str]) -> bool:
    """Return whether a column says the same of all of several sessions."""
    return len(cells) > 1 and len({*cells}) == 1
