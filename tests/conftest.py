"""Settings of all tests."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG as patience
from httpx._transports import default as transports
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from tests import scratch
from tests.faults.scale import FULL, times
from tests.server_data import making_data_once
from tests.servers import PATIENCE

if TYPE_CHECKING:
    from tests.core.engines import Engine
    from tests.postgres import Clients, Postgres

scratch.keep_files_in_memory()

# gRPC prepares a process for being forked, by default: it stops its own threads before, and starts
# them again in both. A server that a test starts is forked, then replaced by another program; in
# between, those threads could hang, and print to the server's output.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

# How long an example takes says more about the machine than about the program. With
# FAULTS=full there are many more examples, unless a test says how many it needs, and other ones
# each time. Every short run has the same: what it finds is due to a change, or can be seen again.
settings.register_profile(
    "untimed", deadline=None, max_examples=times(25, 1000), derandomize=not FULL
)
settings.load_profile("untimed")
if not FULL:
    # Hypothesis also tries constants of the modules that are loaded, so that the examples of a test
    # would depend on what else its process runs. In a new checkout, each process would parse 500
    # modules for them: 2.6 seconds of CPU.
    providers._get_local_constants = providers.Constants  # type: ignore[attr-defined]

# A new client of httpx reads the certificates of all authorities, in 25 ms of CPU, also for plain
# HTTP; `httpx.get` makes one for each call.
transports.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

# httpx asks whose event loop it is in for each request to an application, and httpcore for each
# lock. Unless the module that knows is there, each looks for it on the disk: 0.2 ms of CPU.
sys.modules["sniffio"] = None  # type: ignore[assignment] # an import fails at once

# After 5 seconds, which httpx waits by default, an answer may just be late: on a loaded machine, a
# server may get no CPU for as long.
patience.connect = patience.read = patience.write = patience.pool = PATIENCE


def pytest_configure(config: pytest.Config) -> None:
    """Let servers start with a copy of the data that the first of their kind has made.

    It may have been started by another process: all have the environment of the first.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        once = ExitStack()
        once.enter_context(making_data_once())
        config.add_cleanup(once.close)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import a share of the tests first, if several processes collect the same tests.

    A clean checkout has no bytecode. Each process would compile each test, with its assertions
    rewritten, which takes as long as all else that is done to collect it.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if not number:
        return
    own = Path(__file__).parent
    folders = [path.resolve() for path in map(Path, session.config.args) if path.is_dir()]
    inside = [folder for folder in folders if folder.is_relative_to(own)]
    files = sorted({file for folder in inside for file in folder.rglob("test_*.py")})
    for file in files[int(number) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]:
        name = ".".join(file.relative_to(own.parent).with_suffix("").parts)
        # It raises that again when it is collected.
        with suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let some of several processes begin with the tests that wait, and another with the browser's.

    Each begins with an equal share of the tests, and takes over those at the end of another's share
    once it has none. So two wait while the others, and the browser, have the CPUs. They share the
    tests that wait by modules, in each of which some need the same servers.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    share = len(items) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    own = Path(__file__).parent / "browser"
    waiting: list[pytest.Item] = []
    browsing: list[pytest.Item] = []
    rest: list[pytest.Item] = []
    for item in items:
        waits = item.get_closest_marker("long")
        browses = item.path.is_relative_to(own)
        (waiting if waits else browsing if browses else rest).append(item)
    halves: tuple[list[pytest.Item], list[pytest.Item]] = ([], [])
    for _, module in groupby(waiting, lambda item: item.path):
        min(halves, key=len).extend(module)
    items.clear()
    for first in (halves[0], browsing, halves[1]):
        others = max(0, share - len(first))
        items += first + rest[:others]
        del rest[:others]
    items += rest


# What is imported and collected stays until the end. The garbage collector would go through all
# of it many times while it grows, and again in each of its full collections later.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Let the garbage collector look only at what the tests themselves make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Run a PostgreSQL server for ledgers."""
    from tests.core.engines import running_engine  # most tests need no server

    with running_engine() as engine:
        yield engine


@pytest.fixture
def clients(server: Postgres) -> Iterator[Clients]:
    """Yield what keeps the connections of clients, and closes them at the end of the test."""
    from tests.postgres import Clients

    opened = Clients()
    yield opened
    opened.close()
    server.wait_until_left()
