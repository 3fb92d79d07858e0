"""axe-core finds nothing to object to, in any state of the page and of the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.documents import CROWD, crowd, write
from tests.browser.opening import PHONE, WIDE, Opener
from tests.browser.sessions_page import SessionsPage
from tests.credentials import CredentialFiles
from tests.gateway.test_page import FILES
from tests.program import DOCUMENT, Forked

Scheme = Literal["light", "dark"]

# Each kind of row is seen in these windows, but few rows: axe-core takes its time for each element.
_LOW_WIDE: ViewportSize = {**WIDE, "height": 440}
_LOW_PHONE: ViewportSize = {**PHONE, "height": 640}
STYLES: Sequence[tuple[ViewportSize, Scheme]] = (
    *((_LOW_WIDE, "light"), (_LOW_PHONE, "dark")),
    *((_LOW_PHONE, "light"), (_LOW_WIDE, "dark")),
)
# Whether colours contrast takes axe-core most of its time, and is the same for all that look the
# same: it is asked of one element of each appearance that it was not asked of in this page before,
# of one that can be seen if there is one, since axe-core passes over what is scrolled out of view.
# All other rules are for all elements.
#
# The options of that check are axe-core's defaults but for the first two. Without these, it would
# judge neither what is inside of an element with a background in ::before, such as the whole table,
# nor a single character. What it does not judge for these reasons counts as found.
FOUND = """async (options) => {
    // Until then, rows may still be where they were in a window of another size, above each other.
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    const grounds = new Map([[null, ""]]);
    const groundOf = (element) => {
        if (!grounds.has(element)) {
            const {backgroundColor, backgroundImage, opacity} = getComputedStyle(element);
            grounds.set(element, [element.tagName, element.className, backgroundColor,
                backgroundImage, opacity, groundOf(element.parentElement)].join());
        }
        return grounds.get(element);
    };
    const isOnTop = (element) => {
        if (!element) return false;
        const {x, y, width, height} = element.getBoundingClientRect();
        return element.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    };
    const known = window.appearances ??= new Set();
    const appearances = new Map();
    for (const each of document.querySelectorAll("*")) {
        if (![...each.childNodes].some(({nodeType, data}) => nodeType === 3 && data.trim())
            && !each.matches("input, select, textarea")
            || !each.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        const {color, fontSize, fontWeight, textShadow} = getComputedStyle(each);
        const seen = [color, fontSize, fontWeight, textShadow, groundOf(each)].join();
        if (!known.has(seen) && !isOnTop(appearances.get(seen))) appearances.set(seen, each);
    }
    if (options.runOnly && !appearances.size) return [];
    for (const [seen, each] of appearances) {
        known.add(seen);
        each.setAttribute("data-appearance", "");
    }
    axe.configure({
        rules: [{id: "color-contrast", selector: "[data-appearance]"}],
        checks: [{id: "color-contrast", options: {
            ignorePseudo: true, ignoreLength: true, ignoreUnicode: true,
            boldValue: 700, boldTextPt: 14, largeTextPt: 18,
            contrastRatio: {normal: {expected: 4.5}, large: {expected: 3}},
            pseudoSizeThreshold: 0.25, shadowOutlineEmMax: 0.2, textStrokeEmMin: 0.03,
        }}],
    });
    const {violations, incomplete} = await axe.run({
        resultTypes: ["violations", "incomplete"],
        rules: {"color-contrast": {enabled: appearances.size > 0}},
        ...options,
    });
    for (const each of appearances.values()) each.removeAttribute("data-appearance");
    const unsure = incomplete.filter(({id}) => id === "color-contrast");
    for (const each of unsure) {
        each.nodes = each.nodes.filter(({any: [{data}]}) =>
            ["pseudoContent", "shortTextContent"].includes(data.messageKey));
    }
    const all = [...violations, ...unsure].filter(({nodes}) => nodes.length);
    return all.map((found) => `${found.impact} ${found.id}: ${found.help}: `
        + found.nodes.slice(0, 4).map((node) => node.html.slice(0, 160)).join("; "));
}"""
# Removes the sections of the reference in which nothing looks different from all before them.
_PRUNE = """() => {
    const kinds = new Map([[null, ""]]);
    const kindOf = (element) => {
        if (!kinds.has(element)) {
            const {color, backgroundColor, fontSize, fontWeight} = getComputedStyle(element);
            kinds.set(element, [element.tagName, element.className, color, backgroundColor,
                fontSize, fontWeight, kindOf(element.parentElement)].join());
        }
        return kinds.get(element);
    };
    const known = new Set();
    for (const section of document.querySelectorAll("main section section")) {
        const found = [section, ...section.querySelectorAll("*")].map(kindOf);
        if (found.every((kind) => known.has(kind))) section.remove();
        for (const kind of found) known.add(kind);
    }
}"""


def accept(page: Page, styles: Sequence[tuple[ViewportSize, Scheme]] = STYLES[:2]) -> None:
    """Check that axe-core objects to nothing: light and dark, on a wide screen and on a phone."""
    for size, scheme in styles:
        # Of what axe-core looks at, only contrast depends on the colours.
        options = {} if (size, scheme) in STYLES[:2] else {"runOnly": ["color-contrast"]}
        assert found(page, size, scheme, options) == [], (size, scheme)


def found(page: Page, size: ViewportSize, scheme: Scheme, options: Any) -> list[str]:
    """Return what axe-core objects to, with these options of its own."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    objections: list[str] = page.evaluate(FOUND, options)
    return objections


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, by WCAG 2."""
    digits = colour.removeprefix("#")
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


def linear(part: float) -> float:
    """Return how much light a part of a colour is."""
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("background", ["flash-new", "flash-changed"])
def test_what_has_just_changed_can_be_read(background: str, scheme: int) -> None:
    css = (FILES / "page.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    colours = {name: shades[scheme] for name, *shades in pairs}
    for text in ("text", "dim", "bad", "accent"):
        dark, light = sorted(luminance(colours[each]) for each in (background, text))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, text


def test_the_table_the_drawer_the_panels_and_what_is_lost(opener: Opener, tmp_path: Path) -> None:
    path = write(tmp_path / "crowd.json", crowd())
    with Forked("--source", f"document:{path}") as served:
        page = SessionsPage.open(opener, served.http)
        for style in STYLES:
            accept(page.page, [style])
            assert tones(page) == {"good", "new", "calm", "held", "bad"}
        assert_bad_colours_are_found(page.page)
        page.group_by("User")
        page.groups.get_by_role("button").nth(1).click()
        expect(page.filters.get_by_role("button").first).to_be_visible()
        drawer = page.open_session(page.shown()[3].id)
        assert drawer.attributes()
        accept(page.page, STYLES)
        drawer.close()
        page.filters.get_by_role("button", name="Clear filters").click()
        page.page.get_by_role("button", name=re.compile("^Sources")).click()
        expect(page.page.get_by_role("dialog", name="Sources")).to_be_visible()
        accept(page.page)
        page.page.keyboard.press("Escape")
        page.page.keyboard.press("?")
        expect(page.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        accept(page.page)
        page.page.keyboard.press("Escape")
        page.search.fill("nothing is called like this")
        page.await_count(0)
        accept(page.page)
        page.search.fill("")
        page.await_count(CROWD)
    expect(page.page.get_by_role("alert").filter(has_text="old")).to_be_visible()
    accept(page.page)


def assert_bad_colours_are_found(page: Page) -> None:
    """Check that a text in a row that nobody can read would be found."""
    page.evaluate("document.styleSheets[0].insertRule('.cell, .pill { color: #bbb !important }')")
    (wrong,) = found(page, *STYLES[0], {"runOnly": ["color-contrast"]})
    assert 'class="cell' in wrong
    assert 'class="pill' in wrong
    page.evaluate("document.styleSheets[0].deleteRule(0)")


def tones(page: SessionsPage) -> set[str]:
    """Return the colours of what sessions are doing that can be seen."""
    pills = page.grid.locator(".pill").filter(visible=True)
    found: list[str] = pills.evaluate_all("(all) => all.map((each) => each.dataset.tone)")
    return {*found}


def test_the_login(opener: Opener, tmp_path: Path) -> None:
    with Forked("--source", DOCUMENT, *CredentialFiles(tmp_path).flags) as served:
        page = SessionsPage(opener.open(f"http://{served.http}/"))
        expect(page.login).to_be_visible()
        accept(page.page)
        page.login.get_by_label("User").fill("mallory")
        page.login.get_by_label("Password").fill("wrong")
        page.login.get_by_role("button", name="Log in").click()
        expect(page.login.get_by_role("alert")).to_be_visible()
        accept(page.page)


def test_the_reference(opener: Opener, http: str) -> None:
    page = opener.open(f"http://{http}/docs")
    size, scheme = STYLES[0]
    # These two look for what is behind each element: for thousands, that takes most of the time.
    behind = ("color-contrast", "link-in-text-block")
    options = {"rules": {rule: {"enabled": False} for rule in behind}}
    assert found(page, size, scheme, options) == []
    sections = page.locator("section")
    before = sections.count()
    page.evaluate(_PRUNE)
    assert sections.count() < before
    page.evaluate("appearances.clear()")
    accept(page)
