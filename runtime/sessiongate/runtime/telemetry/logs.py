"""Logs on standard error: one JSON object per line, or lines for people.

Every line names the request that it belongs to, if any. What callers send is escaped:
it cannot end a line, forge one or control a terminal.
"""

from __future__ import annotations

import json
import logging
import select
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO, get_args

from sessiongate.runtime.settings import one_of, setting, switch
from sessiongate.runtime.telemetry.correlation import current

_encode = json.JSONEncoder(default=str).encode  # made once: `json.dumps` would make it each time
_quote = json.encoder.encode_basestring_ascii
_WAIT = 100  # milliseconds to wait for the reader of the log

Form = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The settings of logging."""

    log_format: Form = setting(
        "auto",
        one_of(*get_args(Form)),
        "Log format: json, text, or auto (text on a terminal, otherwise json).",
        "FORM",
    )
    log_level: Level = setting(
        "info",
        one_of(*get_args(Level)),
        "Minimum level of log messages: debug, info, warning or error.",
        "LEVEL",
    )
    access_log: bool = setting(False, switch, "Log every request that is answered.")


def set_up_logs(program: str, settings: LogSettings) -> None:
    """Send all logging to standard error; call this once, when ``program`` starts."""
    # Lines state none of these.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = _Unblocked(sys.stderr)
    handler.setFormatter(formatter(program, settings.log_format, sys.stderr))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


def formatter(program: str, form: Form, stream: TextIO) -> logging.Formatter:
    """Return the formatter of records for ``stream``."""
    if form == "auto":
        form = "text" if stream.isatty() else "json"
    return _Text(program) if form == "text" else _Json(program)


def fields(**values: object) -> Mapping[str, Mapping[str, object]]:
    """Return logging's ``extra`` with further members of a line, all of them JSON values."""
    return {"fields": values}


class _Unblocked(logging.StreamHandler[TextIO]):
    """Writes lines, and drops them while nobody reads them, so that requests continue.

    It waits for a pipe or a socket once; lost lines are counted and reported.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not self._has_room():
            self._lost += 1
            return
        if self._lost:
            text = f"lost {self._lost} log lines: nobody read them"
            self._lost = 0
            super().emit(logging.LogRecord(__name__, logging.ERROR, "", 0, text, (), None))
        super().emit(record)

    def _has_room(self) -> bool:
        try:
            room = select.poll()
            room.register(self.stream.fileno(), select.POLLOUT)
            return bool(room.poll(0 if self._lost else _WAIT))
        except (OSError, ValueError):  # it is not a file
            return True


class _Json(logging.Formatter):
    """Formats a line as one JSON object in ASCII."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "message": record.getMessage(),
            **_members(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        members = [f'"{name}": {_json(value)}' for name, value in line.items()]
        return f"{{{', '.join(members)}}}"


class _Text(logging.Formatter):
    """Formats a line as words, then NAME=VALUE; an exception follows on indented lines."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), f"{record.levelname:<7}", self._program]
        words.append(escaped(record.getMessage()))
        words += [f"{name}={_value(value)}" for name, value in _members(record).items()]
        lines = [" ".join(words)]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += ["    " + escaped(line) for line in trace.splitlines()]
        return "\n".join(lines)


def escaped(text: str) -> str:
    """Put text on one line, without anything that would control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _members(record: logging.LogRecord) -> dict[str, object]:
    """Return a record's members besides its message: its request, and its own fields."""
    members: dict[str, object] = {}
    correlation = current.get()
    if correlation is not None:
        members["request_id"] = correlation.request_id
        if correlation.trace_id:
            members["trace_id"] = correlation.trace_id
    members.update(getattr(record, "fields", {}))
    return members


def _json(value: object) -> str:
    if isinstance(value, str):
        return _quote(value)
    return repr(value) if type(value) in (int, float) else _encode(value)


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


@lru_cache(1)  # of many lines
def _second(since_epoch: int) -> str:
    return f"{datetime.fromtimestamp(since_epoch, UTC):%Y-%m-%dT%H:%M:%S}"


def _value(value: object) -> str:
    """Return a value as one word, in quotes if it contains blanks or quotes."""
    text = value if isinstance(value, str) else _encode(value)
    if text and '"' not in text and " " not in text:
        return escaped(text)
    return json.dumps(escaped(text), ensure_ascii=False)
