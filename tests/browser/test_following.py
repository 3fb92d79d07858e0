"""The page keeps showing what REST returns: during churn, and after programs were lost."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.documents import fleet, session, write
from tests.browser.opening import Opener
from tests.browser.sessions_page import Row, SessionsPage, agrees, ask
from tests.polling import eventually
from tests.program import Forked
from tests.servers import free_port

SIZE = 40


def equal(page: SessionsPage, http: str) -> bool:
    """Return whether all rows are what REST says."""
    sessions = {each["id"]: each for each in ask(http)}

    def agree(rows: list[Row]) -> bool:
        return all(row.id in sessions and agrees(row, sessions[row.id]) for row in rows)

    # To scroll takes much longer than to look at what is there.
    if not agree(page.shown()):
        return False
    rows = page.scroll()
    return {row.id for row in rows} == sessions.keys() and agree(rows)


def churned(sessions: list[dict[str, Any]], dice: random.Random, turn: int) -> None:
    """Let some sessions go, some change, and some come."""
    for _ in range(8):
        sessions.pop(dice.randrange(len(sessions)))
    for each in dice.sample(sessions, 10):
        each["attributes"]["application"] = f"changed {turn}"
        each["attributes"]["activity"] = {"state": dice.choice(["active", "idle", "waiting"])}
    for number in range(8):
        sessions.append(session(1000 * (turn + 1) + number, "new", user=f"new {turn}"))


def test_the_page_agrees_with_rest_after_churn(opener: Opener, tmp_path: Path) -> None:
    sessions, dice = fleet(SIZE), random.Random(7)
    path = write(tmp_path / "sessions.json", sessions)
    with Forked("--source", f"document:{path}?interval=0.05") as served:
        page = SessionsPage.open(opener, served.http)
        page.header("User").click()
        for turn in range(5):
            churned(sessions, dice, turn)
            write(path, sessions)
            page.scroll()
        eventually(lambda: equal(page, served.http))
        expect(page.connection).to_have_text(re.compile(r"^\s*Live"))

        # While it is paused, nothing moves; afterwards all is made up for.
        pause = page.page.get_by_role("button", name=re.compile("^(Pause|Resume)"))
        pause.click()
        expect(pause).to_have_attribute("aria-pressed", "true")
        before = page.rows()
        churned(sessions, dice, 20)
        write(path, sessions)
        page.page.get_by_text(re.compile(r"\d+ changes? wait")).first.wait_for()
        assert page.rows() == before
        pause.click()
        eventually(lambda: equal(page, served.http))

        # Nobody is left; then somebody comes.
        write(path, [])
        page.await_count(0)
        write(path, fleet(3))
        page.await_count(3)
        eventually(lambda: equal(page, served.http))


def test_a_lost_core_is_said_at_once_and_made_up_for(opener: Opener, tmp_path: Path) -> None:
    path = write(tmp_path / "sessions.json", fleet(SIZE))
    with Forked("--source", f"document:{path}?interval=0.05") as served:
        page = SessionsPage.open(opener, served.http)
        served.core().suspend()
        alert = page.page.get_by_role("alert").filter(has_text=re.compile("old"))
        expect(alert).to_be_visible()
        expect(alert).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        expect(page.connection).to_have_text(re.compile(r"^\s*Lost"))
        page.await_count(SIZE)  # what was known is still shown
        served.core().kill()
        write(path, fleet(SIZE // 2))
        page.await_live()
        page.await_count(SIZE // 2)
        expect(alert).to_be_hidden()
        eventually(lambda: equal(page, served.http))


def test_a_restarted_gateway_is_followed_again(opener: Opener, tmp_path: Path) -> None:
    path = write(tmp_path / "sessions.json", fleet(SIZE))
    where = ("--source", f"document:{path}?interval=0.05", "--ledger", f"sqlite:///{tmp_path}/l")
    http = f"127.0.0.1:{free_port()}"
    with Forked(*where, "--http", http):
        page = SessionsPage.open(opener, http)
        page.header("User").click()
        page.search.fill("checkout")
        expect(page.page).to_have_url(re.compile("checkout"))
    expect(page.connection).to_have_text(re.compile(r"^\s*Lost"))
    expect(page.page.get_by_role("alert").filter(has_text=re.compile("old"))).to_be_visible()
    write(path, fleet(SIZE // 2))
    with Forked(*where, "--http", http):
        page.await_live()
        expect(page.search).to_have_value("checkout")
        page.search.fill("")
        page.await_count(SIZE // 2)
        eventually(lambda: equal(page, http))


def test_a_source_that_cannot_be_read_is_named(opener: Opener, tmp_path: Path) -> None:
    path = write(tmp_path / "sessions.json", fleet(3))
    more = write(tmp_path / "more.json", [session(7, user="gone")])
    sources = (f"document:{path}", f"document:{more}?interval=0.05&name=till")
    flags = [part for source in sources for part in ("--source", source)]
    with Forked(*flags) as served:
        page = SessionsPage.open(opener, served.http)
        page.await_count(4)
        more.write_text("nothing that could be read")
        warning = page.page.get_by_text(re.compile("till cannot be read"))
        expect(warning.first).to_be_visible()
        page.page.get_by_role("button", name=re.compile(r"source|Sources")).first.click()
        panel = page.page.get_by_role("dialog", name="Sources").or_(
            page.page.get_by_role("region", name="Sources")
        )
        expect(panel).to_be_visible()
        expect(panel.get_by_role("row", name=re.compile("till"))).to_contain_text("unreachable")
        expect(panel.get_by_role("row", name=re.compile("sessions.json"))).to_contain_text(
            "reachable"
        )
        write(more, [session(7, user="back")])
        expect(warning).to_have_count(0)
