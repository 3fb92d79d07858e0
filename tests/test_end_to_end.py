"""The whole path, as users have it: the real command, real sockets, real signals."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from sessiongate.v1.session_service_pb2 import GetSessionRequest, ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.closing import lasting
from tests.polling import eventually
from tests.program import (
    BIN,
    DATA,
    DOCUMENT,
    PATIENCE,
    Forked,
    ForkedProgram,
    Program,
    Serving,
    await_ready,
    channel,
    run,
)


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    """Serve the reference text's sessions, on a fresh ledger."""
    with Forked("--source", DOCUMENT) as program:
        yield program


def get(program: Serving, path: str) -> httpx.Response:
    """Make a request to the program, under its name in the reference text."""
    return httpx.get(
        f"http://{program.http}{path}",
        headers={"Host": "localhost:8989"},
        timeout=PATIENCE,
        trust_env=False,
    )


def sessions(program: Serving) -> dict[str, str]:
    """Return the documents' services by the sessions' ids."""
    answer = get(program, "/v1/sessions")
    assert answer.status_code == 200, answer.text
    return {
        item["id"]: item["relationships"]["services"]["data"][0]["id"]
        for item in answer.json()["data"]
    }


@pytest.mark.parametrize(
    ("path", "golden"), [("/v1/sessions", "sessions.json"), ("/v1/sessions/1", "session_1.json")]
)
def test_the_reference_text_is_answered_byte_for_byte(
    served: Serving, path: str, golden: str
) -> None:
    answer = get(served, f"{path}?pretty=true")
    assert answer.status_code == 200
    assert answer.content == (DATA / golden).read_bytes().rstrip(b"\n")


@pytest.mark.parametrize(
    ("arguments", "golden"), [(("list",), "sessions.json"), (("show", "1"), "session_1.json")]
)
def test_the_command_prints_the_same_documents(
    served: Serving, arguments: tuple[str, ...], golden: str
) -> None:
    printed = run(*arguments, "--json", "--core", served.grpc)
    assert printed.stdout == (DATA / golden).read_text().rstrip("\n") + "\n"
    assert (printed.stderr, printed.returncode) == ("", 0)


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_reflection_is_enough_for_buf_curl(version: str, served: Serving) -> None:
    def curl(*arguments: str) -> str:
        command = [str(BIN / "buf"), "curl", "--http2-prior-knowledge", "--protocol", "grpc"]
        command += ["--reflect-protocol", version]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    service = "sessiongate.v1.SessionService"
    base = f"http://{served.grpc}"
    services = {*curl("--list-services", base).split()}
    assert {"grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health"} <= services
    methods = set(curl("--list-methods", base).split())
    assert "grpc.reflection.v1.ServerReflection/ServerReflectionInfo" in methods
    assert {f"{service}/ListSessions", f"{service}/GetSession"} <= methods
    listed = json.loads(curl("--data", "{}", f"{base}/{service}/ListSessions"))
    assert [session["id"] for session in listed["sessions"]] == ["1", "2", "3"]
    got = json.loads(curl("--data", '{"id": 2}', f"{base}/{service}/GetSession"))
    assert got["session"]["service"] == "Read-Connection-Router"


def test_a_gateway_has_as_many_calls_as_it_needs() -> None:
    accept = {"accept": "text/event-stream"}
    arguments = ("--source", DOCUMENT, "--max-calls", "2")
    with Forked(*arguments) as program, httpx.Client(timeout=PATIENCE) as http, ExitStack() as all:
        url = f"http://{program.http}/v1/sessions"
        for _ in range(7):
            answer = all.enter_context(http.stream("GET", url, headers=accept))
            assert answer.status_code == 200
            assert next(answer.iter_lines())
        assert http.get(f"{url}/1").status_code == 200


def test_a_gateway_alone_answers_for_a_core_elsewhere(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    core_alone = ("core", "--grpc", "127.0.0.1:0", "--source", DOCUMENT, "--ledger", ledger)
    with ForkedProgram(*core_alone) as core:
        address = core.expect(r"listening on (\S+)")[1]
        await_ready(address)
        with ForkedProgram("serve", "--http", "127.0.0.1:0", "--core", address) as gateway:
            http = gateway.expect(r"REST +(\S+)/v1/sessions$")[1]
            answer = httpx.get(f"{http}/v1/sessions/3", timeout=PATIENCE, trust_env=False)
            assert answer.json()["data"]["id"] == "3"
            gateway.interrupt()
            assert gateway.wait() == 0
        core.interrupt()
        assert core.wait() == 0


def test_this_machines_connections_are_shown() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
        Forked() as program,
    ):
        port = listener.getsockname()[1]
        with channel(program.grpc) as opened:
            found = SessionServiceStub(opened).ListSessions(ListSessionsRequest()).sessions
        # To another server, another client may have the same port.
        ends = f"127.0.0.1:{port}<-127.0.0.1:{client.getsockname()[1]}"
        (mine,) = (each for each in found if each.native_id == ends)
        attributes = get(program, f"/v1/sessions/{mine.id}").json()["data"]["attributes"]
        assert attributes["remote"] == "127.0.0.1"
        assert attributes["state"] == "Session started"
        (door,) = (each for each in found if each.native_id == f"127.0.0.1:{port}")
        assert door.service == mine.service


def test_a_killed_core_is_replaced_and_its_sessions_keep_their_ids(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with Forked("--source", DOCUMENT, "--ledger", ledger) as program:
        before = sessions(program)
        stop_core(program)
        # Until its connection is cut, a worker answers from its replica.
        down = eventually(
            lambda: get(program, "/v1/sessions"), lambda answer: answer.status_code != 200
        )
        assert down.status_code == 503
        assert down.headers["Content-Type"] == "application/vnd.api+json"
        assert int(down.headers["Retry-After"]) >= 1
        (error,) = down.json()["errors"]
        assert error["status"] == "503"
        program.process.send_signal(signal.SIGCONT)
        program.expect(r"the core was killed by SIGKILL; restarting it in [0-9.]+ s")
        program.expect(rf"the core listens on {program.grpc} again")
        await_answer(program)
        assert sessions(program) == before


def test_a_core_that_cannot_start_again_just_now_is_tried_until_it_can() -> None:
    with Forked("--source", DOCUMENT) as program:
        stop_core(program)
        host, port = program.grpc.split(":")
        with socket.create_server((host, int(port))):
            program.process.send_signal(signal.SIGCONT)
            program.expect(r"the core was killed by SIGKILL")
            program.expect(r"the core exited with code 2; restarting it")
        program.expect(r"the core listens on .* again")
        await_answer(program)
        assert len(sessions(program)) == 3


def await_answer(program: Serving) -> None:
    """Ask until the gateway has found the core again: it looks once a second."""
    eventually(lambda: get(program, "/v1/sessions/1").status_code, lambda code: code != 503)


def stop_core(program: Serving) -> None:
    """Kill the core; the program starts no other until it is continued."""
    core = program.core()
    program.process.send_signal(signal.SIGSTOP)
    core.kill()
    # Its parent is stopped and cannot reap it. It is gone when its port is free.
    host, port = program.grpc.split(":")
    while True:
        with suppress(OSError), socket.create_server((host, int(port))):
            return


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly(number: signal.Signals) -> None:
    with Forked("--source", DOCUMENT) as program:
        assert get(program, "/").status_code == 200
        children = program.children()
        if number is signal.SIGINT:
            program.interrupt()
        else:
            program.process.send_signal(number)
        assert program.wait() == 0
        assert lasting(children, PATIENCE) == []
        assert "Traceback" not in program.output


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, Program), (signal.SIGTERM, ForkedProgram)]
)
def test_it_stops_cleanly_while_it_starts(
    number: signal.Signals, kind: type[Program], tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with kind("serve", "--grpc", "127.0.0.1:0", "--ledger", ledger) as program:
        started = eventually(program.children)
        program.process.send_signal(number)
        assert program.wait() == 0
        assert lasting(started, PATIENCE) == []


def test_nothing_tells_of_its_sources_or_outlives_it_if_it_is_killed() -> None:
    with Serving("--source", DOCUMENT) as program:
        assert program.core().cmdline()[1:] == ["-P", "-m", "sessiongate.core"]
        (worker,) = program.workers()
        assert DOCUMENT not in " ".join(worker.cmdline())
        children = program.children()
        assert {program.core(), worker} <= {*children}
        program.process.kill()
        assert lasting(children, PATIENCE) == []


def test_a_second_core_on_a_ledger_ends_and_names_the_first(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with Forked("--source", DOCUMENT, "--ledger", ledger) as program:
        for command in ("core", "serve"):
            second = run(command, "--grpc", "127.0.0.1:0", "--source", DOCUMENT, "--ledger", ledger)
            assert second.returncode == 2
            assert f"process id {program.core().pid} " in second.stderr
            assert "Traceback" not in second.stderr


def test_ids_outlive_a_restart(tmp_path: Path) -> None:
    document = json.loads((DATA / "sessions.json").read_text())
    path = tmp_path / "some.json"
    arguments = ("--source", f"document:{path}", "--ledger", f"sqlite:///{tmp_path}/ledger.db")

    path.write_text(json.dumps({**document, "data": document["data"][1:]}))
    with Forked(*arguments) as program:
        assert sessions(program) == {"2": "Read-Connection-Router", "3": "CLI"}
        with channel(program.grpc) as opened:
            stub = SessionServiceStub(opened)
            revision = stub.GetSession(GetSessionRequest(id=2)).session.revision
    path.write_text(json.dumps(document))
    with Forked(*arguments) as program:
        assert sessions(program) == {
            "1": "RW-Split-Router",
            "2": "Read-Connection-Router",
            "3": "CLI",
        }
        with channel(program.grpc) as opened:
            stub = SessionServiceStub(opened)
            assert stub.GetSession(GetSessionRequest(id=2)).session.revision > revision


def test_an_address_in_use_ends_the_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = "127.0.0.1:0"
        for program, flag, http, grpc in (
            ("sessiongate", "--http", address, free),
            ("sessiongate core", "--grpc", free, address),
        ):
            logs = ("--log-level", "warning")
            ended = run("serve", "--http", http, "--grpc", grpc, "--ledger", "sqlite://", *logs)
            assert ended.returncode == 2
            assert ended.stderr == (
                f"{program}: {flag}: cannot listen on {address}: another program listens there;"
                " stop it or choose another port\n"
            )


def test_a_source_that_the_core_refuses_ends_the_program() -> None:
    ended = run("serve", "--source", "telepathy:", "--ledger", "sqlite://")
    assert ended.returncode == 2
    assert "unknown kind 'telepathy'" in ended.stderr
    assert "document" in ended.stderr
