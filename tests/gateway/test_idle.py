"""Connections on which nothing happens are closed, and no others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from gateway.idle import close_idle

FOREVER = 3600.0
Pair = tuple[socket.socket, socket.socket]


class Listener:
    """A listener of this process, and connections to it: both of their ends are here."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]

    def connect(self, said: bytes = b"") -> Pair:
        near = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.port)))
        far = self._stack.enter_context(self._listener.accept()[0])
        near.settimeout(20)
        near.sendall(said)
        if said:
            assert far.recv(100) == said
        return near, far


@pytest.fixture
def listener() -> Iterator[Listener]:
    with ExitStack() as stack:
        yield Listener(stack)


def run_until_closed(pair: Pair, port: int, first: float, silent: float) -> None:
    """Let idle connections be closed until this one is."""

    async def main() -> None:
        closing = asyncio.create_task(close_idle(port, first=first, silent=silent))
        assert await asyncio.to_thread(pair[0].recv, 1) == b""
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing

    asyncio.run(main())


def is_open(pair: Pair) -> bool:
    pair[1].sendall(b"x")
    return pair[0].recv(1) == b"x"


def test_one_that_never_said_anything_is_closed(listener: Listener) -> None:
    speaking, silent = listener.connect(b"x"), listener.connect()
    run_until_closed(silent, listener.port, 0.02, FOREVER)
    assert is_open(speaking)


def test_one_that_has_nothing_more_to_say_is_closed(listener: Listener) -> None:
    spoken = listener.connect(b"x")
    run_until_closed(spoken, listener.port, FOREVER, 0.02)


def test_those_of_another_listener_are_let_alone(listener: Listener) -> None:
    with ExitStack() as stack:
        other = Listener(stack)
        alone, silent = other.connect(), listener.connect()
        run_until_closed(silent, listener.port, 0.02, 0.02)
        assert is_open(alone)
