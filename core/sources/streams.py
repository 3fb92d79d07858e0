"""HAProxy's streams: what ``show info`` and ``show sess`` of its runtime API say.

Fields are found by their names, wherever they stand, so that the answers of
2.2 to 3.x are read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.sources.base import Observation, Observed, SourceError, Wire
from core.sources.peer import is_loopback, peer
from core.sources.place import shown
from core.sources.steady import again
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Session, SessionState

# The frontend that HAProxy gives the clients of its own runtime API.
_OWN_FRONTEND = "GLOBAL"

_STREAM = re.compile(r"0x[0-9a-f]+: ")
_AGE = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in "wdhms"))
_AGE_UNITS = (604800, 86400, 3600, 60, 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer to ``show info;show sess``, or ``show sess all``."""

    info: Mapping[str, str]
    streams: str  # one line each, or a block of indented lines behind the first

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Take an answer apart. Raises `SourceError` where it is cut or no such answer."""
        info, gap, streams = text.partition("\n\n")
        fields = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
        if "Pid" not in fields:
            raise SourceError(f"this is no answer to 'show info': {_first_line(text)}")
        # Each command's answer ends with an empty line.
        if not gap or not (streams == "\n" or streams.endswith("\n\n")):
            raise SourceError("the answer was cut short")
        if streams.startswith("Permission denied"):
            raise SourceError("'show sess' is not allowed on this socket: it needs level operator")
        if not _STREAM.match(streams) and streams.strip():
            raise SourceError(f"this is no answer to 'show sess': {_first_line(streams)}")
        return cls(fields, streams)

    def number(self, name: str) -> int | None:
        """A whole number that ``show info`` states; None where it does not."""
        text = self.info.get(name, "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


class Streams:
    """Turns answers into observations, and remembers what it made of the last one."""

    def __init__(self, *, include_self: bool, is_here: bool = True) -> None:
        """``is_here`` says that the HAProxy is on this machine: its loopback is ours."""
        self._include_self = include_self
        self._is_here = is_here
        self._process: tuple[str, float] | None = None
        self._uptime = 0
        # What a stream was read from, to what was made of it: None where that is no session.
        self._known: dict[object, Observed | None] = {}
        self._last: Observation | None = None

    def read(self, text: str, moment: float, *, blocks: bool = False) -> Observation:
        """The sessions of an answer that came at ``moment``, in seconds since the epoch.

        ``blocks`` says that it is an answer to ``show sess all``. Raises `SourceError`.
        """
        answer = Answer.parse(text)
        process = (answer.info["Pid"], self._start(answer, moment))
        known = self._known if process == self._process else {}
        seen: dict[object, Observed | None] = {}
        for identity, stream in _blocks(answer.streams) if blocks else _lines(answer.streams):
            if identity in known:
                seen[identity] = known[identity]
            else:
                fields = _block_fields(stream) if blocks else _fields(stream)
                seen[identity] = self._observed(process[0], fields, moment)
        self._process, self._known = process, seen
        self._last = again(self._last, [*filter(None, seen.values())], process[1])
        return self._last

    def _start(self, answer: Answer, moment: float) -> float:
        """When the process started, in seconds since the epoch."""
        start = answer.number("Start_time_sec")
        if start is not None:
            return start
        uptime = answer.number("Uptime_sec")
        if uptime is None:
            raise SourceError("'show info' states neither Start_time_sec nor Uptime_sec")
        before, self._uptime = self._uptime, uptime
        # The uptime stands still while the process does: it says nothing about a
        # process that is seen to go on.
        if self._process is not None and self._process[0] == answer.info["Pid"]:
            return self._process[1] if uptime >= before else moment - uptime
        return moment - uptime

    def _observed(self, pid: str, fields: Mapping[str, str], moment: float) -> Observed | None:
        frontend, source = fields.get("fe"), fields.get("src")
        if frontend is None or source is None:  # no client's: a peer, a health check, a resolver
            return None
        if frontend == _OWN_FRONTEND and not self._include_self:
            return None
        session = Session(native_id=fields["id"], service=frontend, state=_state(fields))
        client = peer(source)
        if client is not None:
            session.remote, session.port = client
        age = _seconds(fields.get("age", ""))
        if age is not None and age < moment:
            session.connect_time.FromSeconds(int(moment - age))
        if server := _named(fields, "srv"):
            server = "/".join(filter(None, (_named(fields, "be"), server)))
            session.connections.append(BackendConnection(server=server))
        key = f"{pid} {fields['id']} {frontend} {source}"
        accepted = self._wire(source, fields.get("fe.addr"))
        opened = self._wire(fields.get("be.addr"), fields.get("srv.addr"))
        return Observed(key, session, accepted, (opened,) if opened else ())

    def _wire(self, client: str | None, server: str | None) -> Wire | None:
        """The connection between two ends, where both are known and mean the same everywhere."""
        ends = peer(client or ""), peer(server or "")
        if ends[0] is None or ends[1] is None:
            return None
        if not self._is_here and (is_loopback(ends[0][0]) or is_loopback(ends[1][0])):
            return None
        return Wire(*ends)


def _lines(streams: str) -> Iterator[tuple[object, str]]:
    """Each line of ``show sess``, with the part of it that only a change changes."""
    for line in streams.splitlines():
        if _STREAM.match(line):
            yield line.partition(" ts=")[0], line
        elif line:
            raise SourceError(f"this is no stream of 'show sess': {_first_line(line)}")


def _blocks(streams: str) -> Iterator[tuple[object, str]]:
    """Each block of ``show sess all``, with the part of it that only a change changes."""
    for block in re.split(r"\n(?=0x)", streams):
        if _STREAM.match(block):
            lines = block.split("\n", 5)
            # The second line is flags and counters, those behind the fifth the stream's insides.
            yield (lines[0], *lines[2:5]), block
        elif block.strip():
            raise SourceError(f"this is no stream of 'show sess all': {_first_line(block)}")


def _fields(line: str) -> dict[str, str]:
    """The fields of a line of ``show sess``, and its pointer as ``id``."""
    pointer, _, rest = line.partition(": ")
    return {**_words(rest), "id": pointer}


def _block_fields(block: str) -> dict[str, str]:
    """The same of a block of ``show sess all``, and the addresses that it adds."""
    first, *lines = block.splitlines()
    fields = _fields(first)
    if "source" in fields:
        fields["src"] = fields["source"]
    for line in lines:
        name, equals, rest = line.strip().partition("=")
        short = {"frontend": "fe", "backend": "be", "server": "srv"}.get(name)
        if equals and short:
            fields[short] = rest.split(maxsplit=1)[0] if rest else ""
            fields |= {f"{short}.{key}": value for key, value in _words(rest).items()}
        elif equals and name == "task":
            fields["age"] = _words(rest).get("age", "")
    return fields


def _words(text: str) -> dict[str, str]:
    """The NAME=VALUE of a text, without brackets around them."""
    return dict(word.strip("(),").split("=", 1) for word in text.split() if "=" in word)


def _named(fields: Mapping[str, str], name: str) -> str | None:
    """A backend or server; HAProxy writes <NONE> or <none> where there is none."""
    value = fields.get(name)
    return None if value is None or value.lower() == "<none>" else value


def _state(fields: Mapping[str, str]) -> SessionState:
    if _named(fields, "srv"):
        return session_pb2.SESSION_STATE_STARTED
    if _named(fields, "be"):
        return session_pb2.SESSION_STATE_ROUTER_READY
    return session_pb2.SESSION_STATE_READY


def _seconds(age: str) -> int | None:
    """An age such as ``4s``, ``1m5s`` or ``2d3h``; None for anything else."""
    found = _AGE.fullmatch(age)
    if not age or found is None:
        return None
    return sum(
        int(count or 0) * unit for count, unit in zip(found.groups(), _AGE_UNITS, strict=True)
    )


def _first_line(text: str) -> str:
    return f'"{shown(text.split(chr(10), 1)[0])}"'
