"""Real programs for tests: a core, a gateway, and a gateway without a server."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.gateway.api.host_names import LookUp, by_dns
from sessiongate.gateway.app import create_app
from sessiongate.gateway.settings import GatewayConfig
from tests import forked
from tests.forked import FORKING
from tests.gateway.declared import check_declared, check_declared_async
from tests.gateway.jsonapi_rules import check_answer, check_answer_async
from tests.polling import eventually
from tests.servers import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
LONG = PATIENCE  # seconds after which a test stops waiting
_CORES: dict[str, psutil.Process] = {}  # by address
_IDLE = re.compile(rb'"idle": ?[0-9.]+')


@contextmanager
def running_core(
    *sources: str | Mapping[str, object], ready: bool = True, **settings: object
) -> Iterator[str]:
    """Run a core process with sources, and a ledger in memory by default; yield its address.

    Wait until it is ready if ``ready`` is true.
    """
    settings = {"source": sources, "grpc": "127.0.0.1:0", "exit_on_eof": True, **settings}
    mine, theirs = socket.socketpair()
    process = FORKING.Process(target=forked.core, args=(dict(os.environ), theirs))
    process.start()
    theirs.close()
    try:
        with mine, mine.makefile("rw") as pipe:
            pipe.write(json.dumps(settings) + "\n")
            pipe.flush()
            address = pipe.readline().rpartition(" ")[2].strip()
            _CORES[address] = psutil.Process(process.pid)
            if ready:
                _await_ready(address)
            yield address
        process.join(LONG)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()


def _await_ready(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = HealthStub(channel)
        answers = stub.Watch(HealthCheckRequest(), timeout=LONG)  # type: ignore[attr-defined] # its types lack it
        for health in answers:
            if health.status == HealthCheckResponse.SERVING:
                return


def client_of(gateway: Gateway, *, again: bool = True) -> httpx.Client:
    """Create a client that calls a gateway as the reference text does, and checks each answer.

    It asks three times, so that all that is tested holds for an answer that is made, for one that
    is made to be remembered, and for one that is remembered; only once if ``again`` is false.
    """
    return httpx.Client(
        transport=AskingAgain() if again else httpx.HTTPTransport(),
        base_url=gateway.url,
        headers={"Host": "localhost:8989"},
        timeout=LONG,
        event_hooks={"response": [check_answer, check_declared]},
    )


class AskingAgain(httpx.HTTPTransport):
    """Sends each request for a document three times; returns the last of three equal answers.

    An answer that nobody may store is not remembered either: it is returned at once.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method not in ("GET", "HEAD") or "event" in request.headers.get("accept", ""):
            return super().handle_request(request)
        for _ in range(10):
            first = self._ask(request)
            if first.headers.get("cache-control") == "no-store":
                return first
            second, third = self._ask(request), self._ask(request)
            assert first.status_code == second.status_code == third.status_code
            # Without a validator, it may show what changes all the time. Otherwise a second may
            # end in between, which may add Last-Modified.
            if "etag" not in third.headers or _told(first) == _told(second) == _told(third):
                return third
        raise AssertionError(f"{request.url} is never answered alike")  # whatever the second

    def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        assert isinstance(answer.stream, httpx.SyncByteStream)
        with closing(answer):
            sent = httpx.ByteStream(b"".join(answer.stream))
        headers, extensions = answer.headers, answer.extensions
        return httpx.Response(
            answer.status_code, headers=headers, stream=sent, extensions=extensions
        )


def _told(answer: httpx.Response) -> tuple[object, ...]:
    """Return what is the same for the same documents: no idle times, date, or request's id."""
    of_one = ("date", "x-request-id", "content-length")
    headers = [pair for pair in answer.headers.multi_items() if pair[0] not in of_one]
    return headers, _IDLE.sub(b"", answer.read())


class Gateway:
    """A gateway process and its listening address."""

    def __init__(self, process: ForkServerProcess, address: str) -> None:
        self.process = process
        self.address = address
        self.url = f"http://{address}"
        self.port = int(address.rpartition(":")[2])
        self.exit_code = 0  # the expected exit code


@contextmanager
def running_gateway(core: str, **settings: object) -> Iterator[Gateway]:
    """Run a gateway, on a free port unless one is given; it must exit with its ``exit_code``."""
    config = GatewayConfig(core=tuple(core.split(",")), **{"http": "127.0.0.1:0", **settings})  # type: ignore[arg-type]
    here, there = multiprocessing.Pipe()
    process = FORKING.Process(target=forked.gateway, args=(dict(os.environ), config, there))
    process.start()
    there.close()
    try:
        assert here.poll(LONG)
        gateway = Gateway(process, here.recv())
        yield gateway
        process.terminate()
        process.join(LONG)
        assert process.exitcode == gateway.exit_code
    finally:
        process.kill()
        process.join()
        process.close()
        here.close()


def worker_of(gateway: Gateway) -> psutil.Process:
    """Return the process that answers: the only child that the gateway itself spawns."""
    [worker] = workers_of(gateway)
    return worker


def workers_of(gateway: Gateway) -> list[psutil.Process]:
    """Return the processes that answer, or will, or have answered."""
    assert gateway.process.pid
    children = psutil.Process(gateway.process.pid).children()
    return [child for child in children if forked.program_of(child) == "worker"]


# How a gateway gets sessions; callers must not notice a difference. The copy never counts as
# old: the core never answers just because a mark came late.
VIEWS: Mapping[str, Mapping[str, object]] = {
    "replica": {"replica_staleness": 3600.0},
    "direct": {"replica_staleness": 0.0},
}

# For tests of what is decided before the view is asked: one view is enough.
one_view = pytest.mark.parametrize("view", ["replica"], indirect=True)


@contextmanager
def viewing_gateway(core: str, view: str) -> Iterator[Gateway]:
    """Run a gateway that answers as `VIEWS` says; with a replica, wait until it answers from it."""
    with running_gateway(core, core_timeout=LONG, **VIEWS[view]) as gateway:
        if view == "replica":
            eventually(lambda: answers_alone(core, gateway))
        yield gateway


def answers_alone(core: str, gateway: Gateway) -> bool:
    """Return whether a gateway answers, and within a second while its core is suspended."""
    process = core_process(core)
    if not httpx.get(f"{gateway.url}/v1/sessions", timeout=LONG).is_success:
        return False
    process.suspend()
    try:
        return httpx.get(f"{gateway.url}/v1/sessions", timeout=1.0).status_code == 200
    except httpx.ReadTimeout:
        return False
    finally:
        process.resume()


def core_process(address: str) -> psutil.Process:
    """Return the process of a core that `running_core` runs."""
    return _CORES[address]


@asynccontextmanager
async def in_process(
    core: str, look_up: LookUp = by_dns, /, **settings: object
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of a gateway's application, with no server in between."""
    app = create_app(GatewayConfig(core=tuple(core.split(",")), **settings), look_up)  # type: ignore[arg-type]
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://localhost:8989",
            event_hooks={"response": [check_answer_async, check_declared_async]},
        ) as http:
            yield http
