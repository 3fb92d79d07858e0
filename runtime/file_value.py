"""Values that live in files, and follow them."""

from __future__ import annotations

import logging
import os
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
        raise FileError(f"{path} cannot be read: {error.strerror}") from None


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
