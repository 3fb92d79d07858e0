"""Acting on the streams of a real HAProxy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from sessiongate.core.sources.base import (
    ActError,
    ActFault,
    Action,
    SourceConfig,
    SourceConfigError,
    Target,
    open_source,
)
from sessiongate.core.sources.haproxy import HAProxySource
from tests.core.acting import struck
from tests.haproxy import HAProxy, haproxy
from tests.servers import PATIENCE


@pytest.fixture(scope="module")
def proxy() -> Iterator[HAProxy]:
    with haproxy() as running:
        yield running


def opened(proxy: HAProxy, **options: str) -> HAProxySource:
    """Open a source that reads through one socket and acts through another."""
    options = {
        "actions": "terminate",
        "best_effort": "true",
        "action_socket": f"{proxy.folder}/admin.sock",
        **options,
    }
    config = SourceConfig.parse(f"haproxy:{proxy.folder}/operator.sock", options)
    source = open_source(config)
    assert isinstance(source, HAProxySource)
    return source


async def target(source: HAProxySource, client: socket.socket) -> Target:
    """Return a client's session as a target, once it is shown."""
    port = client.getsockname()[1]
    async with asyncio.timeout(PATIENCE):
        while True:
            observation = await source.observe()
            for item in observation.sessions:
                if item.session.port == port:
                    return Target(item, item.session, observation.incarnation)


def is_alive(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


async def until_closed(client: socket.socket) -> None:
    async with asyncio.timeout(PATIENCE):
        while is_alive(client):  # noqa: ASYNC110 - its end is looked for, not told
            await asyncio.sleep(0.01)


def test_the_right_one_of_two_equal_sessions_ends(proxy: HAProxy) -> None:
    async def test() -> None:
        source = opened(proxy)
        with proxy.connect("plain") as one, proxy.connect("plain") as other:
            aimed = await target(source, one)
            assert await struck(source, Action.TERMINATE, aimed) is None
            await until_closed(one)
            assert is_alive(other)
            assert await struck(source, Action.TERMINATE, aimed) is ActFault.GONE
        await source.close()

    asyncio.run(test())


def test_a_pointer_that_is_another_sessions_by_now_hits_nobody(proxy: HAProxy) -> None:
    async def test() -> None:
        source = opened(proxy)
        with proxy.connect("plain") as client:
            aimed = await target(source, client)
            for word in ("1", "0x1234", "web", "127.0.0.9:1"):
                words = aimed.item.key.split(" ")
                for place in range(4):
                    changed = [*words[:place], word, *words[place + 1 :]]
                    item = type(aimed.item)(" ".join(changed), aimed.session)
                    fault = await struck(source, Action.TERMINATE, replace(aimed, item=item))
                    assert fault is ActFault.GONE
            # The same in everything but its age.
            session = type(aimed.session)()
            session.CopyFrom(aimed.session)
            session.connect_time.seconds -= 3600
            older = replace(aimed, session=session)
            assert await struck(source, Action.TERMINATE, older) is ActFault.GONE
            assert is_alive(client)
        await source.close()

    asyncio.run(test())


def test_who_comes_between_look_and_act_is_hit_and_that_is_told(proxy: HAProxy) -> None:
    async def test() -> None:
        source = opened(proxy)
        came = []
        with proxy.connect("plain") as client:
            aimed = await target(source, client)
            async with source.aim(Action.TERMINATE, aimed) as strike:
                client.close()
                pointer = aimed.session.native_id
                async with asyncio.timeout(PATIENCE):
                    while True:  # until a stream is given its pointer
                        came.append(proxy.connect("plain"))
                        found = await target(source, came[-1])
                        if found.session.native_id == pointer:
                            break
                with pytest.raises(ActError) as caught:
                    await strike()
            assert caught.value.fault is ActFault.HIT_ANOTHER
            await until_closed(came[-1])
            assert all(map(is_alive, came[:-1]))
        for each in came:
            with suppress(OSError):
                each.close()
        await source.close()

    asyncio.run(test())


def test_a_socket_of_another_level_refuses(proxy: HAProxy) -> None:
    async def test() -> None:
        source = opened(proxy, action_socket=f"{proxy.folder}/operator.sock")
        with proxy.connect("plain") as client:
            aimed = await target(source, client)
            async with source.aim(Action.TERMINATE, aimed) as strike:
                with pytest.raises(ActError, match="requires level admin; name such a socket"):
                    await strike()
            assert is_alive(client)
        await source.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"actions": "terminate"}, "add best_effort = true if you accept that"),
        ({"actions": "cancel", "best_effort": "true"}, "haproxy allows: terminate"),
        ({"best_effort": "true"}, "best_effort has no effect without actions"),
        ({"action_socket": "/x"}, "action_socket has no effect without actions"),
        (
            {"actions": "terminate", "best_effort": "true", "action_socket": "//h"},
            "haproxy://HOST:PORT",
        ),
    ],
)
def test_a_risk_must_be_accepted(options: dict[str, str], expected: str) -> None:
    with pytest.raises(SourceConfigError, match=expected):
        open_source(SourceConfig.parse("haproxy:/run/haproxy.sock", options))
