"""Typical mistakes in flags, files and URLs: each answer makes the next try succeed.

An answer says which setting is wrong, what is allowed, and what was probably meant.
"""

from __future__ import annotations

import os
import shlex
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.credentials import CredentialFiles
from tests.program import DATA, run

QUIET = "--ledger sqlite:// --log-level warning"
FREE = f"--http 127.0.0.1:0 --grpc 127.0.0.1:0 {QUIET}"


@dataclass(frozen=True)
class Mistake:
    """A command line, and what its answer contains. ``{folder}`` is a folder of the test."""

    line: str
    said: str
    toml: str = ""  # the content of {folder}/s.toml
    variables: dict[str, str] = field(default_factory=dict)
    code: int = 2


def in_file(toml: str, said: str) -> Mistake:
    """Make a mistake in the file of settings."""
    return Mistake("serve --config {folder}/s.toml", said, toml)


def source(url: str, said: str) -> Mistake:
    """Make a mistake in a source's URL."""
    return Mistake(f"serve {FREE} --source '{url}'", said)


MISTAKES = [
    # Commands and flags.
    Mistake("srve", "Did you mean 'serve'?"),
    Mistake("serve --wrokers 2", "did you mean '--workers'?"),
    Mistake("serve --port 8989", "did you mean '--http'?"),
    Mistake("list --jsno", "did you mean '--json'?"),
    Mistake("serve --htpt 127.0.0.1:0", "did you mean '--http'?"),
    Mistake("serve --log-levle info", "did you mean '--log-level'?"),
    Mistake("serve host:", "settings are flags, such as --source URL"),
    Mistake("serve --http", "--http needs a value: --http ADDRESS"),
    Mistake("show abc", "Invalid value for ID: must be an integer from 1 to 18446744073709551615,"
            " got 'abc'"),
    Mistake("show", "Missing argument ID"),
    # Values.
    Mistake("serve --http 8989", "did you mean '127.0.0.1:8989'?"),
    Mistake("serve --http :8989", "did you mean '127.0.0.1:8989'?"),
    Mistake("serve --http http://localhost:8989/", "did you mean 'localhost:8989'?"),
    Mistake("list --core 127.0.0.1:99999", "with a port from 0 to 65535"),
    Mistake("serve --stale-after 2m", "must be a number of seconds above 0 and up to 86400, got"
            " '2m'; did you mean 120?"),
    Mistake("serve --workers two", "--workers: must be an integer from 1 to 64, got 'two'"),
    Mistake("serve --max-session 64k", "must be an integer from 8192 to 1048576, got '64k'"),
    Mistake("serve --log-level warn", "did you mean 'warning'?"),
    Mistake("serve --log-format JSON", "did you mean 'json'?"),
    Mistake("serve --public-url sessions.example", "such as https://sessions.example"),
    Mistake("serve --allowed-host https://sessions.example/", "did you mean 'sessions.example'?"),
    Mistake("serve --trusted-proxies 10.1.2.3/8", "did you mean '10.0.0.0/8'?"),
    Mistake("serve --ledger /srv/ledger.db", "did you mean 'sqlite:////srv/ledger.db'?"),
    Mistake("serve --ledger mysql://h/l", "in mysql; use sqlite:///PATH, postgresql://USER@HOST"),
    Mistake("serve --ledger postgresql://h/l?sslmode=off", "'sslmode'; allowed are: password"),
    # Settings that expose more than they should.
    Mistake("serve --http 0.0.0.0:8989", "Add TLS (--tls-cert and --tls-key) and credentials"),
    Mistake(
        "serve --insecure-actions --public-url https://sessions.example.com",
        "or leave out --public-url",
    ),
    Mistake("serve --insecure-actions --trusted-proxies 10.0.0.0/8", "a proxy would let others in"),
    Mistake("serve --source mariadb://u:p@h", "or the password in a file and its path in"
            " password_file=PATH"),
    Mistake("serve --core 127.0.0.1:1 --source host:", "--source: has no effect with --core"),
    Mistake("list --core 192.0.2.1:1 --core-token-file t", "unencrypted; add TLS (--core-ca)"),
    # Addresses that are not available, and cores that do not answer.
    Mistake(f"serve --grpc 127.0.0.1:0 {QUIET} --http {{taken}}",
            "--http: cannot listen on {taken}: another program listens there; stop it"),
    Mistake(f"core {QUIET} --grpc {{taken}}",
            "--grpc: cannot listen on {taken}: another program listens there; stop it"),
    Mistake(
        f"core {QUIET} --grpc unix:{{folder}}/none/core", "the folder {folder}/none does not exist"
    ),
    Mistake(f"serve {QUIET} --grpc 127.0.0.1:0 --http 203.0.113.9:80 --insecure",
            "this machine has no such address; 0.0.0.0 listens on all"),
    Mistake("list --core {free}", "no core responds at {free}; `sessiongate serve` starts one",
            code=1),
    Mistake("list --core nowhere.invalid:1", "the host name cannot be resolved", code=1),
    # Files.
    Mistake("serve --config {folder}/none.toml", "--config: {folder}/none.toml: no such file"),
    Mistake("serve --users {folder}/none", "--users: {folder}/none: no such file"),
    Mistake("serve --tls-cert {folder}/server.pem", "--tls-cert: requires --tls-key"),
    Mistake("serve --tls-cert {folder}/server.pem --tls-key {folder}/other.key",
            "--tls-key: {folder}/other.key does not match the certificate in"),
    Mistake("serve --token-secret {folder}/users", "they are for --users; `openssl rand"),
    Mistake("serve --token-secret {folder}/open.secret", "chmod o-rwx {folder}/open.secret"),
    Mistake("serve --token-secret {folder}/server.pem", "contains a key or a certificate"),
    Mistake("serve --token-key {folder}/server.key", "`openssl pkey -in {folder}/server.key -pubo"),
    Mistake("serve --token-key {folder}/token.secret", "is for --token-secret"),
    Mistake("serve --users {folder}/token.secret", "must be NAME:HASH with a bcrypt hash"),
    Mistake("list --core {free} --core-token-file {folder}/none", "--core-token-file: {folder}/no"),
    Mistake("list --core {free}", "SESSIONGATE_CORE_CA: {folder}/none: no such file",
            variables={"SESSIONGATE_CORE_CA": "{folder}/none"}),
    Mistake("core --ledger sqlite:///{folder}/fifo", "--ledger: {folder}/fifo is a FIFO, not a"),
    Mistake("check-config --ledger sqlite:///{folder}/fifo", "--ledger: {folder}/fifo is a FIFO"),
    # The file of settings, and variables.
    in_file("wrokers = 2", "unknown key 'wrokers'; did you mean 'workers'?"),
    in_file("htpt = 2", "unknown key 'htpt'; did you mean 'http'?"),
    in_file("qwertyuiop = 2", "unknown key 'qwertyuiop'; allowed: "),
    in_file("stale-after = 2", "unknown key 'stale-after'; did you mean 'stale_after'?"),
    in_file("[limits]\nmax_url = 5", "settings must be at the top level, in no table"),
    in_file("http = 127.0.0.1:8989", "a line must be NAME = VALUE, with text in quotes"),
    in_file("token_key = '{folder}/token.secret'", "tokens is for 'token_secret'"),
    in_file("tls_cert = '{folder}/server.pem'", "requires 'tls_key'"),
    Mistake("serve", "a secret shared with the issuer of tokens is for"
            " SESSIONGATE_TOKEN_SECRET",
            variables={"SESSIONGATE_TOKEN_KEY": "{folder}/token.secret"}),
    in_file("workers = 0", "'workers' in {folder}/s.toml: must be an integer from 1 to 64, got 0"),
    Mistake("serve", "SESSIONGATE_WORKERS: must be an integer from 1 to 64, got 'x'",
            variables={"SESSIONGATE_WORKERS": "x"}),
    Mistake("list --core {free}", "SESSIONGATE_WORKRES is not a setting; did you mean"
            " SESSIONGATE_WORKERS?", variables={"SESSIONGATE_WORKRES": "2"}, code=1),
    Mistake("list --core {free}", "SESSIONGATE_HTPT is not a setting; did you mean"
            " SESSIONGATE_HTTP?",
            variables={"SESSIONGATE_HTPT": "127.0.0.1:0"}, code=1),
    # Sources.
    source("postgre://u@h", "did you mean 'postgresql'?"),
    source("maraidb://u@h", "did you mean 'mariadb'?"),
    source("maxscale://h", "did you mean 'maxscale+http' or 'maxscale+https'?"),
    source(f"{DATA}/sessions.json", f"did you mean 'document:{DATA}/sessions.json'?"),
    source("pgbouncer://u@h?pasword_file=/x", "did you mean 'password_file'?"),
    source("mariadb://h", "a user is required: //USER@HOST"),
    source("mariadb://u@h:port", "a location is //USER:PASSWORD@HOST:PORT/PATH"),
    source("host:?interval=5s", "interval must be a number above 0, such as 5, got '5s'"),
    source("postgresql://u@h?tls=on", "tls must be verify or off, got 'on'"),
    source("pgbouncer://u@h?timezone=Berlin", "such as Europe/Berlin"),
    Mistake(f"serve {FREE} --source host: --source host:", "two are named 'host'; add name="),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    os.mkfifo(folder / "fifo")
    authority = Authority(folder)
    authority.issue("server")
    authority.issue("other")
    CredentialFiles(folder)
    secret = folder / "open.secret"
    secret.write_text("s" * 40)
    secret.chmod(0o644)
    return folder


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.line[:60])
def test_the_answer_to_a_mistake_says_what_to_do(mistake: Mistake, folder: Path) -> None:
    (folder / "s.toml").write_text(mistake.toml.replace("{folder}", str(folder)))
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # without listening
        names = {
            "folder": str(folder),
            "taken": f"127.0.0.1:{taken.getsockname()[1]}",
            "free": f"127.0.0.1:{free.getsockname()[1]}",
        }
        variables = {name: text.format(**names) for name, text in mistake.variables.items()}
        ended = run(*shlex.split(mistake.line.format(**names)), **variables)
    assert mistake.said.format(**names) in ended.stderr
    assert ended.returncode == mistake.code
    assert "Traceback" not in ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("Error", "sessio"))]
    assert len(errors) <= 1 + bool(mistake.variables), "one plain line"
