"""The forms in which sessions are printed, part by part as they arrive."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS, SessionField
from sessiongate.gateway.cli.tables import print_gaps
from sessiongate.gateway.cli.terminal_table import TerminalTable
from sessiongate.gateway.cli.texts import has_styles, output_width, plain, unobeyed
from sessiongate.gateway.cli.yaml import yaml_text
from sessiongate.gateway.jsonapi.document import CollectionWriter, dump, top_meta
from sessiongate.gateway.representation.session import session_resource, sessions_url
from sessiongate.v1.session_pb2 import Session

# The columns of CSV, unless others are asked for: always the same, whatever the sessions are.
_CSV = (
    *("id", "user", "remote", "port", "database", "application", "activity.state"),
    *("activity.since", "service", "source", "state", "connected", "idle"),
)
_FORMULA = ("=", "+", "-", "@")  # a spreadsheet runs a cell that begins so


class Output(Protocol):
    """Prints sessions."""

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        """Print the next sessions; ``gaps`` are those of all parts so far."""

    def end(self, gaps: Gaps) -> None:
        """Print what follows the last session."""


def output_in(form: str, fields: Sequence[SessionField], base: str) -> Output:
    """Return the output of a form; ``fields`` are columns, or none for the usual ones."""
    match form:
        case "json":
            return _Json(base)
        case "jsonl":
            return _JsonLines(base)
        case "yaml":
            return _Yaml(base)
        case "csv":
            return _Csv(fields or [SESSION_FIELDS[name] for name in _CSV])
    return _Table(fields, is_wide=form == "wide")


class _Table:
    def __init__(self, fields: Sequence[SessionField], *, is_wide: bool) -> None:
        room = None if is_wide else output_width()
        self._table = TerminalTable(
            fields, room, is_wide=is_wide, has_styles=has_styles(sys.stdout)
        )
        self._is_empty = True

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        incomplete = {*gaps.unreachable, *gaps.partial}
        if lines := self._table.lines(sessions, time.time(), incomplete):
            _print("\n".join(lines) + "\n")
            self._is_empty = False

    def end(self, gaps: Gaps) -> None:
        if self._is_empty:
            print("no sessions", file=sys.stderr)
        print_gaps(gaps)


class _Csv:
    def __init__(self, fields: Sequence[SessionField]) -> None:
        self._fields = fields
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._has_head = False

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        now = time.time()
        if not self._has_head:
            self._writer.writerow([field.name for field in self._fields])
            self._has_head = True
        self._writer.writerows(
            [csv_cell(field.value(session, now)) for field in self._fields] for session in sessions
        )
        sys.stdout.flush()

    def end(self, gaps: Gaps) -> None:
        print_gaps(gaps)


class _Json:
    def __init__(self, base: str) -> None:
        self._base = base
        self._writer = CollectionWriter(pretty=True)
        self._piece = self._writer.opening({"links": {"self": sessions_url(base)}})

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        piece = self._piece + self._writer.items(_resources(sessions, self._base))
        self._piece = b""
        _print(unobeyed(piece.decode()))

    def end(self, gaps: Gaps) -> None:
        _print(unobeyed(self._writer.closing(top_meta(gaps.meta())).decode()) + "\n")


class _JsonLines:
    def __init__(self, base: str) -> None:
        self._base = base

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        resources = _resources(sessions, self._base)
        _print("".join(f"{unobeyed(dump(each, pretty=False).decode())}\n" for each in resources))

    def end(self, gaps: Gaps) -> None:
        print_gaps(gaps)


class _Yaml:
    def __init__(self, base: str) -> None:
        self._base = base
        self._head = yaml_text({"links": {"self": sessions_url(base)}}) + "data:"

    def write(self, sessions: Sequence[Session], gaps: Gaps) -> None:
        if sessions:
            head = f"{self._head}\n" if self._head else ""
            _print(head + yaml_text(_resources(sessions, self._base)))
            self._head = ""

    def end(self, gaps: Gaps) -> None:
        rest = f"{self._head} []\n" if self._head else ""
        _print(rest + (yaml_text(top_meta(gaps.meta())) if gaps else ""))


def print_document(document: Mapping[str, Any], form: str) -> None:
    """Print a whole document as JSON or YAML."""
    if form == "yaml":
        _print(yaml_text(document))
    else:
        _print(unobeyed(dump(document, pretty=True).decode()) + "\n")


def _resources(sessions: Sequence[Session], base: str) -> list[dict[str, Any]]:
    now = time.time()
    return [session_resource(session, base, now) for session in sessions]


def csv_cell(value: str | float) -> str | float:
    """Return a cell of CSV that neither a terminal nor a spreadsheet obeys."""
    if not isinstance(value, str):
        return value
    return plain(f"'{value}" if value.startswith(_FORMULA) else value)


def _print(text: str) -> None:
    print(text, end="", flush=True)
