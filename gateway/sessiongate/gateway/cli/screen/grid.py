"""A grid of any number of rows, of which only the visible ones are made."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, NamedTuple, Protocol

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

_HEAD = Style(bold=True)
_SELECTED = Style(reverse=True)


class GridRow(NamedTuple):
    """One row, as it is shown."""

    key: Hashable  # what it shows; it stays selected wherever it moves
    text: str
    style: Style


class GridContent(Protocol):
    """The interface of a grid's contents."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def part(self, start: int, count: int, width: int) -> tuple[str, Sequence[GridRow]]:
        """Return the head, and ``count`` rows from a position, in ``width`` cells."""

    def position(self, key: Hashable) -> int | None:
        """Return where a row is, if there is such a row."""


class Grid(ScrollView, can_focus=True):
    """Shows a content, and which row of it is selected."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(1)", show=False),
        Binding("enter", "choose", "Details"),
    ]

    class Chosen(Message):
        """The selected row was chosen."""

    def __init__(self, content: GridContent) -> None:
        super().__init__()
        self.content = content
        self.selected: Hashable = None
        self._at = 0  # where the selected row is, or was
        self._head = ""
        self._rows: Sequence[GridRow] = ()
        self._first = 0  # position of the first of them

    @property
    def _room(self) -> int:
        """Rows that are visible: all lines but the head."""
        return max(1, self._seen.height - 1)

    @property
    def _seen(self) -> Size:
        """The cells that no scrollbar covers."""
        return self.scrollable_content_region.size

    def show(self, content: GridContent) -> None:
        """Show another content from its start."""
        self.content = content
        self.selected = None
        self._at = 0
        self.scroll_home(animate=False)
        self.renew()

    def renew(self) -> None:
        """Show the content as it is now. The selected row stays selected if it is still there."""
        count = len(self.content)
        at = None if self.selected is None else self.content.position(self.selected)
        self._at = max(0, min(self._at if at is None else at, count - 1))
        self.virtual_size = Size(self._seen.width, count + 1)
        self._fill()

    def _fill(self) -> None:
        self._first = round(self.scroll_offset.y)
        if width := self._seen.width:
            self._head, self._rows = self.content.part(self._first, self._room, width)
        at = self._at - self._first
        if 0 <= at < len(self._rows):
            self.selected = self._rows[at].key
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one visible line."""
        width = self.size.width
        if y == 0:
            return Strip([Segment(self._head, _HEAD)]).adjust_cell_length(width)
        if y > len(self._rows):
            return Strip.blank(width)
        row = self._rows[y - 1]
        style = row.style + _SELECTED if row.key == self.selected else row.style
        return Strip([Segment(row.text, style)]).adjust_cell_length(width, style)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Fetch the rows that have become visible."""
        super().watch_scroll_y(old, new)
        self._fill()

    def on_resize(self) -> None:
        """Make the rows for another width."""
        self.renew()

    def action_move(self, rows: int) -> None:
        """Select another row."""
        self._select(self._at + rows)

    def action_page(self, pages: int) -> None:
        """Select a row of another page."""
        self._select(self._at + pages * self._room)

    def action_edge(self, end: int) -> None:
        """Select the first or the last row."""
        self._select(len(self.content) - 1 if end else 0)

    def action_choose(self) -> None:
        """Choose the selected row."""
        if self.selected is not None:
            self.post_message(self.Chosen())

    def _select(self, at: int) -> None:
        self._at = max(0, min(at, len(self.content) - 1))
        self.selected = None
        first = round(self.scroll_offset.y)
        first = min(max(first, self._at - self._room + 1), self._at)
        self.scroll_to(y=first, animate=False, immediate=True)
        self._fill()
