"""Which of Linux's visible processes have a socket open, by the socket's inode."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from sessiongate.core.sources.support.pacing import Pace, parts_apart

_TRUSTED = 10.0  # seconds
_SAMPLE = 20  # sockets of each process
_SOCKET = "socket:["  # before an inode and "]", in the link of a descriptor


class _Holder(NamedTuple):
    """A process, and the link of its descriptor; 0 and "" if no visible process has one."""

    pid: int
    link: str


_HIDDEN = _Holder(0, "")


class Holders:
    """Looks up the first process that has a socket open, and keeps it for a while.

    To find one socket, the descriptors of all processes are read. Sockets that were found are
    looked up again when their process has ended or closed one of the first 20. A descriptor
    is read again when its socket is no longer listed. After 10 seconds, everything is.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Holder] = {}
        self._inodes: dict[str, int] = {}  # by the descriptor's link
        self._read_at = -_TRUSTED

    def of(
        self, inodes: Collection[int], listed: Callable[[], Container[int]], pace: Pace
    ) -> Mapping[int, int]:
        """Return the pid for each of these inodes, 0 if no visible process has it open.

        ``listed`` returns the inodes of all sockets. Begin with the inodes that matter most.
        Run this in a thread.
        """
        now = monotonic()
        if now - self._read_at >= _TRUSTED:
            self._known, self._inodes, self._read_at = {}, {}, now
        known = {inode: self._known[inode] for inode in inodes if inode in self._known}
        moved = _moved(known)
        missing = {inode for inode in inodes if inode not in known or known[inode].pid in moved}
        if missing:
            known.update(dict.fromkeys(missing, _HIDDEN))
            known.update(self._find(missing, listed(), pace))
        self._known = known
        return {inode: holder.pid for inode, holder in known.items()}

    def _find(
        self, missing: set[int], listed: Container[int], pace: Pace
    ) -> Iterator[tuple[int, _Holder]]:
        """Yield those that a visible process has open, with the first such process."""
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            for part in parts_apart(_links(pid), pace):
                for link in part:
                    inode = self._inodes.get(link, 0)
                    if not inode or inode not in listed or inode in missing:
                        inode = self._inodes[link] = _inode(link)
                    if inode in missing:
                        missing.remove(inode)
                        yield inode, _Holder(int(pid), link)
            if not missing:
                return


def _moved(known: Mapping[int, _Holder]) -> set[int]:
    """Return the processes that no longer have one of the first of their sockets open."""
    moved: set[int] = set()
    sampled: Counter[int] = Counter()
    for inode, (pid, link) in known.items():
        if pid and sampled[pid] < _SAMPLE:
            sampled[pid] += 1
            if _inode(link) != inode:
                moved.add(pid)
    return moved


def _links(pid: str) -> list[str]:
    """Return the links of a process's descriptors; none if it has ended or is not visible."""
    with suppress(OSError):
        return [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    return []


def _inode(link: str) -> int:
    """Return the inode of the socket that a descriptor is; 0 if it is none."""
    with suppress(OSError, ValueError):
        target = os.readlink(link)
        if target.startswith(_SOCKET):
            return int(target[len(_SOCKET) : -1])
    return 0
