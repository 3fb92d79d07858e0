"""The synchronous channels to one or more cores, and the calls on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import grpc

from sessiongate.client.channel import CoreStubs, Sent, channel_options
from sessiongate.client.cores import SILENCE, Cores
from sessiongate.client.errors import CallError, ClosedError, call_error, moved_on
from sessiongate.client.reflector import silence
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.session_service_pb2 import WatchSessionsRequest, WatchSessionsResponse

_Response = TypeVar("_Response")


class Channels:
    """Channels to the cores, each opened when it is first needed; threads may share them."""

    def __init__(
        self, cores: Cores, credentials: grpc.ChannelCredentials | None, read_ahead: int
    ) -> None:
        self.is_closed = False
        self._cores = cores
        self._credentials = credentials
        self._options = channel_options(read_ahead, retries=len(cores) == 1)
        self._stubs: dict[str, CoreStubs] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        """End the calls under way and close the channels."""
        with self._opening:
            self.is_closed = True
            for stubs in self._stubs.values():
                stubs.channel.close()

    def call(
        self,
        method: Callable[[CoreStubs], Callable[..., _Response]],
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
                return self._once(method, request, limit, sent, position)
            except CallError as error:
                is_over = not self._cores.repeats(position, error, attempt, acts=acts)
                pause = self._cores.pause(attempt)
                limit = until - elapsed() - pause
                if is_over or limit <= 0:
                    raise
            time.sleep(pause)

    def _once(
        self,
        method: Callable[[CoreStubs], Callable[..., _Response]],
        request: object,
        limit: float,
        sent: Sent,
        position: int,
    ) -> _Response:
        self._cores.asked()
        try:
            response = method(self._at(position))(request, timeout=limit, metadata=sent)
        except (grpc.RpcError, ValueError) as error:
            raise self._failed(error) from None
        self._cores.heard(position)
        return response

    def watch(self, request: WatchSessionsRequest, sent: Sent) -> Generator[WatchSessionsResponse]:
        """Yield the messages of one stream of the core. Raises `CallError` at its end."""
        position = self._cores.position
        stubs = self._at(position)
        try:
            call = stubs.sessions.WatchSessions(request, wait_for_ready=False, metadata=sent)
        except ValueError as error:
            raise self._failed(error) from None
        try:
            with _SilenceAlarm(call) as alarm:
                while position == self._cores.position:
                    with alarm.listening():
                        message = next(call)
                    self._cores.heard(position)
                    yield message
            failure: Exception = moved_on()
        except StopIteration:
            failure = CallError(grpc.StatusCode.UNAVAILABLE, None, "the core ended the stream")
        except grpc.RpcError as error:
            failure = silence() if alarm.rang else self._failed(error)
            if alarm.rang:
                self._cores.lose(position)
        finally:
            call.cancel()
        if isinstance(failure, CallError):
            self._cores.failed(position, failure)
        raise failure

    def _at(self, position: int) -> CoreStubs:
        address = self._cores.addresses[position % len(self._cores)]
        with self._opening:
            if self.is_closed:
                raise ClosedError
            if address not in self._stubs:
                self._stubs[address] = CoreStubs(self._open(address))
            return self._stubs[address]

    def _open(self, address: str) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(address, options=self._options)
        return grpc.secure_channel(address, self._credentials, options=self._options)

    def _failed(self, error: Exception) -> Exception:
        """Return what to raise for an error of gRPC's, which is a ValueError once it is closed."""
        failure = call_error(error) if isinstance(error, grpc.RpcError) else error
        is_ended = not isinstance(failure, CallError) or failure.code is grpc.StatusCode.CANCELLED
        return ClosedError() if self.is_closed and is_ended else failure


class _SilenceAlarm:
    """Cancels a call that is silent while it is read; gRPC has no timeout for one message."""

    def __init__(self, call: Any) -> None:
        self.rang = False
        self._call = call
        self._deadline: float | None = None  # of the read under way
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ring if this takes longer than `SILENCE`."""
        self._deadline = time.monotonic() + SILENCE
        try:
            yield
        finally:
            self._deadline = None

    def _run(self) -> None:
        while not self._ended.wait(SILENCE / 8):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self.rang = True
                self._call.cancel()
                return
