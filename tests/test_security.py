"""TLS and credentials, over the real command, with the clients that people use."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.certificates import Authority, Pair
from tests.credentials import PASSWORD, USER, CredentialFiles, basic, bearer
from tests.polling import eventually
from tests.program import (
    DOCUMENT,
    PATIENCE,
    ForkedProgram,
    await_ready,
    environment,
    run,
    run_given,
)
from tests.terminal import Terminal

LONG = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    return CredentialFiles(tmp_path)


class Guarded(ForkedProgram):
    """A running ``sessiongate serve`` that speaks TLS on free ports, ready to answer."""

    def __init__(
        self,
        authority: Authority,
        server: Pair,
        *arguments: object,
        client: Pair | None = None,
        source: str = DOCUMENT,
        host: str = "127.0.0.1",
    ) -> None:
        self.authority = authority
        self.client = client
        tls = ("--tls-cert", server.cert, "--tls-key", server.key)
        super().__init__(
            *("serve", "--http", f"{host}:0", "--grpc", f"{host}:0", "--ledger", "sqlite://"),
            *("--source", source, *tls, *arguments),
        )
        try:
            port = self.expect(r"REST +https://\S+:(\d+)/v1/sessions$")[1]
            self.http = f"https://localhost:{port}"
            self.grpc = "localhost:" + self.expect(r"gRPC +\S+:(\d+)$")[1]
            self.expect("Try +curl")
            self.await_ready()
        except BaseException:
            self.close()
            raise

    def await_ready(self) -> None:
        """Wait until the core serves, which it reports to everyone."""
        with self.channel() as opened:
            stub: Any = HealthStub(opened)  # its stub file lacks the calls
            states = stub.Watch(HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
            assert any(state.status == HealthCheckResponse.SERVING for state in states)
            states.cancel()

    def curl(self, path: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Ask with curl, as the user would."""
        pair = ("--cert", self.client.cert, "--key", self.client.key) if self.client else ()
        command = ("curl", "--silent", "--show-error", "--cacert", self.authority.cert, *pair)
        return subprocess.run(
            [str(part) for part in (*command, *arguments, f"{self.http}{path}")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def following(self, path: str, *arguments: object) -> Iterator[IO[str]]:
        """Yield what curl writes of a stream of events, by lines."""
        command = ("curl", "--silent", "--no-buffer", "--cacert", self.authority.cert)
        accept = ("--header", "Accept: text/event-stream", "--max-time", PATIENCE)
        with subprocess.Popen(
            [str(part) for part in (*command, *accept, *arguments, f"{self.http}{path}")],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            yield process.stdout

    def status(self, path: str, *arguments: object) -> int:
        """Return the status of curl's answer; 0 if there is none."""
        done = self.curl(path, "--output", os.devnull, "--write-out", "%{http_code}", *arguments)
        return int(done.stdout)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """Open a separate channel to the core's listener."""
        credentials = grpc.ssl_channel_credentials(
            self.authority.cert.read_bytes(),
            self.client.key.read_bytes() if self.client else None,
            self.client.cert.read_bytes() if self.client else None,
        )
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        with grpc.secure_channel(self.grpc, credentials, options) as opened:
            yield opened

    def list(self, *metadata: tuple[str, str]) -> int:
        """Return how many sessions the core lists. Raises `grpc.RpcError`."""
        with self.channel() as opened:
            stub = SessionServiceStub(opened)
            listed = stub.ListSessions(ListSessionsRequest(), metadata=metadata, timeout=LONG)
            return len(listed.sessions)


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """Return how a call that must fail does."""
    with pytest.raises(grpc.RpcError) as ended:
        call()
    error: Any = ended.value
    code: grpc.StatusCode = error.code()
    return code


def test_both_ports_speak_tls_and_ask_who_calls(
    authority: Authority, server: Pair, files: CredentialFiles
) -> None:
    with Guarded(authority, server, *files.flags, host="0.0.0.0") as program:
        refused = program.curl("/v1/sessions", "--include")
        head, _, body = refused.stdout.partition("\n\n")
        assert head.splitlines()[0].split()[1] == "401"
        assert 'www-authenticate: Basic realm="sessiongate"' in head.replace("WWW-A", "www-a")
        assert json.loads(body)["errors"][0]["code"] == "CREDENTIALS_MISSING"
        user = ("--user", f"{USER}:{PASSWORD}")
        listed = json.loads(program.curl("/v1/sessions", *user).stdout)
        assert [item["id"] for item in listed["data"]] == ["1", "2", "3"]
        assert listed["links"]["self"].startswith("https://localhost:")
        assert program.status("/v1/sessions", "--user", f"{USER}:tuna") == 401
        assert program.status("/v1/sessions", "--oauth2-bearer", bearer().split()[1]) == 200
        old = bearer(exp=time.time() - 60)
        assert program.status("/v1/sessions", "--header", f"Authorization: {old}") == 401
        for version in ("1.0", "1.1"):
            floor = ("--tls-max", version, "--ciphers", "DEFAULT@SECLEVEL=0")
            assert program.status("/v1/sessions", *user, *floor) == 0
        for tls in (("--tlsv1.2", "--tls-max", "1.2"), ("--tlsv1.3",)):
            assert program.status("/v1/sessions", *user, *tls) == 200
        plain = program.http.replace("https:", "http:")
        assert "TLS_REQUIRED" in httpx.get(f"{plain}/v1/sessions", trust_env=False).text

        assert program.list(("authorization", basic())) == 3
        assert program.list(("authorization", bearer())) == 3
        assert code_of(program.list) is grpc.StatusCode.UNAUTHENTICATED
        wrong = ("authorization", basic(password="tuna"))
        assert code_of(lambda: program.list(wrong)) is grpc.StatusCode.UNAUTHENTICATED
        with grpc.insecure_channel(program.grpc) as opened:
            call = SessionServiceStub(opened).ListSessions
            details = {"metadata": (("authorization", basic()),), "timeout": LONG}
            code = code_of(lambda: call(ListSessionsRequest(), **details))
            assert code is grpc.StatusCode.UNAVAILABLE
        for secret in (PASSWORD, "tuna", basic().split()[1], bearer().split()[1]):
            assert secret not in program.output


def test_the_access_log_names_who_asked(
    authority: Authority, server: Pair, files: CredentialFiles
) -> None:
    direct = ("--access-log", "--log-format", "json", "--replica", "off")
    with Guarded(authority, server, *files.flags, *direct) as program:
        assert program.status("/v1/sessions/1", "--user", f"{USER}:{PASSWORD}") == 200
        assert program.status("/v1/sessions/1") == 401
        asked, refused = (json.loads(program.expect('"gateway.access"').string) for _ in "ab")
    # Both programs write their last lines when they end.
    lines = [json.loads(line) for line in program.output.splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("request_id") == asked["request_id"]]
    assert {line["logger"]: line["user"] for line in told} == {
        "gateway.access": USER,
        "core.access": USER,
    }
    assert refused["user"] == ""


def test_clients_show_certificates(
    authority: Authority, server: Pair, files: CredentialFiles, tmp_path: Path
) -> None:
    client = authority.issue("client", "billing.example")
    stranger = Authority(tmp_path, "other").issue("stranger", "billing.example")
    mutual = ("--tls-client-ca", authority.cert)
    with Guarded(authority, server, *mutual, client=client) as program:
        assert program.status("/v1/sessions") == 200
        assert program.list() == 3
        for pair in (None, stranger):
            program.client = pair
            assert program.status("/v1/sessions") == 0
            assert code_of(program.list) is grpc.StatusCode.UNAVAILABLE
    with Guarded(authority, server, *mutual, *files.flags, client=client) as program:
        assert program.status("/v1/sessions") == 401
        assert program.status("/v1/sessions", "--user", f"{USER}:{PASSWORD}") == 200
        assert program.list() == 3


def test_a_killed_core_comes_back_behind_its_guards(
    authority: Authority, server: Pair, files: CredentialFiles
) -> None:
    with Guarded(authority, server, *files.flags) as program:
        program.core().kill()
        program.expect("the core listens on .* again")
        program.await_ready()
        user = ("--user", f"{USER}:{PASSWORD}")
        eventually(lambda: program.status("/v1/sessions", *user), lambda status: status == 200)


@pytest.mark.long
def test_users_come_and_go_while_it_runs(
    authority: Authority, server: Pair, files: CredentialFiles
) -> None:
    def asked(password: str) -> int:
        return program.status("/v1/sessions", "--user", f"carol:{password}")

    def reloads() -> int:
        # Ask with what is right: what is wrong may be asked ten times a minute.
        assert program.status("/v1/sessions", "--user", f"{USER}:{PASSWORD}") == 200
        return sum(
            '"program": "gateway"' in line and "reloaded: " in line
            for line in program.output.splitlines()
        )

    with Guarded(authority, server, "--users", files.users) as program:
        assert reloads() == 0
        assert users("add", "carol", files.users, "first") == "added carol\n"
        eventually(reloads, lambda count: count == 1)
        assert asked("first") == 200
        assert users("add", "carol", files.users, "second") == "changed carol\n"
        eventually(reloads, lambda count: count == 2)
        assert asked("second") == 200
        assert asked("first") == 401
        with program.following("/v1/sessions", "--user", "carol:second") as lines:
            assert any(line == "event: sync\n" for line in lines)
            assert users("remove", "carol", files.users) == "removed carol\n"
            assert '"CREDENTIALS_WRONG"' in "".join(lines), "what it has shown is good no more"
        assert asked("second") == 401
        assert reloads() == 3


def users(command: str, name: str, file: Path, password: str = "") -> str:
    """Edit a file of users, with the password on a pipe."""
    done = run_given(f"{password}\n", "users", command, name, "--users", file)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_password_at_a_terminal_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    with Terminal("users", "add", "carol", "--users", tmp_path / "users") as terminal:
        for question in ("Password: ", "Repeat for confirmation: "):
            terminal.expect(question)
            terminal.type("swordfish\n")
        terminal.expect("added carol")
        assert terminal.wait() == 0
    assert "swordfish" not in terminal.shown


@pytest.mark.long
def test_a_new_certificate_is_used_and_answers_under_way_are_finished(
    authority: Authority, server: Pair, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    with Guarded(authority, server, source="synthetic:?sessions=12000&churn=0") as program:
        before = set(program.workers())
        trust = ssl.create_default_context(cafile=authority.cert)
        # The answer is longer than what the kernel holds of it, so most is still to be sent when
        # the worker stops; without compression a loaded machine sends it within the grace.
        room = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]
        transport = httpx.HTTPTransport(verify=trust, trust_env=False, socket_options=room)
        whole = {"Accept-Encoding": "identity"}
        with (
            httpx.Client(transport=transport, timeout=PATIENCE, headers=whole) as slow,
            slow.stream("GET", f"{program.http}/v1/sessions") as answer,
            connected(program, trust) as idle,
        ):
            pieces = answer.iter_bytes(65536)
            body = next(pieces)
            other.issue("server", replace=True)
            try:
                assert idle.recv(1) == b""  # the worker was told to stop, and no longer answers
            except TimeoutError:
                pytest.fail(f"the connection is still open; it said:\n{program.output}")
            body += b"".join(pieces)
        assert len(json.loads(body)["data"]) == 12000
        eventually(lambda: set(program.workers()), lambda now: len(now) == 1 and not now & before)
        program.authority = other
        assert program.status("/v1/sessions/1") == 200
        assert program.list() == 1000

        worker = set(program.workers())
        server.key.write_text("broken")
        program.process.send_signal(signal.SIGHUP)
        program.expect("contains no PEM private key; not reloading")
        assert program.status("/v1/sessions/1") == 200
        assert set(program.workers()) == worker


@contextmanager
def connected(program: Guarded, trust: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Open a connection that was served once, and waits."""
    address = ("localhost", int(program.http.rpartition(":")[2]))
    with (
        socket.create_connection(address, PATIENCE) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as opened,
    ):
        opened.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += opened.recv(1000)
        assert head.startswith(b"HTTP/1.1 200")
        yield opened


def test_a_gateway_and_the_command_get_to_a_guarded_core_elsewhere(
    authority: Authority, server: Pair, files: CredentialFiles
) -> None:
    client = authority.issue("client", "gateway.example")
    guards = ("--tls-cert", server.cert, "--tls-key", server.key, *files.flags)
    token = ("--core-token-file", files.core_token)
    where = ("core", "--grpc", "0.0.0.0:0", "--source", DOCUMENT, "--ledger", "sqlite://")
    with ForkedProgram(*where, *guards, *token, "--tls-client-ca", authority.cert) as core:
        port = core.expect(r"listening on \S+:(\d+)")[1]
        trust = ("--core-ca", authority.cert, "--core-cert", client.cert, "--core-key", client.key)
        elsewhere = ("--core", f"localhost:{port}", *trust)
        listed = run_until(("list", *elsewhere, *token), "RW-Split-Router")
        assert listed.returncode == 0
        shown = run("show", "1", *elsewhere, *token)
        assert "RW-Split-Router" in shown.stdout
        with ForkedProgram("serve", "--http", "127.0.0.1:0", *elsewhere, *token) as gateway:
            http = gateway.expect(r"REST +(\S+)/v1/sessions$")[1]
            answer = httpx.get(f"{http}/v1/sessions/3", timeout=PATIENCE, trust_env=False)
            assert answer.json()["data"]["id"] == "3"


def run_until(arguments: tuple[object, ...], text: str) -> subprocess.CompletedProcess[str]:
    """Run a command until its output contains a text."""
    return eventually(lambda: run(*arguments), lambda done: text in done.stdout)


def test_who_gets_to_no_core_for_tls_is_told_why(
    authority: Authority, server: Pair, tmp_path: Path
) -> None:
    plain = ("core", "--grpc", "127.0.0.1:0", "--source", DOCUMENT, "--ledger", "sqlite://")
    tls = ("--tls-cert", server.cert, "--tls-key", server.key)
    stranger = Authority(tmp_path, "other")
    with ForkedProgram(*plain) as one, ForkedProgram(*plain, *tls) as other:
        insecure, secure = (
            "localhost:" + core.expect(r"listening on \S+:(\d+)")[1] for core in (one, other)
        )
        for address, options, said in (
            (secure, (), "closes the connection; if it uses TLS, set --core-ca FILE"),
            (secure, ("--core-ca", stranger.cert), "that no CA in --core-ca has issued"),
            (insecure, ("--core-ca", authority.cert), "does not use TLS, which --core-ca requires"),
        ):
            checked = run("check", "--core", address, *options)
            assert checked.returncode == 1
            assert f"sessiongate: the core at {address} " in checked.stderr
            assert said in checked.stderr


def test_who_lacks_the_cores_token_is_told_so(files: CredentialFiles) -> None:
    settings = ("--source", DOCUMENT, "--ledger", "sqlite://", "--users", files.users)
    with ForkedProgram("core", "--grpc", "127.0.0.1:0", *settings) as core:
        address = core.expect(r"listening on (\S+)")[1]
        await_ready(address)
        listed = run("list", "--core", address)
        assert (listed.stdout, listed.returncode) == ("", 1)
        assert listed.stderr == (
            f"sessiongate: the core at {address} requires credentials; set --core-user and"
            " --core-password-file, --core-token-file, or --core-cert and --core-key\n"
        )
        with ForkedProgram("serve", "--http", "127.0.0.1:0", "--core", address) as gateway:
            http = gateway.expect(r"REST +(\S+)/v1/sessions$")[1]
            answer = httpx.get(f"{http}/v1/sessions", timeout=PATIENCE, trust_env=False)
            assert answer.status_code == 502
            (error,) = answer.json()["errors"]
            assert error["detail"] == "the core does not trust this gateway"


def test_hanging_up_ends_no_core() -> None:
    settings = ("--source", DOCUMENT, "--ledger", "sqlite://")
    with ForkedProgram("core", "--grpc", "127.0.0.1:0", *settings) as core:
        address = core.expect(r"listening on (\S+)")[1]
        core.process.send_signal(signal.SIGHUP)
        await_ready(address)
        core.interrupt()
        assert core.wait() == 0
