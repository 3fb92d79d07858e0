"""How the page for people holds up in Chromium, with many sessions that change all the time."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import CDPSession, Error, Page, ViewportSize, expect

from bench.asking import ask
from bench.chromium import find, running_chromium
from bench.measures import Found, Measure, Sizes
from bench.programs import PATIENCE, BenchError
from bench.stack import serving, synthetic

_SETTLING = 3.0  # seconds from when all sessions are shown until frames and tasks count
_LONG = 50.0  # milliseconds: Chromium reports no shorter task
_SIZE: ViewportSize = {"width": 1600, "height": 1000}

_PAGE = "page, {shown:,} sessions, {changes:,.0f} changes a second"
READY = Measure(f"{_PAGE}: until it shows them all", "s")
LOADING = Measure(f"{_PAGE}: longest task meanwhile", "ms")
TASK = Measure(f"{_PAGE}: longest task in {{looking}} s", "ms", 100)
FRAME = Measure(f"{_PAGE}: time of a frame, p95", "ms", 50)
HEAP = Measure(f"{_PAGE}: JavaScript heap", "MB", 100)
USED_TASK = Measure(f"{_PAGE}: longest task while it is scrolled, searched and sorted", "ms")
USED_FRAME = Measure(f"{_PAGE}: time of a frame meanwhile, p95", "ms")

MEASURES = (READY, LOADING, TASK, FRAME, HEAP, USED_TASK, USED_FRAME)

# Tasks and frames, noted from the start of the page.
_NOTES = """
window.noted = {tasks: [], frames: []};
new PerformanceObserver((list) => {
    for (const {startTime, duration} of list.getEntries()) noted.tasks.push([startTime, duration]);
}).observe({type: "longtask", buffered: true});
let last = performance.now();
const frame = (now) => {
    noted.frames.push([now, now - last]);
    last = now;
    requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


def measure(sizes: Sizes) -> Found:
    """Look at the page for a while, then use it. Raises `BenchError` if it does not keep up."""
    program = find()
    if program is None:
        raise BenchError("chromium is missing: apt-get install chromium")
    try:
        with (
            TemporaryDirectory(prefix="bench-") as name,
            # Each replacement is a removal and an upsert.
            serving(Path(name), synthetic(sizes.shown, sizes.changes / 2)) as address,
            running_chromium(program, "--enable-precise-memory-info") as browser,
        ):
            page = browser.new_page(viewport=_SIZE)
            page.add_init_script(_NOTES)
            yield from _measure(page, address, sizes)
    except (Error, AssertionError) as error:
        raise BenchError(f"in Chromium: {error}") from None


def _measure(page: Page, address: str, sizes: Sizes) -> Found:
    page.goto(f"http://{address}/")
    grid = page.get_by_role("grid", name="Sessions")
    expect(page.get_by_role("status", name="Connection")).to_contain_text(
        "Live", timeout=PATIENCE * 1000
    )
    expect(grid).to_have_attribute("aria-rowcount", str(sizes.shown + 1), timeout=PATIENCE * 1000)
    yield READY, page.evaluate("performance.now()") / 1000
    yield LOADING, _longest_task(page, 0)
    page.wait_for_timeout(_SETTLING * 1000)
    since, newest = page.evaluate("performance.now()"), _newest(address)
    page.wait_for_timeout(sizes.looking * 1000)
    made, due = _newest(address) - newest, sizes.changes / 2 * sizes.looking
    if made < due / 2:
        raise BenchError(f"{made:,} of {due:,.0f} replacements were made")
    yield TASK, _longest_task(page, since)
    yield FRAME, _frame(page, since)
    yield HEAP, used_heap(page)
    since = page.evaluate("performance.now()")
    _use(page)
    yield USED_TASK, _longest_task(page, since)
    yield USED_FRAME, _frame(page, since)


def _newest(address: str) -> int:
    """Return the newest session's number."""
    [session] = ask(address, "/v1/sessions?sort=-id&page%5Bsize%5D=1").json["data"]
    return int(session["id"])


def _longest_task(page: Page, since: float) -> float:
    tasks: list[float] = page.evaluate(
        "(since) => noted.tasks.filter(([at]) => at >= since).map(([, took]) => took)", since
    )
    return max(tasks, default=_LONG)


def _frame(page: Page, since: float) -> float:
    frames: list[float] = page.evaluate(
        "(since) => noted.frames.filter(([at]) => at >= since).map(([, took]) => took)", since
    )
    return sorted(frames)[int(len(frames) * 0.95)]


def used_heap(page: Page) -> float:
    """Return how many MB a page's JavaScript uses, after garbage was collected."""
    session: CDPSession = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    (used,) = (float(each["value"]) for each in found if each["name"] == "JSHeapUsedSize")
    return used / 1e6


def _use(page: Page) -> None:
    """Scroll, search, sort, filter and open a session, as a person would, but without pause."""
    grid = page.get_by_role("grid", name="Sessions")
    grid.hover()
    for _ in range(20):
        page.mouse.wheel(0, 2000)
        page.wait_for_timeout(100)
    page.get_by_role("searchbox", name="Search sessions").press_sequentially("app_1", delay=100)
    for column in ("User", "Activity", "Connected"):
        page.get_by_role("columnheader", name=column).click()
        page.wait_for_timeout(500)
    page.get_by_role("searchbox", name="Search sessions").fill("")
    for column in ("User", "Activity", "Connected"):
        page.get_by_role("columnheader", name=column).click()
        page.wait_for_timeout(500)
    page.get_by_role("group", name="Views").get_by_role("button", name="Waiting").click()
    page.wait_for_timeout(1000)
    page.get_by_role("group", name="Views").get_by_role("button", name="All").click()
    page.wait_for_timeout(1000)
