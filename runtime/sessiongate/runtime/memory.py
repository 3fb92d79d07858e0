"""How a process takes memory from the system and returns what it does not need."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of glibc's malloc.h
_LARGE = 128 * 1024  # bytes
# Free bytes to keep: otherwise each request takes its memory from the system again.
_KEPT = 8 * 1024 * 1024
# Objects made and not freed until the young ones are searched for garbage; how many such
# searches until those that survived one are searched, which takes some milliseconds; how
# many of those until all objects are.
_YOUNG, _MIDDLE, _OLD = 1000, 10, 800


def use_one_malloc_arena() -> None:
    """Let all threads of this process take memory from one arena; call this first.

    By default glibc gives each thread its own. What is freed there is no use to the
    others, so a process that answers for days grows, without ever leaking. glibc takes
    large blocks from the system one by one, but by itself does so less and less; then it
    keeps what is freed. With another C library this changes nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Return free memory to the system; this takes from some to tens of milliseconds."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def collect_rarely() -> None:
    """Rarely search all objects for garbage; call this once all modules are loaded.

    With 100,000 sessions a search stops the process for a tenth of a second and finds next
    to nothing: most of what is let go of is in no cycle, and most of the rest is young.
    Objects that exist already stay for good: they are never searched.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
