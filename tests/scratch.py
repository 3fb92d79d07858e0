"""Keeps the files of the tests in memory, if there is room: a disk makes them wait."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests.faults.scale import FULL

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3  # bytes: twice what all tests at once have at most


def keep_files_in_memory() -> None:
    """Make temporary folders in memory: writing them out, fsync, would take half of some tests.

    They stay where they are if ``TMPDIR`` says where, and for figures of `FULL` runs, which are
    about disks. Call this before anything asks for the temporary folder.
    """
    if "TMPDIR" in os.environ or FULL or not _is_fit():
        return
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # so that it is looked for again


def _is_fit() -> bool:
    """Return whether there is room, and programs may be run from there."""
    try:
        flags = os.statvfs(_MEMORY).f_flag
        return not flags & os.ST_NOEXEC and shutil.disk_usage(_MEMORY).free >= _ROOM
    except OSError:
        return False
