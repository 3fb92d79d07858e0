"""The page for people, as it is served; `tests/browser` looks at it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

import sessiongate.gateway.ui.page
from sessiongate.runtime.auth.protection import Protection
from tests.credentials import CredentialFiles
from tests.gateway.programs import Gateway, running_gateway

# What browsers send when an address is typed.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
FILES = Path(sessiongate.gateway.ui.page.__file__).with_name("static")


@pytest.fixture(scope="module")
def guarded(core: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run a gateway that requires credentials."""
    files = CredentialFiles(tmp_path_factory.mktemp("page"))
    with running_gateway(core, protection=Protection(**files.settings)) as gateway:
        yield gateway


@pytest.fixture
def http(guarded: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, trust_env=False) as client:
        yield client


def test_browsers_get_the_page_without_credentials(http: httpx.Client) -> None:
    answer = http.get("/", headers={"Accept": BROWSER})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in answer.headers["Vary"]
    policy = answer.headers.get_list("Content-Security-Policy")
    assert len(policy) == 1
    assert "connect-src 'self'" in policy[0]
    assert "default-src 'none'" in policy[0]
    assert "unsafe" not in policy[0]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "application/vnd.api+json",
        "application/json",
        "application/json, text/html;q=0.9",
        "application/json, text/html",
        "text/html;q=0",
        "nonsense",
    ],
)
def test_others_get_the_api_which_asks_for_credentials(
    http: httpx.Client, accept: str | None
) -> None:
    del http.headers["Accept"]
    answer = http.get("/", headers={} if accept is None else {"Accept": accept})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/vnd.api+json"


@pytest.mark.parametrize("place", ["/", "/ui/", "/ui"])
def test_all_that_the_page_names_is_served(http: httpx.Client, place: str) -> None:
    page = http.get(place, headers={"Accept": BROWSER}).text
    named = {urljoin(place, url) for url in re.findall(r'(?:src|href)="([^"#{]+)"', page)}
    files = sorted(url.removeprefix("/ui/") for url in named if url.startswith("/ui/"))
    assert files == ["icon.svg", "page.css", "page.js"]
    for file in files:
        assert http.get(f"/ui/{file}").status_code == 200
    assert "{root}" not in page


def test_all_scripts_are_sent_as_one_and_all_styles(http: httpx.Client) -> None:
    script = http.get("/ui/page.js").text
    assert sorted(re.findall(r"^// (\w+\.js)$", script, re.MULTILINE)) == sorted(
        path.name for path in FILES.glob("*.js")
    )
    style = http.get("/ui/page.css").text
    assert all(path.read_text() in style for path in FILES.glob("*.css"))
    assert http.get("/ui/icon.svg").content == (FILES / "icon.svg").read_bytes()


def test_every_file_is_served_once_and_then_confirmed(http: httpx.Client) -> None:
    for url in ("/ui/", "/ui/page.js", "/ui/page.css", "/ui/icon.svg"):
        answer = http.get(url)
        assert answer.status_code == 200
        assert answer.headers["Content-Encoding"] == "gzip"
        assert http.get(url, headers={"Accept-Encoding": ""}).content == answer.content
        assert answer.headers["Cache-Control"] == "no-cache"
        etag = answer.headers["ETag"]
        again = http.get(url, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
        head = http.head(url, headers={"Accept-Encoding": ""})
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(answer.content)


def test_other_methods_and_names_are_refused_as_everywhere(http: httpx.Client) -> None:
    allowed = "GET, HEAD, OPTIONS"
    answer = http.post("/ui/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["errors"][0]["code"] == "METHOD_NOT_ALLOWED"
    answer = http.options("/ui/")
    assert (answer.status_code, answer.headers["Allow"]) == (204, allowed)
    answer = http.get("/ui/", headers={"If-Match": '"other"'})
    assert answer.status_code == 412
    answer = http.get("/ui/", headers={"Accept-Encoding": "identity;q=0"})
    assert answer.status_code == 406
    for path in (
        "/ui/none.js",
        "/ui/../page.py",
        "/ui/%2e%2e/page.py",
        "/ui/index.html",
        "/v1/ui/",
    ):
        assert http.get(path).status_code == 401, path
    assert http.get("/", headers={"Accept": BROWSER, "Host": "evil.example"}).status_code == 421


def test_without_it_browsers_get_the_api(core: str) -> None:
    with (
        running_gateway(core, ui=False) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as http,
    ):
        answer = http.get("/", headers={"Accept": BROWSER})
        assert answer.status_code == 200
        assert answer.json()["links"]["self"].endswith("/v1/")
        assert http.get("/ui/").status_code == 404
