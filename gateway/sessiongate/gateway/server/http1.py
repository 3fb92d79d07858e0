"""HTTP/1.1 on one connection: requests in, one at a time, and responses out.

A head has a size limit and a deadline, and every refusal is a JSON:API error. A body is
passed on as a whole if its length is stated and within the limit; any other is not read,
and the connection ends after the response.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from time import monotonic
from typing import cast

from starlette.types import ASGIApp, Scope

from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.gateway.limits import STALLED, Limits
from sessiongate.gateway.server.http1_request import MALFORMED, HeadParser, RequestHead, too_long
from sessiongate.gateway.server.http1_response import (
    FastAnswer,
    Http1Response,
    error_response,
    limit_unsent,
    part_size,
    unacknowledged,
    whole_response,
)

log = logging.getLogger(__name__)

# Seconds and bytes for which a connection is still read after its last response: closing it
# at once could lose the response in transit (RFC 9112, section 9.6).
_LINGER = 2.0
_LINGER_BYTES = 1024 * 1024
# A connection is idle if it is unused for this many seconds longer than a request may take:
# more than the seconds between two keep-alive comments of an event stream.
_IDLE = 60.0
# Seconds without a request after which a connection no longer keeps the head of the last one.
_RESTING = 5.0
# Seconds for a request to arrive on an idle connection once the worker stops.
PARTING = 0.25

_END = b"\r\n\r\n"
# The end of a head without carriage returns, which is refused.
_BARE_END = re.compile(rb"\n\r?\n")
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HTTP2 = Error(400, "MALFORMED_REQUEST", "HTTP/2 is not supported; use HTTP/1.1")


class Http1(asyncio.Protocol):
    """An accepted connection, one of ``connections`` while it is open.

    ``on_lost`` is called once it is closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        connections: set[Http1],
        on_lost: Callable[[], None],
        fast_path: FastAnswer | None = None,
    ) -> None:
        self.was_open = False
        self._fast_path = fast_path
        self._app = app
        self._limits = limits
        self._connections = connections
        self._on_lost = on_lost
        # Twice the limit, so that `Admission` refuses what exceeds it by little.
        self._longest_head = 2 * (limits.max_url + limits.max_headers)
        self._buffer = b""  # what has arrived and is not parsed yet
        self._searched = 0  # bytes of it that contain no end of a head
        self._since = monotonic()  # when it began to wait for a request or to linger
        self._begun = False  # whether a part of a request has arrived since then
        self._deadline: asyncio.TimerHandle | None = None  # of what must arrive
        self._is_timed = False  # whether it is the deadline of the current request
        self._left: tuple[int, int] | None = None  # bytes not read by the client at the last check
        self._left_since = 0.0
        self._lingering = 0  # bytes that the client may still send; 0 unless lingering
        self._is_stopping = False
        self._has_ended = False  # the client sends no more
        self._response: Http1Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: RequestHead | None = None  # whose body has not arrived yet
        self._refusal: Error | None = None  # of any request

    def refuse_all(self, error: Error) -> None:
        """Refuse the first request with this error, and end the connection."""
        self._refusal = error

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport = transport
        self._room = asyncio.Event()
        self._room.set()
        self._heads = HeadParser(transport, self._limits.max_body)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._most = part_size(is_tls=self._is_tls)
        limit_unsent(transport, is_tls=self._is_tls)
        self._connections.add(self)
        self.was_open = True
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._on_lost()
        self._cancel_deadline()
        self._leave()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            self._lingering -= len(data)
            if self._lingering <= 0:
                self._transport.abort()
            return
        self._buffer += data
        if self._response is None:
            self._begin_next()
        elif len(self._buffer) > self._longest_head:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Finish the response, even if the client has closed its sending side.

        A client that does so within a response of unknown length, such as events, counts as
        disconnected. So does a client that ends TLS: nothing can be sent to it any more.
        """
        if self._is_tls:
            self._leave()
        elif not self._lingering and self._response is not None and not self._response.is_chunked:
            self._has_ended = True
            return True
        return False  # this closes the connection

    def _leave(self) -> None:
        """Stop work for a client that has disconnected."""
        self._buffer = b""
        self._room.set()
        if self._response is not None and not self._response.leave() and self._task is not None:
            self._task.cancel()  # nobody waits for the result

    # Called by the server

    def check(self, now: float) -> None:
        """End a connection that idles or lingers for too long. ``now`` is monotonic, in seconds.

        `Admission` limits the time of a response in progress; here a client that reads
        nothing of what it is sent is cut off.
        """
        idle = now - self._since
        if self._response is not None or idle > _RESTING:
            self._heads.forget()  # an event stream may go on for days
        size = self._transport.get_write_buffer_size()
        # For slow clients, what their end of the connection has received counts too.
        left = (size, unacknowledged(self._transport)) if size else None
        if not left or left != self._left:
            self._left, self._left_since = left, now
        elif now - self._left_since > STALLED:
            self._transport.abort()
            return
        if left or self._response is not None:
            return
        longest = _LINGER if self._lingering else self._limits.request_timeout + _IDLE
        if idle > longest:
            self._transport.abort()

    def _set_deadline(self) -> None:
        self._cancel_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.header_timeout, self._time_out)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        """Stop waiting for a request, or for the rest of it."""
        if not self._begun:
            self._transport.abort()
            return
        allowed = f"header_timeout allows {self._limits.header_timeout:g} s"
        detail = f"the request did not arrive in time; {allowed}"
        # Nothing is unread, so closing loses nothing, and makes room for others.
        error = Error(408, "HEADER_TIMEOUT", detail)
        self._transport.write(error_response(error, is_head=self._is_head(self._buffer)))
        self._end()

    def stop(self) -> None:
        """End the connection once its request is answered."""
        self._is_stopping = True
        if self._response is not None:
            self._response.keep_alive = False
        elif not self._lingering:
            # Its next request may be in transit, and would be lost.
            asyncio.get_running_loop().call_later(PARTING, self._part)

    def _part(self) -> None:
        # Part of a request has arrived: wait for the rest.
        if self._response is None and not self._lingering and not self._begun:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, whatever is in progress."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # Requests

    def _begin_next(self) -> None:
        """Start the next request, if all of it has arrived."""
        if self._request is None:
            self._parse_next()
        request = self._request
        if request is None or not request.has_arrived(self._buffer):
            # Most requests arrive complete, and need no timer.
            if self._begun and not self._is_timed and not self._lingering:
                self._is_timed = True
                self._set_deadline()
            return
        self._request = None
        self._cancel_deadline()
        body, self._buffer = self._buffer[: request.length], self._buffer[request.length :]
        self._begun = False
        keep_alive = request.keep_alive and request.is_read and not self._is_stopping
        is_alone = keep_alive and not self._buffer and self._room.is_set()
        if is_alone and (whole := whole_response(self._fast_path, request, self._most)):
            self._transport.write(whole)
            self._since = monotonic()
            return
        self._response = response = Http1Response(
            self._transport,
            self._room,
            self._most,
            is_head=request.scope["method"] == "HEAD",
            version=request.scope["http_version"],
            keep_alive=keep_alive,
            body=body,
        )
        answering = self._answer(request.own_scope(), response)
        self._task = asyncio.get_running_loop().create_task(answering)

    async def _answer(self, scope: Scope, response: Http1Response) -> None:
        try:
            await self._app(scope, response.receive, response.send)
        except Exception:
            log.exception("a request failed")
        finally:
            self._finish(response)

    def _finish(self, response: Http1Response) -> None:
        """Continue with the next request after a response, or end the connection."""
        self._response = self._task = None
        self._since = monotonic()
        response.leave()
        if self._transport.is_closing():
            return
        if not response.is_complete:
            # The application has ended it early, and logged why: abort, so that nobody takes the
            # part for the whole.
            self._transport.abort()
        elif not response.keep_alive:
            self._linger()
        else:
            self._transport.resume_reading()
            if self._buffer:
                self._begin_next()
            if self._has_ended and self._response is None:
                self._transport.close()

    def _is_head(self, head: bytes) -> bool:
        """Return whether the method is HEAD, in the current request or in this ``head``."""
        if self._request is not None:
            return bool(self._request.scope["method"] == "HEAD")
        return head.startswith(b"HEAD ")

    def _refuse(self, error: Error, head: bytes) -> None:
        """Refuse what cannot be parsed any further, and end the connection."""
        self._transport.write(error_response(error, is_head=self._is_head(head)))
        self._since = monotonic()
        self._linger()

    def _end(self) -> None:
        """End the connection once the kernel has the response."""
        self._cancel_deadline()
        self._buffer = b""
        self._lingering, self._since = _LINGER_BYTES, monotonic()
        self._transport.close()

    def _linger(self) -> None:
        """End the connection once the client has the response: it may still be sending."""
        self._cancel_deadline()
        self._buffer = b""
        self._lingering = _LINGER_BYTES
        if self._transport.can_write_eof():
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    def _parse_next(self) -> None:
        """Parse the head of the next request, if it has arrived."""
        if self._searched == 0:
            self._buffer = self._buffer.lstrip(b"\r\n")  # RFC 9112, section 2.2
        buffer = self._buffer
        if not buffer:
            return
        if not self._begun:
            self._begun, self._is_timed = True, False
        end = buffer.find(_END, max(0, self._searched - len(_END)))
        if buffer.startswith(_HTTP2_PREFACE):
            self._refuse(_HTTP2, buffer)
        elif not 0 <= end <= self._longest_head:
            self._wait_for_head(buffer, end)
        else:
            end += len(_END)
            self._searched = 0
            self._buffer = buffer[end:]
            found = self._refusal or self._heads.parse(buffer[:end])
            if isinstance(found, Error):
                self._refuse(found, buffer)
            else:
                self._request = found
                if found.expects_continue and not found.has_arrived(self._buffer):
                    self._transport.write(_CONTINUE)

    def _wait_for_head(self, buffer: bytes, end: int) -> None:
        """Wait for the rest of a head, unless it is too long or malformed."""
        if end >= 0 or len(buffer) > self._longest_head:
            self._refuse(too_long(buffer[: self._longest_head]), buffer)
        elif not (buffer[:1].isalpha() and buffer[:1].isascii()) or _BARE_END.search(
            buffer, max(0, self._searched - len(_END))
        ):
            self._refuse(MALFORMED, buffer)
        else:
            self._searched = len(buffer)
