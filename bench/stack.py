"""The programs measured side by side: a core, and in front of it the gateway and Envoy."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import bcrypt
import grpc

from bench import envoy
from bench.asking import ask
from bench.programs import BIN, PATIENCE, BenchError, Program, running
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub

Metadata: TypeAlias = Sequence[tuple[str, str]]

GATEWAY = "gateway"
GATEWAY_2 = "gateway, 2 workers"
ENVOY = "Envoy"
SECURED = "gateway, Basic and metrics"
BARE = "bare ASGI server"
HELLO = "Starlette hello"

CHURN = 0.05  # of all sessions, replaced each second
ENVOY_PAGE = 10_000
# The one session that stays, whatever the churn.
STEADY = "steady"
USER = "app_7"
_NAME, _PASSWORD = "bench", "bench"
AUTHORIZATION = f"Basic {b64encode(f'{_NAME}:{_PASSWORD}'.encode()).decode()}"  # of SECURED


@dataclass(frozen=True, slots=True)
class Stage:
    """The number of sessions, and whether they are replaced all the time."""

    sessions: int
    churning: bool = False

    @property
    def name(self) -> str:
        return f"{self.sessions:,}" + (" churning" if self.churning else "")

    def sources(self, folder: Path, interval: float = 1) -> list[str]:
        """Return the options that give a core these sessions, one of them from a document."""
        churn = self.sessions * CHURN if self.churning else 0
        return [*steady(folder, interval), *synthetic(self.sessions - 1, churn)]


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP server at ``HOST:PORT``."""

    address: str
    program: Program


@dataclass(frozen=True, slots=True)
class Stack:
    """A running core and the servers in front of it, by name; ready to respond."""

    core: Program
    servers: Mapping[str, Server]
    steady: int  # the id of the session that stays
    ids: tuple[int, ...]  # of all sessions, when the stack was started
    tokens: tuple[str, ...]  # of the pages requested from Envoy; the first one's is empty


@contextmanager
def standing(stage: Stage, names: Iterable[str], folder: Path) -> Iterator[Stack]:
    """Run a core with a stage's sessions, and those of gateway and Envoy that are named."""
    with ExitStack() as stack:
        program, address = stack.enter_context(core(folder, stage.sources(folder)))
        ids, tokens = _walk(address)
        servers = {}
        for name in names:
            starts = {GATEWAY: _gateway, GATEWAY_2: _gateways, SECURED: _secured, ENVOY: _envoy}
            start = starts.get(name)
            if start is not None:
                servers[name] = stack.enter_context(start(folder, address))
        if len(ids) != stage.sessions:
            raise BenchError(f"the core has {len(ids)} sessions instead of {stage.sessions}")
        yield Stack(program, servers, steady_id(address), ids, tokens)


@contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """Run the server that sends what a folder stores, and the Starlette application."""
    with running([str(BIN / "python"), "-m", "bench.bare", str(folder)]) as program:
        yield Server(program.expect(r"listening on (\S+)"), program)


@contextmanager
def sessiongate(folder: Path, *arguments: str) -> Iterator[Program]:
    """Run the command, with its defaults, and its state in a separate folder."""
    command = [str(BIN / "sessiongate"), *arguments]
    with running(command, XDG_STATE_HOME=str(folder)) as program:
        yield program


@contextmanager
def core(
    folder: Path, sources: Sequence[str], patience: float = PATIENCE
) -> Iterator[tuple[Program, str]]:
    """Run a core; yield it and its address, before it is ready."""
    with sessiongate(folder, "core", "--grpc", "127.0.0.1:0", *sources) as program:
        yield program, program.expect(r"listening on (\S+)", patience)


@contextmanager
def serving(folder: Path, sources: Sequence[str]) -> Iterator[str]:
    """Run a core and its gateway as one command; yield the address for HTTP once it is ready."""
    listeners = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ledger", "sqlite://")
    with sessiongate(folder, "serve", *listeners, *sources) as program:
        address = program.expect(r"http://([0-9.:]+)/v1/sessions")
        wait_for(address, "/readyz")
        yield address


def synthetic(sessions: int, churn: float = 0, **options: str | int) -> list[str]:
    """Return the option of a source that makes up sessions."""
    options = {"seed": 1, "max_sessions": max(1, sessions), **options}
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return ["--source", f"synthetic:?sessions={sessions}&churn={churn:g}{more}"]


def steady(folder: Path, interval: float = 1) -> list[str]:
    """Return the option of the source with the session that stays."""
    write_steady(folder, USER)
    return ["--source", f"document:{folder / STEADY}.json?name={STEADY}&interval={interval:g}"]


def write_steady(folder: Path, user: str) -> None:
    """Write the document of the session that stays, whole or not at all."""
    attributes = {
        "state": "Session started",
        "connected": "Wed May 17 10:06:35 2017",
        "user": user,
        "remote": "10.1.2.3",
        "port": 40000,
        "database": "orders",
        "idle": 12.5,
        "connections": [{"server": "server-1", "connection_id": 77, "cipher": ""}],
        "client": {"cipher": "TLS_AES_256_GCM_SHA384"},
        "application": "checkout",
    }
    services = {"data": [{"id": "orders-rw", "type": "services"}]}
    resource = {
        "id": "1",
        "type": "sessions",
        "relationships": {"services": services},
        "attributes": attributes,
    }
    path = folder / f"{STEADY}.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"data": [resource]}))
    fresh.replace(path)


@contextmanager
def _gateway(folder: Path, core: str, *more: str) -> Iterator[Server]:
    options = ("--core", core, "--http", "127.0.0.1:0", *more)
    with sessiongate(folder, "serve", *options) as program:
        address = program.expect(r"http://([0-9.:]+)/v1/sessions")
        wait_for(address, "/readyz")
        yield Server(address, program)


def _gateways(folder: Path, core: str) -> AbstractContextManager[Server]:
    return _gateway(folder, core, "--workers", "2")


def _secured(folder: Path, core: str) -> AbstractContextManager[Server]:
    users = folder / "users"
    hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt())
    users.write_text(f"{_NAME}:{hashed.decode()}\n")
    users.chmod(0o600)
    return _gateway(folder, core, "--users", str(users), "--metrics", "127.0.0.1:0")


@contextmanager
def _envoy(folder: Path, core: str) -> Iterator[Server]:
    config = envoy.write_config(folder, core)
    admin = folder / "envoy.admin"
    admin.unlink(missing_ok=True)
    options = ("--disable-hot-restart", "--log-level", "warning", "--admin-address-path")
    with running(
        [str(BIN / "envoy"), "--config-path", str(config), *options, str(admin)]
    ) as program:
        until(lambda: admin.exists() and bool(admin.read_text()), "Envoy has not started")
        listeners = ask(admin.read_text(), "/listeners?format=json").json["listener_statuses"]
        socket = listeners[0]["local_address"]["socket_address"]
        address = f"{socket['address']}:{socket['port_value']}"
        wait_for(address, "/v1/sessions?page_size=1")
        yield Server(address, program)


def wait_for(address: str, path: str) -> None:
    """Wait until a server answers with 200."""

    def answers() -> bool:
        try:
            return ask(address, path).status == 200
        except OSError:
            return False

    until(answers, f"{address}{path} is not answered with 200")


def until(true: Callable[[], bool], otherwise: str, patience: float = PATIENCE) -> None:
    """Wait until a condition is true. Raises `BenchError` after ``patience`` seconds."""
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise BenchError(f"{otherwise} after {patience:g} seconds")
        time.sleep(0.02)


def wait_until_whole(
    core: str, sessions: int, patience: float = PATIENCE, metadata: Metadata = ()
) -> int:
    """Wait until a core lists all its sessions; return the table's revision.

    ``metadata`` has credentials, if the core requires them.
    """
    with grpc.insecure_channel(core) as channel:
        stub = SessionServiceStub(channel)
        found = ListSessionsResponse()

        def is_whole() -> bool:
            nonlocal found
            found = first_page(stub, metadata) or found
            return found.total_size == sessions and not found.unreachable

        try:
            until(is_whole, "the core does not list all sessions", patience)
        except BenchError as error:
            unreachable = len(found.unreachable)
            raise BenchError(
                f"{error}: {found.total_size:,}, {unreachable} sources are unreachable"
            ) from None
        return found.revision


def wait_for_copy(http: str, metrics: str, revision: int, patience: float = PATIENCE) -> None:
    """Wait until a gateway is ready, and its copy has reached a revision, by its metrics."""

    def has_copy() -> bool:
        if ask(http, "/readyz").status != 200:
            return False
        shown = ask(metrics, "/metrics").body.decode()
        found = re.search(r"^sessiongate_replica_revision (\S+)", shown, re.MULTILINE)
        return found is not None and float(found[1]) >= revision

    until(has_copy, "the gateway has no copy", patience)


def _walk(core: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the ids of all sessions, and the tokens of Envoy's pages, once the core is ready."""
    ids: list[int] = []
    tokens = [""]
    with grpc.insecure_channel(core) as channel:
        stub = SessionServiceStub(channel)
        until(lambda: first_page(stub) is not None, "the core is not ready")
        while True:
            page = stub.ListSessions(
                ListSessionsRequest(page_size=ENVOY_PAGE, page_token=tokens[-1]), timeout=PATIENCE
            )
            ids += (session.id for session in page.sessions)
            if not page.next_page_token:
                return tuple(ids), tuple(tokens)
            tokens.append(page.next_page_token)


def first_page(stub: SessionServiceStub, metadata: Metadata = ()) -> ListSessionsResponse | None:
    """Return a page of one session, or None while the core is not ready."""
    try:
        page: ListSessionsResponse
        wanted = ListSessionsRequest(page_size=1)
        page = stub.ListSessions(wanted, metadata=metadata, timeout=PATIENCE)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return None
    return page


def steady_id(core: str, metadata: Metadata = ()) -> int:
    """Return the id that a core gave the session that stays; it depends on what it read first."""
    with grpc.insecure_channel(core) as channel:
        wanted = ListSessionsRequest(filter=SessionFilter(sources=[STEADY]))
        call = SessionServiceStub(channel).ListSessions
        found = call(wanted, metadata=metadata, timeout=PATIENCE)
        ident: int = found.sessions[0].id
        return ident
