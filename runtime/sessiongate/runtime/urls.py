"""Parsing of URLs of sources and ledgers, and redaction of text in errors.

A URL may contain a password, and a mistyped one may contain it anywhere. So no error here
repeats any part of a URL, and no name is taken from invalid text in the host's place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

SECRETS = ("password", "passwd", "pwd", "secret", "token")  # endings of secret options' names

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*")
_HOST = r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]]+))"
HOST_AND_PORT = re.compile(_HOST + r"(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9._-]+|/.*")  # of a host, or a Unix socket's path
_V6 = re.compile(r"[0-9A-Fa-f:.]+")
_OTHER_DATABASES = ("mariadb", "mssql", "mysql", "oracle")
_POSTGRESQL = ("postgresql", "postgres")
# A URL with no port after the host, and an option that contains a secret.
_LOGIN = re.compile(r":/+(?:\[[^\]]*\]|[^/\[]*?):(?![0-9]*(?:[/?#]|$))")
_BARE_LOGIN = re.compile(r"[\w.+-]+:[^/].*[^\w./:\[\]-]", re.DOTALL)
_SECRET_OPTION = re.compile(rf"(?:{'|'.join(SECRETS)})\s*[=:]", re.IGNORECASE)


class UrlError(ValueError):
    """The text is not a URL of a source or a ledger; the message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Url:
    """``kind:location?option=value&…``.

    A location is ``//USER:PASSWORD@HOST:PORT/PATH``, or a path.
    Special characters in its parts are percent-encoded, and are decoded where a part is
    used. Options are decoded already.
    """

    kind: str
    location: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse a URL. Raises `UrlError`."""
        refuse_bytes(unquote(text, errors="replace"))
        kind, colon, rest = text.partition(":")
        if not colon or not _KIND.fullmatch(kind):
            raise UrlError(
                "a source must be KIND:LOCATION, such as host:, document:PATH or"
                " postgresql://USER@HOST"
            )
        location, _, query = rest.partition("?")
        if location.startswith("//"):
            # Otherwise, later errors would repeat parts of a password as a host or an option.
            if "#" in location or "@" in authority(location)[2] + query:
                raise UrlError(
                    "percent-encode '/', '?' and '#' in a user or password, and any '@' after them"
                )
        elif "@" in query or ":" in location or ("@" in location and location[0] not in "/."):
            raise UrlError(
                "a user and a password must follow '//', as in KIND://USER@HOST;"
                " percent-encode ':' in a path, and '@' in options"
            )
        return cls(kind, location, _options(query))

    @property
    def name(self) -> str:
        """A short name of the target: its host and port, the end of its path, or its kind.

        It is never taken from where a password may be.
        """
        if self.location.startswith("//"):
            place = authority(self.location)[1]
            return place if is_place(place) else self.kind
        path = unquote(self.location.rpartition("@")[2])
        return path.rstrip("/").rpartition("/")[2] or self.kind

    @property
    def has_password(self) -> bool:
        """Whether it contains a password: after its user, or in an option."""
        login = authority(self.location)[0] if self.location.startswith("//") else ""
        return ":" in login or any(name.lower().endswith(SECRETS) for name in self.options)

    @property
    def names_are_plain(self) -> bool:
        """Whether no option name can be part of a password that was not encoded."""
        misplaced = self.location.startswith("//") and not is_place(authority(self.location)[1])
        return not misplaced and not any(name.lower().endswith(SECRETS) for name in self.options)

    def __str__(self) -> str:
        """Return a form for display: without user, password and options."""
        if not self.location.startswith("//"):
            return f"{self.kind}:{self.location}"
        _, place, path = authority(self.location)
        if ":" in path or not (is_place(place) or not place):
            return f"{self.kind}://…"
        return f"{self.kind}://{place}{'/' + path if path else ''}"


def refuse_bytes(text: str) -> None:
    """Raise `UrlError` if an argument or a variable is not UTF-8, or has NUL."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UrlError("the value is not UTF-8")
    if "\0" in text:
        raise UrlError("it must not contain %00: no path, name or option has that character")


def authority(location: str) -> tuple[str, str, str]:
    """Split a ``//…`` location into login, host and port, and path; all still encoded."""
    front, _, path = location[2:].partition("/")
    login, _, place = front.rpartition("@")
    return login, place, path


def is_place(text: str) -> bool:
    """Return whether a text has the form HOST or HOST:PORT."""
    found = HOST_AND_PORT.fullmatch(text)
    if found is None:
        return False
    if found["v6"]:
        return _V6.fullmatch(unquote(found["v6"])) is not None
    return _NAME.fullmatch(unquote(found["host"])) is not None


def _options(query: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    if not all(name and equals for name, equals, _ in pairs):
        raise UrlError("options must be NAME=VALUE, joined by '&'")
    options: dict[str, str] = {}
    twice = ""
    for text, _, raw in pairs:
        name = unquote_plus(text)
        secret = name.lower().endswith(SECRETS)
        if not secret and "=" in raw:  # it may be an option with a password, wrongly joined
            raise UrlError("options must be joined by '&'; percent-encode '=' in a value")
        twice = name if name in options else twice
        options[name] = unquote_plus(raw)
    if twice:
        secret = any(name.lower().endswith(SECRETS) for name in options)
        raise UrlError(f"option {'' if secret else repr(twice) + ' '}is given twice")
    return options


def is_in_postgresql(url: str) -> bool:
    """Return whether a ledger's URL names a PostgreSQL server."""
    return url.partition(":")[0] in _POSTGRESQL


def ledger_file(url: str) -> str | None:
    """Return the path in a ledger's URL, ``sqlite:///PATH``; None in memory. Raises `UrlError`."""
    refuse_bytes(url)
    kind, colon, rest = url.partition(":")
    name = kind.partition("+")[0].lower()
    if colon and name in _OTHER_DATABASES:
        raise UrlError(
            f"the ledger cannot be stored in {name}; use sqlite:///PATH,"
            " postgresql://USER@HOST/DATABASE, or sqlite:// for one in memory"
        )
    if kind not in ("sqlite", "sqlite+pysqlite") or (rest != "//" and rest[:3] != "///"):
        path = url.removeprefix("sqlite:")
        meant = f"; did you mean 'sqlite:///{path}'?" if _is_plain_path(path) else ""
        raise UrlError(
            f"the ledger must be sqlite:///PATH, postgresql://USER@HOST/DATABASE or sqlite://{meant}"
        )
    path = rest[3:]
    if "?" in path:
        raise UrlError("the ledger's URL must have no options, and no '?' in its path")
    if path in ("", ":memory:"):
        return None
    is_plain = "@" not in path and ":" not in path
    if not is_plain and (path[0] != "/" or ":" in path.rpartition("@")[0]):
        raise UrlError(
            "the ledger takes no user and no password; use sqlite:///PATH;"
            " a PATH with '@' or ':' must begin with '/', and have no ':' before an '@'"
        )
    return path


def _is_plain_path(text: str) -> bool:
    return "/" in text and not set(text) & set("@:?#")


def plain_path(text: str) -> str:
    """Return ``; did you mean 'document:…'?`` if a text is clearly a file's path, else nothing."""
    is_file = not set(text) & set("@:?#") and ("/" in text or "." in text[:2])
    return f"; did you mean 'document:{text}'?" if is_file else ""


def harmless(value: object) -> bool:
    """Return whether a text can be repeated, as it has no part that may be a password."""
    text = str(value)
    if "@" in text or _BARE_LOGIN.match(text):
        return False
    return not (_LOGIN.search(text) or _SECRET_OPTION.search(text))


def redacted(value: object) -> str:
    """Quote a value for an error to repeat, unless it may contain a password."""
    return repr(value) if harmless(value) else "a value that is not shown"
