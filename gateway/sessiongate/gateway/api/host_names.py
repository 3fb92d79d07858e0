"""Names of addresses from DNS, looked up outside the event loop and cached for a while.

The owner of an address chooses its name: it is shown, but nothing relies on it. A lookup can
take many seconds, and no request waits that long: an address without a name by then is shown
as it is.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import NamedTuple, TypeAlias

from sessiongate.runtime.addresses import parse_ip

RDNS = "rdns"  # MaxScale's name for the parameter that requests names

WAIT = 0.25  # seconds that a request waits for names, in total
MAX_LOOKUPS = 100  # per request
REMEMBERED = 60.0  # seconds
MAX_REMEMBERED = 10_000  # addresses
_MAX_PENDING = 200  # lookups in progress
_THREADS = 16

_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")

LookUp: TypeAlias = Callable[[str], str | None]


def by_dns(address: str) -> str | None:
    """Look up the name of an address with this machine's resolver."""
    try:
        name, _ = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
    except OSError:
        return None
    return name


class _Found(NamedTuple):
    name: str | None
    until: float  # on the monotonic clock


class HostNames:
    """Looks up names of addresses for all requests. Must be closed."""

    def __init__(self, look_up: LookUp = by_dns) -> None:
        self._look_up = look_up
        self._found: OrderedDict[str, _Found] = OrderedDict()  # the latest lookup last
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def known(self, address: str) -> _Found | None:
        """Return the cached result for an address, if there is one."""
        found = self._found.get(address)
        return found if found is not None and found.until > monotonic() else None

    def ask(self, address: str) -> asyncio.Future[None] | None:
        """Return a future that is done when the address is known; None if too many are pending."""
        pending = self._pending.get(address)
        if pending is None and len(self._pending) < _MAX_PENDING:
            loop = asyncio.get_running_loop()
            pending = self._pending[address] = loop.create_future()
            self._queue.put(address)
            if len(self._threads) < min(_THREADS, len(self._pending)):
                # A daemon: the program does not wait for DNS when it ends.
                thread = Thread(target=self._work, args=(loop,), daemon=True)
                self._threads.append(thread)
                thread.start()
        return pending

    def close(self) -> None:
        """Make the threads end."""
        for _ in self._threads:
            self._queue.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (address := self._queue.get()) is not None:
            name = self._look_up(address)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._remember, address, name)

    def _remember(self, address: str, name: str | None) -> None:
        if name is not None and not _NAME.fullmatch(name):
            name = None  # DNS may return anything
        self._found.pop(address, None)
        self._found[address] = _Found(name, monotonic() + REMEMBERED)
        while len(self._found) > MAX_REMEMBERED:
            self._found.popitem(last=False)
        self._pending.pop(address).set_result(None)


class Naming:
    """Finds the names that one request shows, within the bounds of a request."""

    def __init__(self, names: HostNames) -> None:
        self._names = names
        self._lookups = MAX_LOOKUPS
        self._seconds = WAIT

    async def of(self, texts: Iterable[str]) -> Mapping[str, str]:
        """Return the names of those texts that are addresses and have a name."""
        addresses = [text for text in dict.fromkeys(texts) if parse_ip(text)]
        await self._wait_for([one for one in addresses if self._names.known(one) is None])
        found = {address: self._names.known(address) for address in addresses}
        return {address: one.name for address, one in found.items() if one and one.name}

    async def _wait_for(self, addresses: list[str]) -> None:
        if self._seconds <= 0:
            return
        asked = [self._names.ask(address) for address in addresses[: self._lookups]]
        self._lookups -= len(asked)
        pending = [future for future in asked if future is not None]
        if pending:
            began = monotonic()
            await asyncio.wait(pending, timeout=self._seconds)
            self._seconds -= monotonic() - began
