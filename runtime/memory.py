"""How a process takes its memory from the system, and gives it back."""

from __future__ import annotations

import ctypes
import gc
import sys
import time

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of glibc's malloc.h
_LARGE = 128 * 1024  # bytes
# Bytes that are free and kept: without, what each request takes is got from the system anew.
_KEPT = 8 * 1024 * 1024
# What is created, less what is freed, before the collector of garbage looks at it; how often
# before it looks at what it found twice; and how often at all that it has not put aside.
_THRESHOLDS = (700, 10, 5)
_LOOK_AGAIN = 4 * 3600.0  # seconds


def collect_in_short_steps() -> None:
    """Let the collector of garbage look at the newest objects only, tens of thousands at most.

    It would stop a process that holds millions of objects for seconds, each time that they
    have become a quarter more. What it has looked at is put aside. What of that becomes
    garbage of the kind that only it can free is freed some hours later, when it looks at
    all once.
    """
    looked = time.monotonic()

    def put_aside(phase: str, info: dict[str, int]) -> None:
        nonlocal looked
        if info["generation"] != len(_THRESHOLDS) - 1:
            return
        if phase == "stop":
            gc.freeze()
        elif time.monotonic() - looked > _LOOK_AGAIN:
            looked = time.monotonic()
            gc.unfreeze()

    gc.set_threshold(*_THRESHOLDS)
    gc.callbacks.append(put_aside)


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
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Give the system what is free; it takes some milliseconds, or tens of them."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
