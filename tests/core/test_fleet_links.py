"""A front links sessions of several cores, and only those that share a network or a machine."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sessiongate.core.collect.links import UNLINKED, Linked
from sessiongate.core.collect.scopes import Scopes, machine_name
from sessiongate.core.follow.fleet_links import CoreLinks, FleetLinks
from sessiongate.core.sources.base import SourceConfig, TcpLink
from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.v1.session_pb2 import Session
from tests.core.test_follow import Fronted, _becomes, run
from tests.garbage import searched, visited

CLIENT, PORT = 40_000, 5432


def proxied(
    url: str, network: str, machine: str, opened: Iterable[TcpLink], ident: int = 1
) -> Session:
    return stated(Session(id=ident, source="proxy"), url, network, machine, None, opened)


def served(
    url: str, network: str, machine: str, accepted: TcpLink, ident: int = 2, source: str = "db"
) -> Session:
    return stated(Session(id=ident, source=source), url, network, machine, accepted, ())


def stated(
    session: Session,
    url: str,
    network: str,
    machine: str,
    accepted: TcpLink | None,
    opened: Iterable[TcpLink],
) -> Session:
    """Return a session with its TCP links, as a core states them that reads it from a URL."""
    scopes = Scopes(network, machine).of(SourceConfig.parse(url))
    scopes.state(session, accepted, opened)
    return session


def link(client: str, server: str | None, ident: int | None = None) -> TcpLink:
    return TcpLink((client, CLIENT), None if server is None else (server, PORT), ident)


def links(stage: Fronted, ident: int) -> Linked:
    row = stage.table.row(ident)
    assert row is not None
    return tuple(row.session.upstream_ids), tuple(row.session.downstream_ids)


HERE, AWAY = "haproxy:/run/haproxy.sock", "postgresql://10.0.0.5"
LOOPBACK = link("127.0.0.1", "127.0.0.1")
PRIVATE = link("10.0.0.9", "10.0.0.5")
PUBLIC = link("8.8.8.8", "9.9.9.9")
LOCAL = link("fe80::1", "fe80::2", 7)
CASES = {
    "the same network": (PRIVATE, ("east", "m1"), ("east", "m2"), HERE, True),
    "another network": (PRIVATE, ("east", "m1"), ("west", "m2"), HERE, False),
    "unique addresses": (PUBLIC, ("east", "m1"), ("west", "m2"), HERE, True),
    "loopback of one machine": (LOOPBACK, ("east", "m1"), ("west", "m1"), HERE, True),
    "loopback of two machines": (LOOPBACK, ("east", "m1"), ("east", "m2"), HERE, False),
    "loopback of a machine elsewhere": (LOOPBACK, ("east", "m1"), ("east", "m1"), AWAY, False),
    "addresses of one wire": (LOCAL, ("east", "m1"), ("east", "m2"), HERE, False),
}


@pytest.mark.parametrize("case", CASES)
def test_sessions_of_two_cores_are_linked_by_what_means_the_same_to_both(case: str) -> None:
    wire, one, other, url, is_linked = CASES[case]

    async def test(stage: Fronted) -> None:
        first, second = stage.core("proxy"), stage.core("db")
        stage.front.follow(
            {
                "one": await first.serve([proxied(HERE, *one, [wire])]),
                "two": await second.serve([served(url, *other, wire)]),
            }
        )
        await _becomes(lambda: stage.ids() == [1, 2])
        expected = (((2,), ()), ((), (1,))) if is_linked else (UNLINKED, UNLINKED)
        await _becomes(lambda: (links(stage, 1), links(stage, 2)) == expected)

    run(test)


def test_links_between_cores_come_and_go_with_either_end() -> None:
    async def test(stage: Fronted) -> None:
        east = HERE, "east", "m1"
        one, two, again = stage.core("proxy"), stage.core("db"), stage.core("db")
        proxy = proxied(*east, [PRIVATE])
        proxy.upstream_ids.append(3)  # as the core itself has found
        own = Session(id=3, source="proxy", downstream_ids=[1])
        cores = {
            "one": await one.serve([proxy, own]),
            "two": await two.serve([served(*east, PRIVATE)]),
        }
        stage.front.follow(cores)
        both = ((2, 3), ()), ((), (1,))
        await _becomes(lambda: stage.ids() == [1, 2, 3])
        await _becomes(lambda: (links(stage, 1), links(stage, 2)) == both)
        before = stage.table.revision
        await two.server.stop(0)
        fresh = Session(id=4, source="db")
        same = await again.serve([served(*east, PRIVATE), fresh])
        stage.front.follow({**cores, "two": same})
        await _becomes(lambda: 4 in stage.table)
        steps = stage.table.log.between(before, stage.table.revision)
        assert [row.id for step in steps for row in step.new if row is not None] == [4]
        # A second session that states the same connection: which one is right is not known.
        again.table.apply([served(*east, PRIVATE, ident=5)], ())
        await _becomes(lambda: 5 in stage.table)
        assert [links(stage, ident) for ident in (1, 2, 5)] == [((3,), ()), UNLINKED, UNLINKED]
        again.table.apply([], [5])
        await _becomes(lambda: (links(stage, 1), links(stage, 2)) == both)
        one.table.apply([proxied(*east, [])], ())
        await _becomes(lambda: (links(stage, 1), links(stage, 2)) == (UNLINKED, UNLINKED))
        one.table.apply([proxied(*east, [PRIVATE])], ())
        await _becomes(lambda: links(stage, 1) == ((2,), ()))
        again.table.apply([], [2])
        await _becomes(lambda: 2 not in stage.table)
        assert links(stage, 1) == UNLINKED

    run(test)


def test_a_core_that_takes_over_may_state_other_links() -> None:
    """A front's additions to a session are taken neither for the core's nor for a change."""

    async def test(stage: Fronted) -> None:
        east = HERE, "east", "m1"
        proxy, own = proxied(*east, [PRIVATE]), Session(id=3, source="proxy")
        linked, also = proxied(*east, [PRIVATE]), Session(id=3, source="proxy", downstream_ids=[1])
        linked.upstream_ids.append(3)
        taken, claimed = (proxied(*east, [PRIVATE]) for _ in range(2))
        claimed.upstream_ids.append(2)
        two = await stage.core("db").serve([served(*east, PRIVATE)])
        shown = ((2,), ()), UNLINKED
        for number, (sessions, expected, changed) in enumerate(
            [
                ([linked, also], (((2, 3), ()), ((), (1,))), None),
                ([proxy, own], shown, [1, 3]),
                ([taken, own], shown, []),
                ([claimed, own], shown, [1]),
                ([taken, own], shown, [1]),
            ]
        ):
            before, fresh = stage.table.revision, Session(id=10 + number, source="proxy")
            one = await stage.core("proxy").serve([*sessions, fresh])
            stage.front.follow({"one": one, "two": two})
            await _becomes(lambda: {2, fresh.id} <= {*stage.ids()})  # noqa: B023 - at once
            await _becomes(lambda: (links(stage, 1), links(stage, 3)) == expected)  # noqa: B023
            if changed is not None:
                steps = stage.table.log.between(before, stage.table.revision)
                rows = {row.id for step in steps for row in step.new if row is not None}
                assert sorted(rows - {fresh.id}) == changed

    run(test)


def test_what_a_core_states_is_bounded_and_read_with_care() -> None:
    many = [link(f"10.0.{n // 250}.{n % 250}", "10.0.0.5", n) for n in range(1000)]
    session = proxied(HERE, "east", "m1", many)
    assert len(session.tcp_links.opened) == 100
    assert session.tcp_links.opened[1].client == "10.0.0.1@east:40000"
    (shared,) = proxied(
        "postgresql://127.0.0.1?shared=true&name=x", "n", "m", [LOOPBACK]
    ).tcp_links.opened
    assert shared.server == "127.0.0.1@n/source/x:5432", "not that of a host named x"
    (away,) = proxied("pgbouncer://U@DB.example:6432", "n", "m", [LOOPBACK]).tcp_links.opened
    assert away.client == "127.0.0.1@n/db.example:40000"
    for written, scoped in {
        "::ffff:127.0.0.1": "127.0.0.1@m1",
        "::ffff:8.8.8.8": "8.8.8.8",
        "0:0:0:0:0:0:0:1": "::1@m1",
        "64:ff9b::10.0.0.5": "64:ff9b::a00:5@east",
        "64:ff9b:1::5": "64:ff9b:1::5@east",
        "2002:a00:5::1": "2002:a00:5::1@east",
        "fd00::1": "fd00::1@east",
        "2606:4700::1": "2606:4700::1",
        "db": "db@m1",
    }.items():
        (opened,) = proxied(HERE, "east", "m1", [link(written, None)]).tcp_links.opened
        assert opened.client == f"{scoped}:{CLIENT}"
    assert machine_name() == machine_name()

    async def test(stage: Fronted) -> None:
        core = stage.core("db")
        odd = Session(id=1, source="db")
        for text in ("", "x", ":1", "1.2.3.4:", "1.2.3.4:٣", "a:b:c", "1.2.3.4:" + 5000 * "9"):
            odd.tcp_links.opened.add(client=text, server=text)
        stage.front.follow({"one": await core.serve([odd])})
        await _becomes(lambda: stage.ids() == [1])
        assert links(stage, 1) == UNLINKED

    run(test)


def test_nothing_is_kept_of_the_links_of_a_session_that_has_ended() -> None:
    """Its core may have stopped stating its TCP links before, as of one that is cut."""
    kept, east = FleetLinks(MAX_SESSION), (HERE, "east", "m1")
    proxy, server = proxied(*east, [PRIVATE]), served(*east, PRIVATE)
    kept.change({each.id: CoreLinks.of(each) for each in (proxy, server)}, ())
    assert kept.of(1, kept.stated(1)) == ((2,), ())
    proxy.ClearField("tcp_links")
    proxy.upstream_ids.append(3)
    assert kept.change({1: CoreLinks.of(proxy)}, ()) == {1, 2}
    assert kept.change({}, [1, 2]) == set()
    empty = FleetLinks(MAX_SESSION)
    left = {**vars(kept._links), "changes": empty._links.changes}  # which are counted for ever
    assert left == vars(empty._links)
    assert not kept._stated


def test_no_search_for_garbage_visits_what_cores_state_of_each_session() -> None:
    count, east, kept = 1000, (HERE, "east", "m1"), FleetLinks(MAX_SESSION)
    before, objects = visited(), searched()
    upserts: dict[int, CoreLinks] = {}
    for number in range(count):
        wire = TcpLink(("10.0.0.9", number), ("10.0.0.5", PORT))
        proxy, server = proxied(*east, [wire], 2 * number), served(*east, wire, 2 * number + 1)
        proxy.downstream_ids.append(3 * count)
        upserts |= {each.id: CoreLinks.of(each) for each in (proxy, server)}
    kept.change(upserts, ())
    assert kept.of(0, kept.stated(0)) == ((1,), (3 * count,))
    upserts.clear()
    assert visited() - before < count
    assert searched() - objects < count / 10
