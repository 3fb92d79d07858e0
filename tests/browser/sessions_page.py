"""The page as a person or a screen reader gets it: by roles, names and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.opening import Opener
from tests.polling import eventually
from tests.servers import PATIENCE

# The rows in the document, by their index, with their cells' values.
_ROWS = """
const valueOf = (element) =>
    element.querySelector("[data-none]") ? ""
        : (element.querySelector("[data-value]") ?? element).textContent;
const rowsOf = (grid) => [...grid.querySelectorAll("[data-id]")].map((row) => [
    Number(row.getAttribute("aria-rowindex")),
    row.dataset.id,
    Object.fromEntries([...row.querySelectorAll("[data-column]")].map(
        (cell) => [cell.dataset.column, valueOf(cell)])),
]);
"""
_SHOWN = f"(grid) => {{ {_ROWS} return rowsOf(grid); }}"
# All rows: those in the document while it is scrolled from the start to the end.
_ALL = f"""async (grid) => {{
    {_ROWS}
    const scrolls = (element) => element.scrollHeight > element.clientHeight + 1
        && /auto|scroll/.test(getComputedStyle(element).overflowY);
    const around = [];
    for (let element = grid; element; element = element.parentElement) around.push(element);
    const scroller = [...around, ...grid.querySelectorAll("*")].find(scrolls) ?? around.at(-1);
    const frame = () => new Promise(requestAnimationFrame);
    const found = new Map();
    for (let top = 0; ; top += 0.9 * scroller.clientHeight) {{
        scroller.scrollTop = top;
        await frame();
        await frame();
        for (const row of rowsOf(grid)) found.set(row[0], row);
        if (top + scroller.clientHeight >= scroller.scrollHeight) break;
    }}
    scroller.scrollTop = 0;
    await frame();
    return [...found.values()].sort(([one], [other]) => one - other);
}}"""
_CHIPS = f"""(group) => {{ {_ROWS} return [...group.querySelectorAll("button")].map((button) => [
    button.querySelector("[data-value]") || button.querySelector("[data-none]")
        ? valueOf(button) : button.textContent,
    button.querySelector("[data-count]")?.textContent ?? "",
]); }}"""
# Without it, Tab goes on from what had the focus last, even if that is gone.
_TAB_FROM_THE_START = """() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
}"""
_ATTRIBUTES = """(table) => Object.fromEntries(
    [...table.querySelectorAll("[data-attribute]")].map((row) =>
        [row.dataset.attribute, row.querySelector("[data-value]").textContent]))"""

# The columns that show an attribute as it is.
TEXTS = ("user", "remote", "application", "database", "state")


class Row(NamedTuple):
    """A row of the table: its place from 1 on, its session, and the values of its cells."""

    place: int
    id: str
    cells: Mapping[str, str]


class SessionsPage:
    """The page in a browser's tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.grid = page.get_by_role("grid", name="Sessions")
        self.connection = page.get_by_role("status", name="Connection")
        self.search = page.get_by_role("searchbox", name="Search sessions")
        self.views = page.get_by_role("group", name="Views")
        self.groups = page.get_by_role("group", name="Groups")
        self.filters = page.get_by_role("group", name="Filters")
        self.blocked = page.get_by_role("region", name="Blocked sessions")
        self.login = page.get_by_role("dialog", name="Log in")
        self.strip = page.get_by_role("region", name="The past")
        self.slider = page.get_by_role("slider", name="Moment")
        self.banner = page.locator("#moment")

    @classmethod
    def open(cls, opener: Opener, http: str, fragment: str = "", **options: Any) -> SessionsPage:
        """Open the page of a gateway in a new profile; ``options`` are Playwright's."""
        opened = cls(opener.open(f"http://{http}/{fragment}", **options))
        opened.await_live()
        return opened

    def reset(self, fragment: str = "") -> None:
        """Show what a page shows when it is opened with this fragment of the URL."""
        self.page.goto(self.page.url.partition("#")[0] + "#" + fragment)
        self.page.evaluate(_TAB_FROM_THE_START)

    def replace(self, file: str, texts: Mapping[str, str]) -> None:
        """Load a file of the page with other texts in place of those that it must have."""

        def answer(route: Route) -> None:
            loaded = route.fetch()
            source = loaded.text()
            for text, other in texts.items():
                assert source.count(text) == 1
                source = source.replace(text, other)
            route.fulfill(response=loaded, body=source)

        self.page.route(f"**/{file}", answer)

    def scroll_width(self) -> int:
        """Return how wide all of it is: as wide as the window, unless something sticks out."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width

    def close_dialogs(self) -> None:
        """Close what a test has left open above the page."""
        self.page.locator("dialog:modal").evaluate_all("(all) => all.forEach((one) => one.close())")

    def await_live(self) -> None:
        """Wait until it is current."""
        expect(self.connection).to_have_text(re.compile(r"^\s*Live"))

    def await_past(self) -> None:
        """Wait until it shows a moment of the past."""
        expect(self.connection).to_have_text("Past")
        expect(self.banner).to_contain_text("Showing")

    def look_back(self, span: str) -> None:
        """Open the strip of the past, over this span."""
        self.page.get_by_role("button", name="Past", exact=True).click()
        self.strip.get_by_role("button", name=span, exact=True).click()
        self.await_strip()

    def await_strip(self) -> None:
        """Wait until the strip shows what it was asked for."""
        expect(self.slider).to_be_visible()
        expect(self.strip).not_to_have_class("reading")
        expect(self.slider).to_have_attribute("aria-valuetext", re.compile("session"))

    def point(self, share: float) -> tuple[float, float]:
        """Move the pointer to a place in the strip, from 0 at its left to 1; return where it is."""
        self.await_strip()
        self.slider.scroll_into_view_if_needed()
        box = self.slider.bounding_box()
        assert box
        at = (box["x"] + share * (box["width"] - 1), box["y"] + box["height"] / 2)
        self.page.mouse.move(*at)
        return at

    def click(self, share: float) -> None:
        """Choose the moment at a place in the strip."""
        self.page.mouse.click(*self.point(share))
        expect(self.page).to_have_url(re.compile(r"[#&]at="))

    def axis(self) -> str:
        """Return the times below the strip."""
        return self.page.locator("#axis").inner_text()

    def await_count(self, sessions: int) -> None:
        """Wait until so many sessions match what is asked for."""
        expect(self.grid).to_have_attribute("aria-rowcount", str(sessions + 1))

    def await_sessions(self, http: str) -> None:
        """Wait until it shows the sessions that REST returns, and none that has just gone."""

        def differences() -> set[tuple[str, str]]:
            found = {(row.id, row.cells["activity"]) for row in self.shown()}
            return found ^ {
                (each["id"], each["attributes"].get("activity", {}).get("state", ""))
                for each in ask(http)
            }

        eventually(differences, lambda found: not found)

    def await_width(self, width: int) -> None:
        """Wait until it has taken the width of a window that has just changed."""
        eventually(self.scroll_width, lambda found: found == width)

    def shown(self) -> list[Row]:
        """Return the rows that are in the document."""
        return [Row(*row) for row in self.grid.evaluate(_SHOWN)]

    def scroll(self) -> list[Row]:
        """Scroll from the first to the last row; return those that were seen."""
        return [Row(*row) for row in self.grid.evaluate(_ALL)]

    def rows(self) -> list[Row]:
        """Scroll likewise while nothing changes; return all rows, without gaps."""
        rows = self.scroll()
        assert [row.place for row in rows] == [*range(2, len(rows) + 2)]  # the titles are row 1
        return rows

    def row(self, ident: int | str) -> Locator:
        """Return a session's row, which must be within what is shown."""
        return self.grid.locator(f'[data-id="{ident}"]')

    def chips(self, group: Locator) -> dict[str, int]:
        """Return what the buttons of a group stand for, and their counts; "" is a missing value."""
        return {
            value: int(re.sub(r"\D", "", count) or -1) for value, count in group.evaluate(_CHIPS)
        }

    def group_by(self, column: str) -> None:
        """Group by a column, by its title."""
        self.page.get_by_role("combobox", name="Group by").select_option(label=column)

    def view(self, name: str) -> Locator:
        """Return the button of a view."""
        return self.views.get_by_role("button", name=re.compile(rf"^{name}\b(?! in)"))

    def header(self, column: str) -> Locator:
        """Return a column's header."""
        return self.grid.get_by_role("columnheader", name=re.compile(rf"^{column}"))

    def sort(self, column: str, direction: str) -> None:
        """Click a column's header until the order is "ascending" or "descending"."""
        header = self.header(column)
        for _ in range(3):
            if header.get_attribute("aria-sort") == direction:
                break
            header.click()
        expect(header).to_have_attribute("aria-sort", direction)

    def drawer(self, ident: int | str | None = None) -> Drawer:
        """Return the drawer of a session, or of any."""
        name = "Session" if ident is None else f"Session {ident}"
        roles = (self.page.get_by_role(role, name=name) for role in ("dialog", "complementary"))
        dialog, complementary = roles
        return Drawer(dialog.or_(complementary))

    def open_session(self, ident: int | str) -> Drawer:
        """Click a session's row; return its drawer once it is open."""
        self.row(ident).click()
        drawer = self.drawer(ident)
        expect(drawer.element).to_be_visible()
        return drawer


class Drawer:
    """The page's drawer for one session."""

    def __init__(self, element: Locator) -> None:
        self.element = element

    def attributes(self) -> dict[str, str]:
        """Return all attributes by path, as texts."""
        table = self.element.locator("[data-attribute]").first
        expect(table).to_be_visible()
        found: dict[str, str] = self.element.evaluate(_ATTRIBUTES)
        return found

    def sessions(self, name: str) -> list[str]:
        """Return the sessions in one of its lists, in order."""
        listed = self.element.get_by_role("list", name=name, exact=True)
        found: list[str] = listed.locator("[data-session]").evaluate_all(
            "(all) => all.map((each) => each.dataset.session)"
        )
        return [ident for place, ident in enumerate(found) if ident not in found[:place]]

    def close(self) -> None:
        """Click its button."""
        self.element.get_by_role("button", name="Close").click()
        expect(self.element).to_be_hidden()


def ask(http: str, path: str = "/v1/sessions", **parameters: str) -> Any:
    """Return the data that REST returns."""
    answer = httpx.get(f"http://{http}{path}", params=parameters, timeout=PATIENCE)
    return answer.raise_for_status().json()["data"]


def service(resource: Any) -> str:
    """Return a session's service."""
    return "".join(each["id"] for each in resource["relationships"]["services"]["data"])


def leaves(value: Any, path: str = "") -> dict[str, str]:
    """Return an attribute's innermost values by path, as JavaScript writes them."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        inner = (leaves(each, f"{path}.{name}" if path else str(name)) for name, each in pairs)
        return {found: text for each in inner for found, text in each.items()}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {path: text.removesuffix(".0") if isinstance(value, float) else text}


def agrees(row: Row, resource: Any) -> bool:
    """Return whether a row shows what REST says."""
    attributes = resource["attributes"]
    activity = attributes.get("activity", {}).get("state", "")
    return (
        row.id == row.cells["id"] == resource["id"]
        and row.cells["service"] == service(resource)
        and row.cells["activity"] == activity
        and all(row.cells[name] == attributes.get(name, "") for name in TEXTS)
        and row.cells["source"] == attributes.get("source", "")
    )
