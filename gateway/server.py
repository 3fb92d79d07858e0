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
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.mp import MPServer

from gateway.app import create_app
from gateway.config import GatewayConfig
from runtime.address import Address
from runtime.file_value import EVERY, FileError, FileValue
from runtime.tls import ServerTls

log = logging.getLogger(__name__)

GRACE = 5  # whole seconds that answers under way may take once the gateway is told to stop

_BACKLOG = 1024

# Granian's own lines go where the program's other lines go.
_GRANIAN_LOG = {"handlers": {}, "loggers": {"_granian": {"handlers": [], "propagate": True}}}


class ListenError(Exception):
    """The HTTP address cannot be listened on; the text names it and the cause."""


def serve(config: GatewayConfig, on_listening: Callable[[str], None]) -> None:
    """Run a gateway until SIGINT or SIGTERM; to be called in the main thread.

    ``on_listening`` is given the address, ``HOST:PORT`` with the real port, once it
    is listened on. Raises `ListenError` where it cannot be, `FileError` where a file
    cannot be used, and `SystemExit` with 1 where the workers keep dying.

    On SIGHUP, and when a file of TLS changes, new workers take over: answers under
    way are finished, up to `GRACE`.
    """
    config.check_files()
    with listen(config.http) as listener:
        address = Address.parse(config.http)
        address = replace(address, port=listener.getsockname()[1])
        config = replace(config, http=str(address))
        # Workers start fresh: a fork would take this program's threads' locks along.
        multiprocessing.set_start_method("spawn", force=True)
        server = _Server(listener, config)
        server.on_startup(partial(on_listening, config.http))  # signals are handled from there on
        server.serve(_work, partial(create_app, config), wrap_loader=False)


def listen(http: str) -> socket.socket:
    """A socket that listens on an address alone. Raises `ListenError`."""
    address = Address.parse(http)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, place = found[0]
        listener = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {http}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


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
            **_tls_arguments(tls),
        )
        self._listener = listener
        self._config = config
        files = [path for each in (tls, config.core_trust.tls) if each for path in each.files]
        if files:
            self.on_startup(partial(_start_thread, self._follow, files))

    def _init_shared_socket(self) -> None:
        # As the base class does where sockets cannot be opened in each worker.
        # Its attributes have no types, and the stub lacks what a holder is made of.
        descriptor = self._listener.fileno()
        self._ssp = None
        self._sso = self._listener
        self._shd = SocketHolder(descriptor, False, _BACKLOG)  # type: ignore[call-arg, assignment]

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


def _work(*arguments: Any) -> None:
    """A worker process, from its start to its end."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s gateway %(levelname)s %(message)s",
        stream=sys.stderr,
    )
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
