"""Sources, and gaps in what they report, as people at a terminal read them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.texts import (
    bold,
    has_styles,
    output_width,
    plain,
    red,
    time_text,
)
from sessiongate.gateway.representation.source import SOURCE_STATES
from sessiongate.v1.source_service_pb2 import Source, SourceState


def print_sources(sources: Sequence[Source]) -> None:
    """Print a line for each source, and what was unreadable on standard error."""
    names = ("Name", "Kind", "State", "Sessions", "Last success", "Took", "Last error")
    columns = Columns(*names, right=("Sessions", "Took"), room=output_width())
    rows = [*map(_source_cells, sources)]
    if not has_styles(sys.stdout):
        print_rows(columns, rows)
    else:
        whole = columns.lines(rows, bold)
        lines = [
            line
            for row, source in zip(rows, sources, strict=True)
            for line in map(red if _is_troubled(source) else str, columns.lines([row]))
        ]
        print("\n".join([*whole[: len(whole) - len(lines)], *lines]), flush=True)
    for source in sources:
        for note in _source_notes(source):
            print(plain(f"{source.name}: {note}"), file=sys.stderr)


def _is_troubled(source: Source) -> bool:
    """Return whether a source could not be read, or only in part."""
    return bool(source.state == SourceState.SOURCE_STATE_UNREACHABLE or source.partial)


def print_rows(columns: Columns, rows: Iterable[Sequence[str]]) -> None:
    """Print the next rows of a table, and the head before the first ones."""
    print("\n".join(columns.lines(rows, bold if has_styles(sys.stdout) else str)), flush=True)


def _cells(*values: object) -> Sequence[str]:
    return [plain(str(value)) for value in values]


def print_gaps(gaps: Gaps) -> None:
    """Print the sources that could not be read completely on standard error, if any."""
    print_notes(gap_lines(gaps))


def print_notes(lines: Iterable[str]) -> None:
    """Print what is not known on standard error."""
    for line in lines:
        print(red(line) if has_styles(sys.stderr) else line, file=sys.stderr)


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
        success = time_text(source.last_success_time)
        took = f"{source.observation_duration.ToMicroseconds() / 1000:.1f}ms"
    if source.HasField("last_error_time"):
        error = f"{time_text(source.last_error_time)} {source.last_error}"
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
