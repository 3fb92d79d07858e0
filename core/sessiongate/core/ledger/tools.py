"""Maintenance of a ledger outside a core: copy it, rename a source, record a restore."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sessiongate.core.ledger.file import ledger_path, mark_path
from sessiongate.core.ledger.lock import LedgerError, take_lock
from sessiongate.core.sources.base import MAX_NAME_BYTES
from sessiongate.core.sources.support.json_cursor import is_unicode
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.suggestion import did_you_mean
from sessiongate.runtime.urls import is_in_postgresql

# Tables with a column ``source``: those of this version, and of ones without history.
_OF_SESSIONS = {"open_sessions", "past_sessions", "sessions"}
# Tables whose first column names a source, and is in their key.
_OF_SOURCES = (
    ("places", ("name", "place")),
    ("sources", ("name", "incarnation")),
    ("observed_sources", ("name", "first_time", "last_time")),
    ("coverage", ("source", "start_time", "end_time", "is_partial")),
)
_SHOW_EVERY = 1.0  # seconds between two reports of progress
_BUSY = 30.0  # seconds that a copy waits for a core to finish writing


def run_tool(name: str) -> int:
    """Run the tool ``name`` on the ledger in standard input's settings; return the exit code."""
    settings = json.loads(sys.stdin.readline())
    try:
        if name == "backup":
            back_up(settings["ledger"], Path(settings["file"]))
        elif name == "copy":
            copy_to_postgresql(settings["ledger"], settings["to"])
        elif name == "rename":
            rename_source(settings["ledger"], settings["old"], settings["new"])
        elif name == "forget":
            forget_in_fleet(settings["ledger"], settings["name"])
        else:
            forget_mark(settings["ledger"])
    except LedgerError as error:
        print(error)
        return 1
    return 0


def back_up(url: str, target: Path) -> None:
    """Copy the ledger at a URL into a new file, even while a core writes to it.

    Raises `LedgerError`.
    """
    path = _file(url)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"{target} cannot be created: {error.strerror}") from None
    try:
        with (
            closing(
                sqlite3.connect(f"file:{quote(str(path))}?mode=rw", timeout=_BUSY, uri=True)
            ) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.execute("select value from counters")  # check that it is a ledger
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # all of it in one file
    except sqlite3.Error as error:
        target.unlink()
        raise LedgerError(f"the ledger {path} cannot be copied: {error}") from None


def copy_to_postgresql(url: str, to: str) -> None:
    """Copy the ledger at a URL to one in PostgreSQL, which replaces it; print how many
    sessions that were.

    Raises `LedgerError`, also while a core uses one of them.
    """
    from sessiongate.core.ledger.postgresql.from_sqlite import copy_ledger

    path = _file(url)
    if not is_in_postgresql(to):
        raise LedgerError("the copy must be postgresql://USER@HOST/DATABASE")
    shown = elapsed()

    def report(done: int, number: int) -> None:
        nonlocal shown
        if elapsed() - shown >= _SHOW_EVERY or done == number:
            shown = elapsed()
            print(f"copied {done:,} of {number:,} rows", file=sys.stderr, flush=True)

    print(asyncio.run(copy_ledger(f"sqlite:///{path.absolute()}", to, report)))


def forget_mark(url: str) -> None:
    """Make the ids of the ledger at a URL continue from the clock at the next start.

    Raises `LedgerError`, also while a core uses the ledger.
    """
    path = _file(url)
    with take_lock(path):
        mark_path(path.resolve()).unlink(missing_ok=True)


def forget_in_fleet(url: str, name: str) -> None:
    """Forget a core or front that has ended. Raises `LedgerError`."""
    if not is_in_postgresql(url):
        raise LedgerError("only cores that share a ledger in PostgreSQL are a fleet")
    from sessiongate.core.ledger.postgresql.forgetting import forget_member

    forget_member(url, name)


def rename_source(url: str, old: str, new: str) -> None:
    """Rename a source in the ledger at a URL; if the name is taken, the two exchange names.

    Raises `LedgerError`, also while a core uses the ledger.
    """
    size = len(new.encode(errors="surrogatepass"))
    if not 0 < size <= MAX_NAME_BYTES or not is_unicode(new):
        raise LedgerError(f"a name must be UTF-8 and have 1 to {MAX_NAME_BYTES} bytes")
    if is_in_postgresql(url):
        from sessiongate.core.ledger.postgresql.renaming import exchange_names, sources_of

        _require(old, sources_of(url))
        exchange_names(url, old, new)
        return
    path = _file(url)
    with take_lock(path):
        try:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("select value from counters")  # check that it is a ledger
                _rename(connection, old, new)
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {path} cannot be changed: {error}") from None


def _require(name: str, known: Sequence[str]) -> None:
    """Raise `LedgerError` if a ledger does not know a source."""
    if name not in known:
        raise LedgerError(
            f"the ledger has no source {name!r}{did_you_mean(name, known)}; its sources:"
            f" {', '.join(known) or 'none'}"
        )


def _rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    tables = {name for (name,) in connection.execute("select name from sqlite_schema")}
    sessions = sorted(tables & _OF_SESSIONS)
    lists = [(table, columns) for table, columns in _OF_SOURCES if table in tables]
    named = [f"select {columns[0]} from {table}" for table, columns in lists]  # noqa: S608
    named += [f"select source from {table}" for table in sessions]  # noqa: S608
    _require(old, sorted(name for (name,) in connection.execute(" union ".join(named))))
    names = {"old": old, "new": new}
    for table in sessions:
        connection.execute(
            f"update {table} set source = case source when :old then :new else :old end"  # noqa: S608
            " where source in (:old, :new)",
            names,
        )
    for table, columns in lists:
        rows = connection.execute(
            f"delete from {table} where {columns[0]} in (:old, :new)"  # noqa: S608
            f" returning {', '.join(columns)}",
            names,
        ).fetchall()
        renamed = [(new if name == old else old, *values) for name, *values in rows]
        marks = ", ".join("?" * len(columns))
        insertion = f"insert into {table} ({', '.join(columns)}) values ({marks})"  # noqa: S608
        connection.executemany(insertion, renamed)


def _file(url: str) -> Path:
    if is_in_postgresql(url):
        raise LedgerError(
            "this is for a ledger in a file; one in PostgreSQL is backed up with pg_dump, and its"
            " restore is noticed"
        )
    path = ledger_path(url)
    if path is None:
        raise LedgerError("the ledger is in memory; name its file with --ledger sqlite:///PATH")
    if not path.is_file():
        raise LedgerError(f"{path}: no such file; name the ledger with --ledger sqlite:///PATH")
    return path
