"""The command's settings: where they come from, which are refused, and in which words."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import sessiongate.core.settings
import sessiongate.gateway.cli.main
from sessiongate.gateway.cli.groups import has_password
from sessiongate.gateway.cli.plan import shown_source
from sessiongate.gateway.cli.supervisor import Settings
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.telemetry.logs import LogSettings
from tests import invoking
from tests.certificates import Authority
from tests.credentials import CredentialFiles
from tests.program import run

SECRET = "hunter2"
ED25519 = Ed25519PrivateKey.generate().public_key()
# What every core receives.
MORE = {"fleet": False, **asdict(CoreLimits()), **asdict(LogSettings())}


ORIGINS = {
    "source": "--source",
    "ledger": "--ledger",
    "grpc": "--grpc",
    "core_metrics": "--core-metrics",
    "shard": "--shard",
    "name": "--name",
    "advertise": "--advertise",
    "network": "--network",
    "takeover_after": "--takeover-after",
    "fleet": "--fleet",
}


@pytest.fixture(autouse=True)
def _without_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("SESSIONGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Collect the settings that this process would have become a core with."""
    settings: list[Settings] = []
    monkeypatch.setattr(sessiongate.gateway.cli.main, "become_core", settings.append)
    return settings


def invoke(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; it must start nothing. Return its exit code and output."""
    result = invoking.invoke(*arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def refusal(*arguments: str) -> str:
    """Return what a command that must be refused says."""
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
            "network": "default",
            "takeover_after": 5.0,
            "stale_after": 30.0,
            "history": "30d",
            "history_max": 2 << 30,
            "history_min": 0.0,
            "reflection": True,
            "token_audience": "sessiongate",
            "insecure_actions": False,
            "socket_mode": "600",
            "origins": ORIGINS,
            **MORE,
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
            "network": "default",
            "takeover_after": 5.0,
            "stale_after": 1.0,
            "history": "30d",
            "history_max": 2 << 30,
            "history_min": 0.0,
            "reflection": True,
            "token_audience": "sessiongate",
            "insecure_actions": False,
            "socket_mode": "600",
            "origins": {**ORIGINS, "ledger": "SESSIONGATE_LEDGER"},
            **MORE,
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


@pytest.mark.parametrize("relative", ["", "state", "./state", "~/state", ":/var/lib/other"])
def test_a_relative_state_folder_is_passed_over(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: str
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setenv("STATE_DIRECTORY", relative)
    invoke("core")
    monkeypatch.setenv("XDG_STATE_HOME", relative)
    invoke("core")
    assert [settings["ledger"] for settings in started] == [
        f"sqlite:///{tmp_path}/sessiongate/ledger.db",
        "sqlite:////home/alice/.local/state/sessiongate/ledger.db",
    ]


# Refused settings, and the words of the refusal.


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("--http", "localhost", "must be HOST:PORT, such as"),
        ("--http", "127.0.0.1:65536", "a port from 0 to 65535"),
        ("--http", "::1:8989", "[::1]:8989"),
        ("--http", "[127.0.0.1]:1", "must be HOST:PORT"),
        ("--http", "unix:/run/http.sock", "must be HOST:PORT"),
        ("--grpc", "*:1", "must be HOST:PORT"),
        ("--grpc", "unix:", "must be unix:PATH"),
        ("--core", "nowhere", "must be HOST:PORT"),
        ("--core-timeout", "0", "seconds above 0 and up to 86400"),
        ("--core-timeout", "soon", "seconds above 0"),
        ("--stale-after", "inf", "seconds above 0"),
        ("--ledger", "", "must be a non-empty string"),
        ("--public-url", "sessions.example", "http(s)://HOST"),
        ("--allowed-host", "a:1", "without a port"),
        ("--replica", "2", "must be one of true, yes, on"),
        ("--history", "36500d", "a duration of at most 10000d, such as 12h or 30d, or off"),
        ("--history-min", "999999999h", "a duration of at most 10000d, such as 90"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(flag: str, value: str, allowed: str) -> None:
    said = refusal("serve", flag, value)
    assert repr(value) in said
    assert allowed in said
    assert flag.removeprefix("--") in said.replace("_", "-")


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--core", "127.0.0.1:0", "a port from 1 to 65535, got '127.0.0.1:0'"),
        ("--public-url", "sessions.example", "got 'sessions.example'"),
    ],
)
def test_each_command_that_takes_a_setting_refuses_the_same_values(
    flag: str, value: str, said: str
) -> None:
    for command in (("serve",), ("list",), ("show", "1"), ("sources",)):
        assert said in refusal(*command, flag, value)


def test_a_bad_value_of_a_variable_is_the_variables_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONGATE_STALE_AFTER", "-1")
    assert refusal("core") == (
        "Invalid value for SESSIONGATE_STALE_AFTER:"
        " must be a number of seconds above 0 and up to 86400, got '-1'"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('http = "8989"', "from 0 to 65535, got '8989'"),
        ("http = 8989", "from 0 to 65535, got 8989"),
        ("core_timeout = true", "up to 86400, got True"),
        ("core_timeout = [1]", "up to 86400, got [1]"),
        ('insecure = "maybe"', "true, yes, on, 1, false, no, off, 0, got 'maybe'"),
        ("ledger = 5", "must be a non-empty string, got 5"),
        ("allowed_host = [5]", "must be a non-empty string, got 5"),
        ("source = [5]", 'must be a URL, or a table with "url" and options'),
        ('source = [{name = "a"}]', 'must be a URL, or a table with "url" and options'),
        ('source = [{url = "host:", name = []}]', "'name' of a source must be a string, a number"),
        (
            'source = [{url = "host:", actions = [5]}]',
            "'actions' of a source must be a list",
        ),
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
    assert said == (
        f"Invalid value for --config: {file}: unknown key 'core-timeout'; did you mean"
        " 'core_timeout'?"
    )
    file.write_text("pazzword = 5")
    said = refusal("list", "--config", str(file))
    assert f"{file}: unknown key 'pazzword'; allowed: access_log, advertise, allowed_host, " in said
    assert " config" not in said
    file.write_text("[limits]\nmax_url = 5")
    assert f"{file}: [limits] is not a setting; settings must be at the top" in refusal(
        "list", "--config", str(file)
    )


def test_a_byte_order_mark_begins_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes("\ufeffworkers = 0\r\n".encode())
    assert "must be an integer from 1 to 64, got 0" in refusal("serve", "--config", str(file))


@pytest.mark.parametrize("content", [b"http = ", b"\xff"])
def test_a_file_that_is_not_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    assert f"{file} is not TOML: " in refusal("serve", "--config", str(file))
    file.unlink()
    said = refusal("serve", "--config", str(file))
    assert said == f"Invalid value for --config: {file}: no such file"


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
        ("postgresql://u@h:5432/d@x:y", True),
        ("document:/a@c.json", False),
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
    assert shown_source(url) == shown
    table = {"url": url, "password": SECRET, "name": "mine"}
    assert shown_source(table) == f"mine ({shown.rpartition(' (')[2].rstrip(')')})"


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


@pytest.mark.parametrize(
    ("flags", "lacks"),
    [
        ((), "Add TLS (--tls-cert and --tls-key) and credentials (--users, --token-key, "),
        (("--users", "u"), "Add TLS (--tls-cert and --tls-key), listen"),
        (("--tls-cert", "c", "--tls-key", "k"), "Add credentials (--users, --token-key, --"),
    ],
)
def test_what_keeps_other_machines_out_is_named_where_it_lacks(
    flags: tuple[str, ...], lacks: str
) -> None:
    for command in (("serve", "--http"), ("serve", "--grpc"), ("core", "--grpc")):
        assert lacks in refusal(*command, "0.0.0.0:0", *flags)


@pytest.mark.parametrize(
    "name", ["users", "token_key", "token_secret", "tls_client_ca", "core_token"]
)
def test_tls_and_credentials_let_other_machines_in(
    name: str, started: list[Settings], tmp_path: Path
) -> None:
    authority, files = Authority(tmp_path), CredentialFiles(tmp_path)
    server = authority.issue("server")
    server.key.chmod(0o600)
    key = tmp_path / "token.pem"
    key.write_bytes(ED25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    setting, file = {
        "users": ("users", files.users),
        "token_key": ("token_key", key),
        "token_secret": ("token_secret", files.token_secret),
        "tls_client_ca": ("tls_client_ca", authority.cert),
        "core_token": ("core_token_file", files.core_token),
    }[name]
    flag = f"--{setting.replace('_', '-')}"
    tls = ("--tls-cert", str(server.cert), "--tls-key", str(server.key))
    assert invoke("core", "--grpc", "0.0.0.0:1", *tls, flag, str(file)) == (0, "")
    assert started[0][setting] == str(file)


def test_the_secret_of_gateways_is_no_credential_of_who_asks_them() -> None:
    tls = ("--tls-cert", "c", "--tls-key", "k", "--core-token-file", "t")
    assert "Add credentials (--users" in refusal("serve", "--http", "0.0.0.0:0", *tls)


def test_the_secret_of_gateways_is_not_sent_in_the_clear() -> None:
    for command in (("serve",), ("list",), ("show", "1")):
        said = refusal(*command, "--core", "192.0.2.1:1", "--core-token-file", "t")
        assert said == (
            "Invalid value for --core-token-file: the token would be sent to 192.0.2.1:1"
            " unencrypted; add TLS (--core-ca)"
        )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tls-cert", "c"), "--tls-cert: requires --tls-key"),
        (("--tls-key", "k"), "--tls-key: requires --tls-cert"),
        (("--tls-client-ca", "a"), "--tls-client-ca: requires --tls-cert"),
        (("--core", "[::1]:1", "--core-cert", "c"), "--core-cert: requires --core-key"),
        (("--core", "[::1]:1", "--core-key", "k"), "--core-key: requires --core-cert"),
        (
            ("--core", "[::1]:1", "--core-cert", "c", "--core-key", "k"),
            "--core-cert: requires --core-ca",
        ),
        (("--core-ca", "a"), "has no effect without --core"),
    ],
)
def test_a_setting_that_lacks_another_is_refused(flags: tuple[str, ...], said: str) -> None:
    assert said in refusal("serve", *flags)


@pytest.mark.parametrize(
    "flags",
    [
        ("--users", "absent"),
        ("--token-key", "absent"),
        ("--token-secret", "absent"),
        ("--tls-key", "absent", "--tls-cert", "absent"),
        ("--core-token-file", "absent"),
        ("--core", "127.0.0.1:1", "--core-ca", "absent"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_program(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    given = [flag.replace("absent", f"{tmp_path}/no") for flag in flags]
    for command in ("serve", "core") if "--core" not in flags else ("serve",):
        said = refusal(command, *given)
        assert said == f"Invalid value for {given[-2]}: {tmp_path}/no: no such file"


def test_users_that_cannot_be_edited_are_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "users")
    said = refusal("users", "add", "a:b", "--users", file)
    assert said.startswith("Invalid value for NAME: 'a:b': a name must have at most 255 bytes")
    assert not (tmp_path / "users").exists()
    assert invoke("users", "remove", "alice", "--users", file) == (
        1,
        f"sessiongate: {file}: no such file\n",
    )
    (tmp_path / "users").touch()
    assert invoke("users", "remove", "alice", "--users", file) == (
        1,
        f"sessiongate: no user 'alice' in {file}\n",
    )
    said = refusal("users", "add", "alice", "swordfish", "--users", file)
    assert said.startswith("Got unexpected extra argument")
    assert refusal("users", "add", "alice").startswith("Missing option")


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


def test_settings_that_no_pipe_holds_are_refused() -> None:
    ended = run("core", "--source", "document:/" + 100_000 * "x")
    assert (ended.stdout, ended.returncode) == ("", 2)
    assert ended.stderr == "sessiongate: the core cannot be started: the settings are too long\n"


@pytest.mark.parametrize("value", ["0", "-1", "abc", "1.0", str(2**64), "１"])
def test_an_id_is_a_positive_number_of_64_bits(value: str) -> None:
    assert refusal("show", "--", value) == (
        f"Invalid value for ID: must be an integer from 1 to 18446744073709551615, got {value!r}"
    )
