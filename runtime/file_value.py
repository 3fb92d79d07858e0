"""Values that live in files, and follow them."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY = 1.0  # seconds between two looks at the files

# Device, inode, size and time of change: replaced, rewritten and swapped files differ.
_Signature = tuple[int, int, int, int]


class FileError(ValueError):
    """A file cannot be used; the text names it and says why, and repeats nothing of it."""


def read_file(path: Path) -> bytes:
    """What a file holds. Raises `FileError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> FileError:
    """The error that says why a file cannot be read."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            where = "" if path.is_absolute() else f" in {Path.cwd()}"
            return FileError(f"{path}: no such file{where}")
        case IsADirectoryError():
            return FileError(f"{path} is a folder, not a file")
        case PermissionError():
            user = f"user {os.geteuid()}"
            return FileError(f"{path} cannot be read by {user}: permission denied")
    return FileError(f"{path} cannot be read: {error.strerror}")


def refuse_what_others_read(path: Path) -> None:
    """Raise `FileError` where every user of the machine can read or write a file.

    Its group may: that is how systemd hands over what only root can read, and how the
    user of a service reads what is renewed while it runs.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise unreadable(path, error) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise FileError(
            f"{path} holds a secret, and every user of this machine can get at it (mode"
            f" {mode & 0o777:04o}): chmod o-rwx {path}; make another if somebody may have seen it"
        )


def trouble(read: Callable[..., object], *paths: Path) -> str:
    """Why files cannot be read by a function that raises `FileError`; empty if they can."""
    try:
        read(*paths)
    except FileError as error:
        return str(error)
    return ""


class FileValue(Generic[T]):
    """What ``read`` makes of some files, made again when one of them changes.

    A change that cannot be read leaves the value as it is: it is logged, and tried
    again until it can be. Safe to share between threads.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files. Raises what ``read`` raises: `FileError`."""
        self._paths = paths
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._seen = self._signatures()  # taken before reading: a change in between is seen later
        self._value = read()
        self._trouble = ""  # why the last change could not be read

    @property
    def value(self) -> T:
        """The newest value that could be read. The same object for as long as nothing changes."""
        if self._clock() - self._looked >= EVERY:
            with self._lock:
                self._look()
        return self._value

    def _look(self) -> None:
        self._looked = self._clock()
        signatures = self._signatures()
        if signatures == self._seen and not self._trouble:
            return
        try:
            self._value = self._read()
        except FileError as error:
            if str(error) != self._trouble:
                log.error("%s; what it said before goes on", error)
            self._trouble = str(error)
        else:
            log.info("read again: %s", ", ".join(map(str, self._paths)))
            self._trouble = ""
        self._seen = signatures

    def _signatures(self) -> list[_Signature | None]:
        return [_signature(path) for path in self._paths]


def _signature(path: Path) -> _Signature | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
