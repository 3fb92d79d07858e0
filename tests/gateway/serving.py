"""What the process of a gateway runs: it imports no more than a gateway does."""

from __future__ import annotations

from multiprocessing.connection import Connection

from sessiongate.gateway.server.main import run_server
from sessiongate.gateway.settings import GatewayConfig


def serve(config: GatewayConfig, pipe: Connection) -> None:
    """Run a gateway, and send the address at which it listens."""
    run_server(config, pipe.send)
