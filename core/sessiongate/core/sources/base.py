"""What a kind of source must provide, and how kinds are found.

A kind is an entry point in the group ``sessiongate.sources``: its name is the
scheme of the source's URL, its value a callable that takes a `SourceConfig` and
returns a `Source`. The built-in kinds are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Protocol, runtime_checkable
from urllib.parse import unquote

from sessiongate.core.sources.support.spelling import one_spelling
from sessiongate.runtime.suggestion import as_question, did_you_mean
from sessiongate.runtime.urls import (
    SECRETS,
    Url,
    UrlError,
    harmless,
    plain_path,
    redacted,
    refuse_bytes,
)
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ServiceStatus

ENTRY_POINT_GROUP = "sessiongate.sources"
DEFAULT_INTERVAL = 1.0
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_SESSIONS = 200_000
MAX_NAME_BYTES = 255
# Other names of kinds, as other programs write their URLs.
_ALIASES = {"postgres": "postgresql"}
# What other database clients call some options, and what is not an option here.
_OTHERWISE = {
    **dict.fromkeys(("ssl", "sslmode", "ssl_mode", "usessl", "ssl_verify_cert"), "tls"),
    **dict.fromkeys(("sslrootcert", "ssl_ca", "sslca", "cafile"), "tls_ca"),
    **dict.fromkeys(("connect_timeout", "connecttimeout"), "timeout"),
    **dict.fromkeys(("pass", "passwd", "pwd"), "password"),
    **dict.fromkeys(("passfile", "passwordfile"), "password_file"),
    **dict.fromkeys(("application_name", "applicationname"), "name"),
    **dict.fromkeys(("tz", "time_zone"), "timezone"),
}
_IN_FRONT = ("user", "username", "host", "hostaddr", "port", "dbname", "database")
COMMON_OPTIONS = ("name", "interval", "timeout", "max_sessions")


class SourceConfigError(ValueError):
    """A source's configuration is wrong; the text names the key and the allowed values."""


class SourceError(Exception):
    """An observation failed; the text names the cause for an operator, without secrets."""


class SourceConnectError(SourceError):
    """The source could not be connected to; it is tried again at longer intervals."""


class UnreadableError(Exception):
    """A part of an answer cannot be read.

    The text names the place and what was expected there. It never repeats the value,
    which may be anything that a client sent.
    """


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of an observation that could not be read, and what that leaves unknown.

    ``text`` is that of an `UnreadableError`. For a member of a session, ``fields`` are
    the fields of `Session` that it would have filled.
    """

    text: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpLink:
    """One TCP connection between a client and a server, as one of its ends states it.

    A proxy's session and a server's session are linked if both state the same
    wire (`core.collect.links`). ``client`` and ``server`` are address and port, an
    IPv4-mapped IPv6 address as IPv4; ``server`` may be where the source itself reaches
    the server. ``server_id`` is what the server calls the connection: its backend's
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
    has no ``id``, ``source``, ``update_time`` or ``revision``: the core sets
    those. The core keeps the first ``connect_time`` that a key came
    with (the core's own time if it came with none), so that an inferred start does
    not drift; a start that the source states exactly belongs in the key.
    ``accepted`` is the connection that the session came in by, ``opened`` those
    that its service opened for it, if the source states them. The same object
    in the next observation means that nothing about the session changed.

    ``unreadable`` are the members that could not be read: ``session`` lacks them, and
    the core keeps their last known values. ``stated_id`` is the id that the source
    asks for, and gets if it is still free; ``native_id`` is shown only if it is not.
    ``former`` is the key that an earlier version used for the same session, if different.
    """

    key: str
    session: Session
    accepted: TcpLink | None = None
    opened: tuple[TcpLink, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    stated_id: int | None = None
    former: str = ""


def know_empty(session: Session, unreadable: Sequence[Unreadable], *lists: str) -> None:
    """Record which of these lists, all stated by the source, were read and are empty."""
    for name in lists:
        if not getattr(session, name) and not any(name in part.fields for part in unreadable):
            session.known_empty.append(name)


@dataclass(frozen=True, slots=True)
class Observation:
    """All the sessions of a source at one moment, in the order in which they get ids.

    ``incarnation`` is when the observed server started, in seconds since the
    epoch, if the server states that: a change of more than two seconds means that
    it restarted, and that every key is a new session. The same object returned
    twice means that nothing changed.

    ``unreadable`` are the sessions whose key could not be read. As long as there are
    any, the core ends no session of the source. ``partial`` tells an operator why these
    are not all the sessions of the source; empty if they are, as far as the source says.
    ``services`` are those that the source describes, by name.
    """

    sessions: Sequence[Observed]
    incarnation: float | None = None
    unreadable: tuple[Unreadable, ...] = ()
    partial: str = ""
    services: tuple[ServiceStatus, ...] = ()


@runtime_checkable
class Source(Protocol):
    """A place that sessions are read from. Only one call runs at a time."""

    async def observe(self) -> Observation:
        """Read all the sessions. Raises `SourceError` if that fails."""

    async def close(self) -> None:
        """Close connections and files."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """The parts of a source's URL: ``kind:location?option=value&…``.

    ``name`` is unique in a core, and stable: ids are kept under it. Without a
    ``name`` option it is the URL's host and port, or the end of its path, or the
    kind (`runtime.urls`). ``interval`` (seconds from the end of one
    observation to the next), ``timeout`` (seconds that one may take) and
    ``max_sessions`` (sessions read beyond it are left out) are options of every
    kind; ``options`` holds the kind's own.
    """

    kind: str
    location: str = field(repr=False)  # may hold a password
    name: str
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    max_sessions: int = DEFAULT_MAX_SESSIONS
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold one too
    # Whether errors may repeat option names; false if one may be part of a password.
    names_are_plain: bool = True

    @classmethod
    def parse(cls, url: str, extra: Mapping[str, str] | None = None) -> SourceConfig:
        """Parse a URL; ``extra`` holds options given beside it, which take precedence.

        Raises `SourceConfigError`, whose text repeats nothing that may be a password.
        """
        try:
            refuse_bytes("".join((extra or {}).values()))
            found = Url.parse(url)
        except UrlError as error:
            kind = _ALIASES.get(kind := url.partition(":")[0], kind)
            stated = f"source {kind}" if kind in _kinds() else "source"
            raise SourceConfigError(f"{stated}: {error}{plain_path(url)}") from None
        kind = _ALIASES.get(found.kind, found.kind)
        options = {**found.options}
        options.update(extra or {})
        name = options.pop("name", "") or (kind if found.name == found.kind else found.name)
        if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
            raise SourceConfigError(
                f"source {name[:20]}…: a name has {MAX_NAME_BYTES} bytes at most; add name=…"
            )
        label = _label(kind, found.location, name)
        return cls(
            kind=kind,
            location=found.location,
            name=name,
            interval=_positive(options, label, "interval", DEFAULT_INTERVAL),
            timeout=_positive(options, label, "timeout", DEFAULT_TIMEOUT),
            max_sessions=_count(options, label, "max_sessions", DEFAULT_MAX_SESSIONS),
            options=options,
            names_are_plain=found.names_are_plain,
        )

    @property
    def place(self) -> str:
        """Kind and location, without user and password; the same place is the same source.

        All spellings of a place give the same text.
        """
        prefix = "//" if self.location.startswith("//") else ""
        place = self.location.removeprefix(prefix).rpartition("@")[2]
        return one_spelling(f"{self.kind}:{prefix}{place}")

    @property
    def label(self) -> str:
        """The name, for errors; the kind if the name may come from a misplaced login."""
        return _label(self.kind, self.location, self.name)

    def take(self, *allowed: str) -> Mapping[str, str]:
        """Return the options. Raises `SourceConfigError` for one that is not ``allowed``."""
        known = (*COMMON_OPTIONS, *allowed)
        for key in self.options:
            if key not in allowed:
                is_plain = self.names_are_plain or key.lower() in SECRETS
                stated = f" {key!r}" if is_plain and harmless(key) else ""
                raise SourceConfigError(
                    f"source {self.label}: unknown option{stated}; {self.kind} allows:"
                    f" {', '.join(known)}{self._meant(key, known)}"
                )
        return self.options

    def _meant(self, key: str, known: Collection[str]) -> str:
        """Suggest what an unknown option may have meant; return "" if that is unclear."""
        lowered = key.lower().replace("-", "_")
        if lowered in _IN_FRONT and self.location.startswith("//"):
            return "; user, host, port and database stand in front: KIND://USER@HOST:PORT/DATABASE"
        otherwise = _OTHERWISE.get(lowered, "")
        return as_question([otherwise]) if otherwise in known else did_you_mean(key, known)


def _label(kind: str, location: str, name: str) -> str:
    is_path = not location or location[0] in "/."
    return name if is_path or name not in unquote(location) else kind


def _positive(options: dict[str, str], name: str, key: str, default: float) -> float:
    """Remove a number above 0 from the options, and return it."""
    text = options.pop(key, None)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise SourceConfigError(
            f"source {name}: {key}={redacted(text)} is not a number above 0, such as 5"
        )
    return value


def _count(options: dict[str, str], name: str, key: str, default: int) -> int:
    """Remove a whole number above 0 from the options, and return it."""
    text = options.get(key)
    value = _positive(options, name, key, default)
    if value != int(value):
        raise SourceConfigError(f"source {name}: {key}={redacted(text)} is not a whole number")
    return int(value)


OpenSource = Callable[[SourceConfig], Source]


def _kinds() -> list[str]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


def _entry_point(config: SourceConfig) -> EntryPoint:
    """Return the one entry point of a source's kind. Raises `SourceConfigError`."""
    found: list[EntryPoint] = [*entry_points(group=ENTRY_POINT_GROUP, name=config.kind)]
    if not found:
        kinds = _kinds()
        raise SourceConfigError(
            f"source {config.label}: unknown kind {config.kind!r}; known:"
            f" {', '.join(kinds)}{did_you_mean(config.kind, kinds)}"
        )
    if len(found) > 1:
        packages = ", ".join(sorted(entry.dist.name for entry in found if entry.dist))
        raise SourceConfigError(
            f"source {config.label}: more than one package adds the kind {config.kind!r}:"
            f" {packages}; uninstall all but one"
        )
    return found[0]


def open_source(config: SourceConfig) -> Source:
    """Open the source that a configuration asks for. Raises `SourceConfigError`."""
    entry = _entry_point(config)
    plugin = f"source {config.label}: {entry.value}"
    try:
        factory: OpenSource = entry.load()
    except Exception as error:
        raise SourceConfigError(
            f"{plugin} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    try:
        source = factory(config)
    except SourceConfigError:
        raise
    except (Exception, SystemExit) as error:  # its text may repeat a password
        frame = extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise SourceConfigError(f"{plugin} failed: {type(error).__name__} in {where}") from error
    if not isinstance(source, Source):
        raise SourceConfigError(
            f"{plugin} must return a Source, which has observe and close;"
            f" it returned {type(source).__name__}"
        )
    return source
