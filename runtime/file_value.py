"""Values that live in files, and follow them."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from runtime.apart import HangsError, is_under_way, within

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY = 1.0  # seconds between two looks at the files
MOST = 16 * 1024 * 1024  # bytes of a file
# Seconds: how long a look is waited for, so that who asks after a change meets the change;
# and after how long of no answer that is said.
_WAIT = 0.25
_HANGS = 5.0

_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a FIFO, not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}
# Paths of what whoever starts a program hands over to it, such as a shell's <(…).
_HANDED_OVER = re.compile(r"/dev/stdin|(/dev|/proc/self)/fd/[0-9]+")


class Stamp(NamedTuple):
    """What tells that a file is another, or has been written to."""

    device: int
    inode: int
    changed: int  # in ns, as the next; nobody can set it
    modified: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The stamp of a file as it was found."""
        return cls(found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)


class FileError(ValueError):
    """A file cannot be used; the text names it and says why, and repeats nothing of it."""


def read_file(path: Path, most: int = MOST) -> bytes:
    """What a file holds. Raises `FileError`, also of what is no regular file or too large.

    Nothing else is opened: a FIFO would wait for a writer, a device never end.
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
    """What a file holds, or a pipe that this program was started with. Raises `FileError`.

    The pipe is read to its end, and can be read once.
    """
    try:
        piped = _HANDED_OVER.fullmatch(str(path)) and stat.S_ISFIFO(os.stat(path).st_mode)
        if not piped:
            return read_file(path)
        with open(path, "rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(content) > MOST:
        raise FileError(f"{path} is larger than {_shown(MOST)}")
    return content


def refuse_what_is_no_file(path: object, found: os.stat_result) -> None:
    """Raise `FileError` unless this is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}")


def _shown(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def unreadable(path: Path, error: OSError) -> FileError:
    """The error that says why a file cannot be read."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            where = "" if path.is_absolute() else f" in {Path.cwd()}"
            return FileError(f"{path}: no such file{where}")
        case PermissionError():
            user = f"user {os.geteuid()}"
            return FileError(f"{path} cannot be read by {user}: permission denied")
    return FileError(f"{path} cannot be read: {error.strerror}")


def refuse_what_others_read(path: Path) -> None:
    """Raise `FileError` where every user of the machine can read or write a file."""
    if text := exposure(path):
        raise FileError(f"{text}; make another if somebody may have seen it")


def exposure(path: Path) -> str:
    """That every user of the machine can read or write a secret; empty where that is not so.

    Its group may: that is how systemd hands over what only root can read, and how the
    user of a service reads what is renewed while it runs.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # it was there when it was read
        return ""
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return ""
    return (
        f"{path} holds a secret, and every user of this machine can get at it (mode"
        f" {mode & 0o777:04o}): chmod o-rwx {path}"
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
    again until it can be. So does a file system that hangs: who asks waits for it no
    longer than `_WAIT`, and once. Safe to share between threads.
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
        self._looked = clock()
        self._seen = self._stamps()  # taken before reading: a change in between is seen later
        self._value = read()
        self._trouble = ""  # why the last change could not be read

    @property
    def value(self) -> T:
        """The newest value that could be read. The same object for as long as nothing changes."""
        now = self._clock()
        if now - self._looked >= EVERY:
            if is_under_way(self):
                self._tell_of_hanging(now - self._looked)
            else:
                self._looked = now
                with suppress(HangsError):
                    within(_WAIT, self, self._look)
        return self._value

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen and not self._trouble:
            return
        try:
            self._value = self._read()
        except FileError as error:
            self._say(f"{error}; what it said before goes on")
        except Exception:
            self._say(f"{self._names()} cannot be read; what was read before goes on", trace=True)
        else:
            log.info("read again: %s", self._names())
            self._trouble = ""
        self._seen = stamps

    def _tell_of_hanging(self, seconds: float) -> None:
        if seconds >= _HANGS:
            self._say(f"{self._names()}: no answer of the file system; what was read goes on")

    def _say(self, trouble: str, *, trace: bool = False) -> None:
        """Log what is wrong, once."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("%s", trouble, exc_info=trace)

    def _names(self) -> str:
        return ", ".join(map(str, self._paths))

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> Stamp | None:
    try:
        return Stamp.of(os.stat(path))
    except (OSError, ValueError):
        return None
