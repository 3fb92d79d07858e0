"""A process's open files: the first three, and how many there may be."""

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
# Descriptors that no caller uses: files, sources or a core, the exporter, the interpreter.
_OWN = 128


def raise_fd_limit() -> None:
    """Allow this process, and those it starts, as many as it may have; at most 65536.

    The usual limit is 1024, for programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # it was forbidden
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fitted(name: str, wanted: int) -> int:
    """Return how many of ``wanted``, a setting for callers' connections, fit; warn if fewer."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or wanted <= allowed - _OWN:
        return wanted
    room = max(1, allowed - _OWN)
    log.warning(
        "%s is %d, not %d: this process may have %d descriptors open, and needs %d for itself;"
        " raise its limit (ulimit -n, or LimitNOFILE= of systemd)",
        *(name, room, wanted, allowed, _OWN),
    )
    return room


def open_standard_streams() -> None:
    """Open on the null device those of descriptors 0 to 2 that are closed.

    Call this before anything else is opened: that would take their place, and be read
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
    """Go on if standard output was closed: printing is not what this program is for."""
    if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Closed):
        sys.stdout = _null(1)


def _null(number: int) -> TextIO:
    return open(number, "w" if number else "r", encoding="utf-8", closefd=False)


class _Closed(io.RawIOBase):
    """Standard output that was closed: the first write fails."""

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
