"""The page with thousands of sessions that come and go; `make bench` measures it with more."""

from __future__ import annotations

import re
from functools import partial
from operator import lt

from playwright.sync_api import expect

from bench.page import HEAP, used_heap
from tests.browser.opening import Opener
from tests.browser.sessions_page import SessionsPage, ask
from tests.polling import eventually
from tests.program import Forked

SIZE, CHURN = 2_500, 100
BENCHED = 10_000  # sessions that the bound of the heap is for
ELEMENTS = 3_000


def test_it_shows_them_with_few_elements_and_little_memory(opener: Opener) -> None:
    source = f"synthetic:?sessions={SIZE}&churn={CHURN}"
    with Forked("--source", source) as served:
        page = SessionsPage.open(opener, served.http)
        page.await_count(SIZE)
        page.sort("ID", "descending")
        for _ in range(3):
            # The first row soon shows a session that is new by now: the page keeps up.
            [newest] = ask(served.http, sort="-id", **{"page[size]": "1"})
            eventually(lambda: int(page.shown()[0].id), partial(lt, int(newest["id"])))
        page.await_count(SIZE)
        assert page.page.locator("*").count() < ELEMENTS
        assert HEAP.bound
        assert used_heap(page.page) < HEAP.bound * SIZE / BENCHED


def test_more_than_it_follows_are_counted_until_a_choice_leaves_fewer(opener: Opener) -> None:
    with Forked("--source", "synthetic:?sessions=1100") as served:
        page = SessionsPage(opener.context().new_page())
        page.replace("page.js", {"MOST = 50_000": "MOST = 1_000"})
        page.page.goto(f"http://{served.http}/")
        expect(page.page.get_by_role("region", name="Counts")).to_contain_text("1,100 sessions")
        expect(page.grid).to_be_hidden()
        counts = {
            each["attributes"]["service"]: each["attributes"]["count"]
            for each in ask(served.http, "/v1/counts", by="service")
        }
        group = page.page.get_by_role("group", name="Service", exact=True)
        assert eventually(lambda: page.chips(group)) == counts
        group.get_by_role("button", name=re.compile("^billing")).click()
        page.await_live()
        page.await_count(counts["billing"])
        page.filters.get_by_role("button", name="Clear filters").click()
        expect(page.grid).to_be_hidden()
