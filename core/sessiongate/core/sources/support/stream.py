"""One stream in ``show sess`` or ``show sess all`` of HAProxy's runtime API.

Fields are found by name, in any position, so that the responses of 2.2 to 3.x are
read in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sessiongate.core.sources.base import UnreadableError
from sessiongate.core.sources.support.peer import peer
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import ActivityState

_POINTER = re.compile("0x[0-9a-f]{1,16}")
# The parts of a line and of a block that are read, except for the age, as all versions so far
# write them. Everything else in them changes on its own. The last two, if they are there, are the
# state of the connection to the server, and the analysers of the response that have not finished.
_USUAL_LINE = re.compile(
    rf"({_POINTER.pattern}: proto=[^ ]+(?: src=[^ ]+ fe=[^ ]+ be=[^ ]+ srv=[^ ]+)?) ts="
    r"(?:[^]]*\] rp\[f=[^],]*,i=[^],]*,an=(?P<analysers>[0-9a-f]{1,8})h[^]]*\]"
    r" (?:s0|scf)=\[[^]]*\] (?:s1|scb)=\[(?P<state>[0-9]{1,2}),)?"
)
_USUAL_BLOCK = re.compile(
    f"({_POINTER.pattern}: .*)\n  flags=.*\n(  frontend=.*\n  backend=.*\n  server=.*)\n"
    r"(?:(?>(?:.*\n)*?  (?:si\[1\]|scb)=.*?state=)(?P<state>[A-Z]{3})\b"
    r"(?>(?:.*\n)*?  res=.*? an=0x)(?P<analysers>[0-9a-f]{1,8}) )?"
)
# The states, which lines number, in which it waits in a queue, connects, and is connected.
_IN_QUEUE, _CONNECTING, _OPEN = (
    "QUE",
    ("REQ", "TAR", "ASS", "CON", "CER", "RDY"),
    ("EST", "DIS", "CLO"),
)
_STATES = {
    str(number): state
    for number, state in enumerate(
        ("INI", "REQ", _IN_QUEUE, "TAR", "ASS", "CON", "CER", "RDY", *_OPEN)
    )
}
# To wait for an HTTP response, to process its headers, to forward its body.
_HTTP = 0x00400000 | 0x01000000 | 0x04000000
MAX_STREAM = 64 * 1024  # characters of a line or block that is read
_STEP = 128 * 1024  # characters that are split at a time, or slightly more
_TOO_LONG = "x" * (MAX_STREAM + 1)
_BETWEEN_LINES = re.compile("\n")
_BETWEEN_BLOCKS = re.compile(r"\n(?=[^ \n])")  # all but the first line is indented
_FIRST_LINE = "] id="  # in the first line of every block, even if its pointer is malformed
_BEFORE_FIRST_LINE = re.compile(r"\n(?=.*\] id=)")
# The lines of a block that hold a name, and perhaps an address.
_NAMING = {"  frontend": "fe", "  backend": "be", "  server": "srv"}
_NAMING_LINES = re.compile("^(?:" + "|".join(_NAMING) + ")=.*", re.MULTILINE)
_READ = ("proto", "src", "fe", "be", "srv")  # of a line, except for the age
_LOCAL = re.compile("[a-z]+(?::[0-9]{1,10})?")  # an end that is not on a network, such as unix:3
_AGE = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in "wdhms"))
_AGE_UNITS = (604800, 86400, 3600, 60, 1)


class Progress(NamedTuple):
    """HAProxy's work for a stream, as far as HAProxy states it."""

    native: str  # the state of the connection to the server, in HAProxy's words
    state: ActivityState


@dataclass(frozen=True, slots=True)
class Stream:
    """The fields of a stream as they are written; each is checked when it is read.

    A field that is not valid raises `UnreadableError`.
    """

    pointer: str
    fields: Mapping[str, str]
    has_client: bool  # peers, health checks and resolvers have streams too
    progress: Progress | None  # None: a connection that is only forwarded may do anything

    @classmethod
    def parse(cls, text: str) -> Stream:
        """Read a line of ``show sess``, or a block of ``show sess all``."""
        first, *lines = text.split("\n")
        pointer, words = _line_fields(first)
        if not _POINTER.fullmatch(pointer):
            raise UnreadableError("show sess: expected a line that begins with a pointer")
        fields = {**words, **_block_fields(lines)}
        # HAProxy states what a stream without a client has, and that has no source.
        has_none = {"src", "fe"}.isdisjoint(words) and {"proto", "age"} <= fields.keys()
        usual = (_USUAL_BLOCK if lines else _USUAL_LINE).match(text)
        return cls(pointer, fields, not has_none, _progress(usual))

    def name(self, field: str) -> str:
        """Return a name that must be present."""
        text = self.fields.get(field, "")
        if not text or not text.isprintable():
            raise self._expected(field, "a name")
        return text

    def target(self, field: str) -> str | None:
        """Return a backend or server; None if HAProxy writes <NONE> or <none>."""
        name = self.name(field)
        return None if name.lower() == "<none>" else name

    def end(self, field: str) -> tuple[str, int] | None:
        """Return the address and port of an end; None if it is absent or not on a network."""
        text = self.fields.get(field)
        if text is None or _LOCAL.fullmatch(text):
            return None
        found = peer(text)
        if found is None:
            raise self._expected(field, "an IP address and a port")
        return found

    def start(self, moment: float, before: int | None = None) -> int | None:
        """Return when the stream began, by its age at ``moment``; None if that is unknown.

        All are seconds since the epoch. If it may still be the start found ``before``, it is that
        one: an age is written in whole seconds, minutes or hours.
        """
        age = self._age(longest=moment)
        if age is None:
            return None
        start = int(moment - age)
        unit = 3600 if age >= 86400 else 60 if age >= 3600 else 1
        return start if before is None or abs(before - start) > unit + 1 else before

    def _age(self, longest: float) -> int | None:
        """Read seconds from ``4s``, ``1m5s`` or ``2d3h``; None for ``?``, an unknown age."""
        text = self.fields.get("age", "")
        found = _AGE.fullmatch(text)
        if text == "?":
            return None
        if not text or found is None:
            raise self._expected("age", "an age such as 1m5s")
        counts = zip(found.groups(), _AGE_UNITS, strict=True)
        age = sum(int(count or 0) * unit for count, unit in counts)
        if age > longest:
            raise self._expected("age", "a start after 1970")
        return age

    def _expected(self, field: str, what: str) -> UnreadableError:
        return UnreadableError(f"show sess: {self.pointer}: {field}: expected {what}")


def each_line(streams: Iterable[str]) -> Iterator[tuple[object, str]]:
    """Yield each line of ``show sess``, after a key that changes only if its stream does."""
    for line in filter(None, _split(_BETWEEN_LINES, streams)):
        if len(line) > MAX_STREAM:
            yield None, line
        elif usual := _USUAL_LINE.match(line):
            yield usual.groups(), line
        else:
            pointer, fields = _line_fields(line)
            yield (pointer, *map(fields.get, _READ)), line


def each_block(streams: Iterable[str]) -> Iterator[tuple[object, str]]:
    """Yield each block of ``show sess all``, after a key that changes only if its stream does."""
    for block in _split_blocks(streams):
        if len(block) > MAX_STREAM:
            yield None, block
        elif usual := _USUAL_BLOCK.match(block):
            yield usual.groups(), block
        else:
            yield (block.partition("\n")[0], *_NAMING_LINES.findall(block)), block


def _progress(usual: re.Match[str] | None) -> Progress | None:
    """Return what HAProxy is doing for a stream in the usual form; None for any other."""
    if usual is None or not usual["state"]:
        return None
    number = usual["state"]
    state = _STATES.get(number, number)
    if state == _IN_QUEUE:
        return Progress(state, session_pb2.ACTIVITY_STATE_WAITING)
    if state in _CONNECTING:
        return Progress(state, session_pb2.ACTIVITY_STATE_CONNECTING)
    if state in _OPEN and int(usual["analysers"], 16) & _HTTP:
        return Progress(state, session_pb2.ACTIVITY_STATE_ACTIVE)
    return None


def _split(between: re.Pattern[str], parts: Iterable[str]) -> Iterator[str]:
    """Split a text that arrives in parts, in short steps.

    For a piece that is far too long, yield a shorter one that is still too long.
    """
    text = ""
    for part in parts:
        text += part
        if len(text) >= _STEP:
            *pieces, text = between.split(text)
            yield from pieces
            if len(text) > MAX_STREAM:
                text = _bounded(text)
    yield from between.split(text)


def _bounded(text: str) -> str:
    """Return a piece that is as short as possible, and too long if this one is."""
    inner = text.strip("\n")  # line breaks around a piece do not count
    end = "\n" if text.endswith("\n") else ""  # the next piece may begin after it
    return (inner if len(inner) <= MAX_STREAM else _TOO_LONG) + end


def _split_blocks(streams: Iterable[str]) -> Iterator[str]:
    for block in (piece.strip("\n") for piece in _split(_BETWEEN_BLOCKS, streams)):
        if block.count(_FIRST_LINE) > 1:
            yield from _BEFORE_FIRST_LINE.split(block)
        elif block:
            yield block


def _line_fields(line: str) -> tuple[str, dict[str, str]]:
    """Return the pointer that a line begins with, and the fields after it."""
    pointer, _, rest = line.partition(": ")
    words = _words(rest)
    if "source" in words:  # its name in blocks
        words["src"] = words.pop("source")
    return pointer, words


def _block_fields(indented: list[str]) -> dict[str, str]:
    """Return the fields that the indented lines of a block add."""
    fields: dict[str, str] = {}
    for line in indented:
        name, _, rest = line.partition("=")
        if short := _NAMING.get(name):
            added = {short: rest.partition(" ")[0]}
            words = _words(rest)
            if "addr" in words:
                added[f"{short}.addr"] = words["addr"]
        elif name == "  task":
            added = {"age": _words(rest).get("age", "")}
        else:
            continue
        # A repeated line is invalid, like a repeated word.
        fields.update({key: "" if key in fields else value for key, value in added.items()})
    return fields


def _words(text: str) -> dict[str, str]:
    """Return the NAME=VALUE words of a text, without brackets around them.

    A repeated name is invalid: its value is empty, which no field accepts.
    """
    words: dict[str, str] = {}
    for word in text.split(" "):
        name, equals, value = word.strip("(),").partition("=")
        if equals:
            words[name] = "" if name in words else value
    return words
