"""A very large table: when a gateway has its copy, what that costs, and what both hold."""

from __future__ import annotations

import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BenchError, Program
from bench.stack import core, sessiongate, synthetic, wait_for_copy, wait_until_whole
from bench.turns import METRICS, longest_turn

_AT = "{table:,} sessions: "
READY = Measure(_AT + "from the core's start until a gateway is ready", "s", 30)
COPY = Measure(_AT + "CPU of a gateway's first copy", "s", 8)
_MEMORY = "resident memory per session at {table:,}: "
CORE = Measure(_MEMORY + "core", "KiB", 2.0)
WORKER = Measure(_MEMORY + "worker, before any request", "KiB", 1.0)
WORKER_AFTER_ALL = Measure(_MEMORY + "worker, after all were requested", "KiB", 1.7)

TURN = Measure(_AT + "longest turn of a worker's loop, or two in a row, CPU", "ms")

_CHUNK = 1024 * 1024


def measure(sizes: Sizes) -> Found:
    """Start a core and a gateway, wait for its copy, and request all sessions."""
    began = time.monotonic()
    sessions = sizes.table
    options = ("--max-answer", str(sessions), "--request-timeout", f"{LONG:g}")
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ports = ("--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *options)
        with (
            core(folder, synthetic(sessions), LONG) as (running, address),
            sessiongate(folder, "serve", "--core", address, *ports) as gateway,
        ):
            http = gateway.expect(r"http://([0-9.:]+)/v1/sessions")
            metrics = gateway.expect(METRICS)
            worker = _worker(gateway)
            before = _cpu(worker)
            revision = wait_until_whole(address, sessions, LONG)
            wait_for_copy(http, metrics, revision, LONG)
            yield READY, time.monotonic() - began
            yield COPY, _cpu(worker) - before
            resident = max(each.memory_info().rss for each in running.processes())
            yield CORE, resident / sessions / 1024
            yield WORKER, worker.memory_info().rss / sessions / 1024
            _get_all(http)
            yield WORKER_AFTER_ALL, worker.memory_info().rss / sessions / 1024
            yield TURN, 1000 * longest_turn(gateway)


def _worker(gateway: Program) -> psutil.Process:
    """Return the process of the only worker."""
    (found,) = (each for each in gateway.processes() if "spawn_main" in " ".join(each.cmdline()))
    return found


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _get_all(http: str) -> None:
    """Request all sessions, and discard them as they arrive."""
    connection = HTTPConnection(http, timeout=LONG)
    try:
        connection.request("GET", "/v1/sessions")
        response = connection.getresponse()
        if response.status != 200:
            raise BenchError(f"all sessions: {response.status} {response.read(300)!r}")
        while response.read(_CHUNK):
            pass
    except HTTPException as error:
        raise BenchError(f"all sessions: {error!r}") from None
    finally:
        connection.close()
