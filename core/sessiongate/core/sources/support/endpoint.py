"""Where a source is reached over a network, and with what credentials.

The location of such a source is ``//USER:PASSWORD@HOST:PORT/PATH``, all but
HOST optional, each part percent-encoded if it holds one of ``:/?#@[]%``. HOST
is a name, an IPv4 address, an IPv6 address in brackets, or the absolute path of
a Unix socket (``%2Frun%2F…``).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from sessiongate.core.sources.base import SourceConfig, SourceConfigError, SourceError
from sessiongate.runtime.addresses import MAX_PORT, Address, is_ipv6
from sessiongate.runtime.apart import HangsError, within
from sessiongate.runtime.urls import HOST_AND_PORT, authority, is_place, redacted
from sessiongate.runtime.watched_file import MAX_FILE_BYTES, FileError, read_file

CREDENTIAL_OPTIONS = ("password", "password_file")
TLS_OPTIONS = ("tls", "tls_ca")

_PASSWORD = 64 * 1024  # bytes that a password file may have
_PATIENCE = 2.0  # seconds to wait for a file system, once

_USUAL = re.compile(r"[\w.$-]*")  # names of users and databases
_QUOTED = re.compile(r"[\"'`:«»“”„]|\b(?:user|role|database) ")  # comes before a quoted name
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS that always verifies the certificate: its chain and its name."""

    ca: Path | None  # certificates to trust; None: those that the system trusts

    def context(self) -> ssl.SSLContext:
        """Return a context for Python's clients. Raises `SourceError` if ``ca`` is unreadable."""
        if self.ca is None:
            return ssl.create_default_context()
        content = _read(self, "tls_ca", self.ca)
        try:
            return ssl.create_default_context(cadata=content.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):  # the latter for an empty file
            raise SourceError(f"tls_ca: {self.ca} holds no certificates in PEM") from None

    def ca_file(self) -> str:
        """Return libpq's ``sslrootcert``; libpq may have been built with other default paths.

        Raises `SourceError` if ``ca`` cannot be read: libpq would wait for one that hangs.
        """
        if self.ca is not None:
            _read(self, "tls_ca", self.ca)
        return str(self.ca or ssl.get_default_verify_paths().cafile or "system")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server, as a source's configuration names it. Its repr and text hide the password."""

    host: str  # a name or an IP address, IPv6 without brackets, or a Unix socket's path
    port: int
    user: str | None
    path: str  # what follows the host, without its first slash
    tls: Tls | None  # None: in the clear
    _password: str | None = field(repr=False)
    _password_file: Path | None

    @classmethod
    def of(cls, config: SourceConfig, *, port: int, tls: bool | None = None) -> Endpoint:
        """Return the endpoint that a configuration names; ``port`` is the default port.

        ``tls`` is for kinds whose scheme decides; None: the option decides, and
        without it TLS is used for all but this machine. Raises `SourceConfigError`,
        whose text repeats nothing of the location.
        """
        try:
            user, password, host, stated_port, path = _take_apart(config.location)
        except ValueError as error:
            named = config.location.startswith("//") or config.name not in config.location
            name = config.name if named else config.kind
            raise SourceConfigError(
                f"source {name}: {error}; a location is //USER:PASSWORD@HOST:PORT/PATH,"
                " and what is special in a part is percent-encoded"
            ) from None
        given = [password, *map(config.options.get, CREDENTIAL_OPTIONS)]
        if len(given) - given.count(None) > 1:
            raise SourceConfigError(
                f"source {config.name}: more than one password; allowed: one of the URL's,"
                " password, password_file"
            )
        password_file = config.options.get("password_file")
        return cls(
            host=host,
            port=stated_port or port,
            user=user,
            path=path,
            tls=_tls(config, host, tls),
            _password=config.options.get("password", password),
            _password_file=Path(password_file) if password_file is not None else None,
        )

    @property
    def is_unix(self) -> bool:
        """Whether ``host`` is the path of a Unix socket."""
        return self.host.startswith("/")

    def password(self) -> str | None:
        """Return the current password: a file is read each time, so that it can be replaced.

        A newline at the end of the file is not part of it. Raises `SourceError`, which
        names the file.
        """
        if self._password_file is None:
            return self._password
        try:
            content = _read(self, "password_file", self._password_file, _PASSWORD)
            return content.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise SourceError(f"password_file: {self._password_file} is not UTF-8") from None

    def told(self, text: str) -> str:
        """Return a server's text; only its beginning if it may quote a password.

        Servers quote the user and the database that they refuse. If either is not a usual
        name in the URL, it may contain a mistyped password.
        """
        if _USUAL.fullmatch(self.user or "") and _USUAL.fullmatch(self.path.replace("/", "")):
            return text
        front = _QUOTED.split(text, maxsplit=1)[0].strip()
        return f"{front} … (the user or the database of the URL is an unusual name, and not shown)"

    def __str__(self) -> str:
        return self.host if self.is_unix else str(Address(self.host, self.port))


def _read(owner: object, option: str, path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Read the file that an option names. Raises `SourceError`, which names both.

    Do not call this on the event loop: it waits for the file, separately for each ``owner``.
    """
    try:
        return within(_PATIENCE, (id(owner), path), lambda: read_file(path, most))
    except FileError as error:
        raise SourceError(f"{option}: {error}") from None
    except HangsError:
        raise SourceError(f"{option}: {path}: no answer of the file system") from None


def flag(config: SourceConfig, key: str) -> bool:
    """Read an option that is true or false; default false. Raises `SourceConfigError`."""
    text = config.options.get(key, "false")
    if text not in _BOOLEANS:
        raise SourceConfigError(
            f"source {config.name}: {key}={redacted(text)}; allowed: true, false"
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
            f"source {config.name}: timezone={redacted(name)} is not known here;"
            " allowed: AREA/CITY, such as Europe/Berlin, or UTC"
        ) from None


def _take_apart(location: str) -> tuple[str | None, str | None, str, int | None, str]:
    """Return user, password, host, port, path. Raises `ValueError` that repeats no part."""
    if not location.startswith("//"):
        raise ValueError("the location does not start with //")
    login, place, path = authority(location)
    user, colon, password = login.partition(":")
    found = HOST_AND_PORT.fullmatch(place)
    if found is None:
        raise ValueError("what should be HOST:PORT is not")
    host = unquote(found["v6"] or found["host"])
    if found["v6"]:
        if not is_ipv6(host):
            raise ValueError("what stands in brackets is not an IPv6 address")
    elif not is_place(place):
        raise ValueError("the host is neither a name, nor an address, nor an absolute path")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= MAX_PORT:
        raise ValueError("the port is not from 1 to 65535")
    return (
        unquote(user) or None,
        unquote(password) if colon else None,
        host,
        port,
        unquote(path),
    )


def _tls(config: SourceConfig, host: str, decided: bool | None) -> Tls | None:
    local = host.startswith("/") or Address(host, 0).is_loopback
    choice = config.options.get("tls", "off" if local else "verify")
    if choice not in ("verify", "off"):
        raise SourceConfigError(
            f"source {config.name}: tls={redacted(choice)}; allowed: verify, off"
        )
    wanted = choice == "verify" if decided is None else decided
    ca = config.options.get("tls_ca")
    if wanted and host.startswith("/"):
        raise SourceConfigError(f"source {config.name}: tls=verify: a Unix socket has no TLS")
    if ca is not None and not wanted:
        raise SourceConfigError(f"source {config.name}: tls_ca is of use with TLS only")
    return Tls(Path(ca) if ca is not None else None) if wanted else None
