"""HTTP/1.1 on one connection: requests in, one at a time, and responses out.

A head has a bound and a deadline, and every refusal is a JSON:API error. A body is passed
on as a whole if it comes with its length and is small enough; any other is not read, and
ends the connection after the response.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ
from time import monotonic
from typing import cast

from starlette.types import ASGIApp, Scope

from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.gateway.limits import STALLED, Limits
from sessiongate.gateway.server.http1_request import MALFORMED, RequestHead, parse_head, too_long
from sessiongate.gateway.server.http1_response import WATER, Http1Response, error_response

log = logging.getLogger(__name__)

# Seconds, and bytes, that a connection is still read from once it is no longer answered:
# closing it at once would lose the response on its way (RFC 9112, section 9.6).
_LINGER = 2.0
_LINGER_BYTES = 1024 * 1024
# A connection is idle if it is unused for this many seconds longer than a request may take:
# more than the seconds without an event after which an event stream says that it is alive.
_IDLE = 60.0
# Seconds in which an idle connection may still bring a request once the worker is to stop.
PARTING = 0.25

_END = b"\r\n\r\n"
# The end of a head as some write it by hand, which is refused.
_BARE_END = re.compile(rb"\n\r?\n")
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HTTP2 = Error(400, "MALFORMED_REQUEST", "HTTP/2 is not spoken here; HTTP/1.1 is")


class Http1(asyncio.Protocol):
    """A connection that the server has accepted: one of ``connections`` while it is open.

    ``on_lost`` is called once it is no longer open.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        connections: set[Http1],
        on_lost: Callable[[], None],
    ) -> None:
        self.was_open = False
        self._app = app
        self._limits = limits
        self._connections = connections
        self._on_lost = on_lost
        # Twice what is allowed, so that `Admission` refuses what is only a little too large.
        self._longest_head = 2 * (limits.max_url + limits.max_headers)
        self._buffer = b""  # what has arrived and is not parsed yet
        self._searched = 0  # bytes of it in which no head ends
        self._since = monotonic()  # when it began to wait for a request, or to linger
        self._begun = False  # whether a part of a request has arrived since then
        self._deadline: asyncio.TimerHandle | None = None  # of what has to arrive
        self._is_timed = False  # whether it is that of the request that has begun
        self._left: tuple[int, int] | None = None  # what the client had not taken at the last check
        self._left_since = 0.0
        self._lingering = 0  # bytes that the client may still send; 0 while it is answered
        self._is_stopping = False
        self._has_ended = False  # the client sends no more
        self._response: Http1Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: RequestHead | None = None  # whose body has not arrived yet
        self._refusal: Error | None = None  # of whatever is asked

    def refuse_all(self, error: Error) -> None:
        """Refuse the first request, whatever it is, and end the connection."""
        self._refusal = error

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        transport.set_write_buffer_limits(*WATER)
        self._transport = transport
        self._room = asyncio.Event()
        self._room.set()
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        # The addresses are None if the client has left already.
        client, server = map(transport.get_extra_info, ("peername", "sockname"))
        self._facts = {
            "scheme": "https" if self._is_tls else "http",
            "client": client and client[:2],
            "server": server and server[:2],
        }
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
        """Answer what was asked, even if the client has said that nothing follows.

        A client that has read part of a response without a stated end, such as events, has
        left. So has a client that ends TLS: nothing can be sent to it any more.
        """
        if self._is_tls:
            self._leave()
        elif not self._lingering and self._response is not None and not self._response.is_chunked:
            self._has_ended = True
            return True
        return False  # this closes the connection

    def _leave(self) -> None:
        """Stop work for a client that has left."""
        self._buffer = b""
        self._room.set()
        if self._response is not None and not self._response.leave() and self._task is not None:
            self._task.cancel()  # nobody waits for what it works on

    # Called by the server

    def check(self, now: float) -> None:
        """End a connection that idles or lingers for too long. ``now``: monotonic, in seconds.

        `Admission` keeps a response under way to its time; a client that takes nothing of
        what it is sent is cut off, whatever that is.
        """
        size = self._transport.get_write_buffer_size()
        # What the client's end of the connection has taken counts too, for slow ones.
        left = (size, self._sent_to_nobody()) if size else None
        if not left or left != self._left:
            self._left, self._left_since = left, now
        elif now - self._left_since > STALLED:
            self._transport.abort()
            return
        if left or self._response is not None:
            return
        longest = _LINGER if self._lingering else self._limits.request_timeout + _IDLE
        if now - self._since > longest:
            self._transport.abort()

    def _sent_to_nobody(self) -> int:
        """Return how many bytes the kernel has that the client's does not."""
        try:
            found = ioctl(self._transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(found, sys.byteorder)

    def _set_deadline(self) -> None:
        self._cancel_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._limits.header_timeout, self._give_up)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        """Stop waiting for a request, or for its rest."""
        if not self._begun:
            self._transport.abort()
            return
        allowed = f"header_timeout allows {self._limits.header_timeout:g} s"
        detail = f"the request did not arrive in time; {allowed}"
        # Nothing is left unread, so closing loses nothing; others wait for room.
        error = Error(408, "HEADER_TIMEOUT", detail)
        self._transport.write(error_response(error, is_head=self._is_head(self._buffer)))
        self._end()

    def stop(self) -> None:
        """End the connection once its request is answered."""
        self._is_stopping = True
        if self._response is not None:
            self._response.keep_alive = False
        elif not self._lingering:
            # Its next request may be on its way, and would be lost with it.
            asyncio.get_running_loop().call_later(PARTING, self._part)

    def _part(self) -> None:
        # The rest of a request that has begun may still arrive: wait for it.
        if self._response is None and not self._lingering and not self._begun:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, whatever is under way."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # Requests

    def _begin_next(self) -> None:
        """Begin the next request, if all of it has arrived."""
        if self._request is None:
            self._parse_next()
        request = self._request
        if request is None or not request.has_come(self._buffer):
            # Most requests arrive whole, and need no timer.
            if self._begun and not self._is_timed and not self._lingering:
                self._is_timed = True
                self._set_deadline()
            return
        self._request = None
        self._cancel_deadline()
        body, self._buffer = self._buffer[: request.length], self._buffer[request.length :]
        self._begun = False
        keep_alive = request.keep_alive and request.is_read and not self._is_stopping
        self._response = response = Http1Response(
            self._transport,
            self._room,
            is_head=request.scope["method"] == "HEAD",
            version=request.scope["http_version"],
            keep_alive=keep_alive,
            body=body,
        )
        self._task = asyncio.get_running_loop().create_task(self._answer(request.scope, response))

    async def _answer(self, scope: Scope, response: Http1Response) -> None:
        try:
            await self._app(scope, response.receive, response.send)
        except Exception:
            log.exception("a request failed")
        finally:
            self._finish(response)

    def _finish(self, response: Http1Response) -> None:
        """Go on with the next request after a response, or end the connection."""
        self._response = self._task = None
        self._since = monotonic()
        response.leave()
        if self._transport.is_closing():
            return
        if not response.is_complete:
            # The application cut it and said why: no part may be taken for the whole.
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
        """Return whether HEAD is asked: in a request that has begun, or in this ``head``."""
        if self._request is not None:
            return bool(self._request.scope["method"] == "HEAD")
        return head.startswith(b"HEAD ")

    def _refuse(self, error: Error, head: bytes) -> None:
        """Refuse what cannot be read any further, and end the connection."""
        self._transport.write(error_response(error, is_head=self._is_head(head)))
        self._since = monotonic()
        self._linger()

    def _end(self) -> None:
        """End the connection once the kernel has what was sent."""
        self._cancel_deadline()
        self._buffer = b""
        self._lingering, self._since = _LINGER_BYTES, monotonic()
        self._transport.close()

    def _linger(self) -> None:
        """End the connection once the client has what was sent: it may still be sending."""
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
            found = self._refusal or parse_head(buffer[:end], self._facts, self._limits.max_body)
            if isinstance(found, Error):
                self._refuse(found, buffer)
            else:
                self._request = found
                if found.expects_continue and not found.has_come(self._buffer):
                    self._transport.write(_CONTINUE)

    def _wait_for_head(self, buffer: bytes, end: int) -> None:
        """Wait for the rest of a head, unless it is too long or cannot become one."""
        if end >= 0 or len(buffer) > self._longest_head:
            self._refuse(too_long(buffer[: self._longest_head]), buffer)
        elif not (buffer[:1].isalpha() and buffer[:1].isascii()) or _BARE_END.search(
            buffer, max(0, self._searched - len(_END))
        ):
            self._refuse(MALFORMED, buffer)
        else:
            self._searched = len(buffer)
