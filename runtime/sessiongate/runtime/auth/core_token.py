"""The secret that gateways share with their core."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sessiongate.runtime.settings import setting, text
from sessiongate.runtime.watched_file import FileError, WatchedFile, read_file

MIN_LENGTH = 32  # characters

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True)
class CoreTokenSettings:
    """The setting that names the file of shared secrets."""

    core_token_file: str | None = setting(
        None,
        text,
        "Shared secrets between gateway and core, one per line; a gateway sends the first, a core"
        " accepts any.",
        "FILE",
    )

    @property
    def core_token_path(self) -> Path | None:
        """The file, if there is one."""
        return None if self.core_token_file is None else Path(self.core_token_file)


def read_core_tokens(path: Path) -> tuple[str, ...]:
    """Return a file's tokens, one per line: a gateway sends the first, a core accepts any.

    So a new token can be put first without a moment in which the two disagree.
    Raises `FileError`.
    """
    tokens = read_file(path).split()
    if not tokens or any(
        len(token) < MIN_LENGTH or not _TOKEN.fullmatch(token) for token in tokens
    ):
        raise FileError(
            f"{path} must contain one token per line, of at least {MIN_LENGTH} characters from"
            " A-Z a-z 0-9 . _ ~ + / -, such as `openssl rand -hex 32` prints"
        )
    return tuple(token.decode() for token in tokens)


def token_to_send(path: Path) -> Callable[[], str]:
    """Return what returns the token to send to a core, as the file has it now.

    Raises `FileError`.
    """
    tokens = WatchedFile([path], partial(read_core_tokens, path))
    return lambda: tokens.value[0]


def is_one_of(token: str, tokens: tuple[str, ...]) -> bool:
    """Return whether a token is one of these, in a time that reveals nothing about them."""
    equal = [hmac.compare_digest(token.encode(), each.encode()) for each in tokens]
    return any(equal)
