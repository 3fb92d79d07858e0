"""The gateway's server: one listening socket, and the worker processes that serve it.

The socket is opened here and passed to the workers. So a port in use is reported at
once, the actual port for 0 is known before anything runs, and a client that connects
while a worker starts (or restarts) waits instead of being refused.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sessiongate.gateway.server.worker import REQUEST_GRACE, Worker
from sessiongate.gateway.server.workers import WorkerPool
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.runtime.daemon_thread import HangsError, within
from sessiongate.runtime.descriptors import fitted, raise_fd_limit
from sessiongate.runtime.event_loop import run_loop
from sessiongate.runtime.listener import listen, real_address
from sessiongate.runtime.memory import collect_rarely, use_one_malloc_arena
from sessiongate.runtime.telemetry.logs import set_up_logs
from sessiongate.runtime.watched_file import POLL_INTERVAL, FileError, WatchedFile

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from sessiongate.client.cores import Position

log = logging.getLogger(__name__)

_CHECK_TIMEOUT = 5.0  # seconds that a check of the files may take


def run_server(config: GatewayConfig, on_listening: Callable[[str], None]) -> None:
    """Run a gateway until SIGINT or SIGTERM; call this in the main thread.

    ``on_listening`` is called with the address, ``HOST:PORT`` with the actual port, once
    the gateway listens. Raises `ListenError` if it cannot listen, `FileError` if a file
    cannot be used, and `SystemExit` with 1 if no worker starts.

    On SIGHUP, and when a TLS file changes, new workers take over: responses in progress
    are finished, for up to `REQUEST_GRACE`.
    """
    use_one_malloc_arena()
    config.check_files()
    raise_fd_limit()
    connections = fitted("max_connections", config.limits.max_connections)
    config = replace(config, limits=replace(config.limits, max_connections=connections))
    with ExitStack() as stack:
        listener = stack.enter_context(listen(config.http))
        config = replace(config, http=real_address(config.http, listener))
        if config.metrics is None:
            folder = None
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sessiongate-metrics-")))
        create = partial(_create, *_in_order(config.core_addresses))
        work = partial(_work, listener, config, create, folder)
        workers = WorkerPool(work, config.workers, partial(_fault, config))
        stack.enter_context(_showing_metrics(config, folder, workers.processes))
        _start_following(config, workers)
        workers.run(partial(on_listening, config.http))


@contextmanager
def _showing_metrics(
    config: GatewayConfig, folder: Path | None, processes: Callable[[], Mapping[str, int]]
) -> Iterator[None]:
    """Serve the workers' metrics, which are stored in ``folder``, if configured."""
    if config.metrics is None or folder is None:
        yield
        return
    from sessiongate.runtime.telemetry.exporter import Exporter, exporting
    from sessiongate.runtime.telemetry.metrics import ProcessCollector, WorkerCollector, registry

    shown = registry(WorkerCollector(folder), ProcessCollector(processes))
    exporter = Exporter(config.metrics, shown, config.protection)
    with exporting(exporter):
        log.info("metrics at %s", exporter.url)
        yield


def _fault(config: GatewayConfig) -> str | None:
    """Return why workers could not start with the current files; None if they could."""
    try:
        within(_CHECK_TIMEOUT, _fault, config.check_files)
    except FileError as error:
        return str(error)
    except HangsError:
        return "a file system does not respond"
    return None


def _start_following(config: GatewayConfig, workers: WorkerPool) -> None:
    """Renew the workers when files that they read only once have changed and can be read.

    Raises `FileError` if a file cannot be used now.
    """
    tls = (config.protection.tls, config.core_tls)
    files = [path for each in tls if each for path in each.files]
    if not files:
        return

    def read() -> object:
        config.check_files()
        return object()

    # Before a worker reads them: a change in between would not be seen.
    followed = WatchedFile(files, read)
    threading.Thread(target=_follow, args=(followed, workers), daemon=True).start()


def _follow(followed: WatchedFile[object], workers: WorkerPool) -> None:
    used = followed.value
    while True:
        time.sleep(POLL_INTERVAL)
        if followed.value is not used:
            used = followed.value
            workers.renew()


def _in_order(cores: Sequence[str]) -> tuple[Sequence[str], Position | None]:
    """Draw an order of the cores, and return one position in it for all workers.

    So they call the same core: else an ETag or the id of an event that one worker gave would mean
    nothing to the next, and each answer of another worker would be a new one.
    """
    position = None if len(cores) == 1 else RawValue("Q", 0)
    return random.sample(cores, len(cores)), position


def _create(cores: Sequence[str], position: Position | None, config: GatewayConfig) -> Starlette:
    """Create the application. Only workers import it: that takes longer than all else here."""
    from sessiongate.client.cores import Cores
    from sessiongate.gateway.app import create_app

    return create_app(config, cores=Cores(cores, position))


def _work(
    listener: socket.socket,
    config: GatewayConfig,
    create: Callable[[GatewayConfig], Starlette],
    metrics: Path | None,
    ready: Connection,
) -> None:
    """Run a worker process from start to end; ``metrics`` is the folder of its metrics."""
    use_one_malloc_arena()
    set_up_logs("gateway", config.logs)
    if metrics is not None:
        from sessiongate.runtime.telemetry.metrics import share

        share(metrics)
    # Ctrl-C reaches every process of a terminal's group; a worker that stopped before its
    # parent would look like one that died.
    os.setpgid(0, 0)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    try:
        app = create(config)
        collect_rarely()
        run_loop(_serve(listener, config, app, ready))
    except FileError as error:  # changed since the check
        log.error("%s", error)
        logging.shutdown()
        os._exit(1)
    # Everything is answered and closed. gRPC's threads may still run, and crash while the
    # interpreter shuts down: skip its shutdown.
    logging.shutdown()
    os._exit(0)


async def _serve(
    listener: socket.socket, config: GatewayConfig, app: Starlette, ready: Connection
) -> None:
    """Serve an application until SIGTERM, which first starts its ``state.stopping``."""
    stopping = asyncio.Event()
    fast_path = getattr(app.state, "fast_path", None)
    worker = Worker(app, listener, config.limits, config.protection.tls, fast_path)
    async with app.router.lifespan_context(app):

        def stop() -> None:
            app.state.stopping.begin()
            stopping.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        ready.send(None)
        ready.close()
        await worker.serve(stopping)


def _follow_parent() -> None:
    """Stop when the parent process has ended, even without a signal from it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(REQUEST_GRACE)
        os._exit(1)
