"""Debian's Chromium without a window, driven by Playwright; it reaches this machine only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PROGRAM = PACKAGE = "chromium"

_FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    # No name is looked up, so nothing is asked of another machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def find() -> str | None:
    """Return the path of the program, if it is installed."""
    return shutil.which(PROGRAM)


@contextmanager
def running_chromium(program: str, *flags: str) -> Iterator[Browser]:
    """Run a browser until the context ends.

    Meanwhile, an event loop of Playwright's counts as running in this thread.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()
