"""Whether the gateway lives and can answer, as those who start and monitor it ask."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from sessiongate.runtime.auth.protection import Protection
from tests.credentials import CredentialFiles
from tests.gateway.programs import in_process


def ask(core: str, path: str, **settings: object) -> httpx.Response:
    async def main() -> httpx.Response:
        async with in_process(core, **settings) as http:
            return await http.get(path)

    return asyncio.run(main())


@pytest.mark.parametrize("staleness", [0.0, 2.0])
def test_with_a_core_that_answers_it_is_ready(core: str, staleness: float) -> None:
    answer = ask(core, "/readyz", replica_staleness=staleness)
    assert (answer.status_code, answer.json()) == (200, {"meta": {"status": "ready"}})


def test_without_a_core_it_lives_and_is_not_ready() -> None:
    nowhere = "127.0.0.1:1"
    answer = ask(nowhere, "/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    answer = ask(nowhere, "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"meta": {"status": "alive"}})


def test_while_the_core_is_not_ready_it_is_not() -> None:
    with ThreadPoolExecutor(max_workers=1) as pool:
        server = grpc.server(pool)
        health = HealthServicer()
        add_HealthServicer_to_server(health, server)
        health.set("sessiongate.v1.SessionService", HealthCheckResponse.NOT_SERVING)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            answer = ask(address, "/readyz", replica_staleness=0.0)
        finally:
            server.stop(None).wait()
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["code"] == "NOT_READY"


def test_all_who_ask_for_readiness_share_one_call() -> None:
    calls = 0
    asked, may_answer = threading.Event(), threading.Event()

    class Held(HealthServicer):
        def Check(self, request: HealthCheckRequest, context: object) -> HealthCheckResponse:
            nonlocal calls
            calls += 1
            asked.set()
            may_answer.wait()
            return HealthCheckResponse(status=HealthCheckResponse.SERVING)

    async def main(address: str) -> list[int]:
        async with in_process(address, replica_staleness=0.0) as http:
            asking = [asyncio.create_task(http.get("/readyz")) for _ in range(50)]
            await asyncio.to_thread(asked.wait)
            assert (await http.get("/healthz")).status_code == 200
            may_answer.set()
            return [(await answer).status_code for answer in asking]

    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        add_HealthServicer_to_server(Held(), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            assert asyncio.run(main(address)) == [200] * 50
        finally:
            server.stop(None).wait()
    assert calls == 1


def test_health_needs_no_credentials(core: str, tmp_path: Path) -> None:
    protection = Protection(**CredentialFiles(tmp_path).settings)
    assert ask(core, "/v1/sessions", protection=protection).status_code == 401
    assert ask(core, "/healthz", protection=protection).status_code == 200
    assert ask(core, "/readyz", protection=protection).status_code == 200
