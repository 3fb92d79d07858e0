"""Logs on standard error: one JSON object per line, or lines for people.

Every line names the request that it belongs to, if any. What callers send is escaped:
it cannot end a line, forge one or control a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple, TextIO, get_args

from sessiongate.runtime.settings import one_of, setting, switch
from sessiongate.runtime.telemetry.correlation import Correlation, current

_encode = json.JSONEncoder(default=str).encode  # made once: `json.dumps` would make it each time
_quote = json.encoder.encode_basestring_ascii
_WAIT = 100  # milliseconds to wait for the reader of the log
# Bytes that are written at a time, unless a line is longer: a pipe with any room takes so many
# whole, and a file takes any number.
_PIECE, _FILE_PIECE = select.PIPE_BUF, 1024 * 1024

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
    # LogLines state none of these.
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


class LogLine(NamedTuple):
    """A line of the log, without what all lines of its logger and level have."""

    time: float  # seconds since the epoch
    message: str
    correlation: Correlation | None
    members: Mapping[str, object]  # JSON values


class LogLines(logging.LogRecord):
    """A record that is many lines: a record for each would take several times as long."""

    def __init__(self, logger: str, level: int, lines: Sequence[LogLine]) -> None:
        super().__init__(logger, level, "", 0, "%d lines", (len(lines),), None)
        self.lines = lines


class _Unblocked(logging.StreamHandler[TextIO]):
    """Writes lines, and drops them while nobody reads them, so that requests continue.

    It waits for a pipe or a socket once; lost lines are counted and reported.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._piece = _FILE_PIECE if _is_file(stream) else _PIECE

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        for piece in _pieces(text + "\n", self._piece):
            self._write(piece)

    def _write(self, text: str) -> None:
        if self._lost and self._has_room():
            lost = f"lost {self._lost} log lines: nobody read them"
            record = logging.LogRecord(__name__, logging.ERROR, "", 0, lost, (), None)
            self._put(self.format(record) + "\n")  # by itself: with ``text``, it may not fit
            self._lost = 0
        if self._has_room():
            self._put(text)
        else:
            self._lost += text.count("\n")

    def _put(self, text: str) -> None:
        with suppress(OSError, ValueError):  # there is nowhere else to say so
            self.stream.write(text)
            self.stream.flush()

    def _has_room(self) -> bool:
        try:
            room = select.poll()
            room.register(self.stream.fileno(), select.POLLOUT)
            return bool(room.poll(0 if self._lost else _WAIT))
        except (OSError, ValueError):  # it is not a file
            return True


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def _pieces(text: str, size: int) -> Iterator[str]:
    """Split text after lines, into pieces of at most ``size`` bytes, or of one line."""
    most = size if text.isascii() else size // 4  # a character has up to four bytes
    start = 0
    while len(text) - start > most:
        end = text.rfind("\n", start, start + most) + 1 or text.find("\n", start + most) + 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


class _Form(logging.Formatter):
    """Formats records as lines in one form."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        kind = self._kind(record)
        if isinstance(record, LogLines):
            return "\n".join([self._line(kind, line) for line in record.lines])
        members: dict[str, object] = getattr(record, "fields", {})
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        line = LogLine(record.created, record.getMessage(), current.get(), members)
        return self._line(kind, line, trace)

    def _kind(self, record: logging.LogRecord) -> str:
        """Return what all lines of a record have."""
        raise NotImplementedError

    def _line(self, kind: str, line: LogLine, trace: str = "") -> str:
        raise NotImplementedError


class _Json(_Form):
    """Formats a line as one JSON object in ASCII."""

    def _kind(self, record: logging.LogRecord) -> str:
        return _kind(record.levelname, self._program, record.name)

    def _line(self, kind: str, line: LogLine, trace: str = "") -> str:
        text = f'{{"time": "{_time(line.time)}", {kind}, "message": {_quote(line.message)}'
        if (request := line.correlation) is not None:
            text += f', "request_id": {_quote(request.request_id)}'
            if request.traceparent is not None:
                text += f', "trace_id": {_json(request.trace_id)}'
        for name, value in line.members.items():
            text += f', "{name}": {_quote(value) if type(value) is str else _json(value)}'
        if trace:
            text += f', "exception": {_quote(trace)}'
        return text + "}"


class _Text(_Form):
    """Formats a line as words, then NAME=VALUE; an exception follows on indented lines."""

    def _kind(self, record: logging.LogRecord) -> str:
        return f"{record.levelname:<7} {self._program}"

    def _line(self, kind: str, line: LogLine, trace: str = "") -> str:
        words = [_time(line.time), kind, escaped(line.message)]
        if (request := line.correlation) is not None:
            words.append(f"request_id={_value(request.request_id)}")
            if request.traceparent is not None:
                words.append(f"trace_id={_value(request.trace_id)}")
        words += [f"{name}={_value(value)}" for name, value in line.members.items()]
        return "\n    ".join([" ".join(words), *map(escaped, trace.splitlines())])


def escaped(text: str) -> str:
    """Put text on one line, without anything that would control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _json(value: object) -> str:
    if type(value) is str:
        return _quote(value)
    return repr(value) if type(value) is float or type(value) is int else _encode(value)


@lru_cache  # of few kinds
def _kind(level: str, program: str, logger: object) -> str:
    """Return the members that all lines of a kind have."""
    return (
        f'"level": {_json(level.lower())}, "program": {_json(program)}, "logger": {_json(logger)}'
    )


def _time(since_epoch: float) -> str:
    return _millisecond(int(since_epoch * 1000))


@lru_cache(1)  # of many lines
def _millisecond(since_epoch: int) -> str:
    second, left = divmod(since_epoch, 1000)
    return f"{_second(second)}.{left:03}Z"


@lru_cache(1)
def _second(since_epoch: int) -> str:
    return f"{datetime.fromtimestamp(since_epoch, UTC):%Y-%m-%dT%H:%M:%S}"


def _value(value: object) -> str:
    """Return a value as one word, in quotes if it contains blanks or quotes."""
    text = value if isinstance(value, str) else _encode(value)
    if text and '"' not in text and " " not in text:
        return escaped(text)
    return json.dumps(escaped(text), ensure_ascii=False)
