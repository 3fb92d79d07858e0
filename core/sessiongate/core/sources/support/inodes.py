"""The inodes of TCP sockets, which distinguish successive sockets with the same ends on Linux.

psutil does not provide them. On other systems there are none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import islice

from sessiongate.core.sources.support.pacing import Pace

_TABLES = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}
_STATE, _INODE = 3, 9  # columns
_OPEN = ("01", "08")  # ESTABLISHED and CLOSE_WAIT: this end has not closed it
_WORD = 4  # bytes that the kernel prints as one number, in this machine's byte order


class Inodes:
    """The inode of each socket, by IP version and both ends."""

    def __init__(self) -> None:
        self._inodes: dict[str, int] = {}

    def look(self, most: int, pace: Pace) -> None:
        """Read the kernel's current tables, at most ``most`` sockets; run this in a thread."""
        inodes: dict[str, int] = {}
        for key, state, found in islice(_sockets(), most):
            pace.sleep()
            if not found and state in _OPEN:
                continue  # not accepted yet: the last inode of these ends is not its own
            known = self._inodes.get(key, 0)
            inode = found or known  # 0: its process has closed it
            # One of the listeners with the same ends represents all: the same one while it listens.
            is_known = key in inodes and inodes[key] == known
            if key not in inodes or inode == known or (inode < inodes[key] and not is_known):
                inodes[key] = inode
        self._inodes = inodes

    def of(
        self, version: int, local: tuple[str, int], remote: tuple[str, int] | None
    ) -> int | None:
        """Return the inode of the socket between two ends; a listener has no ``remote`` end.

        It is 0 if its process closed it before the first look; None if the kernel lists no
        such socket, or no process has accepted it yet.
        """
        anywhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - looked up, never bound
        far = remote or (anywhere, 0)
        return self._inodes.get(_key(version, _shown(*local), _shown(*far)))


def _sockets() -> Iterator[tuple[str, str, int]]:
    """Yield the key, state and inode of each socket."""
    for version, path in _TABLES.items():
        with suppress(OSError), open(path, encoding="ascii", errors="replace") as table:
            next(table, None)
            for line in table:
                columns = line.split(None, _INODE + 1)
                with suppress(ValueError, IndexError):
                    key = _key(version, columns[1], columns[2])
                    yield key, columns[_STATE], int(columns[_INODE])


def _key(version: int, local: str, remote: str) -> str:
    return f"{version} {local} {remote}"


@lru_cache(maxsize=65536)
def _shown(ip: str, port: int) -> str:
    """Format an end as the kernel's tables show it."""
    address = ip_address(ip)
    packed = IPv6Address(int(address)).packed if address.version == 6 else address.packed
    words = (packed[start : start + _WORD] for start in range(0, len(packed), _WORD))
    shown = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{shown}:{port:04X}"
