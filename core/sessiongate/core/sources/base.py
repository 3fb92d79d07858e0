"""The interface that a kind of source implements, and how kinds are found.

A kind is an entry point in the group ``sessiongate.sources``: its name is the
scheme of the source's URL, its value a callable that takes a `SourceConfig` and
returns a `Source`. The built-in kinds are found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Protocol, runtime_checkable
from urllib.parse import unquote

from sessiongate.core.sources.acting import ActError as ActError
from sessiongate.core.sources.acting import ActFault as ActFault
from sessiongate.core.sources.acting import ActingSource as ActingSource
from sessiongate.core.sources.acting import Action as Action
from sessiongate.core.sources.acting import Strike as Strike
from sessiongate.core.sources.acting import Target as Target
from sessiongate.core.sources.observed import Observed as Observed
from sessiongate.core.sources.observed import TcpLink as TcpLink
from sessiongate.core.sources.observed import Unreadable as Unreadable
from sessiongate.core.sources.observed import know_empty as know_empty
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
from sessiongate.v1.session_service_pb2 import ServiceStatus

ENTRY_POINT_GROUP = "sessiongate.sources"
DEFAULT_INTERVAL = 1.0
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_SESSIONS = 200_000
MAX_NAME_BYTES = 255
# Other names of kinds, as other programs write their URLs.
_ALIASES = {"postgres": "postgresql"}
# Options of other database clients, and their names here.
_OPTION_ALIASES = {
    **dict.fromkeys(("ssl", "sslmode", "ssl_mode", "usessl", "ssl_verify_cert"), "tls"),
    **dict.fromkeys(("sslrootcert", "ssl_ca", "sslca", "cafile"), "tls_ca"),
    **dict.fromkeys(("connect_timeout", "connecttimeout"), "timeout"),
    **dict.fromkeys(("pass", "passwd", "pwd"), "password"),
    **dict.fromkeys(("passfile", "passwordfile"), "password_file"),
    **dict.fromkeys(("application_name", "applicationname"), "name"),
    **dict.fromkeys(("tz", "time_zone"), "timezone"),
}
_URL_PARTS = ("user", "username", "host", "hostaddr", "port", "dbname", "database")
COMMON_OPTIONS = ("name", "interval", "timeout", "max_sessions", "actions", "shared")


class SourceConfigError(ValueError):
    """A source's configuration is wrong; the text names the key and the allowed values."""


class SourceError(Exception):
    """An observation failed; the text gives an operator the cause and contains no secret."""


class SourceConnectError(SourceError):
    """Connecting to the source failed; it is retried at longer intervals."""


class UnreadableError(Exception):
    """Part of a response cannot be read.

    The text gives the place and what was expected there. It never repeats the value,
    which may be anything that a client sent.
    """


@dataclass(frozen=True, slots=True)
class Observation:
    """All the sessions of a source at one moment, in the order in which they get ids.

    ``incarnation`` is when the observed server started, in seconds since the
    epoch, if the server states it: a change of more than two seconds means that the
    server restarted, and that every key is a new session. Return the same object again
    if nothing has changed.

    ``unreadable`` are the sessions whose key could not be read. As long as there are
    any, the core ends no session of the source. ``partial`` explains to an operator why
    sessions of the source are missing; it is empty if none are, as far as the source says.
    ``services`` are the services that the source describes, by name.
    """

    sessions: Sequence[Observed]
    incarnation: float | None = None
    unreadable: tuple[Unreadable, ...] = ()
    partial: str = ""
    services: tuple[ServiceStatus, ...] = ()


@runtime_checkable
class Source(Protocol):
    """A place that sessions are read from. Only one of its calls runs at a time."""

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
    observation to the next), ``timeout`` (seconds that one may take),
    ``max_sessions`` (sessions read beyond it are left out), ``actions`` (what
    may be done to its sessions) and ``shared`` (all cores of a shard reach the same
    server by it, although it is of their own machine) are options of every kind;
    ``options`` holds the kind's own.
    """

    kind: str
    location: str = field(repr=False)  # may hold a password
    name: str
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    max_sessions: int = DEFAULT_MAX_SESSIONS
    actions: frozenset[Action] = frozenset()
    shared: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold one too
    # Whether errors may repeat option names; false if one may be part of a password.
    names_are_plain: bool = True

    @classmethod
    def parse(cls, url: str, extra: Mapping[str, str] | None = None) -> SourceConfig:
        """Parse a URL; options in ``extra`` take precedence over those of the URL.

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
                f"source {name[:20]}…: the name is longer than {MAX_NAME_BYTES} bytes; add name=…"
            )
        label = _label(kind, found.location, name)
        return cls(
            kind=kind,
            location=found.location,
            name=name,
            interval=_positive(options, label, "interval", DEFAULT_INTERVAL),
            timeout=_positive(options, label, "timeout", DEFAULT_TIMEOUT),
            max_sessions=_count(options, label, "max_sessions", DEFAULT_MAX_SESSIONS),
            actions=_actions(options, label),
            shared=_shared(options, label),
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
        """Suggest the right name of an unknown option; return "" if there is none."""
        lowered = key.lower().replace("-", "_")
        if lowered in _URL_PARTS and self.location.startswith("//"):
            return "; user, host, port and database go in the URL: KIND://USER@HOST:PORT/DATABASE"
        alias = _OPTION_ALIASES.get(lowered, "")
        return as_question([alias]) if alias in known else did_you_mean(key, known)


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
            f"source {name}: {key} must be a number above 0, such as 5, got {redacted(text)}"
        )
    return value


def _count(options: dict[str, str], name: str, key: str, default: int) -> int:
    """Remove an integer above 0 from the options, and return it."""
    text = options.get(key)
    value = _positive(options, name, key, default)
    if value != int(value):
        raise SourceConfigError(f"source {name}: {key} must be an integer, got {redacted(text)}")
    return int(value)


def _actions(options: dict[str, str], name: str) -> frozenset[Action]:
    """Remove the actions from the options, and return them."""
    words = [word.strip() for word in options.pop("actions", "").split(",")]
    allowed = [*map(str, Action)]
    for word in filter(None, words):
        if word not in allowed:
            raise SourceConfigError(
                f"source {name}: actions must be among {', '.join(allowed)},"
                f" got {redacted(word)}{did_you_mean(word, allowed)}"
            )
    return frozenset(map(Action, filter(None, words)))


def _shared(options: dict[str, str], name: str) -> bool:
    """Remove from the options whether a source is shared, and return it."""
    text = options.pop("shared", "false")
    if text not in ("true", "false"):
        raise SourceConfigError(
            f"source {name}: shared must be true or false, got {redacted(text)}"
        )
    return text == "true"


OpenSource = Callable[[SourceConfig], Source]


@cache  # all packages are searched for it, which takes several milliseconds
def _installed() -> EntryPoints:
    return entry_points(group=ENTRY_POINT_GROUP)


def _kinds() -> list[str]:
    return sorted(_installed().names)


def _entry_point(config: SourceConfig) -> EntryPoint:
    """Return the one entry point of a source's kind. Raises `SourceConfigError`."""
    found: list[EntryPoint] = [*_installed().select(name=config.kind)]
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
    """Open the source that a configuration names. Raises `SourceConfigError`."""
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
    _refuse_impossible(config, source)
    return source


def _refuse_impossible(config: SourceConfig, source: Source) -> None:
    """Raise `SourceConfigError` for actions that this kind of source cannot do."""
    possible = source.possible_actions if isinstance(source, ActingSource) else ()
    if impossible := sorted(config.actions.difference(possible)):
        allows = f"allows: {', '.join(sorted(possible))}" if possible else "allows no actions"
        raise SourceConfigError(
            f"source {config.label}: action {str(impossible[0])!r} is impossible;"
            f" {config.kind} {allows}"
        )
