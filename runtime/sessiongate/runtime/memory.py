"""Memory of a process: how it is taken from the system and returned."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of glibc's malloc.h
_LARGE = 128 * 1024  # bytes
# Free bytes to keep: otherwise each request would take its memory from the system.
_KEPT = 8 * 1024 * 1024
_SOON = 5.0  # seconds
_IDLE = 60.0  # seconds without the work that frees large amounts
# Objects allocated and not freed before young objects are searched for garbage; such
# searches before survivors are searched too, which takes a few milliseconds; and those
# before all objects are.
_YOUNG, _MIDDLE, _OLD = 1000, 10, 800

_T = TypeVar("_T")


def use_one_malloc_arena() -> None:
    """Make all threads of this process take memory from one arena; call this first.

    By default glibc gives each thread its own arena. Memory freed there is of no use to
    the others, so a process grows for days without a leak. glibc maps large blocks one by
    one, but raises that threshold over time, and then keeps freed blocks. With another C
    library this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back() -> None:
    """Return free memory to the system; this takes up to tens of milliseconds."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


class FreeMemory:
    """Memory that was freed in large amounts, and is returned to the system a little later."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        """Return free memory to the system in a few seconds, once for all calls until then."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON, self._give_back)

    def give_back_once_idle(self) -> None:
        """Return free memory to the system once this has not been called for a minute.

        Search all objects for garbage before: this also frees the tuples that Python keeps for
        reuse. Two thousand of a length can hold a hundred MiB that are free otherwise. With
        100,000 sessions it takes 20 ms.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE, self._collect)

    def _collect(self) -> None:
        gc.collect()
        self._give_back()

    def _give_back(self) -> None:
        self._timer = None
        give_back()


# Takes an object out of those that are searched for garbage. Call this for objects of which
# there are as many as sessions, for containers of these, of which a search visits each item, and
# only if they never become part of a cycle: they are freed when nothing refers to them. An object
# must be a list, dict, set or tuple, or of a class that is written in Python. A dict is searched
# again from its next change on, among the young objects: change it `unsearched`.
untrack: Callable[[object], None] = ctypes.PYFUNCTYPE(None, ctypes.py_object)(
    ("PyObject_GC_UnTrack", ctypes.pythonapi)
)


def untracked(made: _T) -> _T:
    """Take what was just made out of what is searched for garbage; return it."""
    untrack(made)
    return made


@contextmanager
def unsearched() -> Iterator[None]:
    """Put off searches for garbage until the context ends, which must be soon."""
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


def collect_rarely() -> None:
    """Search all objects for garbage less often; call this once all modules are loaded.

    A search stops the process for tens of milliseconds and finds next to nothing: most
    garbage is in no cycle, and most of the rest is young. Objects that exist at this call are
    never searched, nor is what there is for each session (`untrack`).
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def collect_young() -> None:
    """Search young objects for garbage; all others of them count as old from now on.

    Call this while containers of very many are filled, for every few thousand objects, which
    takes one or two milliseconds. Otherwise that may not happen until all are in there: what takes
    the memory of freed tuples and lists does not count as new.
    """
    gc.collect(1)
