"""The view is in the URL: after a reload, for somebody else, and on the way back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.documents import CROWD
from tests.browser.opening import Opener
from tests.browser.sessions_page import SessionsPage
from tests.polling import eventually


def looks(page: SessionsPage) -> tuple[object, ...]:
    """Return what is chosen, and what is shown for it."""
    return (
        page.search.input_value(),
        [*page.filters.get_by_role("button").all_inner_texts()],
        page.header("Database").get_attribute("aria-sort"),
        [row.id for row in page.rows()],
        page.page.get_by_role("combobox", name="Group by").input_value(),
    )


def test_a_view_is_shared_by_its_url(
    page: SessionsPage, opener: Opener, shared_opener: Opener, http: str
) -> None:
    asked = len(shared_opener.requests)
    page.search.fill("192.0.2")
    page.group_by("Application")
    page.groups.get_by_role("button", name=re.compile("^psql")).click()
    page.view("Active").click()
    page.header("Database").click()
    expect(page.header("Database")).to_have_attribute("aria-sort", re.compile("ascending|desc"))
    expect(page.page).to_have_url(re.compile("192.0.2.*"))
    seen = looks(page)
    assert seen[3]
    first = str(page.shown()[0].id)
    page.open_session(first)
    expect(page.page).to_have_url(re.compile(rf"\b{first}\b"))
    url = page.page.url

    page.page.reload()
    page.await_live()
    expect(page.drawer(first).element).to_be_visible()
    eventually(lambda: looks(page), lambda found: found == seen)

    other = SessionsPage.open(opener, http, "#" + url.partition("#")[2])
    expect(other.drawer(first).element).to_be_visible()
    eventually(lambda: looks(other), lambda found: found == seen)
    # Nothing of it reaches the server's log.
    requests = [*shared_opener.requests[asked:], *opener.requests]
    assert requests
    assert not [each.url for each in requests if "psql" in each.url.partition("#")[0]]


def test_back_and_forward_go_from_view_to_view(page: SessionsPage) -> None:
    page.view("Active").click()
    expect(page.view("Active")).to_have_attribute("aria-pressed", "true")
    page.view("Waiting").click()
    expect(page.view("Waiting")).to_have_attribute("aria-pressed", "true")
    page.open_session(page.shown()[0].id)
    page.page.go_back()
    expect(page.drawer().element).to_be_hidden()
    expect(page.view("Waiting")).to_have_attribute("aria-pressed", "true")
    page.page.go_back()
    expect(page.view("Active")).to_have_attribute("aria-pressed", "true")
    eventually(
        lambda: {row.cells["activity"] for row in page.shown()}, lambda found: found == {"active"}
    )
    page.page.go_forward()
    expect(page.view("Waiting")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize(
    "fragment", ["sort=usr", "nothing=7", "view=none", "group=%ff", "session=x"]
)
def test_what_a_url_asks_for_in_vain_is_said(page: SessionsPage, fragment: str) -> None:
    page.reset(fragment)
    page.await_count(CROWD)
    word = fragment.partition("=")[2].replace("%ff", "") or fragment
    said = (
        page.page.get_by_role("main")
        .or_(page.page.get_by_role("alert"))
        .or_(page.page.get_by_role("status"))
    )
    expect(
        said.filter(has_text=re.compile(rf"{word}|{fragment.partition('=')[0]}")).first
    ).to_be_visible()


def test_a_session_that_is_gone_is_said(page: SessionsPage) -> None:
    page.reset("session=987654")
    expect(page.drawer(987654).element).to_contain_text("There is no session 987654 now")
