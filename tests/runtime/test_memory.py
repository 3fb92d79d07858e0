"""Memory that all threads of a process share."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import pytest

# What would tell glibc too.
_TUNED = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")

# As many threads as take memory at the same time; then what the C library says it has.
_PROGRAM = """
import ctypes
import threading
from runtime.memory import share_memory

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
    assert _places("share_memory()") == 1
