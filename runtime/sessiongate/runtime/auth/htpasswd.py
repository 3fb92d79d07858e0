"""A file of users and their passwords' bcrypt hashes, in the format of Apache's htpasswd.

One ``NAME:HASH`` per line; empty lines, and lines that begin with ``#``, are ignored.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sessiongate.runtime.watched_file import FileError, read_file

COST = 10  # of new hashes: 2^10 rounds
MAX_COST = 15  # above it, one check takes seconds
MAX_PASSWORD = 72  # bytes: bcrypt reads no more
MAX_NAME = 255  # bytes

_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # not allowed in HTTP's Basic

Users = Mapping[str, bytes]  # hashes by names


def read_users(path: Path) -> Users:
    """Read a file's users. Raises `FileError`, which names the line and the fault."""
    users: dict[str, bytes] = {}
    for number, line in enumerate(_lines(path), 1):
        if not _is_entry(line):
            continue
        name, _, hashed = line.partition(":")
        trouble = name_trouble(name) or _hash_trouble(hashed)
        if not trouble and name in users:
            trouble = "this user is listed twice"
        if trouble:
            raise FileError(f"{path}, line {number}: {trouble}")
        users[name] = hashed.encode()
    return users


def add_user(path: Path, name: str, password: str) -> bool:
    """Set a user's password; return whether the user is new. Create the file if it is missing.

    Raises `ValueError` if the name or the password is invalid, else `FileError`.
    """
    if trouble := name_trouble(name) or password_trouble(password):
        raise ValueError(trouble)
    import bcrypt  # not needed for reading

    # Apache writes the prefix 2y, which means the same as 2b for such short passwords.
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).replace(b"$2b$", b"$2y$")
    entry = f"{name}:{hashed.decode()}"
    with _editing(path):
        lines = _lines(path) if path.exists() else []
        kept = [entry if _names(line, name) else line for line in lines]
        is_new = kept == lines
        _write(path, [*kept, entry] if is_new else kept)
    return is_new


def remove_user(path: Path, name: str) -> bool:
    """Remove a user; return whether the user existed. Raises `FileError`."""
    with _editing(path):
        lines = _lines(path)
        kept = [line for line in lines if not _names(line, name)]
        if kept != lines:
            _write(path, kept)
    return kept != lines


def name_trouble(name: str) -> str:
    """Return why this cannot be a user's name; empty if it can."""
    if not name or name.startswith("#") or name != name.strip():
        return "a name must not be empty, begin with # or have spaces around it"
    if ":" in name or not name.isprintable() or len(name.encode()) > MAX_NAME:
        return f"a name must have at most {MAX_NAME} bytes, all printable, and no colon"
    return ""


def password_trouble(password: str) -> str:
    """Return why this cannot be a password; empty if it can."""
    if not password or _UNUSABLE.search(password):
        return "a password must not be empty or contain control characters"
    if len(password.encode()) > MAX_PASSWORD:
        return f"a password must have at most {MAX_PASSWORD} bytes, which is all that bcrypt reads"
    return ""


def _hash_trouble(hashed: str) -> str:
    found = _HASH.fullmatch(hashed)
    if not found:
        return "must be NAME:HASH with a bcrypt hash ($2y$…), and nothing else"
    if not 4 <= int(found[1]) <= MAX_COST:
        return f"the hash's cost must be from 4 to {MAX_COST}"
    return ""


def _lines(path: Path) -> list[str]:
    try:
        text = read_file(path).decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8") from None
    return text.removesuffix("\n").split("\n")


def _is_entry(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _names(line: str, name: str) -> bool:
    return _is_entry(line) and line.partition(":")[0] == name


@contextmanager
def _editing(path: Path) -> Iterator[None]:
    """Lock the file's folder against other edits, since the file itself is replaced."""
    try:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise FileError(f"{path} cannot be edited: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be edited: {error.strerror}") from None
    finally:
        os.close(folder)


def _write(path: Path, lines: list[str]) -> None:
    """Replace the file atomically, with its owner and mode; a new one is private to its owner."""
    target = path.resolve()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if target.exists():
                before, new = target.stat(), os.fstat(descriptor)
                if (before.st_uid, before.st_gid) != (new.st_uid, new.st_gid):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o777)
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
