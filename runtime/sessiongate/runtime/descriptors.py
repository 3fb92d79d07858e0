"""A process's open files: the standard streams, and the limit."""

from __future__ import annotations

import errno
import io
import logging
import os
import resource
import sys
from contextlib import suppress
from typing import TextIO

log = logging.getLogger(__name__)

_ENOUGH = 65536
# Descriptors for everything but callers: files, sources or a core, the exporter, Python.
_OWN = 128


def raise_fd_limit() -> None:
    """Raise the limit of this process and its children as far as allowed, up to 65536.

    The usual limit, 1024, is for programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # not allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fitted(name: str, wanted: int) -> int:
    """Return how many ``wanted`` connections, a setting, fit the limit; warn if fewer."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or wanted <= allowed - _OWN:
        return wanted
    room = max(1, allowed - _OWN)
    log.warning(
        "%s is reduced to %d from %d: this process may open %d descriptors, and reserves %d"
        " for itself; raise its limit (ulimit -n, or LimitNOFILE= of systemd)",
        *(name, room, wanted, allowed, _OWN),
    )
    return room


def open_standard_streams() -> None:
    """Open the null device as each of descriptors 0 to 2 that is closed.

    Call this before anything else is opened, which would take their numbers, and be read
    and written as standard input, output or error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            found = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if found != number:
                os.dup2(found, number)
                os.close(found)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = _null(0)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed()), encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = _null(2)


def need_no_output() -> None:
    """Ignore a closed standard output: this program does not exist to print."""
    if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Closed):
        sys.stdout = _null(1)


def _null(number: int) -> TextIO:
    return open(number, "w" if number else "r", encoding="utf-8", closefd=False)


class _Closed(io.RawIOBase):
    """A closed standard output: the first write fails."""

    _failed = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def isatty(self) -> bool:
        return False

    def write(self, data: object) -> int:
        if not self._failed:
            self._failed = True
            raise OSError(errno.EBADF, "standard output is closed")
        return len(memoryview(data))  # type: ignore[arg-type] # what a buffer hands over
