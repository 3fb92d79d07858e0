"""Does once, before all are forked, what each command, core and gateway does at its start.

The process from which `tests.forked` forks them imports this module. What a program imports only
for some settings is imported here too, unless the environment changes what that is.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import pkgutil
import threading

import typer.main

import sessiongate.core
from sessiongate.core.sources import base
from sessiongate.gateway.cli.main import app
from sessiongate.runtime import daemon_thread
from sessiongate.runtime.telemetry import correlation

_OTHERS = ["sessiongate.gateway.__main__", "sessiongate.gateway.app", "typer._adapters", "uvloop"]
_OTHERS += ["sessiongate.gateway.cli.questions", "sessiongate.gateway.cli.tables"]
_OTHERS += ["sessiongate.gateway.server.main", "sessiongate.gateway.server.worker", "tests.forked"]
_CORE = pkgutil.walk_packages(sessiongate.core.__path__, "sessiongate.core.")

for module in [*(each.name for each in _CORE), *_OTHERS]:
    if not module.startswith("sessiongate.core.tracing"):  # which reads the environment
        importlib.import_module(module)

# Typer makes all commands with all their options, whichever is called: most of a short command.
typer.main.get_command = functools.cache(typer.main.get_command)
typer.main.get_command(app)

# All installed packages are searched for the kinds of sources.
base._installed()


def _renew() -> None:
    """Give a process, as if it had imported the modules itself, ids and a lock of its own."""
    correlation._PROCESS = os.urandom(8).hex()
    daemon_thread._lock = threading.Lock()  # a thread that reads a file may have held it
    daemon_thread._under_way.clear()


os.register_at_fork(after_in_child=_renew)

# The garbage collector would write to all of that in each copy, which copies the memory.
gc.collect()
gc.freeze()
