"""Readers that ask for all there is and take nothing: memory is bounded, and others are served."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from runtime.descriptors import allow_descriptors
from sessiongate.v1.session_service_pb2 import GetSessionRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.certificates import Authority
from tests.faults.processes import MIB
from tests.faults.scale import figure, times
from tests.program import PATIENCE, Program

READERS = times(60, 1200)
HOLD = times(2, 8)  # seconds that they stay
SOURCE = "synthetic:?sessions=10000&churn=0"
# MiB: what answers in flight may take, and a process beside that.
IN_FLIGHT, BESIDE = times(32, 256), 64
EVENTS = "Accept: text/event-stream\r\n"
KINDS = {
    "plain": ("GET", "/v1/sessions", ""),
    "sorted": ("GET", "/v1/sessions?sort=-user", ""),
    "by the clock": ("GET", "/v1/sessions?sort=idle", ""),
    "pretty": ("GET", "/v1/sessions?pretty", ""),
    "gzip": ("GET", "/v1/sessions", "Accept-Encoding: gzip\r\n"),
    "head": ("HEAD", "/v1/sessions", ""),
    "events": ("GET", "/v1/sessions", EVENTS),
}
SERVED = ("200", "503")


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_readers_that_take_nothing(is_tls: bool, tmp_path: Path) -> None:
    allow_descriptors()
    authority = Authority(tmp_path)
    server = authority.issue("server")
    arguments = ["serve", "--source", SOURCE, "--ledger", "sqlite://"]
    arguments += ["--http", "127.0.0.1:0", "--grpc", f"unix:{tmp_path}/core"]
    arguments += ["--max-in-flight", str(IN_FLIGHT * MIB)]
    if is_tls:
        arguments += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    with Program(*arguments) as program:
        address = program.expect(r"REST +https?://(\S+)/v1/sessions$")[1]
        program.expect(r"Try +curl")
        attack = Attack(program, int(address.rpartition(":")[2]), tmp_path / "core")
        if is_tls:
            attack.context = ssl.create_default_context(cafile=authority.cert)
        asyncio.run(attack.run())
        assert "Traceback" not in program.output
    name = "TLS" if is_tls else "plain HTTP"
    figure(f"{READERS:,} readers that take nothing, over {name}: growth, MiB", attack.growth)
    figure(f"readers over {name} that leave: seconds until memory is back", attack.back)
    figure(f"beside them, over {name}: slowest 1 in 100 of all answers, s", attack.slowest)
    figure(f"beside them, over {name}: answers", dict(attack.outcomes))


class Attack:
    """Readers of each kind in turn, with callers beside them."""

    context: ssl.SSLContext | None = None

    def __init__(self, program: Program, port: int, core: Path) -> None:
        self._program = program
        self._port = port
        self._core = core
        self._most = 0
        self.growth: dict[str, int] = {}
        self.back: dict[str, float] = {}  # seconds after they left
        self.outcomes: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self._took: list[float] | None = None  # None while answers do not count yet

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            scheme = "http" if self.context is None else "https"
            client = httpx.AsyncClient(
                base_url=f"{scheme}://localhost:{self._port}",
                verify=self.context or False,
                trust_env=False,
                timeout=PATIENCE,
            )
            await stack.enter_async_context(client)
            channel = grpc.aio.insecure_channel(f"unix:{self._core}")
            await stack.enter_async_context(channel)
            stub = SessionServiceStub(channel)
            # What is loaded when it is first needed is no growth.
            for method, path, header in KINDS.values():
                headers = dict(re.findall(r"(\S+): (\S+)", header))
                if header != EVENTS:
                    assert (await client.request(method, path, headers=headers)).is_success
            # It answers, so that it is there.
            self._worker = self._find_worker()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = [
                group.create_task(self._ask(client, "/v1/sessions/1")),
                group.create_task(self._ask(client, "/healthz")),
                group.create_task(self._call(stub)),
                group.create_task(self._weigh()),
            ]
            for name, (method, path, header) in KINDS.items():
                request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
                await self._attack(name, request.encode() * (100 if method == "HEAD" else 1))
            for task in tasks:
                task.cancel()

    def _find_worker(self) -> psutil.Process:
        [worker] = [
            child for child in self._program.children() if "spawn_main" in " ".join(child.cmdline())
        ]
        return worker

    async def _attack(self, name: str, request: bytes) -> None:
        before = self._most = self._worker.memory_info().rss
        async with self._readers(request):
            await asyncio.sleep(1)
            self._took = []
            await asyncio.sleep(HOLD)
            took, self._took = sorted(self._took), None
        assert took, "nobody else was answered"
        self.slowest[name] = round(took[len(took) * 99 // 100], 3)
        self.growth[name] = (self._most - before) // MIB
        assert self.growth[name] <= IN_FLIGHT + BESIDE, self.growth
        left = time.monotonic()
        while (grown := self._worker.memory_info().rss - before) > BESIDE * MIB:
            assert time.monotonic() < left + PATIENCE, f"{name}: {grown // MIB} MiB stay"
            await self._pause()
        self.back[name] = round(time.monotonic() - left, 1)

    @asynccontextmanager
    async def _readers(self, request: bytes) -> AsyncIterator[None]:
        few = asyncio.Semaphore(50)

        async def one() -> socket.socket:
            async with few:
                return await self._reader(request)

        found: Sequence[socket.socket] = await asyncio.gather(*(one() for _ in range(READERS)))
        try:
            yield
        finally:
            for reader in found:
                reader.close()

    async def _reader(self, request: bytes) -> socket.socket:
        """A connection that has asked, and takes nothing."""
        loop = asyncio.get_running_loop()
        peer = socket.socket()
        peer.setblocking(False)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(peer, ("127.0.0.1", self._port))
        if self.context is None:
            await loop.sock_sendall(peer, request)
            return peer
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = self.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                end.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(peer, outgoing.read())
                incoming.write(await loop.sock_recv(peer, 65536))
        end.write(request)
        await loop.sock_sendall(peer, outgoing.read())
        return peer

    async def _ask(self, client: httpx.AsyncClient, path: str) -> None:
        while True:
            began = time.monotonic()
            answer = await client.get(path)
            assert str(answer.status_code) in SERVED, answer.text
            if path != "/healthz" and answer.is_success:
                assert answer.json()["data"]["id"] == "1"
            self._note(f"{path}: {answer.status_code}", began, is_good=answer.is_success)
            await asyncio.sleep(0.1)

    async def _call(self, stub: SessionServiceStub) -> None:
        while True:
            began = time.monotonic()
            found = await stub.GetSession(GetSessionRequest(id=1), timeout=PATIENCE)
            assert found.session.id == 1
            self._note("GetSession: OK", began, is_good=True)
            await asyncio.sleep(0.1)

    def _note(self, outcome: str, began: float, *, is_good: bool) -> None:
        if self._took is not None:
            assert is_good, outcome
            self._took.append(time.monotonic() - began)
            self.outcomes[outcome] += 1

    async def _pause(self) -> None:
        await asyncio.sleep(0.1)

    async def _weigh(self) -> None:
        while True:
            self._most = max(self._most, self._worker.memory_info().rss)
            await asyncio.sleep(0.05)
