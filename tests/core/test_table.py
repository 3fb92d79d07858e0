"""The table by properties: pages under churn, revisions, filters compared with a plain scan."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.errors import InvalidRequestError
from sessiongate.core.table import filtered, indexes
from sessiongate.core.table.addresses import network_of
from sessiongate.core.table.draft import Draft
from sessiongate.core.table.filter import RowFilter
from sessiongate.core.table.mask import Mask
from sessiongate.core.table.query import MAX_PAGE_SIZE, SessionQuery
from sessiongate.core.table.row import Group, Row
from sessiongate.core.table.table import MAX_PAGE_BYTES, Page, SessionTable
from sessiongate.runtime import sorted_sequence
from sessiongate.runtime.turns import Steps, finished
from sessiongate.v1.session_pb2 import Activity, ActivityState, Session, SessionState
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
)

ORDERS = ["", "id", "id desc", "connect_time", "connect_time desc"]


def make(ident: int, time: int = 0, **fields: str) -> Session:
    session = Session(id=ident, connect_time=Timestamp(seconds=time), **fields)  # type: ignore[arg-type] # str fields only
    session.source = fields.get("source", "fake")
    return session


def table_of(*sessions: Session) -> SessionTable:
    table = SessionTable(["fake"], 1000, Timestamp)
    table.apply(sessions, [])
    return table


def row_of(session: Session) -> Row:
    ident, body, place, address, values, *_ = Draft.of(session)
    return Row(ident, place, address, Group(values), body, Timestamp())


WHO = {"user": "ann", "remote": "10.0.0.1", "service": "shop", "database": "stock"}


def test_the_identity_revision_stays_as_long_as_the_session_is_who_it_is() -> None:
    table = table_of(make(1, 0, **WHO))

    def show(**changes: str) -> Session:
        table.apply([make(1, 0, **{**WHO, **changes})], [])
        session = table.get(1)
        assert session is not None
        assert session.revision == table.revision
        return session

    first = show()
    assert first.identity_revision == 1001
    assert show(application="psql", native_id="7").identity_revision == 1001
    assert show(remote="::ffff:10.0.0.1").identity_revision == 1001, "another spelling"
    for name in WHO:
        changed = show(**{name: "10.0.0.2"})
        assert changed.identity_revision == changed.revision, name
        assert show(**{name: "10.0.0.2"}, application="psql").identity_revision < table.revision
        show()
    table.apply([], [1])
    back = show()
    assert back.identity_revision == back.revision


def sessions_of(page: Page) -> list[Session]:
    return list(ListSessionsResponse.FromString(b"".join(page.pieces)).sessions)


def ids_of(table: SessionTable, request: ListSessionsRequest) -> list[int]:
    """Return all matching ids, walking page by page."""
    found: list[int] = []
    while True:
        page = finished(table.page(SessionQuery.parse(request)))
        found += [session.id for session in sessions_of(page)]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


changes = st.lists(
    st.tuples(st.sets(st.integers(1, 60), max_size=8), st.sets(st.integers(1, 60), max_size=8)),
    max_size=12,
)


@given(changes=changes, order=st.sampled_from(ORDERS), size=st.integers(1, 7))
def test_pages_under_churn_list_what_stays_exactly_once(
    changes: list[tuple[set[int], set[int]]], order: str, size: int
) -> None:
    rng = random.Random(7)
    times = {ident: rng.randrange(5) for ident in range(1, 61)}
    stays = set(range(1, 61, 3))
    table = table_of(*(make(ident, times[ident]) for ident in sorted(stays)))
    request = ListSessionsRequest(order_by=order, page_size=size)
    found: list[int] = []
    script = iter(changes)
    while True:
        page = finished(table.page(SessionQuery.parse(request)))
        found += [session.id for session in sessions_of(page)]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        added, removed = next(script, (set(), set()))
        before = table.revision
        table.apply([make(i, times[i]) for i in sorted(added)], removed - stays)
        assert table.revision >= before + len(added)
    assert len(found) == len(set(found)), "no session twice"
    assert stays <= set(found), "none missed that stayed"
    time_first = order.startswith("connect_time")
    keys = [(times[i] if time_first else 0, i) for i in found]
    assert keys == sorted(keys, reverse=order.endswith("desc"))


@given(changes=changes)
def test_the_orders_hold_exactly_the_sessions(changes: list[tuple[set[int], set[int]]]) -> None:
    table = table_of()
    live: set[int] = set()
    top = table.revision
    for added, removed in changes:
        table.apply([make(i, i % 5) for i in sorted(added)], removed)
        live = (live - removed) | added
        for order in ORDERS:
            assert set(ids_of(table, ListSessionsRequest(order_by=order))) == live
        revisions = [s.revision for i in live if (s := table.get(i)) is not None]
        assert len(set(revisions)) == len(revisions)
        assert max(revisions, default=0) <= table.revision
        assert table.revision >= top
        top = table.revision
    assert len(table) == len(live)


@given(idents=st.sets(st.integers(1, 2**63)), revision=st.integers(0, 2**62))
def test_what_was_encoded_beforehand_is_the_session(idents: set[int], revision: int) -> None:
    table = SessionTable([], revision, lambda: Timestamp(seconds=1_700_000_000, nanos=1))
    sessions = [make(ident, 5, user="ü") for ident in sorted(idents)]
    table.show([*map(Draft.of, sessions)], ())
    for number, session in enumerate(sessions, start=1):
        decoded = ListSessionsResponse.FromString(table.piece(session.id) or b"").sessions
        session.revision = session.identity_revision = revision + number
        session.update_time.CopyFrom(Timestamp(seconds=1_700_000_000, nanos=1))
        assert [*decoded] == [session] == [table.get(session.id)]
        assert session.id in table
    assert 2**63 + 1 not in table


IPV4 = ["10.0.0.1", "10.1.0.1", "192.168.1.9", "::ffff:10.0.0.9"]
IPV6 = ["::1", "2001:db8::5", "fe80::1%eth0"]
REMOTES = [*IPV4, *IPV6, "/run/s", "db.example", "10.0.0.01", "10.0.0.1\0", ""]
NETWORKS = {
    "10.0.0.0/8": {"10.0.0.1", "10.1.0.1", "::ffff:10.0.0.9"},
    "10.0.0.1": {"10.0.0.1"},
    "0.0.0.0/0": {*IPV4},
    "::/0": {*IPV6},
    "fe80::1": {"fe80::1%eth0"},
    "::ffff:10.0.0.9": {"::ffff:10.0.0.9"},
    "::ffff:10.0.0.0/112": {"10.0.0.1", "::ffff:10.0.0.9"},
    "::ffff:0:0/96": {"10.0.0.1", "10.1.0.1", "192.168.1.9", "::ffff:10.0.0.9"},
}


@settings(max_examples=60)
@given(
    networks=st.sets(st.sampled_from(sorted(NETWORKS))),
    services=st.sets(st.sampled_from(["a", "b", "c"])),
    users=st.sets(st.sampled_from(["x", "y"])),
    databases=st.sets(st.sampled_from(["p", "q"])),
    applications=st.sets(st.sampled_from(["v", ""])),
    after=st.none() | st.integers(0, 10),
    before=st.none() | st.integers(0, 10),
)
def test_a_filter_matches_what_a_plain_reading_of_it_matches(
    networks: set[str],
    services: set[str],
    users: set[str],
    databases: set[str],
    applications: set[str],
    after: int | None,
    before: int | None,
) -> None:
    rng = random.Random(3)
    sessions = []
    for ident in range(1, 80):
        session = make(ident, rng.randrange(11), service=rng.choice("abc"))
        session.remote = rng.choice(REMOTES)
        if rng.random() < 0.7:
            session.user = rng.choice("xy")
        if rng.random() < 0.7:
            session.database = rng.choice("pq")
        if rng.random() < 0.7:
            session.application = rng.choice(["v", "w", ""])
        sessions.append(session)
    wanted = SessionFilter(
        services=services,
        users=users,
        remotes=networks,
        databases=databases,
        applications=applications,
    )
    if after is not None:
        wanted.connected_after.FromSeconds(after)
    if before is not None:
        wanted.connected_before.FromSeconds(before)
    expected = [
        session.id
        for session in sessions
        if (not services or session.service in services)
        and (not users or (session.HasField("user") and session.user in users))
        and (not databases or (session.HasField("database") and session.database in databases))
        and (
            not applications
            or (session.HasField("application") and session.application in applications)
        )
        and (not networks or any(session.remote in NETWORKS[network] for network in networks))
        and (after is None or session.connect_time.seconds >= after)
        and (before is None or session.connect_time.seconds < before)
    ]
    table = table_of(*sessions)
    request = ListSessionsRequest(filter=wanted, page_size=7)
    assert finished(table.page(SessionQuery.parse(request))).total_size == len(expected)
    assert ids_of(table, request) == expected


networks_ = st.one_of(
    st.ip_addresses().map(str),
    st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 40)),
    st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 140)),
    st.builds("10.{}.0.0/{}".format, st.integers(0, 3), st.integers(8, 24)),
    st.builds("::ffff:10.{}.0.0/{}".format, st.integers(0, 3), st.integers(90, 120)),
    st.sampled_from(["10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "10.0.0.0/", "1.2.3.4/٨"]),
    st.sampled_from(["10.0.0.0/0.0.0.0", "1.2.3.4/255.255.255.255", "10.0.0.0/255.0.255.0"]),
    st.sampled_from(["fe80::%1/64", "fe80::%/64", "fe80::1%a%b", "1.2.3.4%a", "::/255.0.0.0"]),
    st.sampled_from(["fe80::1%eth0", "fe80::/64", "::ffff:0:0/95", "0.0.0.0/1", "10.0.0.0/08"]),
    st.text(max_size=5),
)


@given(networks=st.lists(networks_, max_size=12), remotes=st.lists(networks_, max_size=12))
def test_networks_are_those_of_the_standard_library(
    networks: list[str], remotes: list[str]
) -> None:
    known = []
    for text in networks:
        valid = True
        try:
            known.append(ip_network(text))
        except ValueError:
            valid = False
        try:
            SessionQuery.parse(ListSessionsRequest(filter=SessionFilter(remotes=[text])))
        except InvalidRequestError:
            assert not valid, text
        else:
            assert valid, text
    if not known:
        return
    wanted = RowFilter(SessionFilter(), [network_of(str(network)) for network in known])
    for remote in (*remotes, "10.0.0.1", "::ffff:10.1.0.1", "10.3.255.255", "fe80::1%eth0"):
        try:
            address = ip_address(remote.partition("%")[0])
        except ValueError:
            assert not wanted.matches(row_of(Session(remote=remote)))
            continue
        # An IPv4-mapped IPv6 address, and a network of such alone, count as IPv4.
        mapped = getattr(address, "ipv4_mapped", None)
        expected = any((mapped or address) in _unclothed(network) for network in known)
        assert wanted.matches(row_of(Session(remote=remote))) == expected, remote


def _unclothed(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def test_a_page_is_of_the_table_at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change while a page is made is in all of it, or in none of it."""
    monkeypatch.setattr(filtered, "_LOOKED_AT", 50)
    monkeypatch.setattr(filtered, "_SHORT", 10)
    monkeypatch.setattr(sorted_sequence, "_LONGEST", 64)
    monkeypatch.setattr(sorted_sequence, "_BLOCK", 32)
    table = table_of(*(make(ident, ident, service="a") for ident in range(1, 1001)))
    for request in (
        ListSessionsRequest(filter=SessionFilter(services=["a"])),
        ListSessionsRequest(read_mask=FieldMask(paths=["id", "service", "revision"])),
        ListSessionsRequest(order_by="connect_time", filter=SessionFilter(services=["a"])),
        ListSessionsRequest(filter=SessionFilter(connected_after=Timestamp(seconds=901))),
    ):
        steps = table.page(SessionQuery.parse(request))
        next(steps)
        states = {table.revision: matching(table, request)}
        removed = [ident for ident in range(1, 1001) if table.get(ident)][::7]
        table.apply([make(ident, ident, service="b") for ident in range(3, 1001, 10)], removed)
        states[table.revision] = matching(table, request)
        page = finished(steps)
        assert [session.id for session in sessions_of(page)] == states[page.rest.revision]
        assert page.total_size == len(states[page.rest.revision])
        table.apply([make(ident, ident, service="a") for ident in range(1, 1001)], [])


@pytest.mark.parametrize(
    "wanted",
    [
        SessionFilter(services=["a"]),
        SessionFilter(remotes=["10.0.0.0/25", "10.0.0.128/26", "10.0.0.192/26"]),
    ],
)
def test_what_a_filter_names_is_looked_up_while_it_changes(
    wanted: SessionFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "_LOOKED_UP", 1)

    def some(idents: range, service: str, net: int) -> list[Session]:
        return [
            make(ident, user=f"{ident}", service=service, remote=f"10.0.{net}.{ident}")
            for ident in idents
        ]

    table = table_of(*some(range(1, 201), "a", 0))
    request = ListSessionsRequest(filter=wanted)
    steps = table.page(SessionQuery.parse(request))
    for turn in range(5):
        for _ in range(30):
            next(steps)
        left = range(1 + turn, 201, 7)
        table.apply(some(range(2 + turn, 201, 7), "b", 1), left)
        table.apply(some(range(201 + turn, 251, 7), "a", 0), ())
    page = finished(steps)
    assert page.rest.revision == table.revision
    assert [session.id for session in sessions_of(page)] == matching(table, request)
    assert page.total_size == len(matching(table, request)) > 0


def test_a_page_begins_again_if_the_log_has_lost_what_it_would_show() -> None:
    table = SessionTable(["fake"], 1000, Timestamp, log_bytes=2000)
    table.apply([make(ident, ident, service="a") for ident in range(1, 2001)], [])
    steps = table.page(SessionQuery.parse(ListSessionsRequest(page_size=2000)))
    next(steps)
    table.apply([make(ident, ident, service="b") for ident in range(1, 2001, 10)], [2])
    table.apply([make(ident, ident, service="c") for ident in range(1991, 2001)], [])
    page = finished(steps)
    assert page.rest.revision == table.revision
    now = [row.session for row in table.following(0, 2000)]
    assert sessions_of(page) == now
    assert {session.service for session in now} == {"a", "b", "c"}


def matching(table: SessionTable, request: ListSessionsRequest) -> list[int]:
    """Return the ids of the sessions that match, found by trying them all."""
    wanted = SessionQuery.parse(request).matching
    rows = table.following(0, len(table))
    return [row.id for row in rows if wanted is None or wanted.matches(row)]


_PATHS = [field.name for field in Session.DESCRIPTOR.fields]
_PATHS += [
    f"{time}.{part}" for time in ("connect_time", "update_time") for part in ("seconds", "nanos")
]


@given(paths=st.lists(st.sampled_from(_PATHS), min_size=1, max_size=40), full=st.booleans())
def test_a_mask_does_what_the_librarys_does(paths: list[str], full: bool) -> None:
    session = make(3, 5, service="a")
    if full:
        session.connect_time.nanos, session.user, session.port = 7, "", 0
        session.connections.add(server="s")
        session.connection_attributes["a"] = "b"
        session.known_empty.append("queries")
    expected = Session()
    FieldMask(paths=paths).MergeMessage(session, expected)
    assert Mask.of(paths).apply(session) == expected


def test_a_filtered_list_follows_the_table() -> None:
    table = table_of(make(1, service="a"), make(2, service="b"))
    request = ListSessionsRequest(filter=SessionFilter(services=["a"]))
    assert ids_of(table, request) == [1]
    table.apply([make(2, service="a")], [1])
    assert ids_of(table, ListSessionsRequest(filter=SessionFilter(services=["a"]))) == [2]


def test_no_order_by_time_is_made_for_a_few_sessions() -> None:
    table = table_of(
        *(make(ident, user="a" if ident < 3 else "b") for ident in range(1, 3000)),
        Session(id=3000, source="fake", user="a", last_active_time=Timestamp()),
    )
    wanted = SessionFilter(users=["a"], min_idle=Duration())
    query = SessionQuery.parse(ListSessionsRequest(filter=wanted))
    assert sum(1 for _ in table.page(query)) == 0  # it does not pause
    assert [session.id for session in sessions_of(finished(table.page(query)))] == [3000]


def test_a_list_that_is_not_kept_is_freed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_LARGE", 1000), ("_LET_GO", 1), ("_KEPT", 1)):
        monkeypatch.setattr(filtered, name, value)
    left: list[Steps[None]] = []
    monkeypatch.setattr(filtered, "later", left.append)

    def freed() -> list[int]:
        """Return in how many steps each list was freed."""
        steps = [sum(1 for _ in each) for each in left]
        left.clear()
        return steps

    idle = Activity(state=ActivityState.ACTIVITY_STATE_IDLE, since_time=Timestamp())
    table = table_of(
        *(Session(id=n, last_active_time=Timestamp(), activity=idle) for n in range(1, 3000))
    )
    wanted = SessionFilter(min_idle=Duration(), min_activity_duration=Duration())
    query = SessionQuery.parse(ListSessionsRequest(filter=wanted, page_size=1))
    finished(table.page(query))
    assert len(freed()) == 2  # the first order, to keep the second, and the list itself
    pages = table.page(query)
    for _ in range(4):
        next(pages)
    pages.close()  # the call is cancelled
    assert min(freed()) > 1
    assert ids_of(table, ListSessionsRequest(page_size=5000)) == [*range(1, 3000)]


def test_a_state_filter_knows_the_unspecified_state() -> None:
    wanted = RowFilter(SessionFilter(states=[SessionState.SESSION_STATE_UNSPECIFIED]), ())
    assert wanted.matches(row_of(make(1)))
    assert not wanted.matches(row_of(Session(state=SessionState.SESSION_STATE_STARTED)))


@pytest.mark.parametrize("skip", [0, 1, 5, 6, 7, 100])
@pytest.mark.parametrize("order", ["id", "id desc"])
def test_skip_passes_over_sessions(skip: int, order: str) -> None:
    table = table_of(*(make(ident) for ident in range(1, 7)))
    request = ListSessionsRequest(skip=skip, page_size=2, order_by=order)
    expected = sorted(range(1, 7), reverse=order.endswith("desc"))[skip:]
    page = finished(table.page(SessionQuery.parse(request)))
    assert [session.id for session in sessions_of(page)] == expected[:2]
    assert bool(page.next_page_token) == (len(expected) > 2)
    assert page.total_size == 6


def test_a_page_stays_under_3_mib_whatever_the_size_asked_for() -> None:
    fat = "x" * 40_000
    table = table_of(*(make(ident, application=fat) for ident in range(1, 201)))
    request = ListSessionsRequest(page_size=MAX_PAGE_SIZE)
    page = finished(table.page(SessionQuery.parse(request)))
    assert 0 < len(page.pieces) < 200
    assert len(b"".join(page.pieces)) < MAX_PAGE_BYTES
    assert ids_of(table, request) == list(range(1, 201))


def test_one_session_over_the_limit_is_a_page_of_its_own() -> None:
    fat = "x" * (MAX_PAGE_BYTES + 1)
    table = table_of(make(1), make(2, application=fat), make(3))
    assert ids_of(table, ListSessionsRequest()) == [1, 2, 3]


def test_a_mask_leaves_only_what_it_names() -> None:
    table = table_of(make(1, 5, service="a", user="x"))
    request = ListSessionsRequest(read_mask=FieldMask(paths=["id", "connect_time.seconds"]))
    (session,) = sessions_of(finished(table.page(SessionQuery.parse(request))))
    assert session == Session(id=1, connect_time=Timestamp(seconds=5))
    for everything in ([], ["*"]):
        request = ListSessionsRequest(read_mask=FieldMask(paths=everything))
        (session,) = sessions_of(finished(table.page(SessionQuery.parse(request))))
        assert session.user == "x"


@given(token=st.text(max_size=60) | st.binary(max_size=40).map(lambda b: b.hex()))
def test_any_other_token_is_refused_by_name(token: str) -> None:
    request = ListSessionsRequest(page_token=token)
    if not token:
        return
    with pytest.raises(InvalidRequestError) as caught:
        SessionQuery.parse(request)
    assert [v.field for v in caught.value.violations] == ["page_token"]


@pytest.mark.parametrize("descending", [False, True])
@given(
    idents=st.sets(st.integers(1, 30)),
    after=st.integers(0, 31),
    before=st.integers(0, 31),
    size=st.integers(1, 5),
)
def test_ids_bound_a_list_without_counting_for_its_total(
    idents: set[int], after: int, before: int, size: int, descending: bool
) -> None:
    table = table_of(*(make(ident) for ident in sorted(idents)))
    request = ListSessionsRequest(
        after_id=after, before_id=before, page_size=size, order_by="id desc" if descending else "id"
    )
    assert finished(table.page(SessionQuery.parse(request))).total_size == len(idents)
    expected = [i for i in sorted(idents) if i > after and (not before or i < before)]
    assert ids_of(table, request) == sorted(expected, reverse=descending)


def test_ids_bound_a_list_in_id_order_only() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        SessionQuery.parse(ListSessionsRequest(after_id=1, before_id=2, order_by="connect_time"))
    assert [v.field for v in caught.value.violations] == ["after_id", "before_id"]


def test_no_change_bears_a_time_before_one_that_was_told() -> None:
    """After the clock is set back, the time stays until the clock catches up."""
    clock = [100, 101, 102, 103]
    table = SessionTable(["fake"], 1000, lambda: Timestamp(seconds=clock.pop(0)))
    assert table.moment().seconds == 101
    clock[:] = [50, 51, 52, 102]  # for the change, the page, the source, the next change
    table.apply([make(1)], [])
    assert (table.update_time.seconds, sessions_of(page_of(table))[0].update_time.seconds) == (
        101,
        101,
    )
    table.set_source("fake", reachable=True)
    assert (table.update_time.seconds, table.sources_time.seconds) == (101, 101)
    table.apply([make(2)], [])
    assert table.update_time.seconds == 102


def page_of(table: SessionTable) -> Page:
    return finished(table.page(SessionQuery.parse(ListSessionsRequest())))
