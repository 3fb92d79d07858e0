"""Values that are read from files, and read again when these change."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from sessiongate.runtime.daemon_thread import HangsError, is_under_way, within

log = logging.getLogger(__name__)

_T = TypeVar("_T")

POLL_INTERVAL = 1.0  # seconds between two checks of the files
MAX_FILE_BYTES = 16 * 1024 * 1024  # bytes of a file
# Seconds: how long to wait for a check, so that callers after a change see the change; the
# longest check after which the next one is waited for too; and how long a check may hang
# before that is logged.
_WAIT = 0.25
_QUICK = 0.05
_HANGS = 5.0
# Two writes within a tick of the file system's clock leave the same time, and some file
# systems tick in seconds: for this many ns after a change, a file is read on every check.
_SETTLED = 2_500_000_000

_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a FIFO, not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}
# Paths of files that the parent process has opened, such as a shell's <(…).
_HANDED_OVER = re.compile(r"/dev/stdin|(/dev|/proc/self)/fd/[0-9]+")


class Stamp(NamedTuple):
    """A file's status, which differs after the file is replaced or written to."""

    device: int
    inode: int
    changed: int  # in ns, like the next one; users cannot set it
    modified: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Make the stamp of a file from its status."""
        return cls(found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)


class FileError(ValueError):
    """A file cannot be used; the text names it and the cause, and repeats none of its content."""


def read_file(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's content. Raises `FileError`, also if it is too large or not a regular file.

    Nothing else is opened: a FIFO would wait for a writer, and a device may never end.
    """
    try:
        refuse_what_is_no_file(path, os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            refuse_what_is_no_file(path, os.fstat(descriptor))
            content = file.read(most + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{str(path)!r} is not a valid path") from None
    if len(content) > most:
        raise FileError(f"{path} is larger than {_shown(most)}")
    return content


def read_handed_over(path: Path) -> bytes:
    """Return the content of a file, or of a pipe passed to this program. Raises `FileError`.

    A pipe is read to its end, and can be read only once.
    """
    try:
        piped = _HANDED_OVER.fullmatch(str(path)) and stat.S_ISFIFO(os.stat(path).st_mode)
        if not piped:
            return in_time(lambda: read_file(path), path)
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"{path} is larger than {_shown(MAX_FILE_BYTES)}")
    return content


def refuse_what_is_no_file(path: object, found: os.stat_result) -> None:
    """Raise `FileError` unless this is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'not a regular file')}")


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def unreadable(path: Path, error: OSError) -> FileError:
    """Return the error for a file that cannot be read."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            where = "" if path.is_absolute() else f" in {Path.cwd()}"
            return FileError(f"{path}: no such file{where}")
        case PermissionError():
            user = f"user {os.geteuid()}"
            return FileError(f"{path} cannot be read by {user}: permission denied")
    return FileError(f"{path} cannot be read: {error.strerror}")


def refuse_what_others_read(path: Path) -> None:
    """Raise `FileError` if every user of the machine can read or write a file."""
    if text := exposure(path):
        raise FileError(f"{text}; replace it if somebody may have seen it")


def exposure(path: Path) -> str:
    """Return a warning if every user of the machine can read or write a secret; else empty.

    Its group may: this is how systemd passes on files that only root can read, and how a
    service's user reads files that are renewed while it runs.
    """
    try:
        mode = in_time(lambda: os.stat(path).st_mode, path)
    except (OSError, FileError):  # reported when the file is read
        return ""
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return ""
    return (
        f"{path} contains a secret that every user of this machine can access (mode"
        f" {mode & 0o777:04o}); run chmod o-rwx {path}"
    )


def in_time(work: Callable[[], _T], *paths: Path) -> _T:
    """Return the result of ``work`` on files at startup. Raises `FileError`, also if it hangs.

    This is for files that are read once: a `WatchedFile` keeps its last value.
    """
    try:
        return within(_HANGS, object(), work)
    except HangsError:
        raise FileError(f"{_names(paths)}: the file system does not respond") from None


def trouble(read: Callable[..., object], *paths: Path) -> str:
    """Return the `FileError` of ``read`` as text; empty if it can read the files."""
    try:
        in_time(lambda: read(*paths), *paths)
    except FileError as error:
        return str(error)
    return ""


class WatchedFile(Generic[_T]):
    """The result of ``read`` on some files, updated when one of them changes.

    If a change cannot be read, the value is kept; the fault is logged, and reading retried
    until it succeeds. With a ``fallback``, that is the value until then. The value is also kept
    while a file system hangs or is slow: callers wait no longer than `_WAIT`, and only once.
    Safe to share between threads.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], _T],
        *,
        fallback: _T | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files. Raises what ``read`` raises: `FileError`."""
        self._paths = paths
        self._read = read
        self._fallback = fallback
        self._clock = clock
        self._looked = clock()
        self._is_quick = True  # the last check took no longer than `_QUICK`
        self._trouble = ""  # why the last change could not be read
        self._value = in_time(self._first, *paths)

    @property
    def value(self) -> _T:
        """The latest value that could be read; the same object as long as nothing changes."""
        now = self._clock()
        if now - self._looked >= POLL_INTERVAL:
            if is_under_way(self):
                self._report_hanging(now - self._looked)
            else:
                self._looked = now
                with suppress(HangsError):
                    within(_WAIT if self._is_quick else 0.0, self, self._timed_look)
        return self._value

    def _first(self) -> _T:
        # Take stamps before reading: the next check sees a change in between.
        self._seen = self._stamps()
        self._is_settled = _are_settled(self._seen)
        self._content = self._digest()
        return self._read()

    def _timed_look(self) -> None:
        began = time.monotonic()
        self._look()
        self._is_quick = time.monotonic() - began <= _QUICK

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen and self._is_settled and not self._trouble:
            return
        content = self._digest()
        if content is not None and content == self._content:
            if self._trouble:
                log.info("readable again, unchanged: %s", _names(self._paths))
            self._trouble = ""
        else:
            self._read_again()
            if not self._trouble:
                self._content = content
        self._seen = stamps
        self._is_settled = _are_settled(stamps)

    def _read_again(self) -> None:
        try:
            self._value = self._read()
        except FileError as error:
            self._log_once(f"{error}; {self._lose()}")
        except Exception:
            names = _names(self._paths)
            self._log_once(f"{names} cannot be read; {self._lose()}", trace=True)
        else:
            log.info("reloaded: %s", _names(self._paths))
            self._trouble = ""

    def _lose(self) -> str:
        """Do without a change that cannot be read; say how."""
        if self._fallback is None:
            return "keeping the previous content"
        self._value, self._content = self._fallback, None
        return "it counts as empty"

    def _report_hanging(self, seconds: float) -> None:
        if seconds >= _HANGS:
            names = _names(self._paths)
            self._log_once(
                f"{names}: the file system does not respond; keeping the previous content"
            )

    def _log_once(self, trouble: str, *, trace: bool = False) -> None:
        """Log a fault, unless it was the last one logged."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("%s", trouble, exc_info=trace)

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]

    def _digest(self) -> bytes | None:
        """Digest the files' content and modes; None if they cannot be read."""
        digest = blake2b()
        try:
            for path in self._paths:
                content, mode = read_file(path), os.stat(path).st_mode
                digest.update(b"%d %d:" % (mode, len(content)) + content)
        except (FileError, OSError):
            return None
        return digest.digest()


def _stamp(path: Path) -> Stamp | None:
    try:
        return Stamp.of(os.stat(path))
    except (OSError, ValueError):
        return None


def _are_settled(stamps: Sequence[Stamp | None]) -> bool:
    """Return whether no file was written to recently."""
    now = time.time_ns()
    return all(abs(now - stamp.changed) > _SETTLED for stamp in stamps if stamp is not None)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
