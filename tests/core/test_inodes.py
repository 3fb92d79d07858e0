"""Sockets that no process has accepted yet, and that processes share, by the real kernel."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack

import pytest

from sessiongate.core.sources.host import sessions_of_sockets
from sessiongate.core.sources.support.inodes import Inodes
from sessiongate.core.sources.support.sockets import read_sockets

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="needs Linux")


def seen(port: int, inodes: Inodes) -> list[tuple[str, str]]:
    """Return the keys of the connections to a port, and their former keys."""
    found = sessions_of_sockets(read_sockets(inodes), {}, 1.0)
    own = [each for each in found if each.session.remote and f":{port}<-" in each.key]
    return [(each.key, each.former) for each in own]


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_connection_keeps_its_session_when_it_is_accepted_and_gives_it_to_no_other() -> None:
    inodes = Inodes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # From an address whose port no other test takes meanwhile.
        client = socket.create_connection(("127.0.0.1", port), source_address=("127.7.7.7", 0))
        ours = client.getsockname()
        [(waiting, _)] = seen(port, inodes)
        accepted, _ = server.accept()
        [(taken, former)] = seen(port, inodes)
        assert former == waiting != taken, "the key is rewritten, the id stays"
        _reset(accepted)
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(ours)
            again.connect(("127.0.0.1", port))
            [(other, _)] = seen(port, inodes)
            assert other != taken


def test_a_shared_listener_stays_itself_while_others_come_and_go() -> None:
    inodes = Inodes()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        last = sockets[2]
        last.bind(("127.0.0.1", 0))
        last.listen()

        def keys() -> set[str]:
            listeners = read_sockets(inodes).listeners
            return {each.key for each in listeners if each.local.port == last.getsockname()[1]}

        before = keys()
        assert len(before) == 1
        for other in sockets[:2]:  # their inodes are smaller: they were made before
            other.bind(last.getsockname())
            other.listen()
            assert keys() == before
        sockets[0].close()
        assert keys() == before
