"""Readers that request everything and take nothing: memory is bounded, and others are served."""

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

import httpx
import psutil
import pytest

from sessiongate.runtime.descriptors import raise_fd_limit
from tests.certificates import Authority
from tests.faults.beside import Beside
from tests.faults.processes import MIB
from tests.faults.scale import FULL, figure, times
from tests.program import PATIENCE, ForkedProgram, Program, await_ready

READERS = times(60, 1200)
HOLD = times(0.5, 8.0)  # seconds that they stay
SOURCE = f"synthetic:?sessions={times(2_000, 10_000)}&churn=0"
# MiB: the limit of answers in flight, and what else a process may take. An answer for each reader
# alone would be more than both.
IN_FLIGHT, BESIDE = times(16, 256), times(40, 64)
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
# What TLS adds is the same for all kinds; the full run has them all.
TLS_KINDS = KINDS if FULL else {name: KINDS[name] for name in ("plain", "events")}
OVERLOADED = "503 "  # an answer to callers beside readers that are just arriving


@pytest.mark.long
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_readers_that_take_nothing(is_tls: bool, tmp_path: Path) -> None:
    raise_fd_limit()
    authority = Authority(tmp_path)
    server = authority.issue("server")
    arguments = ["serve", "--source", SOURCE, "--ledger", "sqlite://"]
    arguments += ["--http", "127.0.0.1:0", "--grpc", f"unix:{tmp_path}/core"]
    arguments += ["--max-in-flight", str(IN_FLIGHT * MIB)]
    if is_tls:
        arguments += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    with ForkedProgram(*arguments) as program:
        address = program.expect(r"REST +https?://(\S+)/v1/sessions$")[1]
        program.expect(r"Try +curl")
        await_ready(f"unix:{tmp_path}/core")
        attack = Attack(program, int(address.rpartition(":")[2]))
        if is_tls:
            attack.context = ssl.create_default_context(cafile=authority.cert)
        url = f"{'https' if is_tls else 'http'}://{address}"
        with Beside(url, f"unix:{tmp_path}/core", authority.cert if is_tls else None) as beside:
            asyncio.run(attack.run())
        assert "Traceback" not in program.output
    # While the readers arrive, one caller at a time is told that there is too much to do.
    assert all(OVERLOADED in wrong for wrong in beside.wrong()), beside.wrong()[:3]
    slowest = {kind: max(beside.p99(*held).values()) for kind, held in attack.held.items()}
    answers: Counter[str] = Counter()
    for held in attack.held.values():
        answers += Counter(beside.count(*held))
    name = "TLS" if is_tls else "plain HTTP"
    figure(f"{READERS:,} readers that take nothing, over {name}: growth, MiB", attack.growth)
    figure(f"readers over {name} that leave: seconds until memory is back", attack.back)
    figure(f"beside them, over {name}: slowest 1 in 100 of one caller's answers, ms", slowest)
    figure(f"beside them, over {name}: answers", answers)


class Attack:
    """Attacks by readers of each kind in turn."""

    context: ssl.SSLContext | None = None

    def __init__(self, program: Program, port: int) -> None:
        self._program = program
        self._port = port
        self._most = 0
        self.growth: dict[str, int] = {}
        self.back: dict[str, float] = {}  # seconds after they left
        self.held: dict[str, tuple[float, float]] = {}  # while all were there

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
            # What is loaded on first use does not count as growth.
            kinds = KINDS if self.context is None else TLS_KINDS
            for method, path, header in kinds.values():
                headers = dict(re.findall(r"(\S+): (\S+)", header))
                if header != EVENTS:
                    assert (await client.request(method, path, headers=headers)).is_success
            # It has answered, so it exists.
            self._worker = self._find_worker()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            weighing = group.create_task(self._weigh())
            for name, (method, path, header) in kinds.items():
                request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
                await self._attack(name, request.encode() * (100 if method == "HEAD" else 1))
            weighing.cancel()

    def _find_worker(self) -> psutil.Process:
        [worker] = self._program.workers()
        return worker

    async def _attack(self, name: str, request: bytes) -> None:
        before = self._most = self._worker.memory_info().rss
        async with self._readers(request):
            await asyncio.sleep(1)
            began = time.monotonic()
            await asyncio.sleep(HOLD)
            self.held[name] = began, time.monotonic()
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
        """Open a connection that has sent a request, and reads nothing."""
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

    async def _pause(self) -> None:
        await asyncio.sleep(0.1)

    async def _weigh(self) -> None:
        while True:
            self._most = max(self._most, self._worker.memory_info().rss)
            await asyncio.sleep(0.05)
