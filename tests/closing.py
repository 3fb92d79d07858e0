"""A base for what is closed at the end of a `with`, whatever happens in it."""

from __future__ import annotations

import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

import psutil


class Closing(ABC):
    """Something to use in a `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End it."""


def lasting(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that still run after that many seconds.

    One has ended even if nobody has collected its exit code: init may take seconds for that.
    """
    until = time.monotonic() + seconds
    return [each for each in processes if not _ends(each.pid, until - time.monotonic())]


def _ends(pid: int, seconds: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)  # readable once it has ended
        return bool(poll.poll(max(seconds, 0.0) * 1000))
    finally:
        os.close(descriptor)
