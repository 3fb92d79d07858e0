"""Does once, before all are forked, what each command, core and gateway does at its start.

The process from which `tests.forked` forks them imports this module. What a program imports only
for some settings is imported here too, unless the environment changes what that is.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import os
import pkgutil
import sys
import threading
from pathlib import Path

import typer.main

import sessiongate.core
from sessiongate.core.ledger.postgresql import partitions
from sessiongate.core.sources import base
from sessiongate.gateway.cli.main import app
from sessiongate.gateway.ui.page import page_files
from sessiongate.runtime import daemon_thread
from sessiongate.runtime.telemetry import correlation
from tests import few_partitions

_OTHERS = ["sessiongate.gateway.__main__", "sessiongate.gateway.app", "uvloop"]
_OTHERS += ["typer._adapters", "typer._click.decorators"]
_OTHERS += ["sessiongate.gateway.cli.questions", "sessiongate.gateway.cli.tables"]
_OTHERS += ["sessiongate.gateway.server.main", "sessiongate.gateway.server.worker", "tests.forked"]
_CORE = pkgutil.walk_packages(sessiongate.core.__path__, "sessiongate.core.")
_HUGE, _COLLAPSE = 2 << 20, 25  # the bytes of a large page, and MADV_COLLAPSE of Linux

for module in [*(each.name for each in _CORE), *_OTHERS]:
    if not module.startswith("sessiongate.core.tracing"):  # which reads the environment
        importlib.import_module(module)

# Typer makes all commands with all their options, whichever is called, and then what reads the
# values of those that are of the one that is: most of a short command.
typer.main.get_command = functools.cache(typer.main.get_command)
_commands = [typer.main.get_command(app)]
for each in _commands:
    _commands += getattr(each, "commands", {}).values()
    for parameter in each.params:
        parameter.get_runtime_param()  # type: ignore[attr-defined] # it is of Typer

# All installed packages are searched for the kinds of sources.
base._installed()

# The page is joined and compressed.
page_files()

partitions.AHEAD = few_partitions.AHEAD


def _renew() -> None:
    """Give a process, as if it had imported the modules itself, ids and a lock of its own."""
    correlation._PROCESS = os.urandom(8).hex()
    daemon_thread._lock = threading.Lock()  # a thread that reads a file may have held it
    daemon_thread._under_way.clear()


os.register_at_fork(after_in_child=_renew)

# The garbage collector would write to all of that in each copy, which copies the memory.
gc.collect()
gc.freeze()


def _join_pages() -> None:
    """Let the memory be in pages of 2 MB where it can: a fork copies one entry for each page.

    It is a matter of speed alone: other kernels refuse.
    """
    advise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        place, allowed, *_, inode = line.split()[:5]
        if allowed == "rw-p" and inode == "0":
            low, high = (int(each, 16) for each in place.split("-"))
            for at in range(-(-low // _HUGE) * _HUGE, high - _HUGE + 1, _HUGE):
                advise(ctypes.c_void_p(at), ctypes.c_size_t(_HUGE), _COLLAPSE)


if sys.platform == "linux":
    _join_pages()
