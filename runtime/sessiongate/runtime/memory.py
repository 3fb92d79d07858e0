"""How a process takes its memory from the system, and gives back what it does not need."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of glibc's malloc.h
_LARGE = 128 * 1024  # bytes
# Bytes that are free and kept: without, what each request takes is got from the system anew.
_KEPT = 8 * 1024 * 1024
# Objects made and not let go of, until garbage is looked for among the young; how many such
# looks until it is among those that survived one, which takes some milliseconds; how many of
# those until it is among all.
_YOUNG, _MIDDLE, _OLD = 1000, 10, 800


def use_one_malloc_arena() -> None:
    """Let all threads of this process take memory from one place; to be called first.

    By default glibc gives each thread one of its own. What is freed there is of no use to
    the others, so that a process which answers for days grows, without ever losing any.
    What is large it takes from the system one by one, but of its own accord ever less so;
    then it keeps what is freed. It changes nothing where the C library is another.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Give the system what is free; it takes some milliseconds, or tens of them."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def collect_rarely() -> None:
    """Look seldom for garbage among all objects; to be called once all modules are loaded.

    With 100,000 sessions a look stops the process for a tenth of a second, and finds next
    to nothing: what is let go of is mostly in no cycle, and the rest is mostly young. What
    there is already stays for good: it is never looked at.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
