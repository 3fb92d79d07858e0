"""The forms in which sessions are printed, part by part as they arrive."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sessiongate.gateway.cli.session_fields import Field
from sessiongate.gateway.cli.tables import print_notes
from sessiongate.gateway.cli.terminal_table import LAYOUT, Layout, TerminalTable
from sessiongate.gateway.cli.texts import has_styles, output_width, plain, unobeyed
from sessiongate.gateway.cli.yaml import yaml_text
from sessiongate.gateway.jsonapi.document import CollectionWriter, dump, top_meta
from sessiongate.gateway.representation.session import session_resource, sessions_url

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet runs a cell that begins so


TABLES = ("table", "wide")  # the forms for people

_T = TypeVar("_T")
_S = TypeVar("_S", contravariant=True)


@dataclass(frozen=True)
class Listed(Generic[_T]):
    """The kind of resource that is listed: sessions, or past ones."""

    layout: Layout[_T]
    csv: Sequence[str]  # the columns of CSV: always the same, whatever the sessions are
    url: Callable[[str], str]  # of all of them, by the base of URLs
    resource: Callable[[_T, str, float], dict[str, Any]]  # of one, with that base and the time


SESSIONS = Listed(
    LAYOUT,
    csv=(
        *("id", "user", "remote", "port", "database", "application", "activity.state"),
        *("activity.since", "service", "source", "state", "connected", "idle"),
    ),
    url=sessions_url,
    resource=session_resource,
)


class Output(Protocol[_S]):
    """Prints sessions."""

    def write(self, sessions: Sequence[_S], incomplete: Container[str] = ()) -> None:
        """Print the next sessions; ``incomplete`` are names of sources."""

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        """Print what follows the last session: the document's ``meta``, or notes for people."""


def output_in(form: str, listed: Listed[_T], fields: Sequence[Field[_T]], base: str) -> Output[_T]:
    """Return the output of a form; ``fields`` are columns, or none for the usual ones."""
    match form:
        case "json":
            return _Json(listed, base)
        case "jsonl":
            return _JsonLines(listed, base)
        case "yaml":
            return _Yaml(listed, base)
        case "csv":
            return _Csv(fields or [listed.layout.fields[name] for name in listed.csv])
    return _Table(listed.layout, fields, is_wide=form == "wide")


class _Table(Generic[_T]):
    def __init__(self, layout: Layout[_T], fields: Sequence[Field[_T]], *, is_wide: bool) -> None:
        room = None if is_wide else output_width()
        styles = has_styles(sys.stdout)
        self._table = TerminalTable(layout, fields, room, is_wide=is_wide, has_styles=styles)

    def write(self, sessions: Sequence[_T], incomplete: Container[str] = ()) -> None:
        if lines := self._table.lines(sessions, time.time(), incomplete):
            _print("\n".join(lines) + "\n")

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        print_notes(notes)


class _Csv(Generic[_T]):
    def __init__(self, fields: Sequence[Field[_T]]) -> None:
        self._fields = fields
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._has_head = False

    def write(self, sessions: Sequence[_T], incomplete: Container[str] = ()) -> None:
        now = time.time()
        if not self._has_head:
            self._writer.writerow([field.name for field in self._fields])
            self._has_head = True
        self._writer.writerows(
            [csv_cell(field.value(session, now)) for field in self._fields] for session in sessions
        )
        sys.stdout.flush()

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        print_notes(notes)


class _Json(Generic[_T]):
    def __init__(self, listed: Listed[_T], base: str) -> None:
        self._listed = listed
        self._base = base
        self._writer = CollectionWriter(pretty=True)
        self._piece = self._writer.opening({"links": {"self": listed.url(base)}})

    def write(self, sessions: Sequence[_T], incomplete: Container[str] = ()) -> None:
        piece = self._piece + self._writer.items(_resources(self._listed, sessions, self._base))
        self._piece = b""
        _print(unobeyed(piece.decode()))

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        _print(unobeyed(self._writer.closing(top_meta(meta)).decode()) + "\n")


class _JsonLines(Generic[_T]):
    def __init__(self, listed: Listed[_T], base: str) -> None:
        self._listed = listed
        self._base = base

    def write(self, sessions: Sequence[_T], incomplete: Container[str] = ()) -> None:
        resources = _resources(self._listed, sessions, self._base)
        _print("".join(f"{unobeyed(dump(each, pretty=False).decode())}\n" for each in resources))

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        print_notes(notes)


class _Yaml(Generic[_T]):
    def __init__(self, listed: Listed[_T], base: str) -> None:
        self._listed = listed
        self._base = base
        self._head = yaml_text({"links": {"self": listed.url(base)}}) + "data:"

    def write(self, sessions: Sequence[_T], incomplete: Container[str] = ()) -> None:
        if sessions:
            head = f"{self._head}\n" if self._head else ""
            _print(head + yaml_text(_resources(self._listed, sessions, self._base)))
            self._head = ""

    def end(self, meta: Mapping[str, Any], notes: Iterable[str]) -> None:
        rest = f"{self._head} []\n" if self._head else ""
        _print(rest + (yaml_text(top_meta(meta)) if meta else ""))


def print_document(document: Mapping[str, Any], form: str) -> None:
    """Print a whole document as JSON or YAML."""
    if form == "yaml":
        _print(yaml_text(document))
    else:
        _print(unobeyed(dump(document, pretty=True).decode()) + "\n")


def _resources(listed: Listed[_T], sessions: Sequence[_T], base: str) -> list[dict[str, Any]]:
    now = time.time()
    return [listed.resource(session, base, now) for session in sessions]


def csv_cell(value: str | float) -> str | float:
    """Return a cell of CSV that neither a terminal nor a spreadsheet obeys."""
    if not isinstance(value, str):
        return value
    return plain(f"'{value}" if value.startswith(_FORMULA) else value)


def _print(text: str) -> None:
    print(text, end="", flush=True)
