"""What is done to a ledger from outside a core: a copy of it, and word that it was restored."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from core.ledger_file import ledger_path, mark_path
from core.ledger_lock import LedgerError, take_lock

_BUSY = 30.0  # seconds that a copy waits for a core that writes


def run(name: str) -> int:
    """Do what is called ``name`` to the ledger that standard input tells of; the exit code."""
    settings = json.loads(sys.stdin.readline())
    try:
        if name == "backup":
            back_up(settings["ledger"], Path(settings["file"]))
        else:
            forget_mark(settings["ledger"])
    except LedgerError as error:
        print(error)
        return 1
    return 0


def back_up(url: str, target: Path) -> None:
    """Copy the ledger at a URL into a new file, while a core may write it.

    Raises `LedgerError`.
    """
    path = _file(url)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"{target} cannot be made: {error.strerror}") from None
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", _BUSY, uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # all of it in one file
    except sqlite3.Error as error:
        target.unlink()
        raise LedgerError(f"the ledger {path} cannot be copied: {error}") from None


def forget_mark(url: str) -> None:
    """Let the ids of the ledger at a URL go on from the clock at the next start.

    Raises `LedgerError`, also while a core holds the ledger.
    """
    path = _file(url)
    with take_lock(path):
        mark_path(path.resolve()).unlink(missing_ok=True)


def _file(url: str) -> Path:
    path = ledger_path(url)
    if path is None:
        raise LedgerError("a ledger in memory has no file; name one with --ledger sqlite:///PATH")
    if not path.is_file():
        raise LedgerError(f"{path}: no such file; name the ledger with --ledger sqlite:///PATH")
    return path
