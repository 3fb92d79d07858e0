"""The login of commands to a core: by name and password, token or certificate."""

from __future__ import annotations

import signal
import sys
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import typer

from sessiongate.gateway.settings import UpstreamSettings
from sessiongate.runtime.auth.htpasswd import name_trouble
from sessiongate.runtime.settings import must_be, setting, text
from sessiongate.runtime.watched_file import FileError, read_file, trouble
from sessiongate.v1.errors import Reason

_MAX_FILE = 4096  # bytes of a file with a password


def _name(value: object) -> str:
    """Read a user's name."""
    name = text(value)
    if wrong := name_trouble(name):
        raise must_be(f"a user's name ({wrong})", value)
    return name


@dataclass(frozen=True)
class LoginSettings(UpstreamSettings):
    """The settings of a command's connection to a core."""

    core_user: str | None = setting(
        None,
        _name,
        "Log in to the core by this name and a password, instead of a token.",
        "NAME",
    )
    core_password_file: str | None = setting(
        None,
        text,
        "File with the password on its first line; without it, a terminal prompts for it.",
        "FILE",
    )

    def __post_init__(self) -> None:
        """Raise `ValueError`, naming the missing setting, if one setting lacks another."""
        super().__post_init__()
        if self.core_password_file and not self.core_user:
            raise ValueError("core_password_file: requires --core-user")

    def core_troubles(self) -> dict[str, str]:
        found = super().core_troubles()
        if self.core_password_file:
            path = Path(self.core_password_file)
            found["core_password_file"] = trouble(_password_in, path)
        elif self.core_user and not sys.stdin.isatty():
            found["core_user"] = "requires --core-password-file: no terminal can be prompted"
        return found

    def basic(self) -> str | None:
        """Return Basic credentials, if there is a name; prompt for the password if necessary."""
        if self.core_user is None:
            return None
        if self.core_password_file:
            password = _password_in(Path(self.core_password_file))
        else:
            # The prompt hides typed characters: Ctrl-C must end that too.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            password = typer.prompt(f"Password of {self.core_user}", hide_input=True, err=True)
        return b64encode(f"{self.core_user}:{password}".encode()).decode()

    def refusal(self, reason: str | None) -> str:
        """Return what a core says that does not accept these credentials."""
        core = self.core_named
        if reason == Reason.CREDENTIALS_MISSING:
            return (
                f"{core} requires credentials; set --core-user and --core-password-file,"
                " --core-token-file, or --core-cert and --core-key"
            )
        if self.core_user is not None:
            of = f" in {self.core_password_file}" if self.core_password_file else ""
            return f"{core} does not accept the user {self.core_user!r} with the password{of}"
        if self.core_token_file is not None:
            if reason == Reason.CREDENTIALS_EXPIRED:
                return f"the token in {self.core_token_file} has expired"
            return f"{core} does not accept the token in {self.core_token_file}"
        return f"{core} does not accept the certificate in {self.core_cert}"


def _password_in(path: Path) -> str:
    """Return the password in a file. Raises `FileError`."""
    try:
        line = read_file(path, _MAX_FILE).decode().partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8") from None
    if not line:
        raise FileError(f"{path} has no password on its first line")
    return line
