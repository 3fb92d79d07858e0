"""The page without a mouse: everything is reached, and the focus comes back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser.opening import PHONE, WIDE
from tests.browser.sessions_page import SessionsPage

# A control by what it says: some are made anew when that changes.
_NAMED = "const named = (each) => `${each.tagName} ${each.id} ${each.textContent.slice(0, 60)}`;"
_FOCUSED = f"""() => {{
    {_NAMED}
    const active = document.activeElement;
    if (active === document.body) return null;
    const shows = [active, active.parentElement].some((each) => {{
        const {{outlineStyle, boxShadow}} = getComputedStyle(each);
        return outlineStyle !== "none" || boxShadow !== "none";
    }});
    return [named(active), shows];
}}"""
_CONTROLS = f"""() => {{
    {_NAMED}
    return [...document.querySelectorAll("button, a[href], input, select, summary")]
        .filter((each) => each.checkVisibility({{visibilityProperty: true}}) && !each.disabled
            && !each.closest("[role=grid]"))
        .map(named);
}}"""


def focused(page: SessionsPage) -> str:
    """Return the id of the session whose row has the focus, or ""."""
    found: str = page.page.evaluate(
        """() => {
            const active = document.activeElement;
            const row = document.getElementById(active.getAttribute("aria-activedescendant"))
                ?? active;
            return row.closest("[data-id]")?.dataset.id ?? "";
        }"""
    )
    return found


def into_the_grid(page: SessionsPage) -> None:
    """Press Tab until keys move from row to row."""
    for _ in range(100):
        if page.grid.evaluate(
            """(grid) => document.activeElement === grid
                || document.activeElement.matches("[data-id]")"""
        ):
            return
        page.page.keyboard.press("Tab")
    raise AssertionError("no row can be reached")


def test_rows_are_walked_opened_and_left(page: SessionsPage) -> None:
    keyboard = page.page.keyboard
    page.header("ID").get_by_role("button").or_(page.header("ID")).first.focus()
    keyboard.press("Enter")
    expect(page.header("ID")).to_have_attribute("aria-sort", re.compile("ascending|descending"))
    order = [row.id for row in page.rows()]
    into_the_grid(page)
    keyboard.press("Home")
    assert focused(page) == order[0]
    for key, steps in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1)):
        keyboard.press(key)
        assert focused(page) == order[steps]
    keyboard.press("PageDown")
    paged = order.index(focused(page))
    assert paged > 5
    keyboard.press("PageUp")
    assert order.index(focused(page)) < paged
    keyboard.press("End")
    expect(page.row(order[-1])).to_be_in_viewport()
    assert focused(page) == order[-1]
    keyboard.press("Enter")
    expect(page.drawer(order[-1]).element).to_be_visible()
    # The focus is in the drawer, and comes back to the row.
    inside = "(drawer) => drawer.contains(document.activeElement)"
    assert page.drawer(order[-1]).element.evaluate(inside)
    keyboard.press("Escape")
    expect(page.drawer().element).to_be_hidden()
    assert focused(page) == order[-1]


def test_keys_search_pause_and_help(page: SessionsPage) -> None:
    keyboard = page.page.keyboard
    keyboard.press("/")
    expect(page.search).to_be_focused()
    expect(page.search).to_have_value("")
    keyboard.type("p?/waits")  # typed, and no command
    expect(page.search).to_have_value("p?/waits")
    keyboard.press("Escape")
    expect(page.search).to_have_value("")
    page.search.blur()
    pause = page.page.get_by_role("button", name=re.compile("^(Pause|Resume)"))
    for pressed in ("true", "false"):
        keyboard.press("p")
        expect(pause).to_have_attribute("aria-pressed", pressed)
    keyboard.press("?")
    help_dialog = page.page.get_by_role("dialog", name="Keyboard")
    expect(help_dialog).to_be_visible()
    keyboard.press("Escape")
    expect(help_dialog).to_be_hidden()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_control_is_reached_has_a_name_and_shows_the_focus(
    page: SessionsPage, viewport: ViewportSize
) -> None:
    page.page.set_viewport_size(viewport)
    reached: dict[str, bool] = {}
    for _ in range(150):
        page.page.keyboard.press("Tab")
        found = page.page.evaluate(_FOCUSED)
        if found is None:
            break
        reached |= [found]
    assert [each for each, shows in reached.items() if not shows] == []
    assert len(reached) > 10
    # Arrows reach the rest of the table.
    wanted = page.page.evaluate(_CONTROLS)
    assert [each for each in wanted if each not in reached] == []


def test_the_focus_stays_while_ages_grow(page: SessionsPage) -> None:
    for button in page.page.get_by_role("button", name="webshop #1", exact=True).all()[:2]:
        button.focus()
        before = page.blocked.text_content()
        expect(page.blocked).not_to_have_text(str(before))
        expect(button).to_be_focused()
