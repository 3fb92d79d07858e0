"""Text from databases and clients stays text: it makes no element, runs nothing, moves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser.documents import session, write
from tests.browser.opening import PHONE, WIDE, Opener
from tests.browser.sessions_page import SessionsPage, ask
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
    "w" * 10_000,
    "words " * 2_000,
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


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve sessions whose every text is hostile; yield the address."""
    path = tmp_path_factory.mktemp("hostile") / "hostile.json"
    sessions = [session(1, "plain", user="plain")]
    for ident, text in enumerate(HOSTILE, 2):
        named = dict.fromkeys(("user", "application", "database", "remote"), text)
        attributes = {"client": {"connection_attributes": {text: text}}, **named}
        activity = {"state": "waiting", "wait": text, "native": text, "blocked_by": ["1"]}
        sessions.append(session(ident, text, activity=activity, **attributes))
    with Forked("--source", f"document:{write(path, sessions)}") as served:
        yield served.http


def test_names_are_text_and_nothing_else(
    opener: Opener, page: SessionsPage, http: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "plain.json", [session(1, "plain", user="plain")])
    sessions = {each["id"]: each for each in ask(http)}
    assert len(sessions) == len(HOSTILE) + 1
    with Forked("--source", f"document:{path}") as served:
        plain = SessionsPage.open(opener, served.http)
        for viewport in (WIDE, PHONE):
            for each in (plain, page):
                each.page.set_viewport_size(viewport)
                each.reset()
                each.await_width(viewport["width"])
            page.await_count(len(sessions))
            are_text(page, plain, sessions, viewport)


def are_text(
    page: SessionsPage, plain: SessionsPage, sessions: Mapping[str, Any], viewport: ViewportSize
) -> None:
    """Check that a page of hostile texts is like a page without."""
    height = plain.row(1).bounding_box()["height"]  # type: ignore[index]
    elements = counts(plain)

    def unmoved() -> None:
        assert counts(page) == elements
        assert page.scroll_width() == viewport["width"]
        assert {box["height"] for box in boxes()} == {height}

    def boxes() -> list[dict[str, float]]:
        found: list[dict[str, float]] = page.grid.locator("[data-id]").evaluate_all(
            "(rows) => rows.map((row) => row.getBoundingClientRect().toJSON())"
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


def test_hostile_names_are_searched_filtered_and_kept_in_the_url(
    opener: Opener, page: SessionsPage, http: str
) -> None:
    again = SessionsPage.open(opener, http)
    for text in ("<script>document.title='run'</script>", "__proto__", "#/?&=user=anna;sort=id"):
        page.group_by("User")
        page.groups.get_by_role("button").filter(has_text=text).first.click()
        page.await_count(1)
        url = page.page.url
        again.reset(url.partition("#")[2])
        again.await_count(1)
        assert [row.cells["user"] for row in again.shown()] == [text]
        page.filters.get_by_role("button", name="Clear filters").click()
        page.search.fill(text)
        page.await_count(1)
        page.search.fill("")
        page.await_count(len(HOSTILE) + 1)
