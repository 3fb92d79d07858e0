"""What a kind of source must provide, and how one is found.

A kind is an entry point in the group ``sessiongate.sources``: its name is the
scheme of the source's URL, its value a callable that takes a `SourceConfig` and
returns a `Source`. The built-in kinds are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from runtime.suggestion import did_you_mean
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ServiceStatus

ENTRY_POINT_GROUP = "sessiongate.sources"
DEFAULT_INTERVAL = 1.0
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_SESSIONS = 200_000
MAX_NAME_BYTES = 255
# Other names of kinds, as others write their URLs.
_ALIASES = {"postgres": "postgresql"}
COMMON_OPTIONS = ("name", "interval", "timeout", "max_sessions")


class SourceConfigError(ValueError):
    """A source's configuration is wrong; the text names the key and what is allowed."""


class SourceError(Exception):
    """An observation failed; the text names the cause for an operator, without secrets."""


class SourceConnectError(SourceError):
    """The source could not even be connected to: it is tried again at longer intervals."""


class UnreadableError(Exception):
    """A part of an answer cannot be read.

    The text names the place and what was expected there, and never repeats the value:
    that may be anything that a client sent.
    """


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of an observation that could not be read, and what that leaves open.

    ``text`` is an `UnreadableError`'s. For a member of a session, ``fields`` are those
    of `Session` that it would have filled.
    """

    text: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """One TCP connection between a client and a server, as one of its ends states it.

    A proxy's session and a server's session are linked where both state the same
    wire (`core.links`). ``client`` and ``server`` are address and port, IPv4 in
    IPv6 clothes as IPv4; ``server`` may be where the source itself reaches the
    server. ``server_id`` is what the server calls the connection: its backend's
    process id, its connection id. What is not known for certain is None.
    """

    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None
    server_id: int | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One session as a source states it.

    ``key`` holds only values that the source states exactly and repeats; with
    the source's name and incarnation it is the session's identity. ``session``
    has no ``id``, ``source``, ``update_time`` or ``revision``: the core gives
    those. The core keeps the first ``connect_time`` that a key came
    with (its own clock's where it came with none), so that a start that is only
    inferred does not wander; one that the source states exactly belongs in the key.
    ``accepted`` is the connection that the session came in by, ``opened`` those
    that its service opened for it, where the source states them. The same object
    in the next observation says that nothing about the session changed.

    ``unreadable`` are the members that could not be read: ``session`` lacks them, and
    the core keeps their last known values. ``stated_id`` is the id that the source
    asks for, and gets if it is still free; ``native_id`` is shown only if it is not.
    ``former`` is the key that an earlier version had for the same session, if another.
    """

    key: str
    session: Session
    accepted: Wire | None = None
    opened: tuple[Wire, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    stated_id: int | None = None
    former: str = ""


def know_empty(session: Session, unreadable: Sequence[Unreadable], *lists: str) -> None:
    """Note which of these lists a source states, could read, and found empty."""
    for name in lists:
        if not getattr(session, name) and not any(name in part.fields for part in unreadable):
            session.known_empty.append(name)


@dataclass(frozen=True, slots=True)
class Observation:
    """All the sessions of a source at one moment, in the order that ids are given in.

    ``incarnation`` is when the observed server started, in seconds since the
    epoch, where it states that: a move of more than two seconds means that it
    restarted, and that every key is a new session. The same object returned
    twice says that nothing changed.

    ``unreadable`` are the sessions whose key could not be read. As long as there are
    any, the core ends no session of the source. ``partial`` is why these are not all
    the sessions of the source, for an operator; empty if they are, as far as it says.
    ``services`` are those that the source says something of, by name.
    """

    sessions: Sequence[Observed]
    incarnation: float | None = None
    unreadable: tuple[Unreadable, ...] = ()
    partial: str = ""
    services: tuple[ServiceStatus, ...] = ()


class Source(Protocol):
    """A place that sessions are read from. Only one call runs at a time."""

    async def observe(self) -> Observation:
        """Read all the sessions. Raises `SourceError` where that fails."""

    async def close(self) -> None:
        """Let go of connections and files."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A source's URL, taken apart: ``kind:location?option=value&…``.

    ``name`` is unique in a core, and stable: ids are kept under it. Without a
    ``name`` option it is the URL's location without user and password, or the
    kind where there is no location. ``interval`` (seconds from the end of one
    observation to the next), ``timeout`` (seconds that one may take) and
    ``max_sessions`` (what is read beyond them is left out) are options of every
    kind; ``options`` holds the kind's own.
    """

    kind: str
    location: str = field(repr=False)  # may hold a password
    name: str
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    max_sessions: int = DEFAULT_MAX_SESSIONS
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # so may these

    @classmethod
    def parse(cls, url: str, extra: Mapping[str, str] | None = None) -> SourceConfig:
        """Take a URL apart; ``extra`` are options given beside it, and win.

        Raises `SourceConfigError`. Its text never repeats the URL's user part.
        """
        kind, colon, rest = url.partition(":")
        if not colon or not kind:
            meant = f"; did you mean 'document:{url}'?" if "/" in url or "." in url[:2] else ""
            raise SourceConfigError(
                f"source {url!r}: a source is KIND:LOCATION, such as host:, document:PATH or"
                f" postgresql://USER@HOST{meant}"
            )
        kind = _ALIASES.get(kind, kind)
        location, _, query = rest.partition("?")
        if location.startswith("//") and "@" in (rest[2:].partition("/")[2] + query):
            # What follows would name parts of a password as a host or an option.
            raise SourceConfigError(
                f"source {kind}: in a user or password percent-encode '/', '?' and '#';"
                " an '@' behind them too"
            )
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise SourceConfigError(
                f"source {kind}: options are NAME=VALUE, joined by '&'"
            ) from None
        options: dict[str, str] = {}
        for key, value in pairs:
            if key in options:
                raise SourceConfigError(f"source {kind}: option {key!r} is given twice")
            options[key] = value
        options.update(extra or {})
        name = options.pop("name", "") or _default_name(kind, location)
        if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
            raise SourceConfigError(
                f"source {name[:20]}…: a name has {MAX_NAME_BYTES} bytes at most; add name=…"
            )
        return cls(
            kind=kind,
            location=location,
            name=name,
            interval=_positive(options, name, "interval", DEFAULT_INTERVAL),
            timeout=_positive(options, name, "timeout", DEFAULT_TIMEOUT),
            max_sessions=_count(options, name, "max_sessions", DEFAULT_MAX_SESSIONS),
            options=options,
        )

    @property
    def place(self) -> str:
        """Kind and location, without user and password: two with one place are one source."""
        prefix = "//" if self.location.startswith("//") else ""
        return f"{self.kind}:{prefix}{self.location.removeprefix(prefix).rpartition('@')[2]}"

    def take(self, *allowed: str) -> Mapping[str, str]:
        """The options, all of them among ``allowed``, or `SourceConfigError` naming the others."""
        known = (*COMMON_OPTIONS, *allowed)
        for key in self.options:
            if key not in allowed:
                raise SourceConfigError(
                    f"source {self.name}: unknown option {key!r}; {self.kind} allows:"
                    f" {', '.join(known)}{did_you_mean(key, known)}"
                )
        return self.options


def _positive(options: dict[str, str], name: str, key: str, default: float) -> float:
    """Take a number above 0 off the options."""
    text = options.pop(key, None)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise SourceConfigError(f"source {name}: {key}={text!r} is not a number above 0, such as 5")
    return value


def _count(options: dict[str, str], name: str, key: str, default: int) -> int:
    """Take a whole number above 0 off the options."""
    text = options.get(key)
    value = _positive(options, name, key, default)
    if value != int(value):
        raise SourceConfigError(f"source {name}: {key}={text!r} is not a whole number")
    return int(value)


def _default_name(kind: str, location: str) -> str:
    if location.startswith("//"):
        return urlsplit(location).netloc.rpartition("@")[2] or kind
    return unquote(location).rstrip("/").rpartition("/")[2] or kind


OpenSource = Callable[[SourceConfig], Source]


def open_source(config: SourceConfig) -> Source:
    """The source that a configuration asks for. Raises `SourceConfigError`."""
    kinds = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if config.kind not in kinds:
        raise SourceConfigError(
            f"source {config.name}: unknown kind {config.kind!r}; known:"
            f" {', '.join(sorted(kinds))}{did_you_mean(config.kind, sorted(kinds))}"
        )
    factory: OpenSource = kinds[config.kind].load()
    return factory(config)
