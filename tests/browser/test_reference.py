"""The documentation in a browser: the reference at /docs, and what docs/watch.md says."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.documents import CROWD
from tests.browser.opening import Opener
from tests.browser.sessions_page import SessionsPage
from tests.snippets import texts


def test_a_word_leads_to_its_place_and_back(opener: Opener, http: str) -> None:
    page = SessionsPage.open(opener, http).page
    page.get_by_role("link", name="API reference").click()
    expect(page).to_have_url(f"http://{http}/docs")
    search = page.get_by_role("searchbox")
    expect(search).to_be_visible()  # the script, which listens to keys, shows it
    page.keyboard.press("/")
    expect(search).to_be_focused()
    search.fill("min_idle")
    results = page.get_by_role("search").locator("xpath=..").get_by_role("link")
    first = results.filter(has_text="min_idle").first
    target = first.get_attribute("href")
    assert target
    first.click()
    expect(page).to_have_url(re.compile(re.escape(target) + "$"))
    expect(page.locator(target)).to_be_in_viewport()
    page.go_back()
    expect(page).to_have_url(f"http://{http}/docs")
    search.fill("<img src=x onerror=alert(1)>")
    expect(page.get_by_role("status").first).to_contain_text("Nothing found")
    page.get_by_role("link", name="Live sessions").first.click()
    SessionsPage(page).await_live()


def test_it_is_complete_without_scripts(opener: Opener, http: str) -> None:
    page = opener.open(f"http://{http}/docs", java_script_enabled=False)
    expect(page.get_by_role("searchbox")).to_be_hidden()
    expect(page.get_by_text("/v1/counts").first).to_be_visible()
    page.goto(f"http://{http}/ui/")
    expect(page.locator("noscript p").first).to_be_visible()


def test_the_snippet_of_watch_md_follows_sessions_in_the_console(opener: Opener, http: str) -> None:
    [snippet] = texts("docs/watch.md", "js")
    page = opener.open(f"http://{http}/")
    console = page.context.new_cdp_session(page)
    with page.expect_console_message(lambda message: "sessions" in message.text) as heard:
        done = console.send("Runtime.evaluate", {"expression": snippet, "replMode": True})
    assert "exceptionDetails" not in done
    assert heard.value.text == f"{CROWD} sessions"
