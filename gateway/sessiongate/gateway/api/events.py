"""Sessions as server-sent events: each reader has one stream of WatchSessions.

This module follows the core; `gateway.api.subscriber` turns its messages into events.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.client.cores import ONE_CORE, Cores
from sessiongate.client.reflector import Began, Lost, Reflector, Watch, silence
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.subscriber import EventSubscriber, Pieces, parts_of
from sessiongate.gateway.errors import error_of, refused
from sessiongate.gateway.http.in_flight import Charge, InFlight
from sessiongate.gateway.http.work import each
from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.eventstream import (
    EventStream,
    alive,
    event,
    last_event_id,
    reconnect_after,
)
from sessiongate.gateway.jsonapi.filters import is_filter
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.limits import STALLED
from sessiongate.gateway.representation.session import IDLE
from sessiongate.gateway.shutdown import Shutdown
from sessiongate.gateway.upstream.selector import Selector
from sessiongate.runtime.auth.identity import Refusal, caller
from sessiongate.v1.session_service_pb2 import WatchSessionsResponse

# Seconds.
ALIVE = 15.0  # without an event, after which a keep-alive is sent
_GRACE = 1.0  # in which a reader must make room once the program stops
_SOON = 1.0  # after which a reader that makes no room counts as a large response not sent
_HELD = 256 * 1024  # bytes that such a reader holds, with TLS
_RECONNECT = (1.0, 5.0)  # after which a reader that was cut off reconnects
_OPENING = 8  # streams that begin at a time
_OPENING_TIME = 0.05  # seconds that each may take to do so

_SHUTTING_DOWN = Error(503, "SHUTTING_DOWN", "the gateway is shutting down; try again")


class Events:
    """State that all readers share: the core to watch, rendered sessions, the shutdown."""

    def __init__(self, watch: Watch, stopping: Shutdown, cores: Cores = ONE_CORE) -> None:
        self.watch = watch
        self.cores = cores
        self.stopping = stopping
        self.pieces = Pieces()
        self.opening = OpeningQueue()


class OpeningQueue:
    """Lets only a few streams begin at a time, so that a crowd does not delay other requests."""

    def __init__(self) -> None:
        self._few = asyncio.Semaphore(_OPENING)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait to begin; after `_OPENING_TIME`, a stream no longer delays the next."""
        await self._few.acquire()
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._few.release()

        late = asyncio.get_running_loop().call_later(_OPENING_TIME, end)
        try:
            yield
        finally:
            late.cancel()
            end()


async def stream_sessions(request: ApiRequest, selector: Selector) -> Response:
    """Stream the selected sessions as they come and go.

    Raises `RequestError`, and `CallError` if the core cannot be asked. A reader that
    resumes waits for the core instead: after an error response, it would not come back.
    """
    check_query(request.query)
    events: Events = request.state.events
    resumed = last_event_id(Request(request.scope))
    reader = EventSubscriber(request, selector, resumed, events.pieces)
    parts = _follow(events, reader, resumes=resumed is not None)
    async with events.opening.turn():
        first = await anext(parts)
    patience = partial(_patience, events.stopping, request.in_flight)
    # Spreads out the reconnections when a gateway stops.
    retry = reconnect_after(random.uniform(*_RECONNECT))  # noqa: S311
    return EventStream([retry + first], parts, patience)


@asynccontextmanager
async def _patience(stopping: Shutdown, in_flight: InFlight) -> AsyncIterator[None]:
    """Bound the time to send a part: enough for a slow reader, but short if memory is full."""
    held: list[Charge] = []
    loop = asyncio.get_running_loop()

    def stalls() -> None:
        try:
            held.append(in_flight.take_now(_HELD))
        except RequestError:
            if not alarm.expired():
                alarm.reschedule(loop.time())

    async with stopping.timeout(STALLED, grace=_GRACE) as alarm:
        late = loop.call_later(_SOON, stalls)
        try:
            yield
        finally:
            late.cancel()


def check_query(query: QueryParameters) -> None:
    """Raise `RequestError` with an error for each parameter that streams do not support."""
    errors: list[Error] = []
    filters = iter(query.filters)
    for name, _ in query.parameters:
        if name in ("sort", "include") or name.startswith("page["):
            detail = f"an event stream does not support {name}: it has no order and no pages"
        elif name in query.switches:
            detail = f"an event stream does not support {name}: it does not wait for names"
        elif name in query.numbers or (is_filter(name) and next(filters).path.reads(IDLE)):
            detail = "an event stream does not report changes by the clock alone, such as idle"
        else:
            continue
        errors += invalid(name, detail).errors
    if errors:
        raise RequestError(*errors)


async def _follow(
    events: Events, reader: EventSubscriber, *, resumes: bool
) -> AsyncGenerator[bytes]:
    """Yield a reader's events, even if the core fails meanwhile.

    Ends when the program stops or the reader's credentials are no longer valid. Raises
    `CallError` if every core is unavailable before anything was yielded.
    """
    cores = events.cores
    position, others = cores.position, len(cores) - 1
    has_sent, due, ends = False, time.monotonic() + ALIVE, _ends(events.stopping)
    reflector = Reflector(lambda: reader.revision, reader.filter, cores=cores)
    async with aclosing(reflector.follow(events.watch)) as following:
        while (end := ends()) is None:
            try:
                async with events.stopping.timeout(None):
                    received = await anext(following)
            except TimeoutError:
                continue
            if isinstance(received, Began):
                reader.start(resumed=received.resumed)
                continue
            if isinstance(received, Lost):
                if not has_sent and (received.is_vain or not resumes):
                    if received.is_vain or cores.position == position or not others:
                        raise received.error
                    position, others = cores.position, others - 1
                    continue
                if received.is_vain:
                    end = error_of(received.error)
                    break
            async for part in _parts(reader, received, is_late=reflector.is_late):
                yield part
                has_sent, due = True, time.monotonic() + ALIVE
                if ends() is not None:
                    break
            if has_sent and time.monotonic() >= due:
                yield alive(reader.revision or None)
                due = time.monotonic() + ALIVE
    yield event("end", _errors(end))


def _ends(stopping: Shutdown) -> Callable[[], Error | None]:
    """Return a function that returns why a stream must end now, if it must."""
    identity = caller.get()

    def ends() -> Error | None:
        if stopping.begun:
            return _SHUTTING_DOWN
        try:
            if identity is not None:
                identity.confirm()
        except Refusal as refusal:
            return refused(refusal)
        return None

    return ends


async def _parts(
    reader: EventSubscriber, received: Lost | WatchSessionsResponse, *, is_late: bool
) -> AsyncGenerator[bytes]:
    """Yield the parts to send to a reader for what was received from the core."""
    if isinstance(received, Lost):
        error = received.error
    else:
        async for part in each(parts_of(reader.events_of(received, late=is_late))):
            yield part
        if not is_late:
            return
        error = silence()
    if reader.lose():
        yield event("lost", _errors(error_of(error)))


def _errors(error: Error) -> bytes:
    return dump({"errors": [error.members()]}, pretty=False)
