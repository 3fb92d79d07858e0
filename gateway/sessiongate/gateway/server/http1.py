"""HTTP/1.1 on one connection: requests in, one at a time, and responses out.

A head has a bound and a deadline, and all that is refused gets an error in JSON:API's
form. A body is handed on as a whole if it comes with its length and is small enough; any
other is not read, and ends the connection behind the response.
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

# Seconds that a connection is still read from, and bytes, once it is not answered any more:
# closed at once, it would lose the response on its way (RFC 9112, section 9.6).
_LINGER = 2.0
_LINGER_BYTES = 1024 * 1024
# Seconds without an event after which an event stream says that it is alive, and more: a
# connection that is not used for so long longer than a request may take is idle.
_IDLE = 60.0
# Seconds that an idle connection may still bring a request once the worker is to stop.
PARTING = 0.25

_END = b"\r\n\r\n"
# The end of a head as some write it by hand; the parser says what is wrong with it.
_BARE_END = re.compile(rb"\n\r?\n")
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HTTP2 = Error(400, "MALFORMED_REQUEST", "HTTP/2 is not spoken here; HTTP/1.1 is")


class Http1(asyncio.Protocol):
    """A connection that the server has accepted: one of ``connections`` while it is open.

    ``on_lost`` is called once it is open no more.
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
        # Twice what is allowed, so that what is a little too large is told so by `Admission`.
        self._longest_head = 2 * (limits.max_url + limits.max_headers)
        self._buffer = b""  # what has come and is not parsed yet
        self._searched = 0  # bytes of it in which a head does not end
        self._since = monotonic()  # when it began to wait for a request, or to linger
        self._begun = False  # whether a part of a request has come since then
        self._deadline: asyncio.TimerHandle | None = None  # of what has to come
        self._is_timed = False  # it is that of the request that has begun
        self._left: tuple[int, int] | None = None  # what it had not taken at the last look
        self._left_since = 0.0
        self._lingering = 0  # bytes that it may still send; 0 as long as it is answered
        self._is_stopping = False
        self._has_ended = False  # the client sends no more
        self._response: Http1Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._request: RequestHead | None = None  # whose body has not come yet
        self._refusal: Error | None = None  # of whatever is asked

    def refuse_all(self, error: Error) -> None:
        """Refuse the first request, whatever it is, and end the connection."""
        self._refusal = error

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        transport.set_write_buffer_limits(*WATER)
        self._transport = transport
        self._room = asyncio.Event()
        self._room.set()
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        # The ends are None if the client has left already.
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
        """Answer what was asked, also to who has said that nothing follows.

        Who has read a part of a response without a stated end, such as of events, has left. So
        has whoever ends TLS: nothing can be sent to it any more.
        """
        if self._is_tls:
            self._leave()
        elif not self._lingering and self._response is not None and not self._response.is_chunked:
            self._has_ended = True
            return True
        return False  # which closes the connection

    def _leave(self) -> None:
        """Work no longer for a client that has left."""
        self._buffer = b""
        self._room.set()
        if self._response is not None and not self._response.leave() and self._task is not None:
            self._task.cancel()  # nobody waits for what it works on

    # Called by the server

    def check(self, now: float) -> None:
        """End it if it is idle or lingers for too long. ``now`` is monotonic, in seconds.

        A response that is under way `Admission` keeps to its time; whoever takes nothing
        of what it is sent is cut off, whatever that is.
        """
        size = self._transport.get_write_buffer_size()
        # What the client's end of the connection has taken tells of slow ones, too.
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
        """Bytes that the kernel has, and the client's has not."""
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
        """Wait no longer for a request, or for its rest."""
        if not self._begun:
            self._transport.abort()
            return
        allowed = f"header_timeout allows {self._limits.header_timeout:g} s"
        detail = f"the request did not arrive in time; {allowed}"
        # Nothing is left unread, so that nothing is lost by closing; others wait for room.
        error = Error(408, "HEADER_TIMEOUT", detail)
        self._transport.write(error_response(error, is_head=self._is_head(self._buffer)))
        self._end()

    def stop(self) -> None:
        """End the connection once what it was asked is answered."""
        self._is_stopping = True
        if self._response is not None:
            self._response.keep_alive = False
        elif not self._lingering:
            # Its next request may be on its way, and would be lost with it.
            asyncio.get_running_loop().call_later(PARTING, self._part)

    def _part(self) -> None:
        # The rest of a request that has begun may still come, and is waited for.
        if self._response is None and not self._lingering and not self._begun:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, whatever is under way."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # Requests

    def _begin_next(self) -> None:
        """Begin the next request, if all of it has come."""
        if self._request is None:
            self._parse_next()
        request = self._request
        if request is None or not request.has_come(self._buffer):
            # Most requests come whole, and need no timer.
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
        """Go on with the next request behind a response, or end the connection."""
        self._response = self._task = None
        self._since = monotonic()
        response.leave()
        if self._transport.is_closing():
            return
        if not response.is_complete:
            # The application has cut it, and said why: no part is to be taken for the whole.
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
        """Whether HEAD is what is asked: in a request that has begun, or in this ``head``."""
        if self._request is not None:
            return bool(self._request.scope["method"] == "HEAD")
        return head.startswith(b"HEAD ")

    def _refuse(self, error: Error, head: bytes) -> None:
        """Answer what cannot be read any further, and end the connection."""
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
        """Parse the head of the next request, if it has come."""
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
