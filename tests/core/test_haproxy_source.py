"""``haproxy:`` over a real HAProxy, its real clients, and what may go wrong between them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

import pytest

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
)
from sessiongate.core.sources.haproxy import HAProxySource, open_source
from sessiongate.runtime.addresses import Address
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS
from tests.core.observing import hanging, refusal, seen, until_same
from tests.haproxy import HAProxy, haproxy
from tests.polling import eventually
from tests.relay import Relay
from tests.servers import PATIENCE, free_port

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
READY = session_pb2.SESSION_STATE_READY
QUEUED = session_pb2.SESSION_STATE_ROUTER_READY
STARTED = session_pb2.SESSION_STATE_STARTED


@pytest.fixture(scope="module")
def proxy() -> Iterator[HAProxy]:
    with haproxy() as running:
        yield running


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Yield a stack that closes its connections at the end of the test."""
    with ExitStack() as stack:
        yield stack


def source(proxy: HAProxy, **options: str) -> HAProxySource:
    return open_source(SourceConfig.parse(f"haproxy:{proxy.folder}/operator.sock", options))


async def only(
    source: HAProxySource,
    *connections: socket.socket,
    states: Sequence[session_pb2.SessionState] = (),
) -> list[Observed]:
    """Return the sessions of these TCP clients, in order, once they and no others are shown.

    Each stream comes as far as it can in HAProxy's own time: with ``states``, wait for these.
    """
    ports = [connection.getsockname()[1] for connection in connections]

    def complete(found: list[Observed]) -> bool:
        shown = {item.session.port: item.session.state for item in found}
        return (
            len(found) == len(ports)
            and shown.keys() == set(ports)
            and (not states or [shown[port] for port in ports] == [*states])
        )

    found = await seen(source, complete)
    return [next(item for item in found if item.session.port == port) for port in ports]


def test_each_client_is_a_session_on_its_frontend(proxy: HAProxy, clients: ExitStack) -> None:
    before = int(time.time())
    four = clients.enter_context(proxy.connect("plain"))
    six = clients.enter_context(proxy.connect("plain", "::1"))
    web = clients.enter_context(proxy.connect("web"))
    web.sendall(REQUEST)

    found = asyncio.run(only(source(proxy), four, six, web, states=[STARTED] * 3))

    for item, connection, service, server in zip(
        found,
        (four, six, web),
        ("plain", "plain", "web"),
        ("servers/one", "servers/one", "sites/one"),
        strict=True,
    ):
        session = item.session
        assert (session.remote, session.port) == connection.getsockname()[:2]
        assert session.service == service
        assert [backend.server for backend in session.connections] == [server]
        assert not session.connections[0].HasField("connection_id")
        assert session.native_id.startswith("0x")
        assert session.native_id in item.key
        # An age is in whole seconds, as is the start computed from it.
        assert before - 1 <= session.connect_time.seconds <= time.time()
        assert not session.HasField("user")
        assert item.accepted is None
        assert item.opened == ()


def test_a_client_of_a_unix_socket_has_no_address(proxy: HAProxy, clients: ExitStack) -> None:
    clients.enter_context(proxy.connect_unix())

    def is_alone(found: list[Observed]) -> bool:
        # The proxy may still show a client that has just left.
        return [item.session.HasField("remote") for item in found] == [False]

    (item,) = asyncio.run(seen(source(proxy), is_alone))
    assert not item.session.HasField("port")
    assert item.session.service == "plain"


def test_the_state_is_how_far_the_stream_has_come(proxy: HAProxy, clients: ExitStack) -> None:
    undecided = clients.enter_context(proxy.connect("undecided"))
    served = clients.enter_context(proxy.connect("narrow"))
    states = [READY, STARTED]
    first = asyncio.run(only(source(proxy), undecided, served, states=states))
    queued = clients.enter_context(proxy.connect("narrow"))
    states.append(QUEUED)
    found = asyncio.run(only(source(proxy), undecided, served, queued, states=states))

    assert [len(item.session.connections) for item in found] == [0, 1, 0]
    assert [item.key for item in first] == [item.key for item in found[:2]]


@pytest.mark.parametrize("links", ["false", "true"])
def test_the_activity_is_what_haproxy_knows(proxy: HAProxy, clients: ExitStack, links: str) -> None:
    names = ("undecided", "plain", "narrow", "web", "deaf")
    connections = [clients.enter_context(proxy.connect(name)) for name in names]
    connections[3].sendall(REQUEST)
    watched = source(proxy, links=links)
    ports = [connection.getsockname()[1] for connection in connections]

    def activities(found: list[Observed]) -> dict[int, tuple[object, ...]]:
        return {
            session.port: (
                *(activity.native, ACTIVITY_WORDS.get(activity.state), activity.wait),
                len(session.connections),
            )
            for session, activity in ((item.session, item.session.activity) for item in found)
        }

    expected: dict[int, tuple[object, ...]] = {
        ports[0]: ("", None, "", 0),  # the client may still send, or not
        ports[1]: ("", None, "", 1),
        ports[2]: ("", None, "", 1),
        ports[3]: ("EST", "active", "", 1),
        ports[4]: ("CON", "connecting", "", 1),
    }
    asyncio.run(seen(watched, lambda found: activities(found) == expected))
    connections.append(clients.enter_context(proxy.connect("narrow")))
    expected[connections[-1].getsockname()[1]] = ("QUE", "waiting", "queue", 0)
    found = asyncio.run(seen(watched, lambda found: activities(found) == expected))

    for item in found:
        activity = item.session.activity
        if activity.native:
            assert activity.since_time == item.session.connect_time
    asyncio.run(until_same(watched))


def test_a_queued_stream_that_gets_a_server_is_no_longer_waiting(
    proxy: HAProxy, clients: ExitStack
) -> None:
    watched = source(proxy)

    async def move_on() -> tuple[Observed, Observed]:
        with proxy.connect("narrow") as served:
            await only(watched, served, states=[STARTED])
            queued = clients.enter_context(proxy.connect("narrow"))
            _, waiting = await only(watched, served, queued, states=[STARTED, QUEUED])
        (moved,) = await seen(
            watched, lambda found: len(found) == 1 and not found[0].session.HasField("activity")
        )
        return waiting, moved

    waiting, moved = asyncio.run(move_on())
    assert waiting.session.activity.state == session_pb2.ACTIVITY_STATE_WAITING
    assert moved.key == waiting.key


def test_a_stream_that_moves_on_is_the_same_session(proxy: HAProxy, clients: ExitStack) -> None:
    client = clients.enter_context(proxy.connect("undecided"))
    watched = source(proxy)

    async def move_on() -> tuple[Observed, Observed]:
        (undecided,) = await only(watched, client, states=[READY])
        client.sendall(b"now")
        (served,) = await only(watched, client, states=[STARTED])
        return undecided, served

    undecided, served = asyncio.run(move_on())
    assert undecided.key == served.key
    assert (len(undecided.session.connections), len(served.session.connections)) == (0, 1)


def test_what_did_not_change_is_the_same_observation(proxy: HAProxy, clients: ExitStack) -> None:
    client = clients.enter_context(proxy.connect("plain"))
    watched = source(proxy)

    async def observe() -> Observation:
        await only(watched, client, states=[STARTED])
        return await until_same(watched)

    assert [item.session.port for item in asyncio.run(observe()).sessions] == [
        client.getsockname()[1]
    ]


def test_the_clients_of_the_stats_sockets_are_left_out(proxy: HAProxy) -> None:
    assert asyncio.run(only(source(proxy))) == []
    whole = source(proxy, include_self="true")
    # The proxy may still show an earlier one, which has just left.
    (own,) = asyncio.run(seen(whole, lambda found: len(found) == 1))
    assert own.session.service == "GLOBAL"


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_links_tell_both_ends_of_both_connections(
    proxy: HAProxy, clients: ExitStack, place: str
) -> None:
    location = f"{proxy.folder}/operator.sock"
    if place == "tcp":
        location = f"//127.0.0.1:{proxy.ports['stats']}"
    linked = open_source(SourceConfig.parse(f"haproxy:{location}?links=true"))
    client = clients.enter_context(proxy.connect("plain", "::1"))

    (item,) = asyncio.run(only(linked, client, states=[STARTED]))

    assert item.accepted is not None
    assert item.accepted.client == client.getsockname()[:2]
    assert item.accepted.server == ("::1", proxy.ports["plain"])
    (wire,) = item.opened
    proxy.listener.settimeout(PATIENCE)
    address = None
    while address != wire.client:  # others are of earlier tests
        backend, address = proxy.listener.accept()
        clients.enter_context(backend)
    assert wire.server == ("127.0.0.1", proxy.ports["server"])
    assert wire.server_id is None
    (plain,) = asyncio.run(only(source(proxy), client))
    assert plain.key == item.key


@pytest.mark.parametrize("name", ["user.sock", "user-number.sock", "user-string.sock"])
def test_a_socket_below_operator_is_named(proxy: HAProxy, name: str) -> None:
    path = f"{proxy.folder}/{name}"
    text = asyncio.run(refusal(HAProxySource(path).observe()))
    assert text == f"{path}: 'show sess' is not allowed on this socket: it requires level operator"


def test_the_masters_socket_is_named(proxy: HAProxy) -> None:
    path = f"{proxy.folder}/master.sock"

    def asked() -> str:
        return asyncio.run(refusal(HAProxySource(path).observe()))

    text = eventually(asked, lambda text: "refused" not in text)  # until the master listens
    assert text == (
        f"{path}: this is HAProxy's master CLI; name a 'stats socket' of its worker instead"
    )


def test_a_port_that_speaks_http_is_named(proxy: HAProxy) -> None:
    place = Address("127.0.0.1", proxy.ports["web"])
    text = asyncio.run(refusal(HAProxySource(place).observe()))
    assert text == f"{place}: this is HTTP, not HAProxy's runtime API; name a 'stats socket'"


def test_a_port_that_speaks_tls_is_named(proxy: HAProxy) -> None:
    place = Address("127.0.0.1", proxy.ports["tls"])
    assert "uses TLS" in asyncio.run(refusal(HAProxySource(place).observe()))


def test_a_port_that_speaks_tls_and_resets_the_connection_is_named(proxy: HAProxy) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(proxy.folder / "tls.pem")

    def refuse(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, pytest.raises(ssl.SSLError):  # and unread data resets it
            context.wrap_socket(client, server_side=True)

    async def refused(listener: socket.socket) -> str:
        refusing = asyncio.to_thread(refuse, listener)
        observing = HAProxySource(Address(*listener.getsockname())).observe()
        _, text = await asyncio.gather(refusing, refusal(observing))
        return text

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "uses TLS" in asyncio.run(refused(listener))


def test_what_cannot_be_connected_to_is_told_from_what_refuses(proxy: HAProxy) -> None:
    places: list[Address | str] = [Address("127.0.0.1", free_port())]
    places.append(f"{proxy.folder}/none.sock")
    for place in places:
        with pytest.raises(SourceConnectError, match=str(place)):
            asyncio.run(HAProxySource(place).observe())
    with pytest.raises(SourceError) as caught:
        asyncio.run(HAProxySource(f"{proxy.folder}/user.sock").observe())
    assert not isinstance(caught.value, SourceConnectError)


# What a proxy sends before its client's first byte: PROXY protocol 1 and 2.
PROXIED = (
    b"PROXY TCP4 203.0.113.9 203.0.113.10 4444 5555\r\n",
    b"PROXY TCP6 2001:db8::9 2001:db8::10 0 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xcb\0\x71\x0a\x11\x5c\x15\xb3",
)


@pytest.mark.parametrize("links", ["false", "true"])
def test_behind_the_proxy_protocol_the_client_is_the_proxy(
    proxy: HAProxy, clients: ExitStack, links: str
) -> None:
    """From HAProxy 2.5 on; and nothing that the proxy sends makes a member unreadable."""
    connections = [clients.enter_context(proxy.connect("proxied")) for _ in PROXIED]
    for connection, header in zip(connections, PROXIED, strict=True):
        connection.sendall(header)
    watched = source(proxy, links=links)
    found = asyncio.run(only(watched, *connections))
    for item, connection in zip(found, connections, strict=True):
        assert (item.session.remote, item.session.port) == connection.getsockname()
        assert item.session.service == "proxied"
        assert item.unreadable == ()
    assert asyncio.run(watched.observe()).unreadable == ()


@pytest.mark.parametrize("links", ["false", "true"])
@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_an_answer_of_many_buffers_is_whole_whatever_clients_send(
    proxy: HAProxy, clients: ExitStack, links: str, place: str
) -> None:
    odd = (b"\0", b"0x1: src=\n\n", b"\xff" * 100, b"GET /%00 HTTP/1.1\r\nHost: fe=x\n\r\n\r\n")
    connections = []
    for number in range(200):
        frontend = "undecided" if number % 2 else "plain"
        connections.append(clients.enter_context(proxy.connect(frontend)))
        connections[-1].sendall(odd[number % len(odd)])
    location = f"{proxy.folder}/operator.sock"
    if place == "tcp":
        location = f"//127.0.0.1:{proxy.ports['stats']}"
    watched = open_source(SourceConfig.parse(f"haproxy:{location}?links={links}"))

    found = asyncio.run(only(watched, *connections))

    assert not any(item.unreadable for item in found)
    assert asyncio.run(watched.observe()).unreadable == ()


def test_a_stopped_process_is_waited_for_and_is_no_restart(
    proxy: HAProxy, clients: ExitStack
) -> None:
    client = clients.enter_context(proxy.connect("plain"))
    watched = source(proxy)

    async def stop_and_go() -> tuple[Observation, Observation]:
        await only(watched, client, states=[STARTED])
        before = await until_same(watched)
        proxy.server.suspend()
        try:
            await hanging(watched)
        finally:
            proxy.server.resume()
        return before, await until_same(watched)

    before, after = asyncio.run(stop_and_go())
    assert [item.key for item in after.sessions] == [item.key for item in before.sessions]
    assert after.incarnation == before.incarnation


def test_a_restart_makes_every_stream_a_new_session(proxy: HAProxy) -> None:
    watched = source(proxy)

    async def restart() -> tuple[Observation, str, Observation]:
        with proxy.connect("plain") as client:
            await only(watched, client)
            before = await watched.observe()
            proxy.server.kill()
            down = await refusal(watched.observe())
        proxy.restart()
        with proxy.connect("plain") as client:
            await only(watched, client)
            return before, down, await watched.observe()

    before, down, after = asyncio.run(restart())
    assert down == f"{proxy.folder}/operator.sock: Connection refused: nothing listens there"
    assert {item.key for item in before.sessions}.isdisjoint(item.key for item in after.sessions)
    assert before.incarnation is not None
    assert after.incarnation is not None
    assert before.incarnation < after.incarnation


@pytest.mark.parametrize("links", ["false", "true"])
def test_an_answer_that_is_cut_is_an_error_and_a_garbled_one_nothing_worse(
    proxy: HAProxy, clients: ExitStack, links: str
) -> None:
    client = clients.enter_context(proxy.connect("plain"))

    async def fail() -> None:
        async with Relay(proxy.ports["stats"]) as relay:
            place = f"127.0.0.1:{relay.port}"
            broken = open_source(SourceConfig.parse(f"haproxy://{place}?links={links}"))
            await only(broken, client)
            for relay.cut_after in (1, 100, 1000, 1500):
                assert (await refusal(broken.observe())).startswith(f"{place}: ")
            relay.cut_after = None
            for relay.garble in range(0, 2000, 50):
                with suppress(SourceError):
                    await broken.observe()
            relay.garble = None
            await only(broken, client)

    asyncio.run(fail())


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("haproxy://127.0.0.1", "haproxy://HOST:PORT"),
        ("haproxy://ann:treasure@127.0.0.1:9999", "haproxy://HOST:PORT"),
        ("haproxy:/run/haproxy.sock?links=yes", "must be true or false"),
        ("haproxy:/run/haproxy.sock?statements=true", "allows: .*links, include_self"),
    ],
)
def test_a_wrong_configuration_is_named(url: str, complaint: str) -> None:
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(SourceConfig.parse(url, {"name": "here"}))
    assert "treasure" not in str(caught.value)
