"""Processes that do not exit although killed, because they wait for a disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

KILLED = 2.0  # seconds for a killed process to exit


class LeftBehindError(Exception):
    """Child processes continue until the disk that they wait for responds."""


def report_left_behind(name: str, pid: int | None) -> None:
    """Log that a process does not exit."""
    log.error(
        "%s (process id %s) was killed but does not exit: it waits for a disk or a file system;"
        " leaving it behind",
        *(name, pid),
    )


@contextmanager
def ending_without_them() -> Iterator[None]:
    """Exit with 1 on `LeftBehindError`: Python itself would wait for its children."""
    try:
        yield
    except LeftBehindError:
        logging.shutdown()
        os._exit(1)
