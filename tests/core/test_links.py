"""Links: ends of one connection are linked, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.collect.links import Links, SessionTcpLinks
from sessiongate.core.sources.base import TcpLink

PROXY, SERVER = ("10.0.0.5", 40000), ("10.0.0.7", 5432)


class Stating:
    """Links, and what each source has stated."""

    def __init__(self) -> None:
        self.links = Links()
        self._stated: dict[str, dict[int, SessionTcpLinks]] = {}
        self.upstream, self.downstream = self.links.upstream, self.links.downstream

    def observe(self, source: str, stated: dict[int, SessionTcpLinks]) -> set[int]:
        """Let a source state these TCP links, by session id, and no others."""
        before = self._stated.get(source, {})
        self._stated[source] = stated
        return self.links.observe(
            [(ident, links) for ident, links in before.items() if stated.get(ident) != links],
            [(ident, links) for ident, links in stated.items() if before.get(ident) != links],
        )


def opened(*wires: TcpLink) -> SessionTcpLinks:
    return SessionTcpLinks(None, wires)


def accepted(wire: TcpLink) -> SessionTcpLinks:
    return SessionTcpLinks(wire, ())


@pytest.mark.parametrize(
    ("by_proxy", "by_server", "linked"),
    [
        (TcpLink(PROXY, SERVER, 77), TcpLink(PROXY, SERVER, 77), True),
        (TcpLink(PROXY, SERVER, 77), TcpLink(PROXY, None, 77), True),
        (TcpLink(PROXY, SERVER), TcpLink(PROXY, SERVER, 77), True),
        (TcpLink(None, SERVER, 77), TcpLink(PROXY, SERVER, 77), True),
        # The server is reached at another address than the proxy's, but states the same id.
        (TcpLink(PROXY, SERVER, 77), TcpLink(PROXY, ("127.0.0.1", 5432), 77), True),
        # A reused port: the server says that it is another connection.
        (TcpLink(PROXY, SERVER, 77), TcpLink(PROXY, SERVER, 78), False),
        # The same client end, to another server, or to an unknown one.
        (TcpLink(PROXY, SERVER), TcpLink(PROXY, ("10.0.0.8", 5432)), False),
        (TcpLink(PROXY, SERVER), TcpLink(PROXY, None), False),
        (TcpLink(PROXY, None), TcpLink(PROXY, None), False),
        # Behind address translation the ends differ.
        (TcpLink(PROXY, SERVER, 77), TcpLink(("192.0.2.1", 40000), SERVER, 77), False),
        (TcpLink(None, SERVER, 77), TcpLink(PROXY, None, 77), False),
        (TcpLink(None, SERVER, None), TcpLink(None, SERVER, None), False),
    ],
)
def test_wires_are_one_connection(by_proxy: TcpLink, by_server: TcpLink, linked: bool) -> None:
    links = Stating()
    assert links.observe("proxy", {1: opened(by_proxy)}) == set()
    assert links.observe("server", {2: accepted(by_server)}) == ({1, 2} if linked else set())
    assert links.upstream(1) == ([2] if linked else [])
    assert links.downstream(2) == ([1] if linked else [])


def test_a_wire_that_two_sessions_answer_to_is_linked_to_none() -> None:
    links = Stating()
    wire = TcpLink(PROXY, SERVER)
    links.observe("proxy", {1: opened(wire)})
    links.observe("one", {2: accepted(wire)})
    assert links.observe("other", {3: accepted(wire)}) == {1, 2}
    assert links.upstream(1) == []
    assert links.observe("one", {}) == {1, 3}
    assert links.upstream(1) == [3]


def test_a_chain_is_linked_tier_by_tier() -> None:
    near, far = TcpLink(("10.0.0.1", 1), ("10.0.0.2", 2)), TcpLink(("10.0.0.2", 3), ("10.0.0.3", 4))
    links = Stating()
    links.observe("haproxy", {1: opened(near)})
    links.observe("pgbouncer", {2: SessionTcpLinks(near, (far,))})
    links.observe("postgresql", {3: accepted(far)})
    assert (links.upstream(1), links.upstream(2), links.upstream(3)) == ([2], [3], [])
    assert (links.downstream(1), links.downstream(2), links.downstream(3)) == ([], [1], [2])


def test_the_last_link_of_a_session_is_known_until_it_ends() -> None:
    near, far = TcpLink(("10.0.0.1", 1), ("10.0.0.2", 2)), TcpLink(("10.0.0.2", 3), ("10.0.0.3", 4))
    links = Stating()
    links.observe("proxy", {1: SessionTcpLinks(None, (near, far))})
    links.observe("server", {2: accepted(near), 3: accepted(far)})
    assert links.links.last_of(1) == ((2, 3), ())
    links.observe("server", {3: accepted(far)})
    assert links.links.last_of(1) == ((3,), ())
    links.observe("server", {})
    assert links.links.of(1) == ((), ())
    assert links.links.last_of(1) == ((3,), ())
    links.observe("server", {4: accepted(near)})
    assert links.links.last_of(1) == ((4,), ())
    links.observe("server", {})
    for ident in (1, 2, 3, 4):
        links.links.forget(ident)
        assert links.links.last_of(ident) == ((), ())


ends = st.sampled_from([None, PROXY, ("10.0.0.6", 40001)])
wires = st.builds(TcpLink, ends, st.sampled_from([None, SERVER]), st.sampled_from([None, 77, 78]))
states = st.builds(SessionTcpLinks, st.none() | wires, st.lists(wires, max_size=2).map(tuple))


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.dictionaries(st.integers(0, 3), states)), max_size=12
    )
)
def test_links_depend_on_what_is_stated_now_and_changes_are_told(
    steps: list[tuple[str, dict[int, SessionTcpLinks]]],
) -> None:
    links = Stating()
    now: dict[str, dict[int, SessionTcpLinks]] = {}
    seen: dict[int, tuple[list[int], list[int]]] = {}
    everyone = [base + n for base in (10, 20, 30) for n in range(4)]
    for source, stated in steps:
        now[source] = {ident + 10 * (1 + "abc".index(source)): w for ident, w in stated.items()}
        stated = now[source]
        changed = links.observe(source, stated)
        fresh = Stating()
        for name, wires_of in sorted(now.items()):
            fresh.observe(name, wires_of)
        for ident in everyone:
            found = (links.upstream(ident), links.downstream(ident))
            assert found == (fresh.upstream(ident), fresh.downstream(ident))
            if found != seen.get(ident, ([], [])):
                assert ident in changed
            seen[ident] = found
            for upstream in found[0]:
                assert ident in links.downstream(upstream)
    for source in now:
        links.observe(source, {})
    assert not any(map(links.upstream, everyone))
