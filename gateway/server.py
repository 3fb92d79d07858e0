"""The gateway's server: Granian, listening on a socket that this process holds.

The socket is opened here, listening, and handed to the worker processes. So a
port that is taken is refused at once, port 0 is known before anything runs, and
whoever connects while a worker starts (or starts again) waits instead of being
turned away.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from gateway.app import create_app
from gateway.config import GatewayConfig
from gateway.limits import Limits
from runtime.descriptors import allow_descriptors
from runtime.exporter import Exporter, exporting
from runtime.file_value import EVERY, FileError, FileValue
from runtime.listener import BACKLOG, listen, real_address
from runtime.logs import set_up_logs
from runtime.memory import share_memory
from runtime.metrics import Processes, Workers, registry, share
from runtime.tls import ServerTls

log = logging.getLogger(__name__)

GRACE = 5  # whole seconds that answers under way may take once the gateway is told to stop

_LEAST_BUFFER = 65536  # bytes of a connection; smaller ones slow answers down

# Granian's own lines go where the program's other lines go.
_GRANIAN_LOG = {"handlers": {}, "loggers": {"_granian": {"handlers": [], "propagate": True}}}


def serve(config: GatewayConfig, on_listening: Callable[[str], None]) -> None:
    """Run a gateway until SIGINT or SIGTERM; to be called in the main thread.

    ``on_listening`` is given the address, ``HOST:PORT`` with the real port, once it
    is listened on. Raises `ListenError` where it cannot be, `FileError` where a file
    cannot be used, and `SystemExit` with 1 where the workers keep dying.

    On SIGHUP, and when a file of TLS changes, new workers take over: answers under
    way are finished, up to `GRACE`.
    """
    share_memory()
    config.check_files()
    allow_descriptors()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(config.http))
        config = replace(config, http=real_address(config.http, listener))
        # Workers start fresh: a fork would take this program's threads' locks along.
        multiprocessing.set_start_method("spawn", force=True)
        server = _Server(listener, config)
        server.on_startup(partial(on_listening, config.http))  # signals are handled from there on
        folder = stack.enter_context(_showing_metrics(config, server.processes))
        server.serve(partial(_work, config, folder), partial(create_app, config), wrap_loader=False)


@contextmanager
def _showing_metrics(
    config: GatewayConfig, processes: Callable[[], Mapping[str, int]]
) -> Iterator[Path | None]:
    """Show the workers' metrics, where that is wanted; the folder that they lie in."""
    if config.metrics is None:
        yield None
        return
    with TemporaryDirectory(prefix="sessiongate-metrics-") as name:
        folder = Path(name)
        shown = registry(Workers(folder), Processes(processes))
        exporter = Exporter(config.metrics, shown, config.protection)
        with exporting(exporter):
            log.info("metrics at %s", exporter.url)
            yield folder


class _Server(MPServer):
    """Granian with a socket of ours, which it otherwise opens in each worker."""

    def __init__(self, listener: socket.socket, config: GatewayConfig) -> None:
        tls = config.protection.tls
        super().__init__(
            "gateway",
            interface=Interfaces.ASGI,
            workers=config.workers,
            websockets=False,
            log_level=LogLevels.warning,
            log_dictconfig=_GRANIAN_LOG,
            respawn_failed_workers=True,
            workers_kill_timeout=GRACE,
            backlog=BACKLOG,
            backpressure=config.limits.max_connections,
            **_http_settings(config.limits),
            **_tls_arguments(tls),
        )
        self._listener = listener
        self._config = config
        files = [path for each in (tls, config.core_trust.tls) if each for path in each.files]
        if files:
            self.on_startup(partial(_start_thread, self._follow, files))

    def processes(self) -> Mapping[str, int]:
        """The process ids of the gateway and its workers, by what they are called."""
        workers = {f"worker {each.idx + 1}": each.inner.pid for each in self.wrks}
        return {"gateway": os.getpid(), **workers}

    def _init_shared_socket(self) -> None:
        # As the base class does where sockets cannot be opened in each worker.
        # Its attributes have no types, and the stub lacks what a holder is made of.
        descriptor = self._listener.fileno()
        self._ssp = None
        self._sso = self._listener
        self._shd = SocketHolder(descriptor, False, BACKLOG)  # type: ignore[call-arg, assignment]

    def _follow(self, files: Sequence[Path]) -> None:
        """Reload when what the workers read once can be read anew."""

        def read() -> object:
            self._config.check_files()
            return object()

        followed = FileValue(files, read)
        used = followed.value
        while True:
            time.sleep(EVERY)
            if followed.value is not used:
                used = followed.value
                self.signal_handler_reload()  # type: ignore[no-untyped-call]

    def _reload(self, *arguments: Any) -> None:
        """Let new workers take over, unless they could not start."""
        try:
            self._config.check_files()
        except FileError as error:
            log.error("%s; nothing is read again", error)
            self.reload_signal = False
            self.main_loop_interrupt.clear()
        else:
            super()._reload(*arguments)  # type: ignore[no-untyped-call]


def _http_settings(limits: Limits) -> dict[str, Any]:
    """What Granian is told of limits; beyond them it answers, or cuts, by itself.

    It allows twice as much as `Admission`, so that what is a little too large gets an
    answer that says so.
    """
    head = 2 * (limits.max_url + limits.max_headers)
    return {
        "http1_settings": HTTP1Settings(
            header_read_timeout=int(limits.header_timeout * 1000),
            max_buffer_size=max(head, _LEAST_BUFFER),
        ),
        "http2_settings": HTTP2Settings(max_headers_size=head),
    }


def _tls_arguments(tls: ServerTls | None) -> dict[str, Any]:
    """What Granian is told of TLS."""
    if tls is None:
        return {}
    return {
        "ssl_cert": tls.cert,
        "ssl_key": tls.key,
        "ssl_protocol_min": SSLProtocols.tls12,
        "ssl_ca": tls.client_ca,
        "ssl_client_verify": tls.client_ca is not None,
    }


def _start_thread(run: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=run, args=arguments, daemon=True).start()


def _work(config: GatewayConfig, metrics: Path | None, *arguments: Any) -> None:
    """A worker process, from its start to its end; ``metrics`` is where its metrics lie."""
    share_memory()
    set_up_logs("gateway", config.logs)
    if metrics is not None:
        share(metrics)
    # Ctrl-C reaches every process of a terminal's group; a worker that stopped
    # before its parent told it to would look like one that died.
    os.setpgid(0, 0)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()
    MPServer._spawn_asgi_lifespan_worker(*arguments)
    # All is answered and closed. Granian's threads may still be there, and
    # crash in an interpreter that is being taken down: leave it standing.
    logging.shutdown()
    os._exit(0)


def _follow_parent() -> None:
    """Stop when the parent is gone, however it went: it cannot always say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)
