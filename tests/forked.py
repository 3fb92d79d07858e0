"""Programs in processes that need not import them: they are forked from one that has."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
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


class Command:
    """A running command, with as much of `subprocess.Popen` as `tests.program.Program` uses."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        read, write = os.pipe()
        with Connection(write, readable=False) as output:
            self._process = FORKING.Process(
                target=_in_session, args=(arguments, environment, output)
            )
            self._process.start()
        self.stdout = os.fdopen(read, errors="backslashreplace")
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("sessiongate", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _in_session(
    arguments: Sequence[str], environment: Mapping[str, str], output: Connection
) -> None:
    """Become the command in a process group of its own, as in a terminal."""
    os.setsid()
    _become(arguments, environment, output.fileno(), output.fileno())


def command(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path
) -> None:
    """Become the command, with this environment, and these files as its output."""
    opened = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in (output, errors)]
    _become(arguments, environment, *opened)


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], output: int, errors: int
) -> None:
    from sessiongate.gateway.__main__ import main

    os.dup2(output, 1)
    os.dup2(errors, 2)
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
