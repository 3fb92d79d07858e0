"""A terminal, and a command that runs there."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
from multiprocessing.connection import Connection

from tests import forked
from tests.closing import Closing
from tests.program import PATIENCE, environment


class Terminal(Closing):
    """A terminal of 80 columns at which a command was typed, as itself but for its start."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        self._here, there = pty.openpty()
        self.attributes_before = termios.tcgetattr(there)
        self.shown = ""
        self._passed = 0  # characters of it that `expect` has passed
        variables = {"TERM": "xterm", "COLUMNS": "80", **variables}
        typed = [*map(str, arguments)]
        with Connection(there) as terminal:
            self._process = forked.FORKING.Process(
                target=forked.at_terminal, args=(typed, environment(**variables), terminal)
            )
            self._process.start()

    @property
    def attributes(self) -> list[object]:
        """What `termios` says of it."""
        return termios.tcgetattr(self._here)

    def expect(self, *texts: str) -> str:
        """Read on until all of these were shown; return what was."""
        while not all(text in self.shown[self._passed :] for text in texts):
            assert self._read(), f"ended without {texts}:\n{self.shown}"
        seen = self.shown[self._passed :]
        self._passed = len(self.shown)
        return seen

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._here, text.encode())

    def send_signal(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        assert self._process.pid
        os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Read all that is shown until the command has ended; return its exit code."""
        while self._read():
            pass
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, f"it goes on:\n{self.shown}"
        return self._process.exitcode

    def _read(self) -> bool:
        """Read what is shown next; return whether anything was before the command has ended."""
        assert select.select([self._here], [], [], PATIENCE)[0], f"nothing follows:\n{self.shown}"
        try:
            part = os.read(self._here, 65536)
        except OSError:  # its last writer has ended
            return False
        self.shown += part.decode(errors="replace")
        return bool(part)

    def close(self) -> None:
        """End the command, and close the terminal."""
        self._process.kill()
        self._process.join()
        os.close(self._here)


def at_terminal(*arguments: str, **variables: str) -> str:
    """Return what the command writes to a terminal."""
    with Terminal(*arguments, **variables) as terminal:
        assert terminal.wait() == 0, terminal.shown
        return terminal.shown
