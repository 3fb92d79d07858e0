"""Text from databases and clients stays text: it makes no element, runs nothing, moves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser.documents import session, write
from tests.browser.opening import PHONE, WIDE
from tests.browser.sessions_page import SessionsPage, ask
from tests.polling import eventually
from tests.program import Forked

HOSTILE = (
    "<img src=x onerror=\"document.title='run'\">",
    "<script>document.title='run'</script>",
    "</td></tr></table><h1>broken out</h1>",
    "\"'><svg onload=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}${alert(1)}",
    "javascript:alert(1)",
    "\u202eright to left\u2066\u2067\u202d",
    "zero\u200bwidth\u200d\ufeff\u2060",
    "combining" + "\u0301" * 200,
    "line\nbreak\r\n\ttab\x00null\x1b[31mred\x9b31m\x85\u2028\u2029",
    "w" * 2_500,
    "words " * 500,
    "__proto__",
    "constructor",
    "toString",
    "👩‍💻 emoji 🏴‍☠️",
    "\ud7ff\ue000\uffff",
    "&lt;b&gt;&amp;&#60;",
    "%3Cscript%3E",
    "#/?&=user=anna;sort=id",
    "ﷺ" * 100,
    " ",
)
ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def counts(page: SessionsPage) -> dict[str, int]:
    """Return how many elements of each kind there are that these texts would make."""
    found: dict[str, int] = page.page.evaluate(
        """() => Object.fromEntries(["img", "script", "h1", "svg[onload]", "b", "[onerror]"].map(
            (kind) => [kind, document.querySelectorAll(kind).length]))"""
    )
    return found


class Served(NamedTuple):
    """A gateway of a document that a test rewrites."""

    http: str
    document: Path

    def write(self, texts: Sequence[str]) -> None:
        """Show a plain session, and one for each text."""
        write(self.document, made(texts))
        eventually(lambda: len(ask(self.http)), lambda number: number == len(texts) + 1)


def made(texts: Sequence[str]) -> list[Any]:
    """Make a plain session, and one for each text, which is in every place of it."""
    sessions = [session(1, "plain", user="plain")]
    for ident, text in enumerate(texts, 2):
        named = dict.fromkeys(("user", "application", "database", "remote"), text)
        attributes = {"client": {"connection_attributes": {text: text}}, **named}
        activity = {"state": "waiting", "wait": text, "native": text, "blocked_by": ["1"]}
        sessions.append(session(ident, text, activity=activity, **attributes))
    return sessions


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve sessions whose every text is hostile."""
    path = write(tmp_path_factory.mktemp("hostile") / "hostile.json", made(HOSTILE))
    with Forked("--source", f"document:{path}?interval=0.05") as served:
        yield Served(served.http, path)


@pytest.fixture(scope="module")
def http(served: Served) -> str:
    return served.http


def test_names_are_text_and_nothing_else(page: SessionsPage, served: Served) -> None:
    plain: list[tuple[float, dict[str, int]]] = []
    served.write(())
    page.await_count(1)
    expect(page.blocked).to_be_hidden()
    for viewport in (WIDE, PHONE):
        widen(page, viewport)
        plain.append((row_height(page), counts(page)))
    served.write(HOSTILE)
    sessions = {each["id"]: each for each in ask(served.http)}
    for viewport, (height, elements) in zip((WIDE, PHONE), plain, strict=True):
        widen(page, viewport)
        page.await_count(len(sessions))
        are_text(page, height, elements, sessions, viewport)


def widen(page: SessionsPage, viewport: ViewportSize) -> None:
    """Show the page as it is when it is opened on this screen."""
    page.page.set_viewport_size(viewport)
    page.reset()
    page.await_width(viewport["width"])


def row_height(page: SessionsPage) -> float:
    """Return how high the row of the plain session is."""
    box = page.row(1).bounding_box()
    assert box
    return box["height"]


def are_text(
    page: SessionsPage,
    height: float,
    elements: Mapping[str, int],
    sessions: Mapping[str, Any],
    viewport: ViewportSize,
) -> None:
    """Check that a page of hostile texts has rows of this height, and no other elements."""

    def unmoved() -> None:
        assert counts(page) == elements
        assert page.scroll_width() == viewport["width"]
        assert {box["height"] for box in boxes()} == {height}

    def boxes() -> list[dict[str, float]]:
        # In one step: a row that is taken away between two has no height.
        found: list[dict[str, float]] = page.grid.evaluate(
            """(grid) => [...grid.querySelectorAll("[data-id]")].map(
                (row) => row.getBoundingClientRect().toJSON())"""
        )
        return found

    unmoved()
    for row in page.rows():
        wanted = sessions[row.id]["attributes"]["user"]
        shown = row.cells["user"]
        assert not ESCAPED.search(shown)
        if not ESCAPED.search(wanted) and len(wanted) <= 200:
            assert shown == wanted
        assert len(shown) <= 1300
    for title in ("User", "Service", "Application", "Client", "Database"):
        page.group_by(title)
        expect(page.groups.get_by_role("button").first).to_be_visible()
        unmoved()
    assert "Sessiongate" in page.page.title()


def test_the_drawer_shows_hostile_values_in_full(page: SessionsPage, http: str) -> None:
    elements = counts(page)
    for each in ask(http):
        user, ident = each["attributes"]["user"], each["id"]
        page.reset(f"session={ident}")
        drawer = page.drawer(ident)
        expect(drawer.element).to_be_visible()
        shown = drawer.attributes()["user"]
        assert not ESCAPED.search(shown)
        if not ESCAPED.search(user):
            assert shown == user
        assert page.scroll_width() == WIDE["width"]
        assert {**counts(page), "h1": elements["h1"]} == elements
        box = drawer.element.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= WIDE["width"]


def test_hostile_names_are_searched_filtered_and_kept_in_the_url(page: SessionsPage) -> None:
    for text in ("<script>document.title='run'</script>", "__proto__", "#/?&=user=anna;sort=id"):
        page.group_by("User")
        page.groups.get_by_role("button").filter(has_text=text).first.click()
        page.await_count(1)
        url = page.page.url
        page.reset()
        page.await_count(len(HOSTILE) + 1)
        page.reset(url.partition("#")[2])
        page.await_count(1)
        assert [row.cells["user"] for row in page.shown()] == [text]
        page.filters.get_by_role("button", name="Clear filters").click()
        page.search.fill(text)
        page.await_count(1)
        page.search.fill("")
        page.await_count(len(HOSTILE) + 1)
