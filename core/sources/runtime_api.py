"""An answer of HAProxy's runtime API to ``show info;show sess``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from core.sources.base import SourceError
from core.sources.moments import LATEST
from core.sources.place import shown

_POINTED = re.compile(r"^0x[0-9a-f]+: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer to ``show info;show sess``, or ``show sess all``.

    Complete is what has both commands' answers, each with the empty line that ends it. It
    is one to ``show sess`` if any line of it begins with a stream's pointer: the stream of
    the socket that asks is among them. What else stands there, and whether it can be read,
    is a matter of single streams.
    """

    pid: str
    streams: str  # one line each, or a block of indented lines behind the first
    start: int | None  # in seconds since the epoch; None if it is not stated (before 2.4)
    uptime: int | None  # in seconds

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Take an answer apart. Raises `SourceError` if it is cut or no such answer."""
        info, gap, streams = text.partition("\n\n")
        fields = dict(line.split(": ", 1) for line in info.split("\n") if ": " in line)
        pid = fields.get("Pid", "")
        if not re.fullmatch("[0-9]{1,10}", pid):
            raise SourceError(f"this is no answer to 'show info': {_first_line(text)}")
        if not gap or not (streams == "\n" or streams.endswith("\n\n")):
            raise SourceError("the answer was cut short")
        if streams.startswith("Permission denied"):
            raise SourceError("'show sess' is not allowed on this socket: it needs level operator")
        if streams.strip("\n") and not _POINTED.search(streams):
            raise SourceError(f"this is no answer to 'show sess': {_first_line(streams)}")
        return cls(pid, streams, _seconds(fields, "Start_time_sec"), _seconds(fields, "Uptime_sec"))


def _seconds(info: Mapping[str, str], name: str) -> int | None:
    """A number of seconds that can be stored; None for anything else."""
    text = info.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,10}", text) and int(text) <= LATEST else None


def _first_line(text: str) -> str:
    return f'"{shown(text.split(chr(10), 1)[0])}"'
