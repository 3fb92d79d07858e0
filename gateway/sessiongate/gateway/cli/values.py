"""What an option's value may be, wherever it comes from.

Each reader takes a value from the command line, a variable or the configuration
file, and raises `typer.BadParameter`, which names the value and what is allowed.
No error repeats a URL: it may hold a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import typer

from sessiongate.gateway.cli.groups import reading
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.runtime import settings
from sessiongate.runtime.addresses import Address
from sessiongate.runtime.telemetry.logs import escaped
from sessiongate.runtime.urls import Url, UrlError, harmless, redacted


@dataclass(frozen=True, slots=True)
class SourceSetting:
    """A source as it was asked for: its URL, and options given beside the URL."""

    url: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    @classmethod
    def read(cls, value: object) -> SourceSetting:
        """Read a URL, or a table of the file: ``url`` and options."""
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
            raise typer.BadParameter('each is a URL, or a table with "url" and options')
        options = {key: option for key, option in value.items() if key != "url"}
        for key, option in options.items():
            if not isinstance(option, str | int | float | bool):
                raise typer.BadParameter(
                    f"option {redacted(key)} of a source must be a string, a number, true or false"
                )
        return cls(value["url"], options)

    @property
    def setting(self) -> object:
        """The form that the core's configuration uses."""
        return {"url": self.url, **self.options} if self.options else self.url

    def __str__(self) -> str:
        """Return the source for display: without user, password and options, except a name."""
        try:
            url = Url.parse(self.url)
        except UrlError:
            return "…"
        name = self.options.get("name") or url.options.get("name")
        return escaped(f"{name} ({url})" if name else str(url))


def address_value(value: object) -> str:
    """Read HOST:PORT."""
    try:
        return str(Address.parse(str(value)))
    except ValueError as error:
        raise typer.BadParameter(f"{error}{_nearest_address(str(value))}") from None


def _nearest_address(text: str) -> str:
    """Suggest what an address without a host or with a scheme meant, if that is clear."""
    if not harmless(text):
        return ""
    place = text.partition("://")[2] or text
    place = place.partition("/")[0].removeprefix("*")
    if place.isdecimal() or place.startswith(":"):
        place = ("0.0.0.0:" if text.startswith("*") else "127.0.0.1:") + place.lstrip(":")
    try:
        return f"; did you mean {str(Address.parse(place))!r}?"
    except ValueError:
        return ""


def grpc_address_value(value: object) -> str:
    """Read HOST:PORT or unix:PATH."""
    if isinstance(value, str) and value.startswith("unix:"):
        if value == "unix:":
            raise typer.BadParameter("'unix:' lacks the socket's path, as in unix:/run/core.sock")
        return value
    return address_value(value)


def network_value(value: object) -> IPv4Network | IPv6Network:
    """Read a network, or one address."""
    try:
        return ip_network(str(value))
    except ValueError:
        meant = ""
        with suppress(ValueError):  # an address in a network
            meant = f"; did you mean '{ip_network(str(value), strict=False)}'?"
        raise typer.BadParameter(
            f"{redacted(value)} is not a network, such as 10.0.0.0/8, or an address{meant}"
        ) from None


def is_private(listener: str) -> bool:
    """Return whether only this machine can reach an address that is listened on."""
    return listener.startswith("unix:") or Address.parse(listener).is_loopback


seconds_value = reading(settings.seconds)
switch_value = reading(settings.switch)
text_value = reading(settings.text)


def path_value(value: object) -> Path:
    """Read the path of a file."""
    return Path(text_value(value))


def session_id_value(value: object) -> int:
    """Read a session's id: 1 to 2^64-1."""
    found = parse_id(str(value))
    if found is None:
        raise typer.BadParameter(
            f"{redacted(value)} is not an id: a number from 1 to 18446744073709551615"
        )
    return found


def has_password(url: str) -> bool:
    """Return whether a URL holds a password: beside its user, or in an option."""
    try:
        return Url.parse(url).has_password
    except UrlError:  # reported when the URL is read
        return not harmless(url)


def default_ledger() -> str:
    """Return the URL of the ledger if none is given: a file that outlives a restart.

    A folder whose path is relative is skipped, as the XDG specification requires:
    ids would depend on where the program is started.
    """
    kept = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd may list several
    home = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(kept):
        folder = Path(kept)
    elif os.path.isabs(home):
        folder = Path(home, "sessiongate")
    else:
        folder = Path.home() / ".local" / "state" / "sessiongate"
    return f"sqlite:///{folder.absolute() / 'ledger.db'}"
