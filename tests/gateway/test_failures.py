"""Responses when the core fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import httpx
import pytest

from sessiongate.gateway.errors import HTTP_MAPPINGS
from sessiongate.v1.session_service_pb2 import GetSessionResponse, ListSessionsResponse
from tests.gateway.programs import LONG, in_process
from tests.gateway.scripted import Failure, ScriptedCore, listening, session

PATHS = ["/v1/sessions/1", "/v1/sessions"]
HTTP = {
    grpc.StatusCode.CANCELLED: 503,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 502,
}


def asking(
    address: str, test: Callable[[httpx.AsyncClient], Awaitable[None]], **settings: object
) -> None:
    async def main() -> None:
        async with in_process(address, **settings) as http:
            await test(http)

    asyncio.run(main())


def the_error(answer: httpx.Response) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/vnd.api+json"
    document = answer.json()
    assert list(document) == ["errors"]
    [error] = document["errors"]
    assert error["status"] == str(answer.status_code)
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    assert isinstance(error, dict)
    return error


def test_the_table_holds_every_status() -> None:
    assert set(HTTP_MAPPINGS) == set(grpc.StatusCode) - {grpc.StatusCode.OK} == set(HTTP)


@pytest.mark.parametrize("code", HTTP, ids=lambda code: code.name)
def test_every_status_of_the_core_has_its_answer(
    scripted: tuple[ScriptedCore, str], code: grpc.StatusCode
) -> None:
    core, address = scripted
    attempts = 3 if code is grpc.StatusCode.UNAVAILABLE else 1

    async def test(http: httpx.AsyncClient) -> None:
        for path in PATHS:
            core.session, core.pages = Failure(code, "THE_REASON"), [Failure(code, "THE_REASON")]
            core.calls = 0
            answer = await http.get(path)
            assert answer.status_code == HTTP[code]
            error = the_error(answer)
            if code is not grpc.StatusCode.UNAUTHENTICATED:  # which is between core and gateway
                assert error["code"] == "THE_REASON"
                assert error["detail"] == "text at 192.0.2.1:5432"
            assert core.calls == attempts

            core.session, core.pages = Failure(code), [Failure(code)]
            answer = await http.get(path)
            assert answer.status_code == HTTP[code]
            error = the_error(answer)
            assert error["code"] == code.name
            assert "192.0.2.1" not in str(error)

    asking(address, test)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(grpc.StatusCode.ABORTED, "QUOTA", domain="proxy.example"),
        Failure(grpc.StatusCode.ABORTED, details=b"\xff\xff not a status"),
    ],
    ids=["of another domain", "unreadable"],
)
def test_details_that_are_not_a_core_s_are_not_shown(
    scripted: tuple[ScriptedCore, str], failure: Failure
) -> None:
    core, address = scripted
    core.session = failure

    async def test(http: httpx.AsyncClient) -> None:
        error = the_error(await http.get("/v1/sessions/1"))
        assert error["code"] == "ABORTED"
        assert "192.0.2.1" not in str(error)

    asking(address, test)


def test_a_core_that_is_down_is_503_until_it_is_back(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'core.sock'}"

    async def test(http: httpx.AsyncClient) -> None:
        for path in PATHS:
            answer = await http.get(path)
            assert answer.status_code == 503
            error = the_error(answer)
            assert error["code"] == "UNAVAILABLE"
            assert error["detail"] == "the core cannot be reached"
        with listening(ScriptedCore(), address):
            async with asyncio.timeout(LONG):
                while (await http.get("/v1/sessions/1")).status_code != 200:
                    pass

    asking(address, test)


def test_a_core_that_hangs_is_504(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    core.silent, core.silent_from = True, 0

    async def test(http: httpx.AsyncClient) -> None:
        for path in PATHS:
            answer = await http.get(path)
            assert answer.status_code == 504
            error = the_error(answer)
            assert error["code"] == "DEADLINE_EXCEEDED"
            assert error["detail"] == "the core did not answer in time"

    asking(address, test, core_timeout=0.2)


def test_an_answer_that_is_too_large_is_not_taken(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    core.session = GetSessionResponse(session=session(1, application="x" * (4 << 20)))

    async def test(http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/sessions/1")
        assert answer.status_code == 503
        assert the_error(answer)["code"] == "RESOURCE_EXHAUSTED"

    asking(address, test)


def test_what_nobody_expected_is_500_without_its_text(scripted: tuple[ScriptedCore, str]) -> None:
    core, address = scripted
    impossible = session(1, user="hidden")
    impossible.connect_time.seconds = 1 << 60  # no calendar has this year
    core.session = GetSessionResponse(session=impossible)
    core.pages = [ListSessionsResponse(sessions=[impossible])]

    async def test(http: httpx.AsyncClient) -> None:
        for path in PATHS:
            answer = await http.get(path)
            assert answer.status_code == 500
            assert the_error(answer) == {
                "status": "500",
                "code": "INTERNAL",
                "title": "Internal Server Error",
                "detail": "the gateway failed to answer; its log has the cause",
            }

    asking(address, test)


def test_the_core_is_asked_directly_whatever_proxies_are_set(
    scripted: tuple[ScriptedCore, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = scripted
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def test(http: httpx.AsyncClient) -> None:
        assert (await http.get("/v1/sessions/1")).status_code == 200

    asking(address, test)
