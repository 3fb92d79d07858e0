"""The full screen of ``watch``, of a real core, as a person uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Static

from sessiongate.client import SessionChange
from sessiongate.core.sources.base import Observed
from sessiongate.gateway.cli.screen.app import WatchApp
from sessiongate.gateway.cli.screen.grid import Grid
from sessiongate.gateway.cli.screen.shown_sessions import ShownSessions
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.session_pb2 import ActivityState, Session
from sessiongate.v1.session_service_pb2 import SessionFilter
from tests.doing import Shown, showing, stated
from tests.program import PATIENCE

ACTIVE = ActivityState.ACTIVITY_STATE_ACTIVE
IDLE = ActivityState.ACTIVITY_STATE_IDLE
BLOCKING = ActivityState.ACTIVITY_STATE_IDLE_IN_TRANSACTION
WAITING = ActivityState.ACTIVITY_STATE_WAITING


class Screen:
    """The screen, and its keys."""

    def __init__(self, app: WatchApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def rows(self) -> list[str]:
        """The lines of the grid, without its head."""
        grid = self.app.query_one(Grid)
        lines = [grid.render_line(y).text.rstrip() for y in range(1, grid.size.height)]
        return [line for line in lines if line]

    def selected(self) -> object:
        return self.app.query_one(Grid).selected

    @property
    def state(self) -> str:
        return str(self.app.query_one("#state", Static).content)

    @property
    def detail(self) -> str:
        return str(self.app.query_one("#attributes", Static).content)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await self.pilot.pause(0.02)


def use(
    test: Callable[[Screen, Shown], Awaitable[None]],
    sessions: Sequence[Observed],
    sources: Mapping[str, Sequence[Observed] | str] | None = None,
    size: tuple[int, int] = (110, 24),
) -> None:
    """Run a test with a screen of these sessions."""

    @asynccontextmanager
    async def opened(address: str) -> AsyncIterator[Screen]:
        client = CoreClient(address, PATIENCE)
        app = WatchApp(client, SessionFilter())
        async with app.run_test(size=size) as pilot:
            screen = Screen(app, pilot)
            await screen.until(lambda: app.shown.total == len(sessions))
            await screen.until(lambda: bool(screen.rows))
            yield screen
        await client.close()

    async def main(shown: Shown) -> None:
        async with opened(shown.address) as screen:
            await test(screen, shown)

    with showing({"pg": sessions, **(sources or {})}) as shown:
        asyncio.run(main(shown))


CHAIN = (
    stated("1", BLOCKING, user="ann", application="etl", database="shop"),
    stated("2", WAITING, user="bob", application="web", database="shop", blocked_by=("1",)),
    stated("3", ACTIVE, user="cid", application="web", database="bank"),
    stated("4", IDLE, user="ann", application="web", database="bank"),
)


def test_sessions_come_change_and_go() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        assert [row.split()[1] for row in screen.rows] == ["ann", "bob", "cid", "ann"]
        assert screen.state.startswith("4 sessions")
        shown.sources["pg"] = [*CHAIN[1:], stated("5", ACTIVE, user="dan")]
        await screen.until(lambda: screen.rows[-1].split()[:2] == ["5", "dan"])
        assert [row.split()[0] for row in screen.rows] == ["2", "3", "4", "5"]

    use(test, CHAIN)


def test_what_is_typed_is_searched_for_at_once() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("slash", *"WEB")
        await screen.until(lambda: len(screen.rows) == 3)
        assert screen.state.startswith("3 of 4 sessions")
        shown.sources["pg"] = [*CHAIN, stated("6", IDLE, application="web2")]
        await screen.until(lambda: len(screen.rows) == 4)
        await screen.press("enter", "escape")
        await screen.until(lambda: len(screen.rows) == 5)

    use(test, CHAIN)


def test_the_selected_session_stays_selected_wherever_it_moves() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("down", "down")
        assert screen.selected() == 3
        shown.sources["pg"] = [*CHAIN[2:], stated("7", IDLE)]
        await screen.until(lambda: len(screen.rows) == 3)
        assert screen.selected() == 3
        await screen.press("r", "home")
        assert screen.selected() == 7

    use(test, CHAIN)


def test_sessions_are_grouped_and_a_group_is_looked_into() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("g")
        await screen.until(lambda: "by User" in screen.state)
        assert [row.split() for row in screen.rows] == [
            ["ann", "2", "1", "1"],
            ["bob", "1", "1"],
            ["cid", "1", "1"],
        ]
        await screen.press("down", "enter")
        await screen.until(lambda: "User: bob" in screen.state)
        assert [row.split()[0] for row in screen.rows] == ["2"]
        await screen.press("escape")
        await screen.until(lambda: len(screen.rows) == 4)

    use(test, CHAIN)


def test_a_session_is_shown_with_who_blocks_whom() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("down", "enter")
        await screen.until(lambda: "Blocked by" in screen.detail)
        assert "1  pg  app  ann  shop  etl  idle in transaction" in screen.detail
        await screen.press("up")
        await screen.until(lambda: "Blocks" in screen.detail)
        await screen.press("escape")
        await screen.until(lambda: not screen.app.query_one("#detail").display)

    use(test, CHAIN)


def test_the_orders_that_are_gone_through_are_those_that_say_something() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        names = []
        for _ in range(9):
            await screen.press("s")
            names.append(screen.app.shown.field.name)
        assert names[:3] == ["activity.since", "connected", "user"]
        assert names[-1] == "id"

    use(test, CHAIN)


def test_a_pause_shows_nothing_new_and_its_end_all() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("p")
        await screen.until(lambda: "paused" in screen.state)
        shown.sources["pg"] = [CHAIN[0], stated("9", ACTIVE, user="eve")]
        shown.sources["my"] = "gone"  # is told all the same
        await screen.until(lambda: "unreachable: my" in screen.state)
        assert [row.split()[0] for row in screen.rows] == ["1", "2", "3", "4"]
        await screen.press("p")
        await screen.until(lambda: [row.split()[0] for row in screen.rows] == ["1", "9"])

    use(test, CHAIN, {"my": []})


def test_what_clients_send_is_text() -> None:
    hostile = "[red]\x1b[2Jx[/red]\u202e"

    async def test(screen: Screen, shown: Shown) -> None:
        assert "[red]\ufffd[2Jx[/red]\ufffd" in screen.rows[0]
        await screen.press("slash", *"[red]", "enter")
        assert len(screen.rows) == 1
        await screen.press("enter")
        await screen.until(lambda: "[red]" in screen.detail)
        assert "\x1b" not in screen.detail

    use(test, [stated("1", user=hostile)])


def test_only_what_is_visible_is_made() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        await screen.press("end")
        await screen.until(lambda: screen.rows[-1].split()[0] == "30")
        assert len(screen.rows) < 15
        await screen.press("pageup", "pageup", "home")
        await screen.until(lambda: screen.rows[0].split()[0] == "1")

    use(test, [stated(str(number)) for number in range(1, 31)], size=(80, 16))


def test_a_scrollbar_covers_nothing() -> None:
    async def test(screen: Screen, shown: Shown) -> None:
        grid = screen.app.query_one(Grid)
        assert grid.show_vertical_scrollbar
        assert not grid.show_horizontal_scrollbar
        room = grid.scrollable_content_region.width
        assert room < grid.size.width
        assert [grid.render_line(y).text[room:].strip() for y in range(3)] == ["", "", ""]

    wide = [stated(str(number), ACTIVE, user="u" * 90) for number in range(1, 31)]
    use(test, wide, size=(80, 16))


users = st.none() | st.sampled_from(["a", "b", "ab", "é"])
changes = st.lists(
    st.dictionaries(st.integers(1, 12), st.none() | st.builds(Session, user=users), max_size=6),
    max_size=6,
)
orders = st.tuples(st.sampled_from(["id", "user", "database"]), st.booleans())


@settings(max_examples=60)
@given(changes, orders, st.sampled_from(["", "A", "b", "nothing"]), orders)
def test_what_is_shown_is_what_matches_in_order(
    steps: list[dict[int, Session | None]],
    order: tuple[str, bool],
    searched: str,
    other: tuple[str, bool],
) -> None:
    live: dict[int, Session] = {}
    shown = ShownSessions(SESSION_FIELDS[order[0]], descending=order[1])
    for number, step in enumerate(steps):
        found = []
        for ident, new in step.items():
            old = live.pop(ident, None)
            if new is not None:
                new.id = ident
                live[ident] = new
            found.append(SessionChange(old, new))
        if number % 3:
            shown.change(found)
        else:
            shown.replace(live)
        if number == 2:
            shown.search(searched)
            shown.sort(SESSION_FIELDS[other[0]], descending=other[1])
        field, descending = shown.field, shown.descending
        text = shown.searched
        expected = [
            one for one in live.values() if text in f"{one.id} {one.user} invalid state".casefold()
        ]
        expected.sort(key=lambda one: (field.sort_key(one), one.id), reverse=descending)
        assert [one.id for one in shown.rows(0, 100)] == [one.id for one in expected]
        assert [one.id for one in shown.rows(2, 3)] == [one.id for one in expected[2:5]]
        assert [shown.position(one.id) for one in expected] == [*range(len(expected))]
        assert (len(shown), shown.total) == (len(expected), len(live))
        first = ShownSessions(field, descending=descending, limit=2)
        first.replace(live)
        in_order = sorted(
            live.values(), key=lambda one: (field.sort_key(one), one.id), reverse=descending
        )
        assert [one.id for one in first.rows(0, 100)] == [one.id for one in in_order[:2]]
        assert [first.position(one.id) for one in in_order] == [0, 1, *[None] * 20][: len(live)]
