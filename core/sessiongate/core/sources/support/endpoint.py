"""The network address of a source, and the credentials to use there.

The location of such a source is ``//USER:PASSWORD@HOST:PORT/PATH``, all but
HOST optional, each part percent-encoded if it contains one of ``:/?#@[]%``. HOST
is a name, an IPv4 address, an IPv6 address in brackets, or the absolute path of
a Unix socket (``%2Frun%2F…``).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from sessiongate.core.sources.base import SourceConfig, SourceConfigError, SourceError
from sessiongate.runtime.addresses import MAX_PORT, Address, is_ipv6
from sessiongate.runtime.daemon_thread import HangsError, within
from sessiongate.runtime.urls import HOST_AND_PORT, authority, is_place, redacted
from sessiongate.runtime.watched_file import MAX_FILE_BYTES, FileError, read_file

CREDENTIAL_OPTIONS = ("password", "password_file")
TLS_OPTIONS = ("tls", "tls_ca")
# Of those who act, if they are others than those of who reads.
ACTION_OPTIONS = ("action_user", "action_password", "action_password_file")

_MAX_PASSWORD_FILE = 64 * 1024  # bytes
_FILE_TIMEOUT = 2.0  # seconds to wait for a file system, once

_PLAIN = re.compile(r"[\w.$-]*")  # names of users and databases
_QUOTED = re.compile(r"[\"'`:«»“”„]|\b(?:user|role|database) ")  # precedes a quoted name
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to a server, whose certificate is always verified: its chain and its name."""

    ca: Path | None  # certificates to trust; None: those that the system trusts

    def context(self) -> ssl.SSLContext:
        """Return a context for Python's clients. Raises `SourceError` if ``ca`` is unreadable."""
        if self.ca is None:
            return ssl.create_default_context()
        content = _read(self, "tls_ca", self.ca)
        try:
            return ssl.create_default_context(cadata=content.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):  # the latter for an empty file
            raise SourceError(f"tls_ca: {self.ca} contains no PEM certificate") from None

    def ca_file(self) -> str:
        """Return libpq's ``sslrootcert``, since libpq may have been built with other default paths.

        Raises `SourceError` if ``ca`` cannot be read: libpq would wait for a file that hangs.
        """
        if self.ca is not None:
            _read(self, "tls_ca", self.ca)
        return str(self.ca or ssl.get_default_verify_paths().cafile or "system")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server, as a source's configuration names it; its repr and text hide the password."""

    host: str  # a name or an IP address, IPv6 without brackets, or a Unix socket's path
    port: int
    user: str | None
    path: str  # what follows the host, without its first slash
    tls: Tls | None  # None: no TLS
    _password: str | None = field(repr=False)
    _password_file: Path | None

    @classmethod
    def of(cls, config: SourceConfig, *, port: int, tls: bool | None = None) -> Endpoint:
        """Return the endpoint that a configuration names; ``port`` is the default port.

        ``tls`` is for kinds whose scheme decides. None: the option decides; by
        default TLS is used for all hosts but this machine. Raises `SourceConfigError`,
        whose text repeats nothing of the location.
        """
        named = config.location.startswith("//") or config.name not in config.location
        owner = f"source {config.name if named else config.kind}"
        return cls.parse(owner, config.location, config.options, port=port, tls=tls)

    @classmethod
    def parse(
        cls,
        owner: str,
        location: str,
        options: Mapping[str, str],
        *,
        port: int,
        tls: bool | None = None,
    ) -> Endpoint:
        """Return the endpoint at a location; errors begin with its ``owner``. See `of`."""
        try:
            user, password, host, stated_port, path = _split(location)
        except ValueError as error:
            raise SourceConfigError(
                f"{owner}: {error}; a location is //USER:PASSWORD@HOST:PORT/PATH,"
                " with special characters percent-encoded"
            ) from None
        given = [password, *map(options.get, CREDENTIAL_OPTIONS)]
        if len(given) - given.count(None) > 1:
            raise SourceConfigError(
                f"{owner}: more than one password; give it in the URL, in password"
                " or in password_file"
            )
        password_file = options.get("password_file")
        return cls(
            host=host,
            port=stated_port or port,
            user=user,
            path=path,
            tls=_tls(owner, options, host, tls),
            _password=options.get("password", password),
            _password_file=Path(password_file) if password_file is not None else None,
        )

    def for_actions(self, config: SourceConfig) -> Endpoint:
        """Return the same place with the credentials to act with; by default, the same ones.

        Raises `SourceConfigError` if the options contradict each other.
        """
        user, password, file = map(config.options.get, ACTION_OPTIONS)
        given = [*filter(config.options.get, ACTION_OPTIONS)]
        if given and not config.actions:
            raise SourceConfigError(
                f"source {config.name}: {given[0]} has no effect without actions"
            )
        if given and user is None:
            raise SourceConfigError(f"source {config.name}: {given[0]} requires action_user")
        if password is not None and file is not None:
            raise SourceConfigError(
                f"source {config.name}: more than one password; give it in action_password or"
                " in action_password_file"
            )
        if user is None:
            return self
        return replace(
            self, user=user, _password=password, _password_file=None if file is None else Path(file)
        )

    @property
    def is_unix(self) -> bool:
        """Whether ``host`` is the path of a Unix socket."""
        return self.host.startswith("/")

    def password(self) -> str | None:
        """Return the current password; a file is read each time, so that it can be replaced.

        A newline at the end of the file is not part of it. Raises `SourceError`, which
        names the file.
        """
        if self._password_file is None:
            return self._password
        try:
            content = _read(self, "password_file", self._password_file, _MAX_PASSWORD_FILE)
            return content.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise SourceError(f"password_file: {self._password_file} is not UTF-8") from None

    def censored(self, text: str) -> str:
        """Return a server's error text; only its beginning if it may quote a password.

        Servers quote the user and the database that they reject. If either is not a plain
        name in the URL, it may contain a mistyped password.
        """
        if _PLAIN.fullmatch(self.user or "") and _PLAIN.fullmatch(self.path.replace("/", "")):
            return text
        start = _QUOTED.split(text, maxsplit=1)[0].strip()
        return f"{start} … (not shown: the user or the database of the URL is not a plain name)"

    def __str__(self) -> str:
        return self.host if self.is_unix else str(Address(self.host, self.port))


def _read(owner: object, option: str, path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Read the file that an option names. Raises `SourceError`, which names both.

    It waits for the file, separately for each ``owner``: do not call it on the event loop.
    """
    try:
        return within(_FILE_TIMEOUT, (id(owner), path), lambda: read_file(path, most))
    except FileError as error:
        raise SourceError(f"{option}: {error}") from None
    except HangsError:
        raise SourceError(f"{option}: {path}: the file system does not respond") from None


def flag(config: SourceConfig, key: str) -> bool:
    """Read an option that is true or false; default false. Raises `SourceConfigError`."""
    text = config.options.get(key, "false")
    if text not in _BOOLEANS:
        raise SourceConfigError(
            f"source {config.name}: {key} must be true or false, got {redacted(text)}"
        )
    return _BOOLEANS[text]


def zone(config: SourceConfig) -> ZoneInfo | None:
    """Read the option ``timezone``; None without it. Raises `SourceConfigError`."""
    name = config.options.get("timezone")
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, or not a zone's name
        raise SourceConfigError(
            f"source {config.name}: timezone must be AREA/CITY, such as Europe/Berlin, or UTC,"
            f" and known on this machine, got {redacted(name)}"
        ) from None


def _split(location: str) -> tuple[str | None, str | None, str, int | None, str]:
    """Return user, password, host, port, path. Raises `ValueError` that repeats no part."""
    if not location.startswith("//"):
        raise ValueError("the location does not start with //")
    login, place, path = authority(location)
    user, colon, password = login.partition(":")
    found = HOST_AND_PORT.fullmatch(place)
    if found is None:
        raise ValueError("HOST:PORT is malformed")
    host = unquote(found["v6"] or found["host"])
    if found["v6"]:
        if not is_ipv6(host):
            raise ValueError("the host in brackets is not an IPv6 address")
    elif not is_place(place):
        raise ValueError("the host is not a name, an address or an absolute path")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= MAX_PORT:
        raise ValueError("the port must be from 1 to 65535")
    return (
        unquote(user) or None,
        unquote(password) if colon else None,
        host,
        port,
        unquote(path),
    )


def _tls(owner: str, options: Mapping[str, str], host: str, decided: bool | None) -> Tls | None:
    local = host.startswith("/") or Address(host, 0).is_loopback
    choice = options.get("tls", "off" if local else "verify")
    if choice not in ("verify", "off"):
        raise SourceConfigError(f"{owner}: tls must be verify or off, got {redacted(choice)}")
    is_used = choice == "verify" if decided is None else decided
    ca = options.get("tls_ca")
    if is_used and host.startswith("/"):
        raise SourceConfigError(f"{owner}: a Unix socket does not support tls=verify")
    if ca is not None and not is_used:
        raise SourceConfigError(f"{owner}: tls_ca requires TLS")
    return Tls(Path(ca) if ca is not None else None) if is_used else None
