"""Cache of documents, for callers that request the same within the same second."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TypeAlias

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.http.in_flight import Body, InFlight
from sessiongate.gateway.upstream.version import Version

# Documents up to this size are always cached, longer ones while others still have room.
_USUAL = 16 * 1024 * 1024
_CACHE_BYTES = 2 * _USUAL  # or more, if a third of the room for responses in flight is more
# The request's fingerprint, whether compressed, the version of the sessions, and the second.
_Key: TypeAlias = tuple[bytes, bool, Version, int]


@dataclass(slots=True)
class _Making:
    """A document being made, and how many callers wait for it."""

    task: asyncio.Task[Body]
    waiting: int = 0


class DocumentCache:
    """Keeps documents, up to a number of bytes, for as long as they are correct."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight
        self._most = max(_CACHE_BYTES, in_flight.limit // 3)
        # All from one second: earlier ones are never requested again.
        self._documents: OrderedDict[_Key, Body] = OrderedDict()
        self._second = 0
        self._bytes = 0
        self._making: dict[_Key, _Making] = {}

    def room_for(self, size: int) -> bool:
        """Return whether a document of this many bytes would be cached now."""
        self._let_go()
        return size <= _USUAL or (size <= self._most and self._in_flight.has_spare(size))

    def get(self, request: ApiRequest, version: Version) -> Body | None:
        """Return the document cached for this request, version and second, if any."""
        key = _key(request, version)
        found = self._documents.get(key)
        if found is not None:
            self._documents.move_to_end(key)
        return found

    def has(self, request: ApiRequest, version: Version | None) -> bool:
        """Return whether the document is cached or being made: then `make` needs no room."""
        if version is None:
            return False
        key = _key(request, version)
        return key in self._documents or key in self._making

    async def make(
        self,
        request: ApiRequest,
        version: Version,
        write: Callable[[], Coroutine[None, None, Body]],
    ) -> Body:
        """Return the document, written once however many callers request it meanwhile."""
        cached = self.get(request, version)
        if cached is not None:
            return cached
        key = _key(request, version)
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = _Making(asyncio.create_task(self._make(key, write)))
        making.waiting += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if not making.waiting and not making.task.done():  # every caller has left
                self._making.pop(key, None)
                making.task.cancel()

    async def _make(self, key: _Key, write: Callable[[], Coroutine[None, None, Body]]) -> Body:
        try:
            document = await write()
        except asyncio.CancelledError:
            raise  # nobody waits, and another task may be making it by now
        except BaseException:
            del self._making[key]
            raise
        del self._making[key]
        self._let_go()
        if key[-1] == self._second:
            if not self._documents:
                asyncio.get_running_loop().call_later(1, self._let_go)
            self._documents[key] = document
            self._bytes += document.size
            while self._bytes > self._most:
                self._bytes -= self._documents.popitem(last=False)[1].size
        return document

    def _let_go(self) -> None:
        """Forget the documents of another second than the present one."""
        second = int(time.time())
        if second != self._second:
            self._documents.clear()
            self._second, self._bytes = second, 0


def _key(request: ApiRequest, version: Version) -> _Key:
    return (request.fingerprint, request.preferences.gzip, version, int(request.context.now))
