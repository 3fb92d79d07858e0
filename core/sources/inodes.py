"""The inodes of TCP sockets, by which Linux tells one socket from the next at its place.

psutil does not tell them. Elsewhere than on Linux there are none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_TABLES = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}
_INODE = 9  # column
_WORD = 4  # bytes, which the kernel shows as one number of this machine's byte order


class Inodes:
    """The inode of each socket, by IP version and both ends."""

    def __init__(self) -> None:
        self._inodes: dict[str, int] = {}

    def look(self) -> None:
        """Read what the kernel tells now."""
        inodes: dict[str, int] = {}
        for key, inode in _sockets():
            # Of listeners that share a place one stands for all: always the same one.
            inodes[key] = min(inode, inodes.get(key, inode))
        # A connection that its process has closed has no inode any longer.
        self._inodes = {key: inode or self._inodes.get(key, 0) for key, inode in inodes.items()}

    def of(
        self, version: int, local: tuple[str, int], remote: tuple[str, int] | None
    ) -> int | None:
        """The inode of the socket between two ends; of a listener, without a ``remote`` one.

        0 if it had none at any look; None if the kernel tells of no such socket.
        """
        anywhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - looked up, never bound
        far = remote or (anywhere, 0)
        return self._inodes.get(_key(version, _shown(*local), _shown(*far)))


def _sockets() -> Iterator[tuple[str, int]]:
    for version, path in _TABLES.items():
        with suppress(OSError), open(path, encoding="ascii", errors="replace") as table:
            next(table, None)
            for line in table:
                columns = line.split(None, _INODE + 1)
                with suppress(ValueError, IndexError):
                    yield _key(version, columns[1], columns[2]), int(columns[_INODE])


def _key(version: int, local: str, remote: str) -> str:
    return f"{version} {local} {remote}"


@lru_cache(maxsize=65536)
def _shown(ip: str, port: int) -> str:
    """An end as the kernel's tables show it."""
    address = ip_address(ip)
    packed = IPv6Address(int(address)).packed if address.version == 6 else address.packed
    words = (packed[start : start + _WORD] for start in range(0, len(packed), _WORD))
    shown = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{shown}:{port:04X}"
