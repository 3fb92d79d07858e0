"""Values that are read from files and follow them."""

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

from sessiongate.runtime.apart import HangsError, is_under_way, within

log = logging.getLogger(__name__)

_T = TypeVar("_T")

POLL_INTERVAL = 1.0  # seconds between two looks at the files
MAX_FILE_BYTES = 16 * 1024 * 1024  # bytes of a file
# Seconds: how long to wait for a look, so that whoever asks after a change sees the change;
# how long one may take for the next to be waited for, too; and how long to go without an
# answer before that is logged.
_WAIT = 0.25
_QUICK = 0.05
_HANGS = 5.0
# A file written to twice within a tick of its file system's clock shows one time for both,
# and some file systems tick in seconds: for so many ns after a change it is read regardless.
_SETTLED = 2_500_000_000

_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a FIFO, not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}
# Paths that whoever starts a program passes to it, such as a shell's <(…).
_HANDED_OVER = re.compile(r"/dev/stdin|(/dev|/proc/self)/fd/[0-9]+")


class Stamp(NamedTuple):
    """Differs once a file is replaced or written to."""

    device: int
    inode: int
    changed: int  # in ns, like the next; nobody can set it
    modified: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Make the stamp of a file from its status."""
        return cls(found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)


class FileError(ValueError):
    """A file cannot be used; the text names it and says why, and repeats nothing from it."""


def read_file(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's content. Raises `FileError`, also if it is no regular file or too large.

    Nothing else is opened: a FIFO would wait for a writer, a device would never end.
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
        raise FileError(f"{str(path)!r} cannot be the path of a file") from None
    if len(content) > most:
        raise FileError(f"{path} is larger than {_shown(most)}")
    return content


def read_handed_over(path: Path) -> bytes:
    """Return the content of a file, or of a pipe passed to this program. Raises `FileError`.

    The pipe is read to its end, and can be read once.
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
        raise FileError(f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}")


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def unreadable(path: Path, error: OSError) -> FileError:
    """Return the error that says why a file cannot be read."""
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
        raise FileError(f"{text}; make another if somebody may have seen it")


def exposure(path: Path) -> str:
    """Return a warning if every user of the machine can read or write a secret; empty if not.

    Its group may: that is how systemd passes on what only root can read, and how a
    service's user reads what is renewed while it runs.
    """
    try:
        mode = in_time(lambda: os.stat(path).st_mode, path)
    except (OSError, FileError):  # what is wrong is reported when it is read
        return ""
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return ""
    return (
        f"{path} holds a secret, and every user of this machine can get at it (mode"
        f" {mode & 0o777:04o}): chmod o-rwx {path}"
    )


def in_time(work: Callable[[], _T], *paths: Path) -> _T:
    """Return what ``work`` makes of files at startup. Raises `FileError`, also on no answer.

    This is for what is read once: a `WatchedFile` goes on with what it has.
    """
    try:
        return within(_HANGS, object(), work)
    except HangsError:
        raise FileError(f"{_names(paths)}: no answer of the file system") from None


def trouble(read: Callable[..., object], *paths: Path) -> str:
    """Return why ``read``, which raises `FileError`, cannot read files; empty if it can."""
    try:
        in_time(lambda: read(*paths), *paths)
    except FileError as error:
        return str(error)
    return ""


class WatchedFile(Generic[_T]):
    """What ``read`` makes of some files, made again when one of them changes.

    A change that cannot be read leaves the value as it is; it is logged, and tried again
    until it can be read. A file system that hangs or is slow leaves it, too: a caller waits
    for it no longer than `_WAIT`, and once. Safe to share between threads.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[], _T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files. Raises what ``read`` raises: `FileError`."""
        self._paths = paths
        self._read = read
        self._clock = clock
        self._looked = clock()
        self._is_quick = True  # the last look took no longer than `_QUICK`
        self._trouble = ""  # why the last change could not be read
        self._value = in_time(self._first, *paths)

    @property
    def value(self) -> _T:
        """The newest value that could be read. The same object for as long as nothing changes."""
        now = self._clock()
        if now - self._looked >= POLL_INTERVAL:
            if is_under_way(self):
                self._tell_of_hanging(now - self._looked)
            else:
                self._looked = now
                with suppress(HangsError):
                    within(_WAIT if self._is_quick else 0.0, self, self._timed_look)
        return self._value

    def _first(self) -> _T:
        # Take stamps before reading: a change in between is seen later.
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
                log.info("can be read again, as it was: %s", _names(self._paths))
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
            self._say(f"{error}; what it said before goes on")
        except Exception:
            names = _names(self._paths)
            self._say(f"{names} cannot be read; what was read before goes on", trace=True)
        else:
            log.info("read again: %s", _names(self._paths))
            self._trouble = ""

    def _tell_of_hanging(self, seconds: float) -> None:
        if seconds >= _HANGS:
            self._say(f"{_names(self._paths)}: no answer of the file system; what was read goes on")

    def _say(self, trouble: str, *, trace: bool = False) -> None:
        """Log what is wrong, once."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("%s", trouble, exc_info=trace)

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]

    def _digest(self) -> bytes | None:
        """Digest what the files hold and who may read them; None if they cannot be read."""
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
    """Return whether no file was written to just now."""
    now = time.time_ns()
    return all(abs(now - stamp.changed) > _SETTLED for stamp in stamps if stamp is not None)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
