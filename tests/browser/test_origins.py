"""Which pages may read the API in a browser, and whether there is a page at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Error

from tests.browser.opening import Opener
from tests.credentials import CredentialFiles, basic
from tests.program import DOCUMENT, Forked

READING = """async ([url, authorization]) => {
    const answer = await fetch(url, {headers: {Authorization: authorization}});
    return [answer.status, (await answer.json()).data?.length ?? null];
}"""
FOLLOWING = """async ([url, authorization]) => {
    const headers = {Authorization: authorization, Accept: "text/event-stream"};
    const reader = (await fetch(url, {headers})).body.pipeThrough(new TextDecoderStream());
    let text = "";
    for await (const part of reader) {
        text += part;
        if (text.includes("event: sync")) return text.split("event: upsert").length - 1;
    }
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder, and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Serve a page that is not the gateway's; yield its port."""
    folder = tmp_path_factory.mktemp("page")
    page = "<!doctype html><link rel=icon href=data:,><title>Another page</title>"
    (folder / "index.html").write_text(page)
    handler = partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def gateway(other: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a gateway without a page, which lets the other page read; yield its URL."""
    files = CredentialFiles(tmp_path_factory.mktemp("credentials"))
    named = ("--allowed-origin", f"http://127.0.0.1:{other}")
    with Forked("--source", DOCUMENT, "--ui", "off", *named, *files.flags) as served:
        yield f"http://{served.http}"


def test_a_page_of_a_named_origin_reads_and_follows(
    opener: Opener, other: int, gateway: str
) -> None:
    page = opener.open(f"http://127.0.0.1:{other}/")
    assert page.evaluate(READING, [f"{gateway}/v1/sessions", basic()]) == [200, 3]
    assert page.evaluate(READING, [f"{gateway}/v1/sessions", basic(password="x")]) == [401, None]
    assert page.evaluate(FOLLOWING, [f"{gateway}/v1/events/sessions", basic()]) == 3


def test_a_page_of_another_origin_reads_nothing(opener: Opener, other: int, gateway: str) -> None:
    page = opener.open(f"http://localhost:{other}/")
    for script in (READING, FOLLOWING):
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(script, [f"{gateway}/v1/sessions", basic()])
    opener.expect_faults("has been blocked by CORS policy", 2)


def test_without_the_page_a_browser_gets_the_api(opener: Opener, gateway: str) -> None:
    page = opener.context(extra_http_headers={"Authorization": basic()}).new_page()
    # Chromium asks for an icon of every site.
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    answer = page.goto(f"{gateway}/")
    assert answer is not None
    assert answer.status == 200
    assert answer.headers["content-type"] in ("application/vnd.api+json", "application/json")
    for path in ("/ui/", "/ui/page.js"):
        assert page.request.get(gateway + path).status == 404


def test_the_page_is_not_shown_in_a_frame(opener: Opener, other: int, tmp_path: Path) -> None:
    with Forked("--source", DOCUMENT) as served:
        page = opener.open(f"http://127.0.0.1:{other}/")
        page.evaluate(
            """(url) => {
                const frame = document.createElement("iframe");
                frame.src = url;
                document.body.append(frame);
                return new Promise((done) => frame.addEventListener("load", done));
            }""",
            f"http://{served.http}/",
        )
        opener.expect_faults("frame-ancestors", 1)
