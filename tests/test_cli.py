"""What the command takes, refuses and prints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

import core.config
import gateway.cli
from gateway.supervisor import Settings
from gateway.terminal import print_session, print_sessions, print_unreachable
from gateway.values import Source, has_password
from sessiongate.v1.session_pb2 import Session
from tests.program import DATA, Serving, run

DOCUMENT = f"document:{DATA / 'sessions.json'}"
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _without_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("SESSIONGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that this process would have become a core with."""
    settings: list[Settings] = []
    monkeypatch.setattr(gateway.cli, "become_core", settings.append)
    return settings


def invoke(*arguments: str) -> tuple[int, str]:
    """Run a command in this process, which does where it starts nothing: exit code and output."""
    result = CliRunner().invoke(gateway.cli.app, arguments, prog_name="sessiongate")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def refusal(*arguments: str) -> str:
    """What a command that must be refused says."""
    code, output = invoke(*arguments)
    assert code == 2, output
    return output.rpartition("Error: ")[2].strip()


# Settings: flag, variable, file, default.


def test_without_settings_the_core_reads_this_machine(
    started: list[Settings], tmp_path: Path
) -> None:
    assert invoke("core") == (0, "")
    assert started == [
        {
            "grpc": "127.0.0.1:50051",
            "source": ["host:"],
            "ledger": f"sqlite:///{tmp_path}/sessiongate/ledger.db",
            "stale_after": core.config.DEFAULT_STALE_AFTER,
        }
    ]


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('grpc = "127.0.0.1:1"\nledger = "sqlite:///file"\nstale_after = 1\n')
    monkeypatch.setenv("SESSIONGATE_CONFIG", str(file))
    monkeypatch.setenv("SESSIONGATE_GRPC", "127.0.0.1:2")
    monkeypatch.setenv("SESSIONGATE_LEDGER", "sqlite:///variable")
    assert invoke("core", "--grpc", "127.0.0.1:3") == (0, "")
    assert started == [
        {
            "grpc": "127.0.0.1:3",
            "source": ["host:"],
            "ledger": "sqlite:///variable",
            "stale_after": 1.0,
        }
    ]


def test_sources_come_from_repeated_flags_words_of_a_variable_or_a_list_in_the_file(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    table = {"url": "document:b.json", "name": "b", "port": 5, "on": True}
    file.write_text(
        'source = ["host:", {url = "document:b.json", name = "b", port = 5, on = true}]\n'
    )
    invoke("core", "--source", "host:", "--source", "document:a.json?name=a")
    invoke("core", "--config", str(file))
    monkeypatch.setenv("SESSIONGATE_SOURCE", f"postgresql://u:{SECRET}@db document:b.json")
    invoke("core", "--config", str(file))
    assert [settings["source"] for settings in started] == [
        ["host:", "document:a.json?name=a"],
        ["host:", table],
        [f"postgresql://u:{SECRET}@db", "document:b.json"],
    ]


def test_one_source_needs_no_list_in_the_file(started: list[Settings], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('source = "host:"\n')
    invoke("core", "--config", str(file))
    assert started[0]["source"] == ["host:"]


def test_systemd_says_where_state_is_kept(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/sessiongate:/var/lib/other")
    invoke("core")
    assert started[0]["ledger"] == "sqlite:////var/lib/sessiongate/ledger.db"


# What is refused, and in which words.


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--http", "localhost", "is not HOST:PORT, such as"),
        ("--http", "127.0.0.1:65536", "a port from 0 to 65535"),
        ("--http", "::1:8989", "[::1]:8989"),
        ("--http", "[127.0.0.1]:1", "is not HOST:PORT"),
        ("--http", "unix:/run/http.sock", "is not HOST:PORT"),
        ("--grpc", "*:1", "is not HOST:PORT"),
        ("--grpc", "unix:", "lacks the socket's path"),
        ("--core", "nowhere", "is not HOST:PORT"),
        ("--core-timeout", "0", "seconds, above 0 and up to 86400"),
        ("--core-timeout", "soon", "seconds, above 0"),
        ("--stale-after", "inf", "seconds, above 0"),
        ("--ledger", "", "one character or more"),
        ("--public-url", "sessions.example", "http(s)://HOST"),
        ("--allowed-host", "a:1", "without a port"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(flag: str, value: str, allowed: str) -> None:
    said = refusal("serve", flag, value)
    assert repr(value) in said
    assert allowed in said
    assert flag.removeprefix("--") in said.replace("_", "-")


def test_a_bad_value_of_a_variable_is_the_variables_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONGATE_STALE_AFTER", "-1")
    assert refusal("core") == (
        "Invalid value for SESSIONGATE_STALE_AFTER:"
        " '-1' is not a number of seconds, above 0 and up to 86400"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('http = "8989"', "'8989' is not HOST:PORT"),
        ("http = 8989", "'8989' is not HOST:PORT"),
        ("core_timeout = true", "True is not a number of seconds"),
        ("core_timeout = [1]", "[1] is not a number of seconds"),
        ('insecure = "maybe"', "'maybe' is none of true, yes, on, 1, false, no, off, 0"),
        ("ledger = 5", "5 is not a string"),
        ("allowed_host = [5]", "5 is not a string"),
        ("source = [5]", 'each is a URL, or a table with "url" and options'),
        ('source = [{name = "a"}]', 'each is a URL, or a table with "url" and options'),
        ('source = [{url = "host:", name = []}]', "'name' of a source must be a string, a number"),
    ],
)
def test_a_bad_value_in_the_file_is_named_with_key_and_file(
    line: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(line)
    key = line.partition(" ")[0]
    assert refusal("serve", "--config", str(file)).startswith(
        f"Invalid value for {key!r} in {file}: "
    )
    assert said in refusal("serve", "--config", str(file))


def test_an_unknown_key_in_the_file_is_named_with_those_that_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("core-timeout = 5")
    said = refusal("list", "--config", str(file))
    assert f"{file}: unknown key 'core-timeout'; allowed are allowed_host, core, core_tim" in said
    assert " config" not in said


@pytest.mark.parametrize("content", [b"http = ", b"\xff"])
def test_a_file_that_is_not_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    assert f"{file} cannot be read as TOML: " in refusal("serve", "--config", str(file))
    file.unlink()
    assert f"{file} cannot be read as TOML: " in refusal("serve", "--config", str(file))


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--source", f"postgresql://u:{SECRET}@db"), ("SESSIONGATE_SOURCE", "password_file=")),
        (("--source", f"maxscale://h?password={SECRET}"), ("SESSIONGATE_SOURCE", "--config")),
        (("--ledger", f"postgresql://u:{SECRET}@db/l"), ("SESSIONGATE_LEDGER", "--config")),
    ],
)
def test_a_password_on_the_command_line_is_refused(
    arguments: tuple[str, ...], advice: tuple[str, ...], started: list[Settings]
) -> None:
    said = refusal("core", *arguments)
    assert SECRET not in said
    assert all(part in said for part in advice)
    assert started == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", True),
        ("postgresql://u@h/d?password=p", True),
        ("maxscale://h?Token=p", True),
        ("postgresql://u@h/d?password_file=/run/p", False),
        ("postgresql://u@h:5432/d@x:y", False),
        ("document:/a:b@c.json", False),
        ("host:", False),
    ],
)
def test_what_counts_as_a_password(url: str, expected: bool) -> None:
    assert has_password(url) is expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("host:", "host:"),
        ("document:/a/b.json?name=b", "b (document:/a/b.json)"),
        (f"postgresql://u:{SECRET}@h:1/d?x={SECRET}", "postgresql://h:1/d"),
        (f"postgresql://u:{SECRET}%2F@h", "postgresql://h"),
    ],
)
def test_a_source_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert str(Source.read(url)) == shown
    table = {"url": url, "password": SECRET, "name": "mine"}
    assert str(Source.read(table)) == f"mine ({shown.rpartition(' (')[2].rstrip(')')})"


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("serve", "--http", "0.0.0.0:8989"), "--http"),
        (("serve", "--http", "[::]:8989"), "--http"),
        (("serve", "--grpc", "db.example:1"), "--grpc"),
        (("core", "--grpc", "192.0.2.1:1"), "--grpc"),
    ],
)
def test_other_machines_are_let_in_only_where_that_is_asked_for(
    arguments: tuple[str, ...], flag: str, started: list[Settings]
) -> None:
    said = refusal(*arguments)
    assert said.startswith(f"Invalid value for {flag}: other machines can reach {arguments[2]}")
    assert "TLS" in said
    assert "--insecure" in said
    assert started == []


def test_insecure_lets_other_machines_in(started: list[Settings]) -> None:
    assert invoke("core", "--grpc", "0.0.0.0:1", "--insecure") == (0, "")
    assert started[0]["grpc"] == "0.0.0.0:1"


@pytest.mark.parametrize("address", ["127.9.9.9:1", "[::1]:1", "LocalHost:1", "unix:/run/c.sock"])
def test_loopback_needs_nothing(address: str, started: list[Settings]) -> None:
    assert invoke("core", "--grpc", address) == (0, "")
    assert started[0]["grpc"] == address


def test_flags_for_a_core_of_ones_own_do_not_go_with_anothers() -> None:
    said = refusal("serve", "--core", "127.0.0.1:1", "--source", "host:")
    assert said.startswith("Invalid value for --source: ")


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.0", str(2**64), "１"])
def test_an_id_is_a_positive_number_of_64_bits(value: str) -> None:
    assert refusal("show", "--", value) == (
        f"Invalid value for ID: {value!r} is not an id: a number from 1 to 18446744073709551615"
    )


# What is printed.


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with Serving("--source", DOCUMENT, "--source", "document:/nowhere.json?name=gone") as program:
        yield program


def test_the_list_is_a_table_and_names_what_could_not_be_read(served: Serving) -> None:
    listed = run("list", "--core", served.grpc)
    header, first, *others = [line.rstrip() for line in listed.stdout.splitlines()]
    assert header.split() == [
        "ID", "State", "User", "Client", "Service", "Connected", "Idle", "Source"
    ]  # fmt: skip
    assert first.split("  ")[0].strip() == "1"
    assert first.index("Listener Session") == header.index("State")
    assert first.index("RW-Split-Router") == header.index("Service")
    assert first.index("2017-05-17 10:06:35Z") == header.index("Connected")
    assert first.index("sessions.json") == header.index("Source")
    assert len(others) == 2
    assert listed.stderr.startswith("unreachable: gone ")
    assert listed.returncode == 0


def test_one_session_is_a_table_of_what_is_known(served: Serving) -> None:
    shown = run("show", "2", "--core", served.grpc)
    assert [line.strip().split(maxsplit=1) for line in shown.stdout.splitlines()] == [
        ["id", "2"],
        ["service", "Read-Connection-Router"],
        ["state", "Listener Session"],
        ["connected", "Wed May 17 10:06:35 2017"],
    ]


def test_the_list_shows_who_where_from_and_idle_for_how_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 1_000_000_000
    idle = {59: "59s", 3599: "59m59s", 7500: "2h05m", 356400: "4d03h", -5: "0s"}
    sessions = [
        Session(
            id=seconds + 10,
            user="app",
            remote="::1" if seconds < 60 else "192.0.2.1",
            port=4711,
            last_active_time=Timestamp(seconds=now - seconds),
        )
        for seconds in idle
    ]
    print_sessions(sessions, now)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-1] for line in lines] == list(idle.values())
    assert " app " in lines[0]
    assert [line.split()[4] for line in lines[:2]] == ["[::1]:4711", "192.0.2.1:4711"]


def test_what_clients_call_themselves_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session(id=1, user="\x1b[31m[bold]x\r\n\u202e", service="[red]a[/red]")
    print_sessions([session], 0)
    print_session(session, {"user": session.user})
    print_unreachable(["a\x1b[2J"])
    out, err = capsys.readouterr()
    assert set(out + err) & set("\x1b\r\u202e") == set()
    assert out.count("\ufffd[31m[bold]x\ufffd\ufffd\ufffd") == 2
    assert out.count("[red]a[/red]") == 2
    assert err.startswith("unreachable: a\ufffd[2J ")


def test_a_session_that_is_not_there_is_an_error(served: Serving) -> None:
    shown = run("show", "77", "--core", served.grpc)
    assert (shown.stdout, shown.returncode) == ("", 1)
    assert "77" in shown.stderr


@pytest.mark.parametrize("arguments", [("list",), ("show", "1")])
def test_where_no_core_answers_the_command_says_how_to_start_one(
    arguments: tuple[str, ...],
) -> None:
    # Port 1 of loopback is privileged and refused at once.
    asked = run(*arguments, "--core", "127.0.0.1:1")
    assert (asked.stdout, asked.returncode) == ("", 1)
    assert asked.stderr == (
        "sessiongate: no core answers at 127.0.0.1:1; `sessiongate serve` starts one\n"
    )


def test_serve_says_what_it_reads_and_how_to_ask_it(served: Serving) -> None:
    port = served.http.rpartition(":")[2]
    printed = [line for line in served.output.splitlines() if " core " not in line]  # the log
    assert printed == [
        f"Sessiongate {version('sessiongate')}",
        f"  REST     http://{served.http}/v1/sessions",
        f"  gRPC     {served.grpc}",
        f"  Sources  {DOCUMENT}, gone (document:/nowhere.json)",
        f"  Try      curl 'http://localhost:{port}/v1/sessions?pretty=true'",
    ]


def test_the_version_is_the_distributions() -> None:
    assert invoke("--version") == (0, f"sessiongate {version('sessiongate')}\n")


def test_shells_can_complete_the_commands() -> None:
    script = run("--show-completion", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "Traceback" not in script.stderr
    completed = run(
        _SESSIONGATE_COMPLETE="complete_bash", COMP_WORDS="sessiongate s", COMP_CWORD="1"
    )
    assert completed.stdout.split() == ["serve", "show"]


def test_without_the_servers_needs_the_command_says_how_to_install_them() -> None:
    program = "import sys; sys.modules['typer'] = None; from gateway.__main__ import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "'typer' is missing" in ended.stderr
    assert "pip install 'sessiongate[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr
