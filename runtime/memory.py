"""How a process takes its memory from the system, and gives it back."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # M_… of glibc's malloc.h
_LARGE = 128 * 1024  # bytes


def share_memory() -> None:
    """Let all threads of this process take memory from one place; to be called first.

    By default glibc gives each thread one of its own. What is freed there is of no use to
    the others, so that a process which answers for days grows, without ever losing any.
    What is large it takes from the system one by one, but of its own accord ever less so;
    then it keeps what is freed. It changes nothing where the C library is another.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give the system what is free; it takes some milliseconds, or tens of them."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
