"""The past on the page: a strip of how many were connected, and the sessions of a moment."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Route, expect

from sessiongate.core.sources.base import Observed
from tests.browser.opening import PHONE, WIDE, Opener
from tests.browser.sessions_page import SessionsPage, ask, service
from tests.browser.test_accessibility import STYLES, accept
from tests.browser.test_hostile_text import HOSTILE, counts
from tests.doing import Shown, showing, stated
from tests.polling import eventually
from tests.program import PATIENCE, Forked, ForkedProgram

MINUTE = 60
HISTORY = "/v1/history/sessions"
# Who connected how many minutes ago, to what; the first and the third have ended.
PEOPLE = {
    1: ("anna", 300, "orders-rw"),
    2: ("bob", 180, "orders-rw"),
    3: ("carol", 90, "reports"),
    4: ("dave", 30, "reports"),
}
ENDED = (1, 3)
# Places in a strip of six hours: when the first was connected, the first two, the first three.
EARLY, AMID, LATE = (1 - minutes / 360 for minutes in (240, 120, 60))


def connected(key: int) -> Observed:
    """Make a session of `PEOPLE`."""
    user, minutes, name = PEOPLE[key]
    observed = stated(str(key), user=user, service=name, remote="192.0.2.7", port=40000 + key)
    observed.session.connect_time.FromSeconds(int(time.time()) - minutes * MINUTE)
    return observed


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """Run a core of sessions that came, and of two that went, and of a source that failed."""
    with showing({"pg": [connected(key) for key in PEOPLE], "web": []}) as core:
        yield core


@pytest.fixture(scope="module")
def http(shown: Shown) -> Iterator[str]:
    with ForkedProgram("serve", "--core", shown.address, "--http", "127.0.0.1:0") as served:
        address = served.expect(r"REST +http://(\S+)/v1/sessions$")[1]
        served.expect("Try +curl")
        eventually(lambda: len(ask(address)) == len(PEOPLE))
        shown.sources["web"] = "no route to web"
        eventually(lambda: unreachable(address), lambda names: names == ["web"])
        stays = [each for each in shown.sources["pg"] if isinstance(each, Observed)]
        shown.sources["pg"] = [each for each in stays if int(each.key) not in ENDED]
        eventually(lambda: ended(address) == {str(key) for key in ENDED})
        shown.sources["web"] = []
        eventually(lambda: unreachable(address), lambda names: not names)
        yield address


def unreachable(http: str) -> list[str]:
    """Return the sources that could not be read last."""
    answer = httpx.get(f"http://{http}/v1/sessions", timeout=PATIENCE)
    names: list[str] = answer.raise_for_status().json().get("meta", {}).get("unreachable", [])
    return names


def ended(http: str) -> set[str]:
    """Return the ids of the sessions that have ended."""
    return {each["id"] for each in ask(http, HISTORY, **{"from": "-1d"}) if end(each)}


def end(resource: Any) -> str:
    """Return when a session ended, or ""."""
    return str(resource["attributes"].get("ended", ""))


@pytest.fixture
def page(page: SessionsPage) -> SessionsPage:
    """Show those who are connected."""
    page.await_count(len(PEOPLE) - len(ENDED))
    return page


def moment(page: SessionsPage) -> str:
    """Return the moment in the page's address, once there is one."""
    expect(page.page).to_have_url(re.compile(r"[#&]at="))
    found = re.search(r"[#&]at=([^&]+)", page.page.url)
    assert found
    return found[1].replace("%3A", ":")


def agrees_with_rest(page: SessionsPage, http: str) -> set[str]:
    """Check that the table shows a moment as REST has it; return the ids."""
    sessions = {each["id"]: each for each in ask(http, HISTORY, at=moment(page))}
    page.await_past()
    page.await_count(len(sessions))
    rows = {row.id: row.cells for row in page.rows()}
    assert rows.keys() == sessions.keys()
    for ident, cells in rows.items():
        attributes = sessions[ident]["attributes"]
        assert cells["user"] == attributes["user"]
        assert cells["service"] == service(sessions[ident])
        assert cells["ending"] == attributes.get("end_reason", "")
        assert (cells["ended"] == "still connected") != ("ended" in attributes)
        assert cells.keys() & {"activity", "waits", "transaction"} == set()
    return {*rows}


def test_a_moment_is_chosen_in_the_strip(page: SessionsPage, http: str) -> None:
    page.look_back("6 hours")
    legend = page.strip.get_by_role("list", name="Legend")
    expect(legend.get_by_role("listitem")).to_contain_text(["orders-rw", "reports"])
    page.strip.get_by_role("combobox", name="By").select_option(label="User")
    for user, *_ in PEOPLE.values():  # others may have come and gone in another test
        expect(legend.get_by_role("listitem").filter(has_text=user)).to_have_count(1)

    # Two hours ago, two were connected, and both to one service.
    page.point(AMID)
    expect(page.strip).to_contain_text(re.compile(r": 2 sessions"))
    expect(legend.get_by_role("listitem").filter(has_text="anna")).to_contain_text("1")
    expect(legend.get_by_role("listitem").filter(has_text="carol")).to_contain_text("0")
    page.click(AMID)
    assert agrees_with_rest(page, http) == {"1", "2"}
    assert page.row(1).locator('[data-column="ending"]').inner_text() == "closed"
    expect(page.banner).to_contain_text(re.compile(r"Showing 20.*[12] h \d+ m ago"))
    expect(page.connection).to_have_text("Past")
    expect(page.page).to_have_title(re.compile(r"\d\d:\d\d:\d\d"))
    # One that connected earlier, and one that connected later.
    page.click(EARLY)
    page.await_count(1)
    assert agrees_with_rest(page, http) == {"1"}
    page.click(LATE)
    page.await_count(3)
    assert agrees_with_rest(page, http) == {"1", "2", "3"}


def test_nothing_moves_until_it_is_live_again(
    page: SessionsPage, http: str, shown: Shown, shared_opener: Opener
) -> None:
    page.look_back("6 hours")
    page.click(0.99)
    before = agrees_with_rest(page, http)
    asked = len(shared_opener.requests)
    sources = shown.sources["web"]
    PEOPLE[9] = ("zoe", 0, "new")
    try:
        shown.sources["web"] = [connected(9)]
        eventually(lambda: any(each["id"] == "9" for each in ask(http)))
        for _ in range(2):  # only how long ago it was moves, each second
            said = page.banner.inner_text()
            expect(page.banner).not_to_have_text(said)
        assert {row.id for row in page.rows()} == before
        assert shared_opener.requests[asked:] == []
        page.page.get_by_role("button", name="Live", exact=True).click()
        page.await_live()
        page.row(9).wait_for()
        assert "activity" in page.shown()[0].cells
        expect(page.strip).to_be_hidden()
        expect(page.banner).to_be_hidden()
        assert "at=" not in page.page.url
    finally:
        del PEOPLE[9]
        shown.sources["web"] = sources
        eventually(lambda: len(ask(http)) == len(PEOPLE) - len(ENDED))


def test_the_keyboard_chooses_and_goes_back(page: SessionsPage, http: str) -> None:
    keyboard = page.page.keyboard
    keyboard.press("t")
    expect(page.slider).to_be_focused()
    page.strip.get_by_role("button", name="6 hours").click()
    page.await_strip()
    page.slider.focus()
    keyboard.press("End")
    expect(page.slider).to_have_attribute("aria-valuenow", "120")
    for key, place in (("ArrowLeft", 119), ("PageDown", 109), ("ArrowRight", 110), ("PageUp", 120)):
        keyboard.press(key)
        expect(page.slider).to_have_attribute("aria-valuenow", str(place))
    keyboard.press("Home")
    expect(page.slider).to_have_attribute("aria-valuetext", re.compile(r"^20.*: 0 sessions"))
    for _ in range(4):
        keyboard.press("PageUp")  # ten moments are half an hour
    keyboard.press("Enter")
    assert agrees_with_rest(page, http) == {"1"}
    expect(page.slider).to_be_focused()
    # Before the first moment, the strip goes on.
    first = page.axis()
    keyboard.press("Home")
    keyboard.press("ArrowLeft")
    eventually(page.axis, lambda labels: labels != first)
    page.await_strip()
    keyboard.press("Escape")
    page.await_live()
    expect(page.page.get_by_role("button", name="Past", exact=True)).to_be_focused()
    assert page.page.url.partition("#")[2] == ""


def test_a_time_can_be_typed(page: SessionsPage, http: str) -> None:
    page.look_back("1 hour")
    field = page.strip.get_by_role("textbox", name="Time")
    for typed, fault in (("soon", "“soon” is no time"), ("2999-01-01 10:00", "in the future")):
        field.fill(typed)
        field.press("Enter")
        expect(page.strip.get_by_role("alert")).to_contain_text(fault)
    assert "at=" not in page.page.url
    field.fill("-2h")
    page.strip.get_by_role("button", name="Show").click()
    assert agrees_with_rest(page, http) == {"1", "2"}
    expect(page.strip.get_by_role("alert")).to_have_count(0)
    # Outside of the strip: it goes there.
    field.fill("2026-01-31 14:05:06")
    field.press("Enter")
    page.await_count(0)
    assert moment(page) == "2026-01-31T14:05:06Z"
    expect(page.slider).to_have_attribute("aria-valuetext", re.compile("2026-01-31 14:05"))
    expect(page.page.get_by_role("main")).to_contain_text("Nobody was connected then")
    field.fill("2026-02-30 14:05")
    field.press("Enter")
    expect(page.strip.get_by_role("alert")).to_contain_text("is no time")


def test_the_moment_is_in_the_address(page: SessionsPage, opener: Opener, http: str) -> None:
    page.look_back("6 hours")
    page.strip.get_by_role("combobox", name="By").select_option(label="User")
    page.click(AMID)
    agrees_with_rest(page, http)
    page.click(EARLY)
    page.await_count(1)
    at = moment(page)
    page.sort("How it ended", "descending")
    page.page.reload()
    page.await_past()
    assert agrees_with_rest(page, http) == {"1"}
    expect(page.header("How it ended")).to_have_attribute("aria-sort", "descending")
    other = SessionsPage(opener.open(page.page.url))
    other.await_past()
    assert moment(other) == at
    expect(other.strip.get_by_role("combobox", name="By")).to_have_value("user")
    expect(other.strip.get_by_role("button", name="6 hours")).to_have_attribute(
        "aria-pressed", "true"
    )
    for _ in range(3):  # over two orders and a moment
        page.page.go_back()
    page.await_count(2)
    assert agrees_with_rest(page, http) == {"1", "2"}
    for fragment, said in (
        ("at=noon", "at has no “noon”"),
        ("span=2h", "span has no “2h”"),
        (f"at={at}&view=waiting", "view has no “waiting”"),
        (f"at={at}&sort=transaction", "sort has no “transaction”"),
    ):
        page.reset(fragment)
        expect(page.page.get_by_role("main")).to_contain_text(said)


def test_filters_groups_and_search_choose_among_those_of_the_moment(
    page: SessionsPage, http: str
) -> None:
    page.reset("activity=active&user=bob&sort=transaction&span=6h")
    page.click(LATE)
    page.await_past()
    page.await_count(1)
    # What is not kept chooses nothing.
    assert "activity" not in page.page.url
    assert "transaction" not in page.page.url
    expect(page.strip.get_by_role("list", name="Legend").get_by_role("listitem")).to_have_count(1)
    page.filters.get_by_role("button", name="Clear filters").click()
    page.await_count(3)
    services = {"orders-rw": 2, "reports": 1}
    eventually(lambda: page.chips(page.groups), lambda chips: chips == services)
    page.groups.get_by_role("button", name=re.compile("^reports")).click()
    page.await_count(1)
    eventually(
        lambda: [row.cells["user"] for row in page.shown()], lambda users: users == ["carol"]
    )
    expect(page.strip).to_contain_text(re.compile(r": 1 session\b"))
    page.filters.get_by_role("button", name="Clear filters").click()
    page.search.fill("ann")
    page.await_count(1)
    options = page.page.get_by_role("combobox", name="Group by").get_by_role("option")
    assert "Activity" not in options.all_inner_texts()


def test_gaps_are_named(page: SessionsPage, http: str) -> None:
    page.look_back("6 hours")
    expect(page.strip).to_contain_text(re.compile("pg, web had not been read before ..:..:.."))
    expect(page.strip).to_contain_text(re.compile("web could not be read from ..:..:.. to ..:.."))
    page.click(AMID)
    expect(page.banner).to_contain_text("Not all is known: pg, web had not been read yet")
    expect(page.slider).to_have_attribute("aria-valuetext", re.compile("Not all is known: pg, web"))
    hatches = page.slider.locator(".hatches div")
    assert len(hatches.all()) >= 1
    last = ask(http)
    assert last
    page.click(1.0)
    agrees_with_rest(page, http)


def test_the_drawer_shows_how_a_session_ended(page: SessionsPage, http: str) -> None:
    page.look_back("6 hours")
    page.click(AMID)
    page.await_past()
    drawer = page.open_session(1)
    expect(drawer.element).to_contain_text(
        re.compile(r"ended at 20\S+ \S+ \S+ closed: its source no longer listed it")
    )
    attributes = drawer.attributes()
    [data] = [each for each in ask(http, HISTORY, at=moment(page)) if each["id"] == "1"]
    assert attributes["ended"] == end(data)
    assert attributes["end_reason"] == "closed"
    expect(drawer.element).to_contain_text("/v1/history/sessions/1?pretty=true")
    expect(drawer.element.get_by_role("list", name="Blocked by")).to_be_hidden()
    page.page.keyboard.press("Escape")
    expect(drawer.element).to_be_hidden()
    page.await_past()  # Escape closed the drawer only


def test_a_link_to_a_session_that_has_ended_shows_it_as_it_was(page: SessionsPage) -> None:
    page.reset("session=1")
    drawer = page.drawer(1)
    expect(drawer.element).to_contain_text(re.compile(r"ended at .* closed"))
    assert drawer.attributes()["user"] == "anna"
    page.await_live()


def test_nothing_to_object_to(page: SessionsPage) -> None:
    page.look_back("6 hours")
    accept(page.page, STYLES)
    page.page.set_viewport_size(WIDE)
    page.click(AMID)
    page.await_past()
    accept(page.page, STYLES)
    page.strip.get_by_role("textbox", name="Time").fill("soon")
    page.strip.get_by_role("button", name="Show").click()
    expect(page.strip.get_by_role("alert")).to_be_visible()
    accept(page.page)
    page.open_session(1)
    accept(page.page)


def test_names_in_the_strip_are_text(opener: Opener) -> None:
    people = [
        stated(str(key), user=text, service=text, application=text)
        for key, text in enumerate((text for text in HOSTILE if text.isprintable()), 1)
    ]
    with (
        showing({"<b>pg</b>\u202e": people}) as core,
        ForkedProgram("serve", "--core", core.address, "--http", "127.0.0.1:0") as served,
    ):
        http = served.expect(r"REST +http://(\S+)/v1/sessions$")[1]
        page = SessionsPage.open(opener, http)
        elements = counts(page)
        for viewport in (WIDE, PHONE):
            page.page.set_viewport_size(viewport)
            page.reset()
            page.await_live()
            page.await_width(viewport["width"])
            page.look_back("6 hours")
            for by in ("Service", "User"):
                page.strip.get_by_role("combobox", name="By").select_option(label=by)
                legend = page.strip.get_by_role("list", name="Legend").get_by_role("listitem")
                expect(legend).to_have_count(9)
                expect(legend.last).to_contain_text("all others")
                assert counts(page) == elements
                assert page.scroll_width() == viewport["width"]
            page.click(0.5)
            page.await_past()
            assert counts(page) == elements
            expect(page.banner).to_contain_text(r"<b>pg</b>\u202e")
            assert page.scroll_width() == viewport["width"]


def test_of_too_many_the_first_are_shown_until_a_choice_leaves_fewer(opener: Opener) -> None:
    with Forked("--source", "synthetic:?sessions=250") as served:
        eventually(lambda: len(ask(served.http, "/v1/counts", by="service")) > 1)
        page = SessionsPage(opener.context().new_page())
        page.replace("page.js", {"MOST = 10_000": "MOST = 200", "PAGE = 1000": "PAGE = 50"})
        page.page.goto(f"http://{served.http}/#span=15m")
        page.await_count(250)
        page.click(1.0)
        page.await_past()
        page.await_count(200)
        expect(page.banner).to_contain_text("More than 200 sessions were connected")
        page.groups.get_by_role("button", name=re.compile("^billing")).click()
        expect(page.banner).not_to_contain_text("More than 200")
        expect(page.page.get_by_role("main")).to_contain_text("read, of more in all")
        services = ask(served.http, "/v1/counts", by="service")
        [billing] = [each for each in services if each["id"] == "billing"]
        page.await_count(billing["attributes"]["count"])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "Update Sessiongate"),
        (501, "The core does not know the past"),
        (503, "cannot be read just now: the ledger's disk is full. Try again in a while"),
    ],
)
def test_what_keeps_the_past_from_being_read_is_said(
    page: SessionsPage, http: str, status: int, said: str
) -> None:
    error = {"status": str(status), "code": "X", "detail": "the ledger's disk is full"}

    def refuse(route: Route) -> None:
        route.fulfill(status=status, json={"errors": [error]})

    pattern = re.compile("/v1/history/")
    page.page.route(pattern, refuse)
    page.reset("at=2026-11-01T10:00:00Z")
    expect(page.banner).to_contain_text(said)
    expect(page.strip.get_by_role("alert")).to_contain_text(said)
    page.page.unroute(pattern, refuse)
    page.strip.get_by_role("button", name="Try again").click()
    expect(page.slider).to_be_visible()
    page.banner.get_by_role("button", name="Try again").click()
    page.await_past()
    page.banner.get_by_role("button", name="Back to live").click()
    page.await_live()
