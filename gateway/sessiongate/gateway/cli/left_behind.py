"""Processes that do not end although killed: one that waits for a disk cannot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

KILLED = 2.0  # seconds that a process may take to end once it is killed


class LeftBehindError(Exception):
    """Processes that this one started go on until what they wait for answers."""


def tell_left_behind(name: str, pid: int | None) -> None:
    """Log that a process does not end."""
    log.error(
        "%s (process id %s) was killed and does not end: it waits for a disk or a file system;"
        " it is left behind",
        *(name, pid),
    )


@contextmanager
def ending_without_them() -> Iterator[None]:
    """End this process with 1 on `LeftBehindError`: Python would wait for its children."""
    try:
        yield
    except LeftBehindError:
        logging.shutdown()
        os._exit(1)
