"""Programs in processes that need not import them: they are forked from one that has."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessiongate.gateway.settings import GatewayConfig

# What the programs import, some of it only for some commands.
_IMPORTED = ["sessiongate.gateway.__main__", "sessiongate.gateway.cli.main", "typer._adapters"]
_IMPORTED += ["sessiongate.gateway.cli.questions", "sessiongate.gateway.cli.tables"]
_IMPORTED += ["sessiongate.gateway.server.main", "sessiongate.core.running"]

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(_IMPORTED)


def command(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path
) -> None:
    """Become the command, with this environment, and these files as its output."""
    from sessiongate.gateway.__main__ import main

    for stream, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    _set(environment)
    sys.argv[1:] = arguments
    main()


def core(environment: Mapping[str, str], pipe: socket.socket) -> None:
    """Become a core, with this environment, and a pipe as its standard input and output."""
    for stream in (0, 1):
        os.dup2(pipe.fileno(), stream)
    from sessiongate.core.__main__ import main

    _set(environment)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv[1:] = []
    sys.exit(main())


def gateway(environment: Mapping[str, str], config: GatewayConfig, pipe: Connection) -> None:
    """Become a gateway, with this environment; send the address at which it listens."""
    from sessiongate.gateway.server.main import run_server

    _set(environment)
    run_server(config, pipe.send)


def _set(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()  # to the zone of this environment
