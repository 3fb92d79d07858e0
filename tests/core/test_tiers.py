"""A client through a real HAProxy to a real MariaDB: two sessions linked by a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sessiongate.core.collect.links import Links, SessionTcpLinks
from sessiongate.core.sources.base import Observed, SourceConfig
from sessiongate.core.sources.haproxy import open_source
from tests.core.observing import seen
from tests.haproxy import haproxy
from tests.mariadb import mariadb, only, opened, run

PROXY, SERVER = 1000, 2000  # the first ids of either's sessions


def wires(found: Iterable[Observed], first: int) -> dict[int, SessionTcpLinks]:
    return {
        ident: SessionTcpLinks(item.accepted, item.opened)
        for ident, item in enumerate(found, first)
    }


def test_a_client_is_followed_through_the_proxy_to_the_server() -> None:
    with mariadb() as server, haproxy(server.port) as proxy:
        url = f"haproxy:{proxy.folder}/operator.sock?links=true"
        edge = open_source(SourceConfig.parse(url))

        async def observe() -> tuple[list[Observed], list[Observed]]:
            async with (
                server.client() as direct,
                server.client(port=proxy.ports["plain"]) as one,
                server.client(port=proxy.ports["plain"], host="::1") as another,
                opened(server) as source,
            ):
                # One request each, so that all three are in place.
                for client in (direct, one, another):
                    assert await run(client, "SELECT 1") == [(1,)]
                behind = await only(source, direct, one, another)
                return await seen(edge, lambda found: len(found) == 2), behind

        proxied, behind = asyncio.run(observe())
    links = Links()
    links.observe((), [*wires(proxied, PROXY).items(), *wires(behind, SERVER).items()])
    # Both may list them in different orders; the addresses identify them.
    assert links.downstream(SERVER) == []
    pairs = [(links.upstream(PROXY), PROXY), (links.upstream(PROXY + 1), PROXY + 1)]
    assert sorted(upstream for upstream, _ in pairs) == [[SERVER + 1], [SERVER + 2]]
    for (upstream,), ident in pairs:
        assert links.downstream(upstream) == [ident]
        assert behind[upstream - SERVER].session.remote == "127.0.0.1"
        (wire,) = proxied[ident - PROXY].opened
        assert wire.client == ("127.0.0.1", behind[upstream - SERVER].session.port)
