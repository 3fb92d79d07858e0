"""The file of a ledger and what stands beside it: the lock, and the mark.

A ledger's file may be older than its ids: restored from a backup, copied without its
write-ahead log, put in the place of another, gone. The mark is written before ids beyond
it are given, so that no file that is older than its mark gives an id again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from core.ledger_lock import LedgerError, take_lock
from runtime.urls import UrlError, ledger_file

log = logging.getLogger(__name__)

_IDS_AHEAD = 10_000  # that may be given before the mark is written again
_LARGEST_MARK = 4096  # bytes that are read
# SQLite takes a file that is shorter than its header for a new one.
_HEADER_BYTES = 100


class CorruptError(LedgerError):
    """The file is not, or no longer, a ledger."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Bounds of the ids that a ledger has given."""

    generation: int  # drawn when the ledger was made; its file has it, too
    following: int  # the counter has not gone beyond it
    stated: int  # the highest id that was given because a document stated it


class LedgerFile:
    """A ledger's file, locked from the beginning until `close`."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        """``now`` gives ns since the epoch. Raises `LedgerError`."""
        self.path = path.resolve()  # one file has one mark, by whatever name
        self._now = now
        self._lock: IO[bytes] | None = take_lock(path)
        self._is_new = not path.exists()
        self._is_in_doubt = False
        self._inode: tuple[int, int] | None = None
        self._mark: Mark | None = None  # until it is known where the ids go on

    def require(self) -> None:
        """Have the file there, for this user alone. Raises `LedgerError`.

        SQLite gives those that it puts beside it the same mode.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            file = os.open(self.path, flags, 0o600)
            try:
                os.fchmod(file, 0o600)
                found = os.fstat(file)
            finally:
                os.close(file)
        except OSError as error:
            raise LedgerError(
                f"the ledger {self.path} cannot be opened: {error.strerror}"
            ) from error
        self._inode = found.st_dev, found.st_ino
        if not self._is_new and found.st_size < _HEADER_BYTES:
            raise CorruptError(f"the ledger ({self.path}) is cut short")

    def set_aside(self, error: LedgerError) -> None:
        """Rename a corrupt file and what belongs to it, and have an empty one there."""
        aside = self.path.with_name(f"{self.path.name}.corrupt-{self._now()}")
        for suffix in ("", "-wal", "-shm"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.rename(f"{aside}{suffix}")
        log.error("%s; it is kept as %s, and a new ledger begun", error, aside)
        self._is_new = self._is_in_doubt = True
        self.require()

    def following(self, generation: int, following: int, kept: Collection[int]) -> int:
        """The id to go on from, if the file has come to ``following``, and gave ``kept`` too.

        In doubt it is the time in microseconds. Raises `LedgerError`.
        """
        mark = read_mark(self.path)
        highest = max(following - 1, *kept, 0)
        if mark is not None:
            following = max(following, mark.following)
        if self._is_new:
            in_doubt = self._is_in_doubt or mark is not None  # there was a file
        else:
            in_doubt = mark is None or mark.generation != generation or mark.stated > highest
        if in_doubt:
            following = max(following, self._now() // 1000)
            log.warning(
                "the ledger (%s) may be older than the ids that were given: they go on from %d",
                *(self.path, following),
            )
        self._write(Mark(generation, following + _IDS_AHEAD, max(kept, default=0)))
        return following

    def cover(self, following: int, kept: Collection[int]) -> None:
        """Let the mark cover ids that are about to be given. Raises `LedgerError`."""
        mark = self._mark
        if mark is None:
            raise LedgerError(f"the ledger {self.path} is not open")
        stated = max(mark.stated, *kept, 0)
        if following > mark.following or stated > mark.stated:
            self._write(replace(mark, following=following + _IDS_AHEAD, stated=stated))

    @property
    def is_in_place(self) -> bool:
        """Whether the file is still the one that was opened, as far as can be told."""
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a file system that fails just now has not lost it
        return (found.st_dev, found.st_ino) == self._inode

    def close(self, following: int) -> None:
        """Unlock it, with a mark that is exact; one that was never read stays as it is."""
        try:
            if self._mark is not None and self.is_in_place:
                self._write(replace(self._mark, following=following))
        except LedgerError as error:
            log.warning("%s", error)
        if self._lock is not None:
            self._lock.close()

    def _write(self, mark: Mark) -> None:
        try:
            write_mark(self.path, mark)
        except OSError as error:
            raise LedgerError(
                f"the ledger's mark ({mark_path(self.path)}) failed: {error.strerror}"
            ) from error
        self._mark = mark


def ledger_path(url: str) -> Path | None:
    """The file at a ledger's URL; None for one in memory. Raises `LedgerError`."""
    try:
        path = ledger_file(url)
    except UrlError as error:
        raise LedgerError(str(error)) from None
    return Path(path) if path is not None else None


def mark_path(path: Path) -> Path:
    """The mark of the ledger in a file."""
    return path.with_name(f"{path.name}.mark")


def read_mark(path: Path) -> Mark | None:
    """Read the mark of the ledger in a file; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(mark_path(path), flags), "rb") as file:
            found = Mark(**json.loads(file.read(_LARGEST_MARK)))
        if all(type(value) is int for value in asdict(found).values()):
            return found
    return None


def write_mark(path: Path, mark: Mark) -> None:
    """Write the mark of the ledger in a file, so that it survives a power cut. Raises `OSError`."""
    target = mark_path(path)
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o600), "wb") as file:
            file.write(json.dumps(asdict(mark)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(target)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
