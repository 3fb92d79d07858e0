"""Addresses to listen on and to connect to: HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from sessiongate.runtime.urls import redacted

_FORM = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address. Listening on port 0 takes a free port."""

    host: str  # a name or an IP address, IPv6 without brackets
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse HOST:PORT. Raises `ValueError`, whose text names what is allowed."""
        found = _FORM.fullmatch(text)
        if found is None or int(found["port"]) > 65535 or not _is_ipv6(found["v6"]):
            raise ValueError(
                f"{redacted(text)} is not HOST:PORT, such as 127.0.0.1:8989 or [::1]:8989,"
                " with a port from 0 to 65535"
            )
        return cls(found["v6"] or found["host"], int(found["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. The only such name known is localhost."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ipv6(text: str | None) -> bool:
    """Return whether the text in brackets, if any, is an IPv6 address."""
    try:
        return text is None or ip_address(text).version == 6
    except ValueError:
        return False
