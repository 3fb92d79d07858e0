"""Sessions and sources as people at a terminal read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.representation.source import SOURCE_STATES
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.source_service_pb2 import Source
from sessiongate.v1.states import words_of

# Wider than any table: output that is not for a terminal must not be cut.
_UNLIMITED = 100_000


def print_sessions(sessions: Iterable[Session], now: float) -> None:
    """Print a line for each session; ``now`` is in seconds since the epoch."""
    _print(sessions_table(sessions, now))


def sessions_table(sessions: Iterable[Session], now: float) -> Table:
    """Return a table with a line for each session; ``now`` is in seconds since the epoch."""
    table = _table()
    table.add_column("ID", justify="right")
    for name in ("State", "User", "Client", "Service", "Connected"):
        table.add_column(name)
    table.add_column("Idle", justify="right")
    table.add_column("Source")
    for session in sessions:
        table.add_row(*map(_text, _cells(session, now)))
    return table


def session_line(sign: str, session: Session) -> str:
    """Return a line for programs: a sign and the table's cells, with tabs between them."""
    *before, _, source = _cells(session, 0)  # without the idle time
    return "\t".join(map(plain, (sign, *before, source)))


def print_sources(sources: Sequence[Source]) -> None:
    """Print a line for each source, and what was unreadable on standard error."""
    table = _table()
    for name in ("Name", "Kind", "State"):
        table.add_column(name)
    table.add_column("Sessions", justify="right")
    table.add_column("Last success")
    table.add_column("Took", justify="right")
    table.add_column("Last error")
    for source in sources:
        table.add_row(*map(_text, _source_cells(source)))
    _print(table)
    for source in sources:
        for note in _source_notes(source):
            print(plain(f"{source.name}: {note}"), file=sys.stderr)


def print_session(session: Session, attributes: Mapping[str, Any]) -> None:
    """Print a line for each attribute of a session; ``attributes`` are its resource object's."""
    table = _table()
    table.show_header = False
    known = {"id": session.id, "service": session.service}
    if session.filters:
        known["filters"] = list(session.filters)
    known |= attributes
    for name, idents in (
        ("upstream", session.upstream_ids),
        ("downstream", session.downstream_ids),
    ):
        if idents:
            known[name] = list(idents)
    for name, value in _flat(known):
        table.add_row(_text(name), _text(value))
    _print(table)


def print_gaps(gaps: Gaps) -> None:
    """Print the sources that could not be read completely on standard error, if any."""
    for line in gap_lines(gaps):
        print(line, file=sys.stderr)


def gap_lines(gaps: Gaps) -> Iterator[str]:
    """Yield a line for unreachable sources, and one for sources read only in part."""
    if gaps.unreachable:
        names = plain(", ".join(gaps.unreachable))
        yield f"unreachable: {names} (its sessions may be missing or out of date)"
    if gaps.partial:
        names = plain(", ".join(gaps.partial))
        yield f"partial: {names} (some of its sessions may be missing; see `sessiongate sources`)"


def _cells(session: Session, now: float) -> Sequence[str]:
    client = session.remote
    if session.HasField("port"):
        client = f"[{client}]:{session.port}" if ":" in client else f"{client}:{session.port}"
    idle = ""
    if session.HasField("last_active_time"):
        idle = _duration(now - session.last_active_time.ToNanoseconds() / 1e9)
    return (
        str(session.id),
        words_of(session.state),
        session.user,
        client,
        session.service,
        _time(session.connect_time),
        idle,
        session.source,
    )


def _source_cells(source: Source) -> Sequence[str]:
    success = took = error = ""
    if source.HasField("last_success_time"):
        success = _time(source.last_success_time)
        took = f"{source.observation_duration.ToMicroseconds() / 1000:.1f}ms"
    if source.HasField("last_error_time"):
        error = f"{_time(source.last_error_time)} {source.last_error}"
    sessions = f"{source.session_count}{'+' if source.truncated else ''}"
    return (
        source.name,
        source.kind,
        SOURCE_STATES[source.state],
        sessions,
        success,
        took,
        error,
    )


def _source_notes(source: Source) -> Iterator[str]:
    """Yield a line for each unread part of a source."""
    if source.partial:
        yield f"read only in part: {source.partial}"
    if source.unreadable_sessions or source.unreadable_members:
        yield (
            f"could not read {source.unreadable_sessions} sessions and"
            f" {source.unreadable_members} members of others,"
            f" such as {source.unreadable_example}"
        )


def _time(time: Timestamp) -> str:
    return f"{time.ToDatetime(UTC):%Y-%m-%d %H:%M:%SZ}"


def _duration(seconds: float) -> str:
    """Format a duration in its two largest units: 12s, 3m04s, 2h05m, 4d03h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def _flat(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield the leaves of a JSON value, each with its path."""
    prefix = name and name + "."
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _flat(member, prefix + key)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _flat(member, f"{prefix}{index}")
    else:
        yield name, str(value)


def _text(value: str) -> Text:
    return Text(plain(value))


def plain(value: str) -> str:
    """Replace characters in text of clients that would control a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)


def unobeyed(document: str) -> str:
    """Escape characters in a JSON document that would control a terminal."""
    lines = document.split("\n")  # lines of the layout: JSON escapes newlines in strings
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", show_edge=False)


def _print(table: Table) -> None:
    console = Console(width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False)
    console.print(table, no_wrap=True)
