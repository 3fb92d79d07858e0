"""Programs that are installed for the tests once, beside the tests' own environment."""

from __future__ import annotations

import fcntl
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path


def kept(name: str, declared: bytes, install: Callable[[Path], None]) -> Path:
    """Return a folder into which what is declared has been installed: now, if it was not before.

    Other processes of the same run want it, too: they wait.
    """
    folder = Path(sys.prefix) / name / hashlib.sha256(declared).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install(folder)
            (folder / "complete").touch()
    return folder
