"""A terminal that a command writes to."""

from __future__ import annotations

import os
import pty
from multiprocessing.connection import Connection

from tests import forked
from tests.program import PATIENCE, environment


def at_terminal(*arguments: str, **variables: str) -> str:
    """Return what the command writes to a terminal."""
    here, there = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "80", **variables}
    try:
        with Connection(there) as terminal:
            process = forked.FORKING.Process(
                target=forked.at_terminal, args=(arguments, environment(**variables), terminal)
            )
            process.start()
        written = b""
        while part := read_terminal(here):
            written += part
        process.join(PATIENCE)
        assert process.exitcode == 0, written
    finally:
        os.close(here)
    return written.decode()


def read_terminal(terminal: int) -> bytes:
    """Return what was written next; nothing once its last writer has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # its last writer has ended
        return b""
