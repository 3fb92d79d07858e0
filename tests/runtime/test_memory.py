"""Memory that all threads of a process share, and that the process gives back."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import subprocess
import sys
import weakref

import pytest

from sessiongate.runtime import memory

# Variables that would also tune glibc.
_TUNED = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")

# Four threads take memory at the same time; then the C library reports what it has.
_PROGRAM = """
import ctypes
import threading
from sessiongate.runtime.memory import use_one_malloc_arena

{call}
together = threading.Barrier(4)

def take():
    together.wait()
    taken = [bytes(10_000) for _ in range(1000)]
    together.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def _places(call: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(call=call)],
        env={name: value for name, value in os.environ.items() if name not in _TUNED},
        check=True,
        capture_output=True,
        text=True,
    )
    return len(re.findall("<heap nr=", done.stdout))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_threads_take_memory_from_one_place() -> None:
    assert _places("") > 1, "what this is about is gone"
    assert _places("use_one_malloc_arena()") == 1


_GROWS = """
import os
from sessiongate.runtime.memory import give_back, use_one_malloc_arena

use_one_malloc_arena()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

bytes(8 << 20)  # freed, it would let glibc keep what comes later
kept = [bytes(1 << 20).replace(b"\\0", b"x") for _ in range(50)]
last = bytearray(1000)
large = resident()
kept.clear()
freed = large - resident()
small = [bytearray(5000) for _ in range(10_000)]
most, last = resident(), small[-1]
del small
give_back()
print(freed >> 20, (most - resident()) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_what_is_free_goes_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GROWS], check=True, capture_output=True, text=True
    )
    large, small = map(int, done.stdout.split())
    assert large >= 49
    assert small >= 40


def test_memory_is_returned_once_for_all_that_was_freed_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: calls.append(None))
    monkeypatch.setattr(memory, "_SOON", 0.0)

    async def main() -> None:
        free = memory.FreeMemory()
        for times in (1, 2):
            for _ in range(10):
                free.give_back_soon()
            while len(calls) < times:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0)
            assert len(calls) == times

    asyncio.run(main())


class _Item:
    """An object of a class."""

    __slots__ = ("__weakref__", "value")
    value: object


def test_what_is_untracked_is_not_searched_and_is_freed_when_nothing_refers_to_it() -> None:
    item = _Item()
    item.value = [1]
    items: list[_Item | list[_Item] | set[_Item] | tuple[_Item]] = [item, [item], {item}, (item,)]
    for each in items:
        assert gc.is_tracked(each)
        memory.untrack(each)
        memory.untrack(each)
        assert not gc.is_tracked(each)
    gc.collect()
    assert item.value == [1]
    kept = weakref.ref(item)
    del item, each
    items.clear()
    assert kept() is None


def test_young_garbage_is_collected_and_the_rest_counts_as_old() -> None:
    kept, garbage = [[]], _Item()  # type: ignore[var-annotated]
    garbage.value = garbage
    gone = weakref.ref(garbage)
    del garbage
    memory.collect_young()
    assert gone() is None
    assert any(found is kept for found in gc.get_objects(generation=2))
