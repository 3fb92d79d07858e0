"""Runs a core, from its configuration to the signal that stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import replace

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.origins import named, origins_of
from sessiongate.core.server import Core
from sessiongate.core.settings import ConfigError, CoreConfig
from sessiongate.runtime.descriptors import fitted, raise_fd_limit
from sessiongate.runtime.event_loop import run_loop
from sessiongate.runtime.exit_codes import EXIT_UNRECOVERABLE
from sessiongate.runtime.listener import ListenError
from sessiongate.runtime.memory import collect_rarely, use_one_malloc_arena
from sessiongate.runtime.systemd import READY, STOPPING, Notifier
from sessiongate.runtime.telemetry.logs import escaped, set_up_logs
from sessiongate.runtime.urls import is_in_postgresql
from sessiongate.runtime.watched_file import FileError

log = logging.getLogger(__name__)

EXIT_UNFINISHED = 1
STARTING = 3.0  # seconds that a start may continue after the signal to stop
JOINING = 1.0  # seconds that a thread may take to end


def run() -> int:
    """Run a core until it is stopped; return the exit code."""
    use_one_malloc_arena()
    collect_rarely()
    notify = Notifier()
    line = sys.stdin.readline()
    grpc = ""
    try:
        config = CoreConfig.from_json(line)
        grpc = config.grpc
        set_up_logs("core", config.logs)
        raise_fd_limit()
        connections = fitted("max_core_connections", config.limits.max_core_connections)
        limits = replace(config.limits, max_core_connections=connections)
        config = replace(config, limits=limits)
        code = run_loop(_run(config, notify))
        _abandon_hanging_threads()
    except (ConfigError, LedgerError, FileError, ListenError) as error:
        text = named(str(error), _setting(error, grpc), origins_of(line))
        print(f"sessiongate core: {escaped(text)}", file=sys.stderr)
        return EXIT_UNRECOVERABLE
    return code


def _abandon_hanging_threads() -> None:
    """Exit at once if a thread still waits for a disk: Python would wait for the thread."""
    for thread in threading.enumerate():
        if thread.daemon or thread is threading.main_thread():
            continue
        thread.join(JOINING)
        if thread.is_alive():
            logging.shutdown()
            sys.stdout.flush()
            os._exit(EXIT_UNFINISHED)


def _setting(error: Exception, grpc: str) -> str:
    """Return the setting that an error is about; empty if unknown."""
    match error:
        case ConfigError():
            return error.setting
        case LedgerError():
            return "ledger"
        case ListenError():
            return "grpc" if error.where == grpc else "core_metrics"
    return ""


async def _run(config: CoreConfig, notify: Notifier) -> int:
    """Run until a signal, or until the core cannot continue; return the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # It is sent after a file has changed. Files are watched: there is nothing to do.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if config.exit_on_eof:
        loop.add_reader(sys.stdin, _stop_at_end, stop)

    def listening(address: str) -> None:
        print(f"listening on {address}", flush=True)
        notify(READY)

    if config.fleet:
        from sessiongate.core.front_core import FrontCore

        await FrontCore(config, stop, _start, listening).run()
        notify(STOPPING)
        return 0
    if is_in_postgresql(config.ledger):  # which several cores may share
        from sessiongate.core.shard_core import ShardCore

        await ShardCore(config, stop, _start, listening).run()
        notify(STOPPING)
        return 0
    core = Core(config)
    if not await _start(core, stop):
        return 0
    async with AsyncExitStack() as closing:
        closing.push_async_callback(core.stop)
        listening(core.address)
        waits = [asyncio.create_task(event.wait()) for event in (stop, core.ledger_lost)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        notify(STOPPING)
    return EXIT_UNFINISHED if core.ledger_lost.is_set() else 0


async def _start(core: Core, stop: asyncio.Event) -> bool:
    """Start a core, unless stopped meanwhile; return whether it has started."""
    starting = asyncio.create_task(core.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.wait((starting,), timeout=STARTING)
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        if starting.cancelled():
            log.warning("stopped before the ledger was open; exiting")
            return False
    await starting
    return True


def _stop_at_end(stop: asyncio.Event) -> None:
    """Stop at the end of standard input, which became readable; ignore more of it."""
    if not os.read(sys.stdin.fileno(), select.PIPE_BUF):  # uvloop has set it not to block
        asyncio.get_running_loop().remove_reader(sys.stdin)
        stop.set()
