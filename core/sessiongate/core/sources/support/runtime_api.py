"""Responses of HAProxy's runtime API to ``show info;show sess``, and of other servers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.json_cursor import ascii_excerpt
from sessiongate.core.sources.support.moments import LATEST

_MAX_INFO = 64 * 1024  # characters of a response to 'show info'
_MAX_BEFORE = 1024 * 1024  # characters within which the first stream begins
_SEVERITY = r"(?:\[\w+\]: *)?"  # before a message, if the socket has severity-output
_REFUSED = re.compile(_SEVERITY + "Permission denied")
# The master process rejects 'show info', and lists its own commands.
_MASTER = re.compile(rf"{_SEVERITY}Unknown command.*^ *show proc ", re.DOTALL | re.MULTILINE)
_TLS_RECORD = re.compile("[\x15\x16]\x03")  # an alert or a handshake
_POINTED = re.compile(r"^0x[0-9a-f]+: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StatsDump:
    """A complete response to ``show info;show sess``, or ``show sess all``.

    It is complete if it has the responses to both commands, each with its empty last line.
    It responds to ``show sess`` if any line begins with a stream's pointer: the stream of
    this very connection is always included. Whether the rest can be read is decided for
    each stream.
    """

    pid: str
    # One line each, or a block whose lines after the first are indented; in parts.
    streams: Sequence[str]
    start: int | None  # in seconds since the epoch; None if it is not stated (before 2.4)
    uptime: int | None  # in seconds

    @classmethod
    def parse(cls, parts: Sequence[str]) -> StatsDump:
        """Parse a response. Raises `SourceError` if it is incomplete or another one."""
        text, others = _beginning(parts)
        end = text.find("\n\n", 0, _MAX_INFO)
        info, streams = (text[:end], text[end + 2 :]) if end >= 0 else (text[:_MAX_INFO], "")
        fields = _fields(info)
        pid = process_of(info)
        if not pid:
            raise SourceError(_other_server(text))
        is_none = streams == "\n" and not others
        if end < 0 or not (is_none or _ending((streams, *others)) == "\n\n"):
            raise SourceError("the response is incomplete")
        if _REFUSED.match(streams):
            raise SourceError(
                "'show sess' is not allowed on this socket: it requires level operator"
            )
        if not is_none and not _POINTED.search(streams, 0, _MAX_BEFORE):
            raise SourceError(f"not a response to 'show sess': {_first_line(streams)}")
        start, uptime = _seconds(fields, "Start_time_sec"), _seconds(fields, "Uptime_sec")
        return cls(pid, (streams, *others), start, uptime)


def process_of(info: str) -> str:
    """Return the process id in a response to ``show info``; empty if there is none."""
    pid = _fields(info).get("Pid", "")
    return pid if re.fullmatch("[0-9]{1,10}", pid) else ""


def _fields(info: str) -> Mapping[str, str]:
    return dict(line.split(": ", 1) for line in info.split("\n") if ": " in line)


def _beginning(parts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the beginning of a text, to examine as one string, and the parts after it."""
    size = 0
    for number, part in enumerate(parts, 1):
        size += len(part)
        if size >= _MAX_INFO + _MAX_BEFORE:
            return "".join(parts[:number]), parts[number:]
    return "".join(parts), ()


def _ending(parts: Sequence[str]) -> str:
    """Return the last two characters of a text in parts."""
    found = ""
    for part in reversed(parts):
        found = part[-2:] + found
        if len(found) >= 2:
            break
    return found[-2:]


def _seconds(info: Mapping[str, str], name: str) -> int | None:
    """Return a number of seconds that can be stored; None for anything else."""
    text = info.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,10}", text) and int(text) <= LATEST else None


def _other_server(text: str) -> str:
    """Describe a response that is not one to ``show info``."""
    if not text:
        return (
            "the connection was closed without a response, as by a port that uses TLS or is not"
            " a 'stats socket'"
        )
    if _TLS_RECORD.match(text):
        return "this port uses TLS; name a 'stats socket' without it"
    if text.startswith("HTTP/1."):
        return "this is HTTP, not HAProxy's runtime API; name a 'stats socket'"
    if _MASTER.match(text[:_MAX_INFO]):
        return "this is HAProxy's master CLI; name a 'stats socket' of its worker instead"
    return f"not a response to 'show info': {_first_line(text)}"


def _first_line(text: str) -> str:
    return f'"{ascii_excerpt(text[:_MAX_INFO].split(chr(10), 1)[0])}"'
