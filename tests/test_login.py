"""How the command logs in to a core, and where it finds the settings for that."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.credentials import PASSWORD, USER, CredentialFiles, bearer
from tests.program import DOCUMENT, ForkedProgram, await_ready, run
from tests.terminal import Terminal


@dataclass
class Guarded:
    """A core that wants credentials, and a folder with right and wrong ones."""

    core: str
    folder: Path

    def file(self, name: str, content: str) -> Path:
        """Write a file; return its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("login")
    flags = ("--grpc", "127.0.0.1:0", "--source", DOCUMENT, "--ledger", "sqlite://")
    with ForkedProgram("core", *flags, *CredentialFiles(folder).flags) as core:
        address = core.expect(r"listening on (\S+)")[1]
        await_ready(address)
        guarded = Guarded(address, folder)
        guarded.file("right", f"{PASSWORD}\n")
        guarded.file("wrong", "tuna")
        guarded.file("token", bearer().removeprefix("Bearer "))
        guarded.file("expired", bearer(exp=time.time() - 60).removeprefix("Bearer "))
        guarded.file("empty", "\n")
        yield guarded


@pytest.mark.parametrize(
    "flags", ["--core-user alice --core-password-file right", "--core-token-file token"]
)
@pytest.mark.parametrize("command", [("list",), ("show", "1"), ("sources",)])
def test_the_right_credentials_let_a_command_in(
    guarded: Guarded, command: tuple[str, ...], flags: str
) -> None:
    asked = run(*command, "--core", guarded.core, *_in(guarded.folder, flags))
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout


def _in(folder: Path, flags: str) -> list[str]:
    """Return flags whose values are files in a folder, if they exist there."""
    words = flags.split()
    return [str(folder / word) if (folder / word).exists() else word for word in words]


@pytest.mark.parametrize(
    ("flags", "said", "code"),
    [
        ("", "{core} requires credentials; set --core-user and --core-password-file", 1),
        ("--core-user alice --core-password-file wrong",
         "{core} does not accept the user 'alice' with the password in {folder}/wrong", 1),
        ("--core-user mallory --core-password-file right", "does not accept the user 'mallory'", 1),
        ("--core-token-file expired", "the token in {folder}/expired has expired", 1),
        ("--core-token-file users", "users must contain one token per line", 2),
        ("--core-user alice --core-password-file nowhere", "--core-password-file: nowhere", 2),
        ("--core-user alice --core-password-file empty", "has no password on its first line", 2),
        ("--core-password-file right", "--core-password-file: requires --core-user", 2),
        ("--core-user alice", "requires --core-password-file: no terminal can be prompted", 2),
        ("--core-user a:b --core-password-file right", "--core-user: must be a user's name", 2),
        ("--core 192.0.2.1:1 --core-user alice --core-password-file right",
         "the password would be sent to 192.0.2.1:1 unencrypted; add TLS (--core-ca)", 2),
    ],
)  # fmt: skip
def test_a_refusal_says_which_credentials_it_is_about(
    guarded: Guarded, flags: str, said: str, code: int
) -> None:
    asked = run("list", "--core", guarded.core, *_in(guarded.folder, flags))
    assert (asked.returncode, asked.stdout) == (code, "")
    assert said.format(core=guarded.core, folder=guarded.folder) in asked.stderr
    assert PASSWORD not in asked.stderr
    assert "tuna" not in asked.stderr


def test_a_terminal_is_asked_for_the_password(guarded: Guarded) -> None:
    asking = ("list", "--core", guarded.core, "--core-user", USER)
    with Terminal(*asking, TERM="dumb", COLUMNS="200") as terminal:
        terminal.expect("Password of alice: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.expect("RW-Split-Router")
        assert terminal.wait() == 0
    assert PASSWORD not in terminal.shown


def test_a_file_of_ones_own_holds_the_settings_of_each_command_that_asks(guarded: Guarded) -> None:
    password = guarded.folder / "right"
    lines = f'core = "{guarded.core}"\ncore_user = "alice"\ncore_password_file = "{password}"\n'
    file = guarded.file("sessiongate/config.toml", lines)
    home = {"XDG_CONFIG_HOME": str(guarded.folder)}
    for command in (("list",), ("show", "1"), ("sources",), ("check",)):
        assert run(*command, **home).returncode == 0
    assert "no core responds at 127.0.0.1:1" in run("list", "--core", "127.0.0.1:1", **home).stderr
    # A file that is named replaces it, and programs that serve never read it.
    other = guarded.file("other.toml", 'core = "127.0.0.1:1"\n')
    assert "no core responds at 127.0.0.1:1;" in run("list", "--config", other, **home).stderr
    assert run("check-config", **home).stdout.count(guarded.core) == 0
    file.write_text(f"{lines}core_tiemout = 1\n")
    misspelt = run("list", **home)
    assert misspelt.returncode == 2
    assert (
        f"the default file: {file}: unknown key 'core_tiemout'; did you mean 'core_timeout'?"
        in misspelt.stderr
    )
    file.write_text(f'{lines}core_timeout = "soon"\n')
    assert f"'core_timeout' in {file}: must be a number" in run("list", **home).stderr
    file.write_text("core =\n")
    assert f"the default file: {file} is not TOML" in run("list", **home).stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_default_file_that_may_not_be_read_is_passed_over(guarded: Guarded) -> None:
    file = guarded.file("sessiongate/config.toml", "nonsense")
    file.chmod(0)
    asked = run("list", "--core", "127.0.0.1:1", XDG_CONFIG_HOME=str(guarded.folder))
    file.chmod(0o600)
    assert "no core responds" in asked.stderr


def test_the_users_are_listed(guarded: Guarded) -> None:
    listed = run("users", "list", "--users", guarded.folder / "users")
    assert (listed.stdout, listed.returncode) == ("alice\n", 0)
    nowhere = run("users", "list", "--users", guarded.folder / "nowhere")
    assert (nowhere.stdout, nowhere.returncode) == ("", 1)
