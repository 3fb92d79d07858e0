"""The table shows what REST returns, however it is searched, filtered, grouped or sorted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.documents import CROWD
from tests.browser.sessions_page import SessionsPage, agrees, ask, service
from tests.polling import eventually


@pytest.fixture
def page(page: SessionsPage) -> SessionsPage:
    """Show all sessions."""
    page.await_count(CROWD)
    return page


def attribute(resource: Any, name: str) -> Any:
    """Return an attribute, or None."""
    return resource["attributes"].get(name)


def ids(page: SessionsPage) -> list[str]:
    """Return the ids of all rows, in order."""
    return [row.id for row in page.rows()]


def test_every_session_has_its_row_with_what_rest_says(page: SessionsPage, http: str) -> None:
    sessions = {each["id"]: each for each in ask(http)}
    rows = page.rows()
    assert {row.id for row in rows} == sessions.keys()
    assert [row for row in rows if not agrees(row, sessions[row.id])] == []
    page.await_count(CROWD)
    assert len(page.shown()) < CROWD, "rows out of sight are in the document"


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("ID", "id"),
        ("User", "user"),
        ("Application", "application"),
        ("Database", "database"),
        ("Client", "remote"),
        ("State", "state"),
        ("Connected", "connected"),
    ],
)
def test_the_order_is_that_of_rest(page: SessionsPage, http: str, column: str, name: str) -> None:
    for direction, sign in (("ascending", ""), ("descending", "-")):
        page.sort(column, direction)
        wanted = [attribute(each, name) for each in ask(http, sort=f"{sign}{name}")]
        found = {each["id"]: attribute(each, name) for each in ask(http)}
        assert [found[ident] for ident in ids(page)] == wanted


def test_search_finds_a_text_in_any_column(page: SessionsPage, http: str) -> None:
    sessions = ask(http)
    for typed, name in (("INVOICER", "application"), ("192.0.2.17", "remote")):
        page.search.fill(typed)
        wanted = {each["id"] for each in sessions if typed.lower() in (attribute(each, name) or "")}
        page.await_count(len(wanted))
        assert {*ids(page)} == wanted
    page.search.fill("nothing is called like this")
    page.await_count(0)
    page.page.get_by_role("button", name=re.compile("^Clear")).first.click()
    page.await_count(CROWD)


def test_views_have_counts_and_show_what_they_count(page: SessionsPage, http: str) -> None:
    sessions = ask(http)
    words = [each["attributes"].get("activity", {}).get("state", "") for each in sessions]
    for name, starts in (
        ("Active", "active"),
        ("Waiting", "waiting"),
        ("Idle", "idle"),
        ("Idle in transaction", "idle in transaction"),
    ):
        wanted = sum(
            word == starts or (name == "Idle in transaction" and word.startswith(starts))
            for word in words
        )
        button = page.view(name)
        expect(button).to_have_text(re.compile(rf"\b{wanted}\b"))
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        page.await_count(wanted)
        assert all(row.cells["activity"].startswith(starts) for row in page.rows())
    page.view("All").click()
    page.await_count(len(sessions))


@pytest.mark.parametrize(
    ("title", "by"),
    [
        ("Service", "service"),
        ("User", "user"),
        ("Application", "application"),
        ("Database", "database"),
        ("Client", "remote"),
        ("Activity", "activity"),
    ],
)
def test_groups_are_counted_as_by_rest(page: SessionsPage, http: str, title: str, by: str) -> None:
    page.group_by(title)
    counts = {
        each["attributes"][by] or "": each["attributes"]["count"]
        for each in ask(http, "/v1/counts", by=by)
    }
    shown = eventually(lambda: page.chips(page.groups))
    # The largest are enough.
    assert [*shown.values()] == sorted(counts.values(), reverse=True)[: len(shown)]
    assert shown.items() <= counts.items()
    assert len(shown) == len(counts) or len(shown) >= 8


def test_groups_filter_and_the_other_counts_follow(page: SessionsPage, http: str) -> None:
    sessions = ask(http)
    page.group_by("User")
    page.groups.get_by_role("button", name=re.compile("^reports")).click()
    wanted = [each for each in sessions if attribute(each, "user") == "reports"]
    page.await_count(len(wanted))
    page.group_by("Service")
    expect(page.groups.get_by_role("button", name=re.compile("^orders-rw"))).to_be_visible()
    services = [service(each) for each in wanted]
    counts = {name: services.count(name) for name in services}
    eventually(lambda: page.chips(page.groups), lambda chips: chips == counts)
    page.groups.get_by_role("button", name=re.compile("^orders-rw")).click()
    page.await_count(services.count("orders-rw"))
    page.filters.get_by_role("button", name="Remove filter User: reports").click()
    page.await_count([service(each) for each in sessions].count("orders-rw"))
    page.filters.get_by_role("button", name="Clear filters").click()
    page.await_count(len(sessions))
