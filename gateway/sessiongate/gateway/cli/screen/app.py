"""WatchApp: the sessions on a full screen, as they come, change and go."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Input, Static

from sessiongate.client import SessionChange, SessionCopy
from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.one_session import draw_session
from sessiongate.gateway.cli.screen.contents import GroupContent, SessionContent
from sessiongate.gateway.cli.screen.grid import Grid
from sessiongate.gateway.cli.screen.shown_sessions import ShownSessions
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, SessionField, session_field
from sessiongate.gateway.cli.texts import plain
from sessiongate.gateway.cli.watch import follow
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SessionFilter

_REDRAWN = 0.25  # seconds between two looks at what has changed
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C is read as a key
_AGED = 4  # of those looks, after which ages are shown again
# Attributes to sort and group by, in the order in which a key goes through them.
_SORTS = [
    SESSION_FIELDS[name]
    for name in (
        *("id", "activity.since", "activity.transaction_started", "idle", "connected", "user"),
        *("database", "application", "activity.state", "service", "source", "peer"),
    )
]
_GROUPS = [
    SESSION_FIELDS[name]
    for name in (
        *("user", "application", "database", "remote", "service", "source"),
        *("activity.state", "state"),
    )
]


class WatchApp(App[None]):
    """Shows a copy of the sessions that is being followed (a `Screen`)."""

    TITLE = "sessiongate watch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #state { height: auto; max-height: 3; padding: 0 1; }
    #search { display: none; border: none; height: 1; padding: 0 1; }
    #detail { display: none; height: 50%; border-top: solid $primary; padding: 0 1; }
    Grid { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1;
        overflow-x: hidden; scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "sort(-1)", show=False),
        Binding("r", "reverse", "Reverse"),
        Binding("g", "group(1)", "Group"),
        Binding("G", "group(-1)", show=False),
        Binding("p,space", "pause", "Pause"),
        Binding("escape", "leave", "Back"),
    ]

    def __init__(
        self,
        client: CoreClient,
        wanted: SessionFilter,
        fields: Sequence[SessionField] = (),
        sort: Sequence[str] = (),
        limit: int | None = None,
    ) -> None:
        """Show the core's sessions that match, in the columns ``fields``, or the usual ones."""
        super().__init__()
        first = sort[0] if sort else "id"
        self.shown = ShownSessions(
            session_field(first.removeprefix("-")),
            descending=first.startswith("-"),
            limit=limit,
        )
        self.failure: Exception | None = None
        self._client = client
        self._wanted = wanted
        self._sessions = SessionContent(self.shown, fields)
        self._grid = Grid(self._sessions)
        self._grouped: GroupContent | None = None
        self._copy: SessionCopy | None = None
        self._lost = ""
        self._is_paused = False
        self._is_changed = True
        self._looks = 0
        self._detailed: Session | None = None

    async def run_until_left(self) -> None:
        """Show the screen until it is left. Raises what following the core raises."""
        await self.run_async()
        if self.failure is not None:
            raise self.failure

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="state")
        yield Input(id="search", placeholder="part of a name, an address, a state", compact=True)
        yield self._grid
        with VerticalScroll(id="detail"):
            yield Static(id="attributes")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to follow."""
        self._grid.focus()
        self.set_interval(_REDRAWN, self._look)
        self.run_worker(self._followed(), exit_on_error=False)
        for number in _ENDING:
            asyncio.get_running_loop().add_signal_handler(number, self.exit)

    async def _followed(self) -> None:
        try:
            await follow(self._client, self._wanted, self)
        except Exception as error:
            self.failure = error  # raised again once the terminal is restored
            self.exit()

    def show(self, copy: SessionCopy, changes: Sequence[SessionChange]) -> None:
        """Take over changes of the copy."""
        self._lost = ""
        self._copy = copy
        self._is_changed = True
        if not self._is_paused:
            self.shown.change(changes)

    def lost(self, why: str) -> None:
        """Say that the core cannot be asked, and is asked again."""
        self._lost = why
        self._is_changed = True

    def _look(self) -> None:
        """Show what has changed; from time to time, how ages have grown."""
        if not self.query("#state"):
            return  # the screen has been left, and the timer not stopped yet
        self._looks += 1
        if self._is_changed or (self._looks % _AGED == 0 and not self._is_paused):
            self._is_changed = False
            self._renew()

    def _renew(self) -> None:
        if self._grouped is not None:
            self._grouped.renew()
        self._grid.renew()
        self.query_one("#state", Static).update(self._state())
        self._show_detail()

    def _state(self) -> Text:
        shown, copy = self.shown, self._copy
        if copy is None:
            return Text("waiting for the core")
        count = (
            f"{len(shown):,} of {shown.total:,}"
            if len(shown) != shown.total
            else f"{shown.total:,}"
        )
        parts = [f"{count} sessions"]
        if self._grouped is not None:
            parts.append(f"by {self._grouped.field.title}")
        else:
            parts.append(f"sorted by {shown.field.title}{' ↓' if shown.descending else ''}")
        if shown.limited_to is not None:
            field, value = shown.limited_to
            parts.append(f"{field.title}: {plain(value) or '-'}")
        if shown.searched:
            parts.append(f"search: {plain(shown.searched)}")
        text = Text(" · ".join(parts), style="bold")
        if self._is_paused:
            text.append(" · paused", style="bold yellow")
        if self._lost:
            text.append(f"\n{self._lost}; asking again. What follows is out of date.", "bold red")
        for name, sources in Gaps.of_statuses(copy.sources.values())._asdict().items():
            if sources:
                text.append(f"\n{name}: {plain(', '.join(sources))}", "red")
        return text

    def action_search(self) -> None:
        """Ask for a text to search for."""
        field = self.query_one("#search", Input)
        field.display = True
        field.focus()

    @on(Input.Changed)
    def search_changed(self, event: Input.Changed) -> None:
        """Show the sessions that match what was typed so far."""
        self.shown.search(event.value)
        self._renew()

    @on(Input.Submitted)
    def search_entered(self) -> None:
        """Return to the grid, with what was searched for."""
        self.query_one("#search", Input).display = bool(self.shown.searched)
        self._grid.focus()

    def action_sort(self, step: int) -> None:
        """Sort by the next field."""
        at = _SORTS.index(self.shown.field) if self.shown.field in _SORTS else 0
        telling = [field for field in _SORTS if self.shown.has(field)] or _SORTS[:1]
        following = [_SORTS[(at + step * far) % len(_SORTS)] for far in range(1, len(_SORTS) + 1)]
        self.shown.sort(next(filter(telling.__contains__, following)), descending=False)
        self._show_sessions()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self.shown.sort(self.shown.field, descending=not self.shown.descending)
        self._show_sessions()

    def action_group(self, step: int) -> None:
        """Group by the next field; after the last one, show the sessions again."""
        at = -1 if self._grouped is None else _GROUPS.index(self._grouped.field)
        at = at + step if self._grouped is not None or step > 0 else len(_GROUPS) - 1
        if not 0 <= at < len(_GROUPS):
            self._show_sessions()
            return
        self._grouped = GroupContent(self.shown, _GROUPS[at])
        self._grid.show(self._grouped)
        self._renew()

    def action_pause(self) -> None:
        """Stop showing changes, or show all that have come since."""
        self._is_paused = not self._is_paused
        if not self._is_paused and self._copy is not None:
            self.shown.replace(self._copy.sessions)
        self._renew()

    def action_leave(self) -> None:
        """Undo the last thing of: details, groups, a group's sessions, a search."""
        detail, field = self.query_one("#detail"), self.query_one("#search", Input)
        if detail.display:
            detail.display = False
        elif self._grouped is not None:
            self._show_sessions()
        elif self.shown.limited_to is not None:
            self.shown.limit_to(None)
        else:
            field.value = ""
            field.display = False
        self._grid.focus()
        self._renew()

    @on(Grid.Chosen)
    def row_chosen(self) -> None:
        """Show a session's details, or the sessions of a group."""
        key = self._grid.selected
        if self._grouped is not None:
            self.shown.limit_to((self._grouped.field, str(key)))
            self._show_sessions()
            return
        detail = self.query_one("#detail")
        detail.display = not detail.display
        self._detailed = None
        self._renew()

    def _show_sessions(self) -> None:
        self._grouped = None
        self._grid.show(self._sessions)
        self._renew()

    def _show_detail(self) -> None:
        if not self.query_one("#detail").display:
            return
        key = self._grid.selected
        session = self.shown.get(key) if isinstance(key, int) else None
        if session is not None and session is not self._detailed:
            self._detailed = session
            self.run_worker(self._draw_detail(session), group="detail", exclusive=True)

    async def _draw_detail(self, session: Session) -> None:
        """Show a session, and the sessions around it, which the core is asked for."""
        attributes = self.query_one("#attributes", Static)
        try:
            lines = await draw_session(self._client, session, self.size.width - 4)
        except CallError as error:
            lines = [plain(error_of(error).detail)]
        attributes.update(Text("\n".join(lines)))
