"""The callers with the role of an operator: by name, and bearer tokens by a claim.

A file has one name per line, of a user, of a token's subject or in a certificate; empty lines,
and lines that begin with ``#``, are ignored.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sessiongate.runtime.settings import must_be
from sessiongate.runtime.watched_file import FileError, read_file

_MOST = 255  # characters of a name
_HASH = re.compile(r"[^:]+:\$\w+\$")  # a line of htpasswd
_CLAIM = re.compile(r"(?P<name>[^=\s]{1,255})=(?P<value>\S.{0,254})")


class OperatorClaim(NamedTuple):
    """A claim of a token, and the value that makes its owner an operator."""

    name: str
    value: str

    def is_in(self, claims: Mapping[str, object]) -> bool:
        """Return whether claims have the value: as a text, in a list, or in a ``scope``."""
        found = claims.get(self.name)
        if self.name == "scope" and isinstance(found, str):  # RFC 8693: separated by spaces
            return self.value in found.split(" ")
        return self.value in found if isinstance(found, list) else found == self.value


def operator_claim(value: object) -> str:
    """Read NAME=VALUE."""
    if not isinstance(value, str) or _CLAIM.fullmatch(value) is None:
        raise must_be("NAME=VALUE, such as groups=dba", value)
    return value


def parse_claim(text: str) -> OperatorClaim:
    """Return the claim that a setting names."""
    name, _, value = text.partition("=")
    return OperatorClaim(name, value)


def read_operators(path: Path) -> frozenset[str]:
    """Return the names in a file. Raises `FileError`, which names the line and the fault."""
    try:
        lines = read_file(path).decode().splitlines()
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8") from None
    names = set()
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if _HASH.match(name):
            raise FileError(
                f"{path}, line {number}: this is a line of a file for --users; write only the name"
            )
        if len(name) > _MOST or not name.isprintable():
            raise FileError(
                f"{path}, line {number}: a name must have at most {_MOST} characters, all printable"
            )
        names.add(name)
    if os.stat(path).st_mode & stat.S_IWOTH:
        raise FileError(
            f"{path} can be written to by every user of this machine, who could become an operator;"
            f" run chmod o-w {path}"
        )
    return frozenset(names)
