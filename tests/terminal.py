"""A terminal that a command writes to."""

from __future__ import annotations

import os
import pty
import subprocess

from tests.program import COMMAND, environment


def at_terminal(*arguments: str, **variables: str) -> str:
    """Return what the command writes to a terminal."""
    here, there = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "80", **variables}
    with subprocess.Popen(
        [COMMAND, *arguments], env=environment(**variables), stdin=there, stdout=there, stderr=there
    ) as process:
        os.close(there)
        written = b""
        try:
            while part := read_terminal(here):
                written += part
            assert process.wait() == 0
        finally:
            os.close(here)
    return written.decode()


def read_terminal(terminal: int) -> bytes:
    """Return what was written next; nothing once its last writer has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # its last writer has ended
        return b""
