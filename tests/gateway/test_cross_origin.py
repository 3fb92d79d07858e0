"""Which pages may read responses; `tests/browser` lets real ones try."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import httpx
import pytest

from sessiongate.runtime.auth.protection import Protection
from tests.credentials import CredentialFiles, basic
from tests.gateway.programs import Gateway, running_gateway
from tests.snippets import texts

NAMED = "https://dashboard.example"
OTHER = "https://evil.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization, last-event-id",
}
CREDENTIALS = {"Authorization": basic()}


@pytest.fixture(scope="module")
def guarded(core: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run a gateway that requires credentials."""
    files = CredentialFiles(tmp_path_factory.mktemp("origin"))
    (documented,) = texts("docs/security.md", "toml", "Pages of other origins")
    settings = tomllib.loads(documented)
    assert NAMED in settings["allowed_origin"]
    with running_gateway(core, protection=Protection(**files.settings), **settings) as gateway:
        yield gateway


@pytest.fixture
def http(guarded: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, trust_env=False) as client:
        yield client


def allowed(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-")}


PATHS = ("/v1/sessions/1", "/v1/sessions", "/v1/nothing", "/v1/sessions?sort=x", "/ui/", "/healthz")


@pytest.mark.parametrize("path", PATHS)
def test_a_named_origin_may_read_all_responses(http: httpx.Client, path: str) -> None:
    for headers in ({}, CREDENTIALS):
        # What is asked again within a second is remembered, and sent without a task.
        for _ in range(4):
            answer = http.get(path, headers={"Origin": NAMED, **headers})
            assert allowed(answer) == {
                "access-control-allow-origin": NAMED,
                "access-control-expose-headers": "Date, ETag, Retry-After, WWW-Authenticate,"
                " X-Request-ID",
            }
            assert "Origin" in answer.headers.get_list("Vary", split_commas=True)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [OTHER, "null", NAMED.upper(), f"{NAMED}:443", None])
def test_no_other_page_may(http: httpx.Client, path: str, origin: str | None) -> None:
    headers = CREDENTIALS | ({} if origin is None else {"Origin": origin})
    for _ in range(4):
        answer = http.get(path, headers=headers)
        assert allowed(answer) == {}
        assert "Origin" in answer.headers.get_list("Vary", split_commas=True)
    answer = http.options(path, headers=headers | PREFLIGHT)
    assert allowed(answer) == {}


def test_two_origins_in_one_request_are_none(http: httpx.Client) -> None:
    answer = http.get("/v1/sessions", headers=[("Origin", NAMED), ("Origin", NAMED)])
    assert allowed(answer) == {}


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/events/sessions", "/v1/sessions/1"])
def test_a_preflight_needs_no_credentials(http: httpx.Client, path: str) -> None:
    answer = http.options(path, headers={"Origin": NAMED, **PREFLIGHT})
    assert (answer.status_code, answer.content) == (204, b"")
    found = allowed(answer)
    assert found["access-control-allow-origin"] == NAMED
    assert found["access-control-allow-methods"] == "GET, HEAD"
    assert {"Authorization", "Last-Event-ID"} <= {
        *found["access-control-allow-headers"].split(", ")
    }
    assert "access-control-allow-credentials" not in found
    for headers in ({"Origin": NAMED}, {"Origin": OTHER, **PREFLIGHT}, PREFLIGHT):
        assert http.options(path, headers=headers).status_code == 401
    assert http.request("TRACE", path, headers={"Origin": NAMED, **PREFLIGHT}).status_code == 401
    assert http.get(path, headers={"Origin": NAMED, **PREFLIGHT}).status_code == 401


def test_a_stream_may_be_read(http: httpx.Client) -> None:
    headers = {"Origin": NAMED, **CREDENTIALS}
    with http.stream("GET", "/v1/events/sessions", headers=headers) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == NAMED
        assert "event: snapshot" in iter_until(answer, "event: snapshot")


def iter_until(answer: httpx.Response, wanted: str) -> list[str]:
    lines = []
    for line in answer.iter_lines():
        lines.append(line)
        if line == wanted:
            break
    return lines


def test_unless_named_nothing_is_said(core: str) -> None:
    with running_gateway(core) as gateway:
        answer = httpx.get(f"{gateway.url}/v1/sessions", headers={"Origin": NAMED}, trust_env=False)
    assert allowed(answer) == {}
    assert "Origin" not in answer.headers["Vary"]
