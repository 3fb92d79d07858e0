"""Sessions and sources as people at a terminal read them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import starmap
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.representation.source import SOURCE_STATES
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.source_service_pb2 import Source
from sessiongate.v1.states import words_of

# Terminals that know no bold text.
_PLAIN_TERMINALS = ("", "dumb", "unknown")


def session_columns(room: int | None) -> Columns:
    """Return the columns of a table of sessions; ``room`` as in `Columns`."""
    names = ("ID", "State", "User", "Client", "Service", "Connected", "Idle", "Source")
    return Columns(*names, right=("ID", "Idle"), room=room)


def session_cells(session: Session, now: float) -> Sequence[str]:
    """Return what these columns show of a session; ``now`` is in seconds since the epoch."""
    client = session.remote
    if session.HasField("port"):
        client = f"[{client}]:{session.port}" if ":" in client else f"{client}:{session.port}"
    idle = ""
    if session.HasField("last_active_time"):
        idle = _duration(now - session.last_active_time.ToNanoseconds() / 1e9)
    return _cells(
        session.id,
        words_of(session.state),
        session.user,
        client,
        session.service,
        _time(session.connect_time),
        idle,
        session.source,
    )


def session_line(sign: str, session: Session) -> str:
    """Return a line for programs: a sign and the table's cells, with tabs between them."""
    *before, _, source = session_cells(session, 0)  # without the idle time
    return "\t".join((sign, *before, source))


def print_sources(sources: Sequence[Source]) -> None:
    """Print a line for each source, and what was unreadable on standard error."""
    names = ("Name", "Kind", "State", "Sessions", "Last success", "Took", "Last error")
    columns = Columns(*names, right=("Sessions", "Took"), room=output_width())
    print_rows(columns, map(_source_cells, sources))
    for source in sources:
        for note in _source_notes(source):
            print(plain(f"{source.name}: {note}"), file=sys.stderr)


def print_session(session: Session, attributes: Mapping[str, Any]) -> None:
    """Print a line for each attribute of a session; ``attributes`` are its resource object's."""
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
    print_rows(Columns(room=output_width()), starmap(_cells, _flat(known)))


def print_rows(columns: Columns, rows: Iterable[Sequence[str]]) -> None:
    """Print the next rows of a table, and the head before the first ones."""
    print("\n".join(columns.lines(rows, bold if _is_bold() else str)), flush=True)


def output_width() -> int | None:
    """Return the width of the terminal that shows the output; None if it is not for one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def bold(text: str) -> str:
    """Return a text that a terminal shows in bold."""
    return f"\x1b[1m{text}\x1b[0m"


def _is_bold() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in _PLAIN_TERMINALS


def _cells(*values: object) -> Sequence[str]:
    return [plain(str(value)) for value in values]


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


def _source_cells(source: Source) -> Sequence[str]:
    success = took = error = ""
    if source.HasField("last_success_time"):
        success = _time(source.last_success_time)
        took = f"{source.observation_duration.ToMicroseconds() / 1000:.1f}ms"
    if source.HasField("last_error_time"):
        error = f"{_time(source.last_error_time)} {source.last_error}"
    sessions = f"{source.session_count}{'+' if source.truncated else ''}"
    return _cells(
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


def plain(value: str) -> str:
    """Replace characters in text of clients that would control a terminal."""
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value)


def unobeyed(document: str) -> str:
    """Escape characters in a JSON document that would control a terminal."""
    lines = document.split("\n")  # lines of the layout: JSON escapes newlines in strings
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
