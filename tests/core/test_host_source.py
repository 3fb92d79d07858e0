"""``host:`` over real sockets, and its rules over made-up ones."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    Source,
    SourceConfig,
    SourceConfigError,
    SourceError,
    Unreadable,
    open_source,
)
from sessiongate.core.sources.host import HostSource, KnownSockets, sessions_of_sockets
from sessiongate.core.sources.support import inodes
from sessiongate.core.sources.support.inodes import Inodes
from sessiongate.core.sources.support.kernelsockets import KernelSockets
from sessiongate.core.sources.support.processes import Process
from sessiongate.core.sources.support.sockets import (
    End,
    Listener,
    Sockets,
    TcpConnection,
    read_sockets,
)
from sessiongate.v1.states import words_of
from tests.servers import has_ipv6

ME = psutil.Process().name()
NOW = 1_495_015_595.0


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(params=["sock_diag", "psutil"])
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    """Open the source, as on a system with sock_diag and on one without."""
    if request.param == "psutil":
        request.getfixturevalue("no_sock_diag")
    elif not hasattr(socket, "AF_NETLINK"):
        pytest.skip("needs Linux")
    source = open_source(SourceConfig.parse("host:"))
    yield source
    asyncio.run(source.close())


@pytest.fixture
def no_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a system without netlink."""
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)


by_kernel = pytest.mark.parametrize("source", ["sock_diag"], indirect=True)
by_psutil = pytest.mark.parametrize("source", ["psutil"], indirect=True)


def on_port(source: Source, port: int) -> list[Observed]:
    """Return what is seen on one port: the machine has more sockets than the tests'."""
    ends = f":{port}"
    observation = asyncio.run(source.observe())
    return [
        item
        for item in observation.sessions
        if item.session.native_id.partition("<-")[0].endswith(ends)
    ]


def states(items: list[Observed]) -> list[str]:
    return [words_of(item.session.state) for item in items]


@contextmanager
def connected(
    address: str, listener: socket.socket
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield a client's socket and the server's, each closed at the end."""
    with ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((address, listener.getsockname()[1])))
        server, _ = listener.accept()
        yield client, stack.enter_context(server)


def test_a_connection_is_seen_from_its_beginning_to_its_end(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (listening,) = on_port(source, port)
        assert listening.session.service == f"{ME}:{port}"
        assert listening.session.native_id == f"127.0.0.1:{port}"
        assert words_of(listening.session.state) == "Listener Session"
        started = listening.session.connect_time.ToNanoseconds() / 1e9
        assert started == pytest.approx(psutil.Process().create_time(), abs=1e-6)
        assert not listening.session.HasField("remote")

        with connected("127.0.0.1", listener) as (client, server):
            before = time.time()
            again, session = on_port(source, port)
            assert again.key == listening.key
            assert again.session == listening.session
            client_port = client.getsockname()[1]
            assert session.session.service == f"{ME}:{port}"
            assert session.session.native_id == f"127.0.0.1:{port}<-127.0.0.1:{client_port}"
            assert words_of(session.session.state) == "Session started"
            assert (session.session.remote, session.session.port) == ("127.0.0.1", client_port)
            assert session.session.application == ME
            first_seen = session.session.connect_time.ToNanoseconds() / 1e9
            assert before - 1e-6 <= first_seen <= time.time()

            client.close()
            assert server.recv(1) == b""
            _, stopping = on_port(source, port)
            assert stopping.key == session.key
            assert words_of(stopping.session.state) == "Stopping session"
        assert states(on_port(source, port)) == ["Listener Session"]
    assert on_port(source, port) == []


def test_a_connection_that_the_service_closed_is_stopping(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with connected("127.0.0.1", listener) as (client, server):
            server.close()
            assert client.recv(1) == b""
            items = on_port(source, listener.getsockname()[1])
        assert states(items) == ["Listener Session", "Stopping session"]


def test_a_client_that_comes_back_from_its_port_is_another_session(source: Source) -> None:
    keys = set[str]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        back = 0  # the client's port
        for _ in range(3):
            with socket.socket() as client:
                # Close with a reset, so that both ends are free at once.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # From an address whose port no other test takes meanwhile.
                client.bind(("127.7.7.7", back))
                client.connect(("127.0.0.1", port))
                back = client.getsockname()[1]
                server, _ = listener.accept()
                with server:
                    (_, session) = on_port(source, port)
                    assert session.session.port == back
                    keys.add(session.key)
    assert len(keys) == 3


def test_a_listener_that_changes_hands_is_another_session(source: Source) -> None:
    keys = set[str]()
    port = 0
    for _ in range(2):
        # On an address whose port no other test takes meanwhile.
        with socket.create_server(("127.7.7.7", port)) as listener:
            port = listener.getsockname()[1]
            ((key,),) = [[item.key for item in on_port(source, port)]]
            keys.add(key)
    assert len(keys) == 2


@needs_ipv6
def test_ipv6_is_seen(source: Source) -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        connected("::1", listener) as (client, _),
    ):
        port, client_port = listener.getsockname()[1], client.getsockname()[1]
        listening, session = on_port(source, port)
    assert listening.session.native_id == f"[::1]:{port}"
    assert session.session.native_id == f"[::1]:{port}<-[::1]:{client_port}"
    assert (session.session.remote, session.session.port) == ("::1", client_port)
    assert session.accepted is None
    assert session.session.application == ME


@needs_ipv6
def test_ipv4_through_a_dual_stack_listener_is_ipv4(source: Source) -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        connected("127.0.0.1", listener) as (client, _),
        connected("::1", listener),
    ):
        port, client_port = listener.getsockname()[1], client.getsockname()[1]
        listening, mapped, other = on_port(source, port)
    assert listening.session.native_id == f"[::]:{port}"
    assert mapped.session.remote == "127.0.0.1"
    assert mapped.session.native_id == f"127.0.0.1:{port}<-127.0.0.1:{client_port}"
    assert mapped.session.application == ME
    assert other.session.remote == "::1"


def test_a_wildcard_accepts_on_every_address(source: Source) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as listener,
        connected("127.0.0.2", listener),
    ):
        items = on_port(source, listener.getsockname()[1])
    assert states(items) == ["Listener Session", "Session started"]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
def test_sockets_that_share_a_port_are_one_listener(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.0.1", port), reuse_port=True):
            assert states(on_port(source, port)) == ["Listener Session"]


def test_processes_that_share_a_socket_are_one_listener(source: Source) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", "input()"]
        fds = [listener.fileno()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=fds) as worker:
            items = on_port(source, listener.getsockname()[1])
            worker.communicate(b"\n")
    assert states(items) == ["Listener Session"]


@pytest.mark.skipif(sys.platform != "linux", reason="names a process by /proc")
def test_a_process_may_call_itself_anything(source: Source) -> None:
    code = (
        "import socket; open('/proc/self/comm', 'wb').write(b'\\xff\\x1bdb');"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        (item,) = on_port(source, port)
        other.communicate(b"\n")
    assert item.session.service == f"??db:{port}"


@by_psutil
def test_a_user_who_may_not_see_all_sees_its_own(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connected("127.0.0.1", listener),
    ):
        items = on_port(source, listener.getsockname()[1])
    assert states(items) == ["Listener Session", "Session started"]


@by_psutil
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("line 7"),
        PermissionError("/proc"),
        psutil.Error("x"),
        ValueError("btime"),
        KeyError("0D"),
    ],
)
@pytest.mark.parametrize("function", ["net_connections", "boot_time"])
def test_a_machine_that_cannot_be_read_is_an_error(
    source: Source, monkeypatch: pytest.MonkeyPatch, function: str, error: Exception
) -> None:
    def broken(*_: str) -> None:
        raise error

    monkeypatch.setattr(psutil, function, broken)
    with pytest.raises(SourceError, match=r"^the sockets of this machine cannot be read: "):
        asyncio.run(source.observe())


@by_kernel
@pytest.mark.parametrize("reason", [errno.ENOENT, errno.EPERM])
def test_a_kernel_that_lists_no_sockets_is_read_by_psutil(
    source: Source, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    asked = []

    def refuse(*_: object) -> None:
        asked.append(1)
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(KernelSockets, "read", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(2):
            assert states(on_port(source, listener.getsockname()[1])) == ["Listener Session"]
    assert asked == [1]


@by_kernel
def test_a_kernel_that_fails_to_list_its_sockets_is_an_error(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOBUFS, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(KernelSockets, "read", broken)
        with pytest.raises(SourceError, match="no space"):
            asyncio.run(source.observe())
    asyncio.run(source.observe())  # the next one may succeed


@by_kernel
def test_the_incarnation_is_the_boot(source: Source) -> None:
    assert asyncio.run(source.observe()).incarnation == psutil.boot_time()


@by_kernel
@pytest.mark.parametrize("move", [-3600.0, 3600.0, 0.5])
def test_a_clock_that_is_set_is_not_another_boot(
    source: Source, monkeypatch: pytest.MonkeyPatch, move: float
) -> None:
    monkeypatch.setattr(psutil, "boot_time", lambda: NOW)
    seen = [asyncio.run(source.observe()).incarnation]
    monkeypatch.setattr(psutil, "boot_time", lambda: NOW + move)
    seen += [asyncio.run(source.observe()).incarnation for _ in range(3)]
    step = max(-1.0, min(1.0, move))
    last = NOW + (move if abs(move) < 1 else 3 * step)
    assert seen[:2] == [NOW, NOW + step]
    assert seen[-1] == last


@by_kernel
@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1e300, 253402300800.0])
def test_a_boot_that_cannot_be_is_none(
    source: Source, monkeypatch: pytest.MonkeyPatch, odd: float
) -> None:
    seen = []
    for boot in (odd, NOW, odd):
        monkeypatch.setattr(psutil, "boot_time", lambda boot=boot: boot)
        seen.append(asyncio.run(source.observe()).incarnation)
    assert seen == [None, NOW, NOW]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:localhost", "source localhost: host takes no location; use 'host:'"),
        ("host:?port=22", "source host: unknown option 'port'; "),
    ],
)
def test_a_wrong_configuration_is_refused(url: str, message: str) -> None:
    with pytest.raises(SourceConfigError, match=f"^{re.escape(message)}"):
        open_source(SourceConfig.parse(url))


# The rules, over made-up sockets.


def names(sockets: Sockets, processes: dict[int, Process] | None = None) -> list[tuple[str, str]]:
    items = sessions_of_sockets(sockets, processes or {}, NOW)
    assert len({item.key for item in items}) == len(items)
    return [(item.session.service, item.session.native_id) for item in items]


def listening(address: str, port: int, pid: int = 0) -> Listener:
    return Listener(6 if ":" in address else 4, End(address, port), pid)


def connection(local: str, port: int, status: str = psutil.CONN_ESTABLISHED) -> TcpConnection:
    remote = End("::1" if ":" in local else "10.0.0.9", 4711)
    return TcpConnection(6 if ":" in local else 4, status, End(local, port), remote)


@pytest.mark.parametrize(
    ("listener", "local", "accepted"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("0.0.0.0", "10.0.0.1", True),
        ("0.0.0.0", "fd00::1", False),
        ("0.0.0.0", "::ffff:10.0.0.1", False),
        ("::", "fd00::1", True),
        ("::", "::ffff:10.0.0.1", True),
        ("::", "10.0.0.1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", True),
        ("::1", "fd00::1", False),
    ],
)
def test_a_connection_belongs_to_the_listener_it_came_in_by(
    listener: str, local: str, accepted: bool
) -> None:
    same = Sockets([listening(listener, 80)], [connection(local, 80)])
    other = Sockets([listening(listener, 80)], [connection(local, 81)])
    assert len(names(same)) == (2 if accepted else 1)
    assert len(names(other)) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (psutil.CONN_ESTABLISHED, "Session started"),
        (psutil.CONN_CLOSE_WAIT, "Stopping session"),
        (psutil.CONN_FIN_WAIT1, "Stopping session"),
        (psutil.CONN_FIN_WAIT2, "Stopping session"),
        (psutil.CONN_SYN_SENT, None),
        (psutil.CONN_SYN_RECV, None),
        (psutil.CONN_TIME_WAIT, None),
        (psutil.CONN_LAST_ACK, None),
        (psutil.CONN_CLOSING, None),
        (psutil.CONN_CLOSE, None),
        (psutil.CONN_NONE, None),
    ],
)
def test_a_connection_is_a_session_while_an_end_holds_it(status: str, words: str | None) -> None:
    sockets = Sockets([listening("0.0.0.0", 80)], [connection("10.0.0.1", 80, status)])
    assert states(sessions_of_sockets(sockets, {}, NOW))[1:] == ([words] if words else [])


def test_a_service_whose_process_is_hidden_has_its_ports_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def registered(port: int, protocol: str) -> str:
        if (port, protocol) == (5432, "tcp"):
            return "postgresql"
        raise OSError("port/proto not found")

    monkeypatch.setattr("sessiongate.core.sources.host.getservbyport", registered)
    sockets = Sockets([listening("::", 61000), listening("::", 5432)])
    assert names(sockets) == [("postgresql", "[::]:5432"), ("61000", "[::]:61000")]
    starts = [item.session.connect_time.seconds for item in sessions_of_sockets(sockets, {}, NOW)]
    assert starts == [int(NOW)] * 2


@pytest.mark.parametrize("order", [1, -1])
def test_a_port_is_one_service_named_for_its_oldest_process(order: int) -> None:
    processes = {
        7: Process("worker", 200.0),
        8: Process("master", 100.0),
        9: Process("copy", 100.0),
    }
    listeners = [
        listening("127.0.0.1", 80, pid=7),
        listening("127.0.0.1", 80, pid=8),
        listening("127.0.0.1", 80, pid=9),
        listening("127.0.0.1", 80),
        listening("::1", 80, pid=7),
    ][::order]
    sockets = Sockets(listeners, [connection("::1", 80)])
    assert names(sockets, processes) == [
        ("master:80", "127.0.0.1:80"),
        ("master:80", "[::1]:80"),
        ("master:80", "[::1]:80<-[::1]:4711"),
    ]
    starts = [
        item.session.connect_time.seconds for item in sessions_of_sockets(sockets, processes, NOW)
    ]
    assert starts == [100, 200, int(NOW)]


def test_the_application_is_the_clients_program() -> None:
    server, client = End("127.0.0.1", 80), End("127.0.0.1", 4711)
    ends = [(server, client, 7), (client, server, 8)]
    sockets = Sockets(
        [listening("127.0.0.1", 80, pid=7)],
        [TcpConnection(4, psutil.CONN_ESTABLISHED, *both) for both in ends],
    )
    processes = {7: Process("postgres", 100.0), 8: Process("psql", 200.0)}
    _, item = sessions_of_sockets(sockets, processes, NOW)
    assert (item.session.service, item.session.application) == ("postgres:80", "psql")


def test_a_client_elsewhere_has_no_application() -> None:
    sockets = Sockets([listening("0.0.0.0", 80)], [connection("10.0.0.1", 80)])
    session = sessions_of_sockets(sockets, {}, NOW)[1].session
    assert (session.remote, session.port) == ("10.0.0.9", 4711)
    assert not session.HasField("application")


def test_what_did_not_change_is_the_same_object() -> None:
    local = End("10.0.0.1", 5432)
    first = TcpConnection(4, psutil.CONN_ESTABLISHED, local, End("10.0.0.2", 1), 7)
    second = TcpConnection(4, psutil.CONN_ESTABLISHED, local, End("10.0.0.3", 1), 7)
    listener = Listener(4, local, 7)
    processes = {7: Process("postgres", 5.0)}
    known: KnownSockets = {}
    before = sessions_of_sockets(Sockets([listener], [first]), processes, 100.0, known)
    after = sessions_of_sockets(Sockets([listener], [first, second]), processes, 200.0, known)
    assert after[0] is before[0]
    assert after[1] is before[1]
    renamed = {7: Process("renamed", 5.0)}
    assert (
        sessions_of_sockets(Sockets([listener], [first]), renamed, 300.0, known)[1] is not after[1]
    )
    assert len(known) == 2, "what is gone is forgotten"


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 253402300800.0, -1e11])
def test_a_start_that_cannot_be_costs_only_itself(odd: float) -> None:
    sockets = Sockets([listening("10.0.0.1", 80, pid=7), listening("10.0.0.1", 81, pid=8)])
    processes = {7: Process("web", odd), 8: Process("shop", 200.0)}
    web, shop = sessions_of_sockets(sockets, processes, NOW)
    assert web.session.service == "web:80"
    assert not web.session.HasField("connect_time")
    assert [part.fields for part in web.unreadable] == [("connect_time",)]
    assert (shop.session.connect_time.seconds, shop.unreadable) == (200, ())


class Socket(NamedTuple):
    """A socket as psutil reports it, fields as in `psutil._common.sconn` without the descriptor."""

    family: object
    laddr: object
    raddr: object
    status: object
    pid: object


def whole_machine() -> list[Socket]:
    """Two services on IPv4 and one on IPv6, with a client each, and a client of another machine."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    listen, established = psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED
    return [
        Socket(v4, ("10.0.0.1", 80), (), listen, None),
        Socket(v4, ("10.0.0.1", 80), ("10.0.0.2", 4711), established, None),
        Socket(v4, ("10.0.0.1", 81), (), listen, None),
        Socket(v4, ("10.0.0.1", 81), ("10.0.0.2", 4712), established, None),
        Socket(v6, ("fe80::1%eth0", 82), (), listen, None),
        Socket(v6, ("fe80::1%eth0", 82), ("fe80::2%eth0", 4713), established, None),
        Socket(v4, ("10.0.0.1", 4714), ("10.0.0.3", 443), established, None),
    ]


ADDRESSES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "fe80::1%eth0", "fe80::1%", "::ffff:10.0.0.1", "10.0.0.1\0", "\udcff"]),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.tuples(ADDRESSES | st.none() | st.integers(), st.integers() | st.none() | st.text()),
    st.sampled_from([socket.AF_UNIX, socket.AF_INET6, psutil.CONN_CLOSE, psutil.CONN_LISTEN]),
)


@given(place=st.integers(0, 6), member=st.sampled_from(Socket._fields), odd=ODD)
@example(place=1, member="raddr", odd=("10.0.0.2", 65536))
@example(place=1, member="raddr", odd=("", 4711))
@example(place=5, member="raddr", odd=("fe80::2%", 4713))
@example(place=0, member="family", odd=socket.AF_UNIX)
@example(place=3, member="status", odd=[])
@example(place=3, member="pid", odd=-1)
@example(place=2, member="pid", odd=2**80)
def test_one_odd_socket_costs_itself(place: int, member: str, odd: object) -> None:
    source = HostSource()
    sockets = whole_machine()

    async def observe() -> tuple[Observation, Observation, Observation]:
        before = await source.observe()
        sockets[place] = sockets[place]._replace(**{member: odd})
        observed = before, await source.observe(), await source.observe()
        await source.close()
        return observed

    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(socket, "AF_NETLINK", raising=False)
        patch.setattr(psutil, "net_connections", lambda _: sockets)
        patch.setattr(inodes, "_TABLES", {})  # the kernel's, which may be long, have none of them
        before, after, again = asyncio.run(observe())
    assert len(before.sessions) == 6
    listeners, connections = before.sessions[:3], before.sessions[3:]
    service = place // 2
    # Without its listener, a connection is indistinguishable from an outgoing one.
    lost = [*listeners[service : service + 1], *connections[service : service + 1]]
    if place % 2:
        lost = lost[1:]
    kept = {id(item) for item in before.sessions} - {id(item) for item in lost}
    assert kept <= {id(item) for item in after.sessions}
    assert again is after
    assert len(after.unreadable) <= 1
    assert all(part.text.startswith("a TCP socket: expected ") for part in after.unreadable)


@pytest.mark.parametrize(
    ("member", "odd", "text"),
    [
        ("family", socket.AF_UNIX, "IPv4 or IPv6"),
        ("laddr", ("10.0.0.1", 65536), "an IPv4 address and a port"),
        ("raddr", ("", 4711), "an IPv4 address and a port"),
        ("raddr", ("fe80::1%eth0", 4711), "an IPv4 address and a port"),
        ("status", None, "a status"),
    ],
)
def test_what_was_expected_of_a_socket_is_told(
    monkeypatch: pytest.MonkeyPatch, member: str, odd: object, text: str
) -> None:
    sockets = whole_machine()
    sockets[1] = sockets[1]._replace(**{member: odd})
    monkeypatch.setattr(psutil, "net_connections", lambda _: sockets)
    found = read_sockets(Inodes())
    assert found.unreadable == [Unreadable(f"a TCP socket: expected {text}")]
    assert (len(found.listeners), len(found.connections)) == (3, 3)


@pytest.mark.usefixtures("no_sock_diag")
def test_of_sockets_without_end_some_are_read_and_those_that_listen_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sockets = whole_machine()
    monkeypatch.setattr(psutil, "net_connections", lambda _: [*sockets[::-1], *sockets[1::2] * 9])
    found = read_sockets(Inodes(), 4)
    assert (len(found.listeners), len(found.connections)) == (3, 1)
    assert found.partial == "only 4 of 34 sockets are read"
    source = open_source(SourceConfig.parse("host:?max_sessions=1"))
    assert asyncio.run(source.observe()).partial == found.partial
    asyncio.run(source.close())


def test_an_address_with_a_scope_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda _: whole_machine())
    session = sessions_of_sockets(read_sockets(Inodes()), {}, NOW)[-1].session
    assert session.native_id == "[fe80::1%eth0]:82<-[fe80::2%eth0]:4713"
    assert (session.remote, session.port) == ("fe80::2%eth0", 4713)
