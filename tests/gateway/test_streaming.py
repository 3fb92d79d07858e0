"""Collections of many pages, through a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from sessiongate.v1.session_service_pb2 import ListSessionsResponse
from tests.gateway.programs import LONG, ROOT, Gateway, running_gateway, worker_of
from tests.gateway.scripted import Failure, ScriptedCore, listening, page, session


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ScriptedCore, Gateway]]:
    core = ScriptedCore()
    with listening(core) as address, running_gateway(address, core_timeout=10 * LONG) as gateway:
        yield core, gateway


@pytest.fixture
def core(pair: tuple[ScriptedCore, Gateway]) -> ScriptedCore:
    core, _ = pair
    core.silent_from = None
    core.calls = 0
    return core


@pytest.fixture
def http(pair: tuple[ScriptedCore, Gateway]) -> Iterator[httpx.Client]:
    _, gateway = pair
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(base_url=gateway.url, timeout=LONG, headers=headers) as client:
        yield client


@pytest.mark.parametrize("pretty", [False, True])
def test_pages_make_one_document(core: ScriptedCore, http: httpx.Client, pretty: bool) -> None:
    core.pages = [
        page(1, 2, ["a"]),
        ListSessionsResponse(),
        page(3, 1, ["b"]),
        page(4, 700, ["a", "b"]),
    ]
    answer = http.get("/v1/sessions", params={"pretty": pretty})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.api+json"
    document = answer.json()
    assert [item["id"] for item in document["data"]] == [str(ident) for ident in range(1, 704)]
    assert list(document) == ["links", "data", "meta"]
    assert document["meta"] == {"unreachable": ["a", "b"]}
    layout: dict[str, Any] = {"indent": 4} if pretty else {"separators": (",", ":")}
    assert answer.text == json.dumps(document, **layout)


def test_pages_without_a_session_are_an_empty_list(core: ScriptedCore, http: httpx.Client) -> None:
    core.pages = [ListSessionsResponse(), ListSessionsResponse()]
    assert http.get("/v1/sessions").json()["data"] == []


def test_a_failure_before_the_first_page_is_an_error(
    core: ScriptedCore, http: httpx.Client
) -> None:
    core.pages = [Failure(grpc.StatusCode.NOT_FOUND, "GONE"), page(1, 1)]
    answer = http.get("/v1/sessions")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "GONE"


@pytest.mark.parametrize("good", [1, 3])
def test_a_failure_after_it_cuts_the_transfer(
    core: ScriptedCore, http: httpx.Client, good: int
) -> None:
    core.pages = [*(page(n, 1) for n in range(1, good + 1)), Failure(grpc.StatusCode.INTERNAL)]
    with http.stream("GET", "/v1/sessions") as answer:
        assert answer.status_code == 200
        received: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(answer.iter_raw())
    assert b"".join(received).startswith(b'{"links":')
    assert http.get("/").status_code == 200


def test_head_asks_for_the_first_page_only(core: ScriptedCore, http: httpx.Client) -> None:
    core.pages = [page(1, 1), page(2, 1)]
    get = http.get("/v1/sessions")
    core.calls = 0
    head = http.head("/v1/sessions")
    assert core.calls == 1
    assert head.content == b""
    assert head.status_code == 200
    # A HEAD's answer has no body whose end has to be marked.
    assert {*head.headers} == {*get.headers} - {"transfer-encoding"}
    assert head.headers["content-type"] == get.headers["content-type"]


def test_a_client_that_leaves_ends_the_call(core: ScriptedCore, http: httpx.Client) -> None:
    core.pages = [page(1, 1), page(2, 1)]
    core.silent_from = 1
    core.asked.clear()
    core.abandoned.clear()
    with http.stream("GET", "/v1/sessions"):
        assert core.asked.wait(LONG)
        http.close()
        assert core.abandoned.wait(LONG)


LOADED = """
import asyncio, sys
from sessiongate.gateway.app import create_app
from sessiongate.gateway.settings import GatewayConfig
from tests.gateway.asgi import Exchange

async def main():
    app = create_app(GatewayConfig(core=(sys.argv[1],), replica_staleness=0.0))
    async with app.router.lifespan_context(app):
        await Exchange("/v1/sessions/1").run(app)
        before = {*sys.modules}
        exchange = await Exchange("/v1/sessions").run(app)
        print(exchange.complete, len(exchange.sent) > 4, {*sys.modules} - before)

asyncio.run(main())
"""


def test_an_answer_in_parts_loads_nothing_that_others_do_not() -> None:
    core = ScriptedCore()
    core.pages = [page(1, 1), page(2, 1), page(3, 1)]
    with listening(core) as address:
        command = [sys.executable, "-c", LOADED, address]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["True", "True", "set()"]


def test_memory_is_bounded_by_the_page_however_slow_the_client(
    core: ScriptedCore, http: httpx.Client, pair: tuple[ScriptedCore, Gateway]
) -> None:
    large = ListSessionsResponse(sessions=[session(1, application="x" * 100_000)])
    core.pages = [large] * 400
    worker = worker_of(pair[1])
    with http.stream("GET", "/v1/sessions") as answer, httpx.Client() as other:
        before = peak_memory(worker)
        for _ in range(200):  # nothing is read meanwhile
            other.get(pair[1].url)
        received = sum(map(len, answer.iter_raw(1 << 20)))
    assert received > 40_000_000
    assert peak_memory(worker) - before < 8_000_000


def peak_memory(process: psutil.Process) -> int:
    """Return the most memory that a process has held, in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [kibibytes] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kibibytes) * 1024


@pytest.mark.parametrize("path", ["/nope", "/v1/sessions/x", "/v1/sessions?sort=x", "/healthz"])
def test_head_is_what_get_is_without_the_document(
    core: ScriptedCore, http: httpx.Client, path: str
) -> None:
    get, head = http.get(path), http.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
