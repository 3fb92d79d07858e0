"""The gRPC server of a core at its addresses, with what guards every call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sessiongate.core.grpc.authentication import AuthenticationInterceptor
from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.call_log import CallLog
from sessiongate.core.grpc.decoding import Decoding
from sessiongate.core.grpc.hardened import grpc_server
from sessiongate.core.grpc.interceptor import Interceptor
from sessiongate.core.grpc.unwinding import Unwinding
from sessiongate.core.settings import CoreConfig
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.listener import ListenError, created_with, is_listened_on, listen
from sessiongate.runtime.tls import grpc_server_credentials

if TYPE_CHECKING:  # else imported when used
    from sessiongate.runtime.telemetry.spans import Spans

# Milliseconds.
HANDSHAKE_MS = 10_000  # for a new connection to complete its handshake
ALIVE_MS = 20_000  # of silence before a keepalive ping; and for its acknowledgement


class CoreListener:
    """A server to which services are added before it is opened and started."""

    def __init__(self, config: CoreConfig, calls: CallCounts, spans: Spans | None = None) -> None:
        """Count in ``calls``, log and authenticate every call as configured."""
        self._config = config
        credentials = config.protection.credentials(config.core_token_path)
        self._authenticator = Authenticator(credentials)
        self._call_log = CallLog(calls, access_log=config.logs.access_log)
        interceptors: list[Interceptor] = [Unwinding(), self._call_log]
        if spans is not None:
            from sessiongate.core.tracing import CallSpans

            interceptors.append(CallSpans(spans))
        if credentials.wanted:
            interceptors.append(AuthenticationInterceptor(self._authenticator))
        interceptors.append(Decoding())
        options = [("grpc.so_reuseport", 0), *_limits(config.limits)]
        self.server = grpc_server(interceptors, options)

    def open(self) -> str:
        """Take the configured addresses; return the public one. Raises `ListenError`."""
        config, address = self._config, self._config.grpc
        port = self._add_port(address)
        if not address.startswith("unix:"):
            address = f"{address.rpartition(':')[0]}:{port}"
        if config.private is not None:
            self._add_port(config.private)
        return address

    async def stop(self, grace: float | None) -> None:
        """Accept no more calls, and give those in progress some seconds."""
        await self.server.stop(grace)
        self._call_log.close()

    def close(self) -> None:
        """Forget the credentials; no call may be in progress."""
        self._authenticator.close()

    def _add_port(self, address: str) -> int:
        """Listen, with TLS if it is configured and the address is not a Unix socket."""
        local = address.startswith("unix:")
        protection = self._config.protection
        tls = None if local else protection.tls
        try:
            if local and is_listened_on(address.removeprefix("unix:")):
                port = 0  # gRPC would replace the other socket with its own
            elif local:
                with created_with(int(protection.socket_mode, 8), address):
                    port = self.server.add_insecure_port(address)
            elif tls is None:
                port = self.server.add_insecure_port(address)
            else:
                port = self.server.add_secure_port(address, grpc_server_credentials(tls))
        except RuntimeError:
            port = 0
        if not port:
            if not local:
                listen(address).close()  # raises, and says why
            raise ListenError(address, _why_not(Path(address.removeprefix("unix:"))))
        return port


def _why_not(path: Path) -> str:
    """Return the reason why listening on a Unix socket failed."""
    if is_listened_on(str(path)):
        return "another program listens there; stop it or choose another path"
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    if not os.access(path.parent, os.W_OK):
        return f"user {os.geteuid()} may not write to {path.parent}"
    return "it cannot be opened; a path may have at most 107 bytes"


def _limits(limits: CoreLimits) -> list[tuple[str, int]]:
    """Return the limits as options of gRPC."""
    idle = int(limits.idle_timeout * 1000)
    return [
        ("grpc.max_allowed_incoming_connections", limits.max_core_connections),
        ("grpc.max_concurrent_streams", limits.max_calls),
        ("grpc.max_receive_message_length", limits.max_message),
        ("grpc.max_connection_idle_ms", idle),
        ("grpc.server_handshake_timeout_ms", min(idle, HANDSHAKE_MS)),
        # A caller that has vanished holds its calls until then.
        ("grpc.keepalive_time_ms", ALIVE_MS),
        ("grpc.keepalive_timeout_ms", ALIVE_MS),
    ]
