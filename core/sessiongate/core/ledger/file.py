"""A ledger's file and its companions: the lock and the mark.

A ledger's file may be older than the assigned ids: restored from a backup, copied without
its write-ahead log, put in place of another, or deleted. The mark is written before ids
beyond it are assigned, so that no file that is older than its mark assigns an id again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import IO

from sessiongate.core.ledger.lock import LedgerError, take_lock
from sessiongate.core.ledger.numbering import from_clock
from sessiongate.runtime.urls import UrlError, ledger_file

log = logging.getLogger(__name__)

_IDS_AHEAD = 10_000  # to assign before the mark is written again
_LARGEST_MARK = 4096  # bytes that are read
_LARGEST = (1 << 62) - 1  # of the ids in a mark: SQLite's integers have 63 bits
_COPIED = -1  # the generation of no ledger
_BESIDE = ("-wal", "-shm")  # suffixes of the files that SQLite keeps beside a database
# SQLite treats a file that is shorter than its header as a new one.
_HEADER_BYTES = 100
_FIRST_PAGES = 4 * 4096  # bytes, with the counters


class CorruptError(LedgerError):
    """The file is not a ledger, or no longer one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Bounds of the ids that a ledger has assigned."""

    generation: int  # random, set when the ledger was created; also in its file
    following: int  # the counter has not passed it
    stated: int  # the highest id that was assigned because a document stated it
    file: int  # the inode of its ledger: a copy has another
    itself: int = 0  # its own inode, as recorded by `write_mark`


class LedgerFile:
    """A ledger's file, locked until `close`."""

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        """Lock the file; ``now`` returns ns since the epoch. Raises `LedgerError`."""
        self.path = path.resolve()  # one file has one mark, under any name
        self._now = now
        self._lock: IO[bytes] | None = take_lock(path)
        self._is_new = not path.exists()
        # If its companions exist, the file was deleted.
        self._is_in_doubt = self._is_new and any(map(os.path.lexists, self._beside()))
        self._inode = (0, 0)  # device and inode, once it exists
        self._mark: Mark | None = None  # None until the next id is known
        self._descriptor: int | None = None  # closing it releases SQLite's locks
        # What `_look` saw after the last write; None while it may change.
        self._seen: tuple[object, ...] | None = None
        self._changing = False
        self._looking = Lock()

    def require(self) -> None:
        """Make sure that the file exists, with access for this user only. Raises `LedgerError`.

        SQLite creates its other files with the same mode.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._let_go()
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
            os.fchmod(self._descriptor, 0o600)
            found = os.fstat(self._descriptor)
            self._restrict()
        except OSError as error:
            raise LedgerError(
                f"the ledger {self.path} cannot be opened: {error.strerror}"
            ) from error
        self._inode = found.st_dev, found.st_ino
        self._is_in_doubt |= found.st_nlink > 1  # the mark of its other name may be higher
        if not self._is_new and found.st_size < _HEADER_BYTES:
            raise CorruptError(f"the ledger ({self.path}) is truncated")

    def set_aside(self, error: LedgerError) -> None:
        """Rename a corrupt file and its companions, and replace it with an empty one."""
        aside = self.path.with_name(f"{self.path.name}.corrupt-{self._now()}")
        for suffix in ("", *_BESIDE):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists():
                beside.rename(f"{aside}{suffix}")
        log.error("%s; kept as %s, starting with a new ledger", error, aside)
        self._is_new = self._is_in_doubt = True
        self.require()

    def following(
        self, generation: int, following: int, kept: Collection[int], reached: int
    ) -> int:
        """Return the next id, if the file's is ``following`` and it has also assigned ``kept``.

        In doubt it is the time in microseconds, above the time that the clock has ``reached``
        according to the file. Raises `LedgerError`.
        """
        mark = read_mark(self.path)
        highest = max(following - 1, *kept, 0)
        if mark is not None:
            following = max(following, mark.following)
        in_doubt = self._is_in_doubt
        if not self._is_new and not in_doubt:
            in_doubt = mark is None or mark.stated > highest
            in_doubt |= mark is None or (mark.generation, mark.file) != (generation, self._inode[1])
        if in_doubt:
            stated = mark.stated if mark is not None else 0
            following = max(following, stated + 1, from_clock(self._now() // 1000, reached))
            log.warning(
                "the ledger (%s) may be older than the assigned ids: they continue from %d",
                *(self.path, following),
            )
        stated = max(kept, default=0)
        self._write(Mark(generation, following + _IDS_AHEAD, stated, self._inode[1]))
        return following

    def cover(self, following: int, kept: Collection[int]) -> None:
        """Make the mark cover ids that are about to be assigned. Raises `LedgerError`."""
        mark = self._mark
        if mark is None:
            raise LedgerError(f"the ledger {self.path} is not open")
        stated = max(mark.stated, *kept, 0)
        if following > mark.following or stated > mark.stated:
            self._write(replace(mark, following=following + _IDS_AHEAD, stated=stated))

    @property
    def is_in_place(self) -> bool:
        """Whether the file is as this process left it, as far as can be detected."""
        try:
            found = os.stat(self.path)
            is_same = (found.st_dev, found.st_ino) == self._inode
            with self._looking:
                return is_same and (self._seen is None or self._look() == self._seen)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the file system fails, but has not lost the file

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Allow writing to the file. Raises `LedgerError` if it is not as this process left it."""
        self._require_in_place()
        try:
            yield
        finally:
            with self._looking:
                if not self._changing:
                    self._remember()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Allow another thread to copy the log into the file, beside what is written.

        Until it has done so, nobody can tell whether somebody else writes there, too.
        Raises `LedgerError` if the file is not as this process left it.
        """
        self._require_in_place()
        with self._looking:
            self._changing, self._seen = True, None
        try:
            yield
        finally:
            with self._looking:
                self._changing = False
                self._remember()

    def _require_in_place(self) -> None:
        if not self.is_in_place:
            raise LedgerError(f"the ledger {self.path} was removed or replaced")

    def _remember(self) -> None:
        try:
            self._seen = self._look()
        except OSError:
            self._seen = None

    def _look(self) -> tuple[object, ...]:
        """Return what changes if somebody else writes to the file, or removes its log.

        A copy may replace the file and keep its times, so the pages with the counters are
        compared. SQLite writes there only on behalf of this process.
        """
        if self._descriptor is None:
            return ()
        log_file = os.stat(self.path.with_name(f"{self.path.name}-wal"))
        size = os.fstat(self._descriptor).st_size
        return log_file.st_ino, size, os.pread(self._descriptor, _FIRST_PAGES, 0)

    def close(self, following: int | None) -> None:
        """Unlock the file, with an exact mark if the next id (``following``) is known.

        A mark that was never read stays as it is.
        """
        try:
            if self._mark is not None and following is not None:
                self._write(replace(self._mark, following=following))
        except LedgerError as error:
            log.warning("%s", error)
        self._let_go()
        if self._lock is not None:
            self._lock.close()

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _beside(self) -> Iterator[Path]:
        return (self.path.with_name(self.path.name + suffix) for suffix in (*_BESIDE, ".mark"))

    def _restrict(self) -> None:
        """Restrict SQLite's other files to this user, like the file."""
        for suffix in _BESIDE:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            with suppress(OSError):  # SQLite reports what it cannot open
                file = os.open(self.path.with_name(self.path.name + suffix), flags)
                try:
                    os.fchmod(file, 0o600)
                finally:
                    os.close(file)

    def _write(self, mark: Mark) -> None:
        try:
            write_mark(self.path, mark)
        except OSError as error:
            raise LedgerError(
                f"the ledger's mark ({mark_path(self.path)}) cannot be written: {error.strerror}"
            ) from error
        self._mark = mark


def ledger_path(url: str) -> Path | None:
    """Return the file in a ledger's URL; None for one in memory. Raises `LedgerError`."""
    try:
        path = ledger_file(url)
    except UrlError as error:
        raise LedgerError(str(error)) from None
    return Path(path) if path is not None else None


def mark_path(path: Path) -> Path:
    """Return the path of the mark of a ledger's file."""
    return path.with_name(f"{path.name}.mark")


def read_mark(path: Path) -> Mark | None:
    """Read the mark of a ledger's file; None if none can be read.

    A copied mark, as with the whole folder, may be old, and has no generation.
    """
    with suppress(OSError, ValueError, TypeError):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(mark_path(path), flags), "rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            found = Mark(**json.loads(file.read(_LARGEST_MARK)))
        are_numbers = all(type(value) is int and value >= 0 for value in asdict(found).values())
        if are_numbers and max(found.following, found.stated) <= _LARGEST:
            return found if found.itself == inode else replace(found, generation=_COPIED)
    return None


def write_mark(path: Path, mark: Mark) -> None:
    """Write the mark of a ledger's file, so that it survives a power cut. Raises `OSError`."""
    target = mark_path(path)
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask
            mark = replace(mark, itself=os.fstat(file.fileno()).st_ino)
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
