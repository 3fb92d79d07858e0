"""Ends the demonstration on Ctrl-C, SIGTERM, or when its terminal is closed."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType


class Stopped(Exception):
    """It is time to end."""


class Stop:
    """Remembers that it is time to end; a second signal changes nothing.

    The handler only takes a note, so that it interrupts no step halfway.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if not self._asked.is_set():
            self._asked.set()
            with suppress(OSError):  # the terminal is gone
                os.write(1, b"\nStopping everything ...\n")  # print may be under way

    def step(self, text: str) -> None:
        """Say what is done next, or raise `Stopped` if that was asked for."""
        self.wait(0)
        print(text, "...", flush=True)

    def wait(self, seconds: float) -> None:
        """Wait, or raise `Stopped` as soon as that is asked for."""
        if self._asked.wait(seconds):
            raise Stopped
