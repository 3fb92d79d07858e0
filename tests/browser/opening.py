"""Pages opened in a browser, and everything that went wrong in them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize

from tests.closing import Closing
from tests.polling import eventually
from tests.servers import PATIENCE

WIDE: ViewportSize = {"width": 1600, "height": 1000}
PHONE: ViewportSize = {"width": 390, "height": 844}

# Chromium says this of each response of 400 or more, and of each lost connection: a page cannot
# keep it from doing so. What the page makes of it is tested.
_SAID_BY_CHROMIUM = "Failed to load resource: "


class Opener(Closing):
    """Opens pages, and collects their faults; closed, it fails if there are any."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []
        self.requests: list[Request] = []

    def context(self, **options: Any) -> BrowserContext:
        """Return a new browser profile; ``options`` are Playwright's."""
        # What has changed would be coloured for a second, which takes a frame 60 times a second.
        still = {"reduced_motion": "reduce"}
        options = {"viewport": WIDE, "locale": "en-GB", "timezone_id": "UTC", **still, **options}
        context = self._browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.faults.append(f"thrown: {error.error}"))
        context.on("request", self._look)
        # Only a prompt of the browser's own, which the page must never cause, would wait.
        context.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        self._contexts.append(context)
        return context

    def open(self, url: str, **options: Any) -> Page:
        """Open a page in a new profile."""
        page = self.context(**options).new_page()
        page.goto(url)
        return page

    def expect_faults(self, text: str, number: int) -> None:
        """Check that there are so many faults, each with this text; forget them."""
        eventually(lambda: len(self.faults) >= number)
        assert all(text in fault for fault in self.faults), self.faults
        self.faults.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (
            message.text.startswith(_SAID_BY_CHROMIUM) and "/v1/" in message.location["url"]
        ):
            self.faults.append(f"console: {message.text} ({message.location['url']})")

    def _look(self, request: Request) -> None:
        self.requests.append(request)
        url = urlsplit(request.url)
        if url.hostname not in ("127.0.0.1", "localhost") and url.scheme != "data":
            self.faults.append(f"asked for {request.url}")

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()
        if self.faults:
            pytest.fail("\n".join(self.faults), pytrace=False)
