"""Calls of the core, compared with those of a bare gRPC server in a process of its own.

h2load makes them: 8 connections of 8 calls each, on one thread. It shares the machine's CPUs
with one server at a time; the others wait. The bare server's responses are as large.

The same program takes up to a tenth more or less CPU each time it is started. So there are
several of each server, and the order in which they are called alternates.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from bench.bare_grpc import SERVICE as BARE_SERVICE
from bench.load import run
from bench.programs import BIN, PATIENCE, BenchError, Program, running
from bench.stack import Stage, steady_id, wait_until_whole
from sessiongate.runtime.auth.htpasswd import add_user
from sessiongate.v1.service_names import SESSION_SERVICE
from sessiongate.v1.session_service_pb2 import GetSessionRequest, ListSessionsRequest

GET, LIST = "GetSession", "ListSessions"
NAMES = {GET: "GetSession", LIST: "ListSessions, 100"}
CONNECTIONS = CALLS = 8
SESSIONS = 10_000
BARE, CORE, GUARDED = "bare", "core", "guarded"
STARTS = 3  # of each server
_USER, _PASSWORD = "bench", "open sesame"


@dataclass(frozen=True, slots=True)
class Rates:
    """Calls a second and CPU microseconds a call, by server; one of each for a round."""

    rates: Mapping[str, list[float]]
    cpus: Mapping[str, list[float]]

    def rate(self, server: str) -> float:
        """Return the median of a server's rates."""
        return median(self.rates[server])

    def cpu(self, server: str) -> float:
        """Return the median of the CPU time that a call of a server takes."""
        return median(self.cpus[server])

    def ratio(self, one: str, other: str) -> float:
        """Return the median of the ratios of the rates of two servers."""
        pairs = zip(self.rates[one], self.rates[other], strict=True)
        return median(mine / theirs for mine, theirs in pairs)


@dataclass(frozen=True, slots=True)
class _Server:
    program: Program
    address: str
    service: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a server: its method, the file with its request, and the response's size."""

    server: _Server
    method: str
    path: Path
    size: int


def measure(rounds: int, seconds: int) -> Mapping[str, Rates]:
    """Return the rates of each method. Raises `BenchError`."""
    servers = (BARE, CORE, GUARDED)
    found = {method: Rates({s: [] for s in servers}, {s: [] for s in servers}) for method in NAMES}
    with TemporaryDirectory() as name, ExitStack() as stack:
        started = [stack.enter_context(_started(Path(name) / str(n))) for n in range(STARTS)]
        for each in started:
            for call in each[GET].values():  # the first calls are slow, and check a password
                _load(call, 1)
        for number in range(rounds):
            order = servers if number % 2 else servers[::-1]
            for method in NAMES:
                for each in started:
                    for server in order:
                        rate, cpu = _load(each[method][server], seconds)
                        found[method].rates[server].append(rate)
                        found[method].cpus[server].append(cpu)
    return found


@contextmanager
def _started(folder: Path) -> Iterator[Mapping[str, Mapping[str, _Call]]]:
    """Run one of each server; yield the calls of each, by method."""
    with ExitStack() as stack:
        calls: dict[str, dict[str, _Call]] = {method: {} for method in NAMES}
        for name in (CORE, GUARDED):
            core = stack.enter_context(_core(folder / name, guarded=name == GUARDED))
            for method, path in _requests(folder / name, core).items():
                calls[method][name] = _Call(core, method, path, _size(core, method, path))
        sizes = {method: calls[method][CORE].size for method in NAMES}
        bare = stack.enter_context(_bare(sizes))
        for method in NAMES:
            calls[method][BARE] = replace(calls[method][CORE], server=bare)
        yield calls


@contextmanager
def _bare(sizes: Mapping[str, int]) -> Iterator[_Server]:
    arguments = [f"{method}={size}" for method, size in sizes.items()]
    with running([str(BIN / "python"), "-m", "bench.bare_grpc", *arguments]) as program:
        yield _Server(program, program.expect(r"listening on (\S+)"), BARE_SERVICE, {})


@contextmanager
def _core(folder: Path, *, guarded: bool = False) -> Iterator[_Server]:
    """Run a core; a guarded one with credentials, metrics and the call log."""
    folder.mkdir(parents=True)
    options: Sequence[str] = ()
    metadata = {}
    if guarded:
        add_user(folder / "users", _USER, _PASSWORD)
        options = ("--users", str(folder / "users"), "--core-metrics", "127.0.0.1:0")
        options = (*options, "--access-log")
        credentials = b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        metadata = {"authorization": f"Basic {credentials}"}
    command = [str(BIN / "sessiongate"), "core", "--grpc", "127.0.0.1:0", *options]
    command += Stage(SESSIONS).sources(folder)
    # Its log goes to a file, as a service's does.
    shell = ["sh", "-c", 'exec "$@" 2>"$0"', str(folder / "log")]
    with running([*shell, *command], XDG_STATE_HOME=str(folder)) as program:
        address = program.expect(r"listening on (\S+)")
        yield _Server(program, address, SESSION_SERVICE, metadata)


def _requests(folder: Path, core: _Server) -> Mapping[str, Path]:
    """Return files with the requests to a core as gRPC sends them, by method."""
    metadata = tuple(core.metadata.items())
    wait_until_whole(core.address, SESSIONS, metadata=metadata)
    messages = {
        GET: GetSessionRequest(id=steady_id(core.address, metadata)),
        LIST: ListSessionsRequest(page_size=100),
    }
    for method, message in messages.items():
        encoded = message.SerializeToString()
        (folder / method).write_bytes(b"\0" + len(encoded).to_bytes(4, "big") + encoded)
    return {method: folder / method for method in messages}


def _size(server: _Server, method: str, path: Path) -> int:
    """Return the size of the response, which must be one, to the request in a file."""
    with grpc.insecure_channel(server.address) as channel:
        call: Any = channel.unary_unary(f"/{server.service}/{method}")
        metadata = tuple(server.metadata.items())
        response: bytes = call(path.read_bytes()[5:], metadata=metadata, timeout=PATIENCE)
        return len(response)


def _load(call: _Call, seconds: int) -> tuple[float, float]:
    """Return calls a second and CPU microseconds a call. Raises `BenchError`."""
    server = call.server
    command = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-m{CALLS}", f"-D{seconds}", f"-d{call.path}"]
    headers = {"content-type": "application/grpc", "te": "trailers", **server.metadata}
    command += [f"-H{name}: {value}" for name, value in headers.items()]
    before = server.program.cpu()
    output = run([*command, f"http://{server.address}/{server.service}/{call.method}"])
    spent = server.program.cpu() - before
    counts = re.search(
        r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout.*\((\d+)\) data\n",
        output,
        re.DOTALL,
    )
    if counts is None:
        raise BenchError(f"h2load printed something else:\n{output}")
    calls, *failed, received = map(int, counts.groups())
    # A response without a message is an error. Some responses are cut off at the end.
    if any(failed) or not 0.95 < received / ((call.size + 5) * max(1, calls)) < 1.05:
        raise BenchError(f"{call.method}: other responses than {call.size} bytes:\n{output}")
    return calls / seconds, spent / calls * 1e6
