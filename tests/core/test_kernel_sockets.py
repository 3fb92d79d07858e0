"""The kernel's list of sockets: what psutil reads too, in less time, and what may be wrong."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.host import sessions_of_sockets
from sessiongate.core.sources.support import sockdiag
from sessiongate.core.sources.support.inodes import Inodes
from sessiongate.core.sources.support.kernelsockets import KernelSockets
from sessiongate.core.sources.support.processes import ProcessTable
from sessiongate.core.sources.support.sockdiag import SocketRow, list_sockets, receive, rows_of
from sessiongate.core.sources.support.sockets import Sockets, read_sockets
from tests.core.observing import stated
from tests.servers import has_ipv6

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

MOST = 1_000_000
# Where a service listens, and where a client connects to it.
IPV4 = [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.2")]
IPV6 = [("::", "127.0.0.1"), ("::", "::1")]


def sessions_on(sockets: Sockets, ports: set[int]) -> dict[str, Observed]:
    """Return the sessions on these ports, by key: the machine has more sockets."""
    processes = ProcessTable().look_up(sockets.pids)
    found = sessions_of_sockets(sockets, processes, 1.0)
    on = {f":{port}" for port in ports}
    name = {each.key: each.session.native_id.partition("<-")[0] for each in found}
    return {each.key: each for each in found if any(map(name[each.key].endswith, on))}


class Machine:
    """Sockets of each kind and in each state."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.ports: set[int] = set()
        self.listening: list[socket.socket] = []
        self.closed: list[socket.socket] = []

    def listen(self, ip: str, port: int = 0) -> int:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        server = self._stack.enter_context(socket.socket(family))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ":" in ip:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((ip, port))
        server.listen()
        self.listening.append(server)
        self.ports.add(server.getsockname()[1])
        return int(server.getsockname()[1])

    def call(self, ip: str, port: int) -> socket.socket:
        return self._stack.enter_context(socket.create_connection((ip, port)))

    def connect(self, ip: str, port: int) -> tuple[socket.socket, socket.socket]:
        client = self.call(ip, port)
        server, _ = self.listening[-1].accept()
        return client, self._stack.enter_context(server)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(stack)


def fill(sending: socket.socket) -> None:
    """Send until nothing more is taken."""
    sending.setblocking(False)
    with suppress(BlockingIOError):
        while sending.send(bytes(1 << 20)):
            pass


def as_stated(found: dict[str, Observed]) -> dict[str, tuple[object, ...]]:
    return {key: stated(item) for key, item in found.items()}


def test_both_readers_see_the_same(machine: Machine) -> None:
    ends = [*IPV4, *(IPV6 if has_ipv6() else [])]
    for ip, end in ends:
        port = machine.listen(ip)
        machine.connect(end, port)
        _, closing = machine.connect(end, port)
        leaving, _ = machine.connect(end, port)
        _, unsent = machine.connect(end, port)
        fill(unsent)
        machine.closed += [closing, leaving, unsent]
        machine.call(end, port)  # nobody accepts it
    shared = machine.listen("127.0.0.1")
    machine.listen("127.0.0.1", shared)
    inodes, kernel = Inodes(), KernelSockets()

    def look() -> tuple[dict[str, Observed], dict[str, Observed]]:
        by_psutil = sessions_on(read_sockets(inodes), machine.ports)
        return by_psutil, sessions_on(kernel.read(MOST), machine.ports)

    by_psutil, by_kernel = look()
    assert as_stated(by_kernel) == as_stated(by_psutil)
    assert len(by_kernel) == len(ends) * 6 + 1
    for each in machine.closed:
        each.close()
    after_psutil, after_kernel = look()
    assert as_stated(after_kernel) == as_stated(after_psutil)
    assert after_kernel.keys() == by_kernel.keys(), "who closed first still has its session"
    found = {
        each.status for each in kernel.read(MOST).connections if each.local.port in machine.ports
    }
    assert found == {"ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2"}


def test_an_unchanged_connection_is_not_read_again(machine: Machine) -> None:
    client, server = machine.connect("127.0.0.1", machine.listen("127.0.0.1"))
    kernel = KernelSockets()

    def look() -> list[int]:
        found = kernel.read(MOST).connections
        return [id(each) for each in found if machine.ports & {each.local.port, each.remote.port}]

    before = look()
    assert len(before) == 2
    server.send(b"x")  # queues and timers change
    assert sorted(look()) == sorted(before)
    client.close()
    assert not {*look()} & {*before}


def test_a_listener_that_another_process_takes_over_is_that_process_s(machine: Machine) -> None:
    port = machine.listen("127.0.0.1")
    kernel = KernelSockets()

    def pid() -> int:
        return next(each.pid for each in kernel.read(MOST).listeners if each.local.port == port)

    assert pid() == os.getpid()
    command = [sys.executable, "-c", "input()"]
    fds = [machine.listening[-1].fileno()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=fds) as heir:
        machine.listening.pop().close()
        assert pid() == heir.pid
        heir.communicate(b"\n")


def test_a_client_s_descriptor_that_is_another_socket_is_read_again(machine: Machine) -> None:
    port = machine.listen("127.0.0.1")
    kernel = KernelSockets()
    for _ in range(2):
        client, server = machine.connect("127.0.0.1", port)
        found = kernel.read(MOST).connections
        assert [each.pid for each in found if each.remote.port == port] == [os.getpid()]
        server.close()
        client.close()


def test_of_too_many_sockets_those_that_listen_are_read_first(machine: Machine) -> None:
    machine.connect("127.0.0.1", machine.listen("127.0.0.1"))
    listening = len(KernelSockets().read(MOST).listeners)
    found = KernelSockets().read(1)
    assert (len(found.listeners), found.connections) == (1, [])
    assert listening >= 1
    assert found.partial == "only the first 1 sockets are read"


LAST = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)


def message(length: int = 88, kind: int = 20, flags: int = 2) -> bytes:
    """Make a message about a socket; its ``length`` may be a lie."""
    row = struct.pack("=BB", socket.AF_INET, 1) + bytes(66) + struct.pack("=I", 7)
    return struct.pack("=IHHII", length, kind, flags, 0, 0) + row


ROW: SocketRow = (socket.AF_INET, 1, bytes(48), 7)


def test_messages_of_any_length_are_read() -> None:
    longer = message(length=93) + bytes(8)
    assert [*rows_of([longer + message(), message() + LAST])] == [ROW] * 3


@pytest.mark.parametrize(
    "datagrams",
    [
        [],
        [b""],
        [message()],
        [message(length=0), LAST],
        [message(length=87), LAST],
        [message(length=89), LAST],
        [message(length=2**32 - 1), LAST],
        [message(kind=16), LAST],
        [message()[:50], LAST],
        [LAST[:18]],
    ],
)
def test_a_list_without_its_end_is_an_error(datagrams: list[bytes]) -> None:
    with pytest.raises(OSError, match="is cut short"):
        [*rows_of(datagrams)]


@pytest.mark.parametrize("kind", [2, 3])
def test_the_kernels_error_is_told(kind: int) -> None:
    answer = struct.pack("=IHHIIi", 20, kind, 2, 0, 0, -errno.ENOMEM)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as caught:
        [*rows_of([message(), answer])]
    assert caught.value.errno == errno.ENOMEM


def test_a_datagram_that_does_not_fit_is_an_error() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, ours:
        ours.setblocking(False)
        kernel.send(bytes(64 * 1024))
        assert receive(ours, MOST) == [bytes(64 * 1024)]
        kernel.send(bytes(64 * 1024 + 1))
        with pytest.raises(OSError, match=os.strerror(errno.EMSGSIZE)):
            receive(ours, MOST)


def test_of_a_list_without_end_only_so_much_is_received() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, ours:
        ours.setblocking(False)
        for _ in range(5):
            kernel.send(bytes(100))
        assert len(receive(ours, 250)) == 3


@pytest.mark.parametrize("times", [1, 3])
def test_a_list_that_changed_is_read_again(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    answers = [[message(flags=0x12), LAST]] * times + [[message(), LAST]]
    monkeypatch.setattr(sockdiag, "receive", lambda *_: answers.pop(0))
    if times < 3:
        assert [*list_sockets(socket.AF_INET, 2, MOST)] == [ROW]
    else:
        with pytest.raises(OSError, match="changed during 3 readings"):
            list_sockets(socket.AF_INET, 2, MOST)
