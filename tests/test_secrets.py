"""A password appears nowhere, however its URL is mistyped; and no output controls a terminal."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sessiongate.core.ledger.file import ledger_path
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.sources.base import SourceConfig, SourceConfigError, open_source
from sessiongate.gateway.cli.groups import has_password
from sessiongate.gateway.cli.plan import shown_source
from tests.faults.scale import times
from tests.gateway.programs import running_core
from tests.polling import eventually
from tests.program import (
    COMMAND,
    DATA,
    PATIENCE,
    Forked,
    ForkedProgram,
    Program,
    environment,
    run,
    run_without_output,
)

# A password in two parts: the text between them is what goes wrong.
PARTS = ("hunter", "swordfish")
BEFORE = [
    "postgresql://app:", "postgresql:///app:", "postgresql:/app:", "postgresql:app:",
    "postgresql//app:", "postgresql:\\\\app:", "mariadb://app:", "maxscale+http://app:",
    "pgbouncer:://app:", "haproxy://app:", "document:app:", "document://app:", "host:app:",
    "synthetic://app:", "postgre://app:", "app:", "//app:", ":app:", "://app:", " postgresql://app:",
    "sqlite://app:", "sqlite:///app:", "sqlite:app:", "mysql://app:", "postgresql+psycopg://app:",
    "postgresql://db1?password=", "mariadb://app@db1?tls=offpassword=",
    "pgbouncer://app@db1?name=x;password=", "mysql://app@db1?name=x?password=",
]  # fmt: skip
BETWEEN = ["#", "/", "?", "[", "]", ":", "@", "%", "\\", "&", "&x=", "?x=", "=", ";", " ", "\t"]
BETWEEN += ["\n", "\x1b", "\u202e", "é", "%40", "%2F", "%", '"', "'", "{", "$", "/../", "//", "#@"]
AFTER = [
    "@db1", "@db1:5432/postgres", "@", "@@db1", "@db1:port", "@db1:99999", "@db1?interval=x",
    "@db1?x=1", "@[db1", "@d b", "", "/db", "@db1#x", "@db1/x?y", "@db1?tls=on", "#", "@/", "&x=1",
    "?interval=0", "?x", "@::1",
]  # fmt: skip

urls = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(BEFORE),
        st.just(PARTS[0]),
        st.lists(st.sampled_from(BETWEEN), max_size=3).map("".join),
        st.just(PARTS[1]),
        st.sampled_from(AFTER),
    ),
)


def tells(text: str) -> bool:
    return any(part in text for part in PARTS)


@given(urls)
@settings(max_examples=times(300, 10_000))
def test_no_url_tells_its_password_when_it_is_read(url: str) -> None:
    place = url.rpartition("@")[2].partition("/")[0]
    assume(not tells(place) or "@" not in url)  # which is where its host belongs
    has_password(url)
    try:
        said = str(ledger_path(url))
    except LedgerError as error:
        said = str(error)
    try:
        config = SourceConfig.parse(url)
        open_source(config)
        said += config.name + shown_source(url)
    except SourceConfigError as error:
        said += str(error)
    assert not tells(said)


MISTYPED = [f"{before}{PARTS[0]}{between}{PARTS[1]}{after}"
            for before, between, after in zip(BEFORE, BETWEEN, AFTER * 2, strict=False)
            ]  # fmt: skip


def test_no_program_tells_a_password_that_it_refuses(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    lines = ", ".join(json.dumps(url) for url in MISTYPED)
    file.write_text(f"source = [{lines}]\nledger = {json.dumps(MISTYPED[0])}\n")
    checked = run("check-config", "--config", file)
    assert checked.returncode == 2
    assert len(checked.stderr.splitlines()) > len(MISTYPED) / 2
    assert not tells(checked.stderr + checked.stdout)
    url, *others = (MISTYPED[0], MISTYPED[3], MISTYPED[15])
    spaced = f"postgresql://app:{PARTS[0]} {PARTS[1]}@h"
    quiet = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ledger", "sqlite://")
    for ended in (
        run("core", *quiet[2:], SESSIONGATE_SOURCE=url),
        run("serve", "--public-url", url, "--trusted-proxies", url),
        run("serve", *quiet[:4], SESSIONGATE_LEDGER=url),
        run("serve", *spaced.split()),
        run("list", "--core", url),
        run(url),
        *(run("serve", *quiet, "--source", each) for each in (url, *others, spaced)),
    ):
        assert ended.returncode in (1, 2)
        assert not tells(ended.stderr + ended.stdout)
        assert "Traceback" not in ended.stderr


def test_no_program_tells_a_password_that_it_uses(tmp_path: Path) -> None:
    password = f"{PARTS[0]}[%23{PARTS[1]}"
    kinds = ("postgresql", "mariadb", "pgbouncer", "maxscale+http", "maxscale+https")
    urls = [f"{kind}://app:{password}@127.0.0.1:1?name={kind}" for kind in kinds]
    file = tmp_path / "s.toml"
    file.write_text(f"source = {json.dumps(urls)}\nledger = 'sqlite://'\n")
    ports = ("--metrics", "127.0.0.1:0", "--core-metrics", "127.0.0.1:0", "--access-log", "on")
    with Forked("--config", file, *ports[:4]) as served:
        metrics = served.output.split("metrics at ")[1:]
        said = [httpx.get(each.split()[0].strip('"},'), trust_env=False).text for each in metrics]
        assert any("sessiongate_source" in text for text in said)
        for path in ("sources", "sessions", "maxscale", "openapi.json"):
            answer = httpx.get(f"http://{served.http}/v1/{path}", trust_env=False, timeout=PATIENCE)
            said.append(answer.text)
        for arguments in (("sources",), ("sources", "--json"), ("list",), ("list", "--json")):
            ended = run(*arguments, "--core", served.grpc)
            said.append(ended.stdout + ended.stderr)
    said.append(served.output)
    assert "connection" in "".join(said)
    assert [text for text in said if tells(text)] == []


HOSTILE = "a\x1b]0;x\x07\x9b31m\u202e\u2066\u200db\u2028é"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("hostile") / "hostile.json"
    document = json.loads((DATA / "sessions.json").read_text())
    for resource in document["data"]:
        resource["attributes"]["user"] = HOSTILE
    path.write_text(json.dumps(document))
    with running_core(f"document:{path}") as core:
        yield core


@pytest.mark.parametrize("arguments", ["list", "list --json", "show 1 --json", "show 1"])
def test_no_name_of_a_user_commands_a_terminal(hostile: str, arguments: str) -> None:
    ended = run(*arguments.split(), "--core", hostile)
    assert ended.returncode == 0
    for text in (ended.stdout, ended.stderr):
        assert all(line.isprintable() for line in text.split("\n"))
    if "--json" in arguments:
        data = json.loads(ended.stdout)["data"]
        first = data[0] if isinstance(data, list) else data
        assert first["attributes"]["user"] == HOSTILE
        assert "é" in ended.stdout


@pytest.mark.parametrize(
    ("kind", "flags", "mode"),
    [(Program, [], 0o600), (ForkedProgram, ["--socket-mode", "660"], 0o660)],
)
def test_a_cores_socket_is_its_users_alone(
    tmp_path: Path, kind: type[Program], flags: list[str], mode: int
) -> None:
    socket = tmp_path / "core.sock"
    before = os.umask(0)  # a program that is not forked inherits it
    try:
        arguments = ("core", "--ledger", "sqlite://", "--grpc", f"unix:{socket}", *flags)
        with kind(*arguments) as core:
            core.expect("listening on")
            assert stat.S_IMODE(socket.stat().st_mode) == mode
    finally:
        os.umask(before)


def test_a_socket_that_its_user_cannot_use_is_refused() -> None:
    for mode in ("066", "rw", "6600", "060"):
        ended = run("core", "--socket-mode", mode)
        assert "--socket-mode" in ended.stderr
        assert ended.returncode == 2


def closed(arguments: str, streams: str, **variables: str) -> tuple[int, str]:
    """Run the command with some of its streams closed; return its exit code, and standard error."""
    ended = subprocess.run(
        ["bash", "-c", f"exec {COMMAND} {arguments} {streams}"],
        env=environment(**variables),
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_a_command_that_cannot_print_says_so(hostile: str) -> None:
    line = "sessiongate: the output cannot be written: standard output is closed\n"
    for arguments in ("list", "list --json", "sources", "show 1", "--version", "list --help"):
        ended = run_without_output(*arguments.split(), SESSIONGATE_CORE=hostile)
        assert (ended.returncode, ended.stderr) == (1, line), arguments
    assert closed("list", ">&-", SESSIONGATE_CORE=hostile) == (1, line)
    assert closed("list", "<&- >&- 2>&-", SESSIONGATE_CORE=hostile) == (1, "")
    assert closed("list > /dev/null", "<&- 2>&-", SESSIONGATE_CORE=hostile) == (0, "")


def test_a_server_runs_with_its_streams_closed(tmp_path: Path) -> None:
    socket = tmp_path / "core.sock"
    command = f"exec {COMMAND} serve --http 127.0.0.1:0 --grpc unix:{socket} --ledger sqlite://"
    process = subprocess.Popen(
        ["bash", "-c", f"{command} --source document:{DATA}/sessions.json <&- >&- 2>&-"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        listing = ("list", "--core", f"unix:{socket}")
        eventually(lambda: run(*listing).returncode == 0 or process.poll() is not None)
        assert process.poll() is None
        for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children()):
            kinds = [os.stat(f"/proc/{each.pid}/fd/{number}") for number in range(3)]
            assert not any(stat.S_ISSOCK(kind.st_mode) for kind in kinds)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
