"""The asyncio channels to one or more cores, and the calls on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import grpc

from sessiongate.client.channel import CoreStubs, Sent, channel_options
from sessiongate.client.cores import Cores
from sessiongate.client.errors import CallError, ClosedError, call_error, moved_on
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest, WatchSessionsResponse

_Response = TypeVar("_Response")


class AsyncChannels:
    """Channels to the cores, each opened when it is first needed."""

    def __init__(
        self, cores: Cores, credentials: grpc.ChannelCredentials | None, read_ahead: int
    ) -> None:
        self.is_closed = False
        self._cores = cores
        self._credentials = credentials
        self._options = channel_options(read_ahead, retries=len(cores) == 1)
        self._stubs: dict[str, CoreStubs] = {}
        self._moving: set[Any] = set()  # calls that end when another core is called
        cores.on_change(self._move)

    async def close(self) -> None:
        """End the calls under way and close the channels."""
        self.is_closed = True
        for stubs in self._stubs.values():
            await stubs.channel.close()

    async def call(
        self,
        method: Callable[[CoreStubs], Callable[..., Awaitable[_Response]]],
        request: object,
        limit: float,
        sent: Sent,
        *,
        acts: bool,
    ) -> _Response:
        """Return the response of the core, or of the next one. Raises `CallError`."""
        until, attempt = elapsed() + limit, 0
        while True:
            attempt += 1
            position = self._cores.position
            try:
                return await self._once(method, request, limit, sent, position, acts=acts)
            except CallError as error:
                is_over = not self._cores.repeats(position, error, attempt, acts=acts)
                pause = self._cores.pause(attempt)
                limit = until - elapsed() - pause
                if is_over or limit <= 0:
                    raise
            await asyncio.sleep(pause)

    async def _once(
        self,
        method: Callable[[CoreStubs], Callable[..., Awaitable[_Response]]],
        request: object,
        limit: float,
        sent: Sent,
        position: int,
        *,
        acts: bool,
    ) -> _Response:
        if self.is_closed:
            raise ClosedError
        self._cores.asked()
        call: Any = method(self._at(position))(request, timeout=limit, metadata=sent)
        if not acts:
            self._moving.add(call)
        try:
            response: _Response = await call
        except grpc.aio.AioRpcError as error:
            raise self._failed(error, position) from None
        except asyncio.CancelledError:
            raise self._cancelled(position) from None
        finally:
            self._moving.discard(call)
        self._cores.heard(position)
        return response

    async def watch(
        self, request: WatchSessionsRequest, sent: Sent
    ) -> AsyncGenerator[WatchSessionsResponse]:
        """Yield the messages of one stream of the core. Raises `CallError` at its end."""
        if self.is_closed:
            raise ClosedError
        position = self._cores.position
        stubs = self._at(position)
        call = stubs.sessions.WatchSessions(request, wait_for_ready=False, metadata=sent)
        self._moving.add(call)
        try:
            while (response := await _read(call)) is not grpc.aio.EOF:
                self._cores.heard(position)
                yield response
            failure = CallError(grpc.StatusCode.UNAVAILABLE, None, "the core ended the stream")
        except grpc.aio.AioRpcError as error:
            failure = self._failed(error, position)
        except asyncio.CancelledError:
            cause = self._cancelled(position)
            if not isinstance(cause, CallError):
                raise
            failure = cause
        finally:
            self._moving.discard(call)
            call.cancel()
        self._cores.failed(position, failure)
        raise failure

    def _at(self, position: int) -> CoreStubs:
        address = self._cores.addresses[position % len(self._cores)]
        if address not in self._stubs:
            self._stubs[address] = CoreStubs(self._open(address))
        return self._stubs[address]

    def _open(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(address, options=self._options)
        return grpc.aio.secure_channel(address, self._credentials, options=self._options)

    def _move(self) -> None:
        """End what waits for the core before; requests are then sent to the next one."""
        for call in [*self._moving]:
            call.cancel()
        self._moving.clear()

    def _failed(self, error: grpc.aio.AioRpcError, position: int) -> CallError:
        if error.code() is not grpc.StatusCode.CANCELLED:
            return call_error(error)
        return self._ended(position) or call_error(error)

    def _cancelled(self, position: int) -> BaseException:
        """Return what a cancellation means: grpc also reports one if an end cancelled the call."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return asyncio.CancelledError()
        cancelled = CallError(grpc.StatusCode.CANCELLED, None, "cancelled by the core")
        return self._ended(position) or cancelled

    def _ended(self, position: int) -> CallError | None:
        """Return why this client has ended a call, if it has."""
        if self.is_closed:
            return ClosedError()
        return moved_on() if position != self._cores.position else None


async def _read(call: Any) -> Any:
    """Return the next message of a stream, or EOF.

    grpc releases what a read has allocated when the read ends, but never if it is
    cancelled (grpc/grpc#43360). So the call is cancelled, which ends the read.
    """
    reading = asyncio.ensure_future(call.read())
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        call.cancel()
        await asyncio.wait((reading,))
        if not reading.cancelled():
            reading.exception()  # no longer of interest
        raise
