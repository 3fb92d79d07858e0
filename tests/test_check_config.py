"""`sessiongate check-config`: every fault of a configuration, before anything starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.listener import ListenError, listen
from tests.certificates import Authority
from tests.credentials import CredentialFiles
from tests.program import BIN, DATA, ForkedProgram, environment, run
from tests.snippets import texts

DOCUMENT = DATA / "sessions.json"
WRONG = """
http = "8989"
wrokers = 3
workers = 0
log_level = "warn"
public_url = "sessions.example"
users = "{folder}/users"
tls_cert = "{folder}/server.pem"
tls_key = "{folder}/ca.pem"
token_secret = "{folder}/secret"
stale_after = "soon"
ledger = "mysql://x/y"
source = [
    "postgre://u@h",
    "pgbouncer://u@h?pasword_file=/x&timezone=Berlin&interval=5s",
    "document:{folder}/none.json",
    {{ url = "postgresql://u@h", password_file = "{folder}/password", tls = "on" }},
    "host:",
    "host:",
    "mariadb://m?tls=on&interval=x&passwd=y",
]
"""


def test_all_that_is_wrong_is_told_a_line_each(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    file = tmp_path / "wrong.toml"
    file.write_text(WRONG.format(folder=tmp_path))
    checked = run("check-config", "--config", file, SESSIONGATE_CORE_TIMEOUT="x")
    assert (checked.returncode, checked.stdout) == (2, "")
    lines = checked.stderr.splitlines()
    for place, said in (
        ("--config", "unknown key 'wrokers'; did you mean 'workers'?"),
        (f"'http' in {file}", "did you mean '127.0.0.1:8989'?"),
        (f"'workers' in {file}", "must be an integer from 1 to 64, got 0"),
        (f"'log_level' in {file}", "did you mean 'warning'?"),
        (f"'stale_after' in {file}", "up to 86400, got 'soon'"),
        (f"'public_url' in {file}", "got 'sessions.example'"),
        (f"'users' in {file}", f"{tmp_path}/users: no such file"),
        (f"'tls_key' in {file}", "ca.pem contains no PEM private key"),
        (f"'token_secret' in {file}", "no such file"),
        ("SESSIONGATE_CORE_TIMEOUT", "up to 86400, got 'x'"),
        (f"'source' in {file}: source h", "did you mean 'postgresql'?"),
        (f"'source' in {file}: source h", "did you mean 'password_file'?"),
        (f"'source' in {file}: source h", "timezone must be AREA/CITY"),
        (f"'source' in {file}: source h", "interval must be a number above 0, such as 5, got '5s'"),
        (f"'source' in {file}: source h", "tls must be verify or off, got 'on'"),
        (f"'source' in {file}: source none.json", f"document: {tmp_path}/none.json: no such file"),
        (f"'source' in {file}: source h", f"password_file: {tmp_path}/password: no such file"),
        (f"'source' in {file}: source m", "a user is required"),
        (f"'source' in {file}: source m", "tls must be verify or off, got 'on'"),
        (f"'source' in {file}: source m", "interval must be a number above 0, such as 5, got 'x'"),
        (f"'source' in {file}: source m", "unknown option 'passwd'"),
        (f"'source' in {file}", "3 sources are named 'h'; add name=… to all but one"),
        (f"'source' in {file}", "2 sources are named 'host'; add name=… to all but one"),
        (f"'ledger' in {file}", "cannot be stored in mysql; use sqlite:///PATH"),
    ):
        about = [line for line in lines if line.startswith(f"sessiongate: {place}: ")]
        (line,) = (line for line in about if said in line)
        lines.remove(line)
    assert lines == []


def test_a_document_without_a_path_is_one_fault() -> None:
    checked = run("check-config", "--ledger", "sqlite://", "--source", "document:")
    assert checked.stderr.splitlines() == [
        "sessiongate: --source: source document: the URL must be document:PATH"
    ]


def test_a_document_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text('{"data": [')
    checked = run("check-config", "--ledger", "sqlite://", "--source", f"document:{path}")
    assert checked.returncode == 2
    (line,) = checked.stderr.splitlines()
    assert f"document: {path}: not JSON: line 1" in line


def test_what_is_not_utf_8_is_refused() -> None:
    source = os.fsdecode(b"document:/tmp/\xff.json")
    ledger = os.fsdecode(b"sqlite:////tmp/\xff.db")
    checked = run("check-config", "--source", source, "--ledger", ledger)
    assert (checked.returncode, checked.stderr.splitlines()) == (
        2,
        [
            "sessiongate: --source: source document: the value is not UTF-8",
            "sessiongate: --ledger: the value is not UTF-8",
        ],
    )


def test_what_is_right_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    ledger = tmp_path / "folder" / "ledger.db"
    file = tmp_path / "right.toml"
    file.write_text(
        f'source = ["host:", "document:{DOCUMENT}?name=a"]\nledger = "sqlite:///{ledger}"'
    )
    checked = run("check-config", "--config", file)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines() == [
        "no errors in these settings and the files that they name",
        "  REST     http://127.0.0.1:8989/v1/sessions",
        "  gRPC     127.0.0.1:50051",
        f"  Sources  host:, a (document:{DOCUMENT})",
    ]
    assert not ledger.parent.exists()


def test_it_checks_beside_a_program_that_runs(tmp_path: Path) -> None:
    try:
        listener = listen(GatewayConfig().http)
    except ListenError:
        listener = None  # taken by another program, which serves just as well
    assert run("check-config", "--ledger", "sqlite://").returncode == 0
    if listener:
        listener.close()


def test_a_gateway_alone_is_checked_without_sources() -> None:
    checked = run("check-config", "--core", "127.0.0.1:1")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.splitlines()[-1] == "  gRPC     of the core at 127.0.0.1:1"


def test_a_ledger_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path, "is a folder, not a file"),
        (
            tmp_path / "file/ledger.db",
            f"cannot be created: {tmp_path}/file is a file, not a folder",
        ),
    ):
        checked = run("check-config", "--ledger", f"sqlite:///{path}")
        assert (checked.returncode, checked.stderr) == (
            2,
            f"sessiongate: --ledger: {path} {said}\n",
        )


def test_the_documented_command_checks(tmp_path: Path) -> None:
    (command,) = texts("docs/operations.md", "sh", "Before it starts")
    (tmp_path / "sessiongate.toml").write_text("ledger = 5")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment(PATH=f"{BIN}:/usr/bin:/bin"),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("sessiongate: 'ledger' in sessiongate.toml: ")


def test_a_document_is_looked_for_however_its_path_begins() -> None:
    locations = ("nope.json", "/nope.json", "//nope.json", "///nope.json")
    sources = [f"--source=document:{each}?name=s{n}" for n, each in enumerate(locations)]
    checked = run("check-config", *sources, "--ledger", "sqlite://")
    assert checked.returncode == 2
    for n, line in enumerate(checked.stderr.splitlines()):
        assert f"source s{n}: document: " in line
        assert "no such file" in line
    assert n + 1 == len(locations)


def test_files_that_lack_another_are_read_all_the_same(tmp_path: Path) -> None:
    checked = run("check-config", "--tls-cert", tmp_path / "nope.pem", "--ledger", "sqlite://")
    assert checked.returncode == 2
    assert checked.stderr.splitlines() == [
        "sessiongate: --tls-cert: requires --tls-key",
        f"sessiongate: --tls-cert: {tmp_path}/nope.pem: no such file",
    ]
    pair = ("--tls-cert", tmp_path / "nope.pem", "--tls-key", tmp_path / "nope.key")
    checked = run("check-config", *pair, "--ledger", "sqlite://")
    assert checked.stderr.splitlines() == [
        f"sessiongate: --tls-cert: {tmp_path}/nope.pem: no such file",
        f"sessiongate: --tls-key: {tmp_path}/nope.key: no such file",
    ]


@pytest.mark.parametrize(
    ("listeners", "said"),
    [
        (
            "--grpc 127.0.0.1:8989",
            "--grpc: 127.0.0.1:8989 is already used by --http; choose another port",
        ),
        ("--metrics 127.0.0.1:8989", "--metrics: 127.0.0.1:8989 is already used by --http; choose"),
        (
            "--core-metrics 127.0.0.1:50051",
            "--core-metrics: 127.0.0.1:50051 is already used by --grpc",
        ),
        ("--metrics 127.0.0.1:1 --core-metrics 127.0.0.1:1", "is already used by --metrics"),
        ("--http 0.0.0.0:50051 --insecure", "--grpc: 127.0.0.1:50051 is already used by --http"),
        ("--http [::]:50051 --insecure", "--grpc: 127.0.0.1:50051 is already used by --http"),
    ],
)
def test_listeners_that_collide_are_told(listeners: str, said: str) -> None:
    # `serve` refuses them as `check-config` does, and before it starts a core.
    ended = run("serve", "--ledger", "sqlite://", *listeners.split())
    assert ended.returncode == 2
    assert said in ended.stderr


def test_check_config_tells_listeners_that_collide() -> None:
    checked = run("check-config", "--ledger", "sqlite://", "--grpc", "127.0.0.1:8989")
    assert checked.returncode == 2
    assert "--grpc: 127.0.0.1:8989 is already used by --http" in checked.stderr


@pytest.mark.parametrize(
    "listeners",
    [
        "--http 127.0.0.1:0 --metrics 127.0.0.1:0 --grpc 127.0.0.1:0",
        "--http 127.0.0.2:50051",
        "--http [::]:9 --metrics 0.0.0.0:9 --insecure",
        "--http 127.0.0.1:1 --grpc unix:/run/core.sock",
    ],
)
def test_listeners_that_do_not_collide_are_right(listeners: str) -> None:
    checked = run("check-config", "--ledger", "sqlite://", *listeners.split())
    assert (checked.returncode, checked.stderr) == (0, "")


def test_each_fault_names_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('source = ["hst:"]\nledger = "mysql://h/l"')
    unknown = "source hst: unknown kind 'hst'"
    quiet = ("--log-level", "error", "--ledger", "sqlite://")
    for command in ("serve", "core", "check-config"):
        ended = run(command, *quiet, "--config", file)
        assert f": 'source' in {file}: {unknown}" in ended.stderr
    ended = run("serve", *quiet, SESSIONGATE_SOURCE="hst:")
    assert f": SESSIONGATE_SOURCE: {unknown}" in ended.stderr
    ended = run("serve", *quiet, "--source", "hst:")
    assert f": --source: {unknown}" in ended.stderr
    ended = run("serve", "--config", file, SESSIONGATE_SOURCE="host:")
    assert f": 'ledger' in {file}: the ledger cannot be stored in mysql" in ended.stderr
    assert ended.returncode == 2


def test_secrets_that_every_user_can_read_are_warned_of_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    files = CredentialFiles(tmp_path)
    flags = {"--tls-key": pair.key, "--users": files.users, "--core-token-file": files.core_token}
    arguments = [word for flag, path in flags.items() for word in (flag, path)]
    arguments += ["--tls-cert", pair.cert, "--ledger", "sqlite://"]
    warnings = []
    for flag, path in flags.items():
        path.chmod(0o604)
        text = f"{path} contains a secret that every user of this machine can access (mode 0604)"
        warnings.append(f"{flag}: {text}; run chmod o-rwx {path}")
    checked = run("check-config", *arguments)
    assert checked.returncode == 0
    assert checked.stderr.splitlines() == [f"sessiongate: warning: {text}" for text in warnings]
    for command in ("serve", "core"):
        with ForkedProgram(
            *(command, "--grpc", "127.0.0.1:0", *arguments),
            *(("--http", "127.0.0.1:0", "--workers", "2") if command == "serve" else ()),
        ) as program:
            program.expect("REST " if command == "serve" else "listening on")
            program.process.terminate()
            assert program.wait() == 0
        assert [program.output.count(text) for text in warnings] == [1, 1, 1]
    for path in flags.values():
        path.chmod(0o640)
    assert run("check-config", *arguments).stderr == ""
