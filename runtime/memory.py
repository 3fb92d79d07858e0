"""How a process takes its memory from the system."""

from __future__ import annotations

import ctypes
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h


def share_memory() -> None:
    """Let all threads of this process take memory from one place; to be called first.

    By default glibc gives each thread one of its own. What is freed there is of no use to
    the others, so that a process which answers for days grows, without ever losing any.
    It changes nothing where the C library is another.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)
