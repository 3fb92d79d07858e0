"""A browser for the tests of this room, and pages in it that may not fail unnoticed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from bench.chromium import running_chromium
from tests.browser.documents import crowd, write
from tests.browser.opening import WIDE, Opener
from tests.browser.sessions_page import SessionsPage
from tests.program import Forked
from tests.servers import PATIENCE, require

expect.set_options(timeout=PATIENCE * 1000)

# Debian's name of both the package and the program. It is Chromium without the windows, menus and
# extensions, which run even if nobody sees them: a page takes a third of the CPU.
HEADLESS = "chromium-headless-shell"


# Not of the session: while it runs, other tests of this process cannot run an event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run Debian's Chromium."""
    with running_chromium(require(HEADLESS, HEADLESS)) as running:
        yield running


@pytest.fixture(scope="package")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve `CROWD` sessions, which nothing changes; yield the address."""
    path = write(tmp_path_factory.mktemp("crowd") / "crowd.json", crowd())
    with Forked("--source", f"document:{path}") as served:
        yield served.http


@pytest.fixture(scope="module")
def shared_opener(browser: Browser) -> Iterator[Opener]:
    """Open pages that the tests of a module use one after the other."""
    with Opener(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(shared_opener: Opener, http: str) -> SessionsPage:
    """Open the page once for all tests of a module that ask for `page`."""
    return SessionsPage.open(shared_opener, http)


@pytest.fixture
def page(opened: SessionsPage) -> SessionsPage:
    """Return the module's page as it is when it is opened, on a wide screen.

    To show it again takes a twentieth of the CPU that it takes to load it.
    """
    opened.page.set_viewport_size(WIDE)
    opened.page.emulate_media(color_scheme="null", reduced_motion="reduce")
    opened.close_dialogs()
    opened.reset()
    opened.await_live()
    return opened


@pytest.fixture
def opener(browser: Browser) -> Iterator[Opener]:
    """Open pages, each in a browser profile of its own; at the end, none of them has failed."""
    with Opener(browser) as opened:
        yield opened
