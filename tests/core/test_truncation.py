"""Sessions, keys and texts above the limits: what of them is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sessiongate.core.collect.keys import KEY_BYTES, short
from sessiongate.core.collect.preparation import MAX_BLOCKERS
from sessiongate.core.collect.truncation import (
    TEXT_BYTES,
    fitting_services,
    link,
    printable,
    truncate,
)
from sessiongate.core.sources.base import Observation, Observed, TcpLink, Unreadable
from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.v1.session_pb2 import Activity, BackendConnection, Query, Session
from sessiongate.v1.session_service_pb2 import ServiceStatus, SourceStatus
from tests.core.sources import seen
from tests.core.test_collector import Scene, run
from tests.faults.scale import times

LEAST = 8192
WAY_TOO_LONG = "é" * 2_600_000


def statements(count: int, size: int = 16_000) -> list[Query]:
    return [Query(statement=f"{number:03}" + "s" * size) for number in range(count)]


def test_what_fits_stays_the_same_object() -> None:
    session = Session(id=1, application="a" * 60_000)
    assert truncate(session, MAX_SESSION) is session
    assert not session.truncated


def test_the_oldest_statements_go_first_and_no_more_than_need_be() -> None:
    session = Session(id=1, application="app", queries=statements(300))
    session.connection_attributes["_os"] = "Linux"
    cut = truncate(session, MAX_SESSION)
    assert [query.statement[:3] for query in cut.queries] == ["297", "298", "299"]
    assert (cut.application, cut.connection_attributes["_os"]) == ("app", "Linux")
    assert cut.truncated == ["queries"]
    assert len(session.queries) == 300, "the source's own is left as it is"


def test_then_the_largest_attributes_then_the_last_connections() -> None:
    session = Session(id=1, user="ann", queries=statements(1))
    for name, size in {"small": 10, "large": 60_000, "larger": 70_000}.items():
        session.connection_attributes[name] = "v" * size
    cut = truncate(session, MAX_SESSION)
    assert {*cut.connection_attributes} == {"small", "large"}
    assert cut.truncated == ["connection_attributes", "queries"]
    session.connections.extend(BackendConnection(server=f"server{n:05}") for n in range(9_000))
    cut = truncate(session, MAX_SESSION)
    assert not cut.connection_attributes
    servers = [connection.server for connection in cut.connections]
    assert servers == [f"server{n:05}" for n in range(len(servers))]
    assert len(servers) > 3800
    assert cut.truncated == ["connection_attributes", "connections", "queries"]


def test_then_texts_at_a_characters_boundary() -> None:
    session = Session(id=1, user="ann", application="a" + WAY_TOO_LONG, tls_cipher="")
    cut = truncate(session, MAX_SESSION)
    assert cut.application == "a" + "é" * ((TEXT_BYTES - 1) // 2)
    assert (cut.user, cut.HasField("tls_cipher"), cut.HasField("database")) == ("ann", True, False)
    assert cut.truncated == ["application"]


def test_then_filters_and_texts_at_less() -> None:
    texts = dict.fromkeys(
        ("native_id", "service", "user", "remote", "database", "tls_cipher", "application"),
        "t" * 5000,
    )
    session = Session(id=1, filters=[f"{n}" + "f" * 5000 for n in range(700)], **texts)  # type: ignore[arg-type]
    cut = truncate(session, MAX_SESSION)
    assert [name[:1] for name in cut.filters] == [str(n) for n in range(len(cut.filters))]
    assert cut.filters
    assert {len(getattr(cut, name)) for name in texts} == {TEXT_BYTES}
    least = truncate(session, LEAST)
    assert (len(least.filters), len(least.user)) == (0, 512 * 2)
    busy = Session(id=1, activity=Activity(native="n" * 5000, wait="w" * 80_000))
    short = truncate(busy, MAX_SESSION)
    assert (len(short.activity.native), len(short.activity.wait)) == (TEXT_BYTES, TEXT_BYTES)
    assert short.truncated == ["activity"]
    busy = Session(id=1, activity=Activity(native="n" * LEAST))
    assert not truncate(busy, LEAST).activity.HasField("wait")
    assert least.truncated == [
        *("native_id", "service", "filters", "user", "remote", "database"),
        *("tls_cipher", "application"),
    ]


TEXTS = st.text(max_size=40) | st.integers(0, 30_000).map(lambda size: "ß" * size)
TIMES = st.builds(
    Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)
)
BIG, SMALL = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
SESSIONS = st.builds(
    Session,
    id=BIG,
    source=st.text(max_size=60) | st.just("s" * 255),
    state=st.integers(-(2**31), 2**31 - 1),
    **dict.fromkeys(("service", "filters"), TEXTS) | {"filters": st.lists(TEXTS, max_size=300)},
    **dict.fromkeys(
        ("native_id", "user", "remote", "database", "tls_cipher", "application"), TEXTS | st.none()
    ),
    **dict.fromkeys(("connect_time", "update_time", "last_active_time"), TIMES | st.none()),
    **dict.fromkeys(("revision", "identity_revision", "memory_bytes", "io_activity"), BIG),
    **dict.fromkeys(("port", "thread"), SMALL),
    connection_attributes=st.dictionaries(st.text(max_size=20), TEXTS, max_size=20),
    connections=st.lists(st.builds(BackendConnection, server=TEXTS, connection_id=BIG))
    | st.integers(0, 3000).map(lambda count: [BackendConnection()] * count),
    queries=st.lists(st.builds(Query, statement=TEXTS, receive_time=TIMES | st.none())),
    activity=st.none()
    | st.builds(
        Activity,
        native=TEXTS,
        wait=TEXTS | st.none(),
        since_time=TIMES | st.none(),
        blocked_by_ids=st.lists(BIG, max_size=MAX_BLOCKERS),
    ),
    known_empty=st.lists(st.text(max_size=20), max_size=900),
    truncated=st.lists(st.sampled_from(["queries", "no field", "upstream_ids"]), max_size=900),
)
IDENTS = st.integers(0, 3000).map(lambda count: range(2**63, 2**63 + count)) | st.just(range(9))


@settings(max_examples=times(75, 2000))
@given(SESSIONS, st.just(LEAST) | st.integers(LEAST, 1 << 20), IDENTS, IDENTS)
@example(Session(filters=["f"] * 100_000, id=2**64 - 1), LEAST, range(1), range(2**63, 2**63 + 99))
def test_any_session_fits_whatever_the_limit(
    session: Session, limit: int, upstream: Sequence[int], downstream: Sequence[int]
) -> None:
    before = session.SerializeToString(deterministic=True)
    cut = truncate(session, limit)
    assert session.SerializeToString(deterministic=True) == before
    if cut is not session:
        again = truncate(Session.FromString(before), limit)
        assert again == cut, "the same is cut in the same way"
        assert truncate(cut, limit) is cut
        assert [*cut.truncated] == sorted(cut.truncated, key=FIELDS.index)
        for name in FIELDS:
            same = getattr(cut, name) == getattr(session, name)
            assert same or name in cut.truncated or name in ("known_empty", "truncated")
    linked = Session()
    linked.CopyFrom(cut)
    for _ in range(2):  # when linked again, nothing adds up
        link(linked, upstream, downstream, limit)
        for name, stated in (("upstream_ids", upstream), ("downstream_ids", downstream)):
            given = [*getattr(linked, name)]
            assert given == [*stated][: len(given)]
            assert (name in linked.truncated) == (len(given) < len(stated))
        linked.revision = linked.identity_revision = 2**64 - 1
        linked.update_time.FromMilliseconds(8_000_000_000_000)
        assert linked.ByteSize() <= limit


FIELDS = [field.name for field in Session.DESCRIPTOR.fields]


@pytest.mark.long
def test_links_of_a_session_that_was_cut_stand_and_its_neighbour_is_not_touched() -> None:
    wire = TcpLink(client=("10.0.0.1", 4711), server=("10.0.0.2", 3306), server_id=7)
    connections = [BackendConnection(server="db", connection_id=n) for n in range(50_000)]

    async def test(scene: Scene) -> None:
        large = Session(service="proxy", application=WAY_TOO_LONG, connections=connections)
        scene.source.again = Observation(
            [seen("small", user="ann"), Observed("large", large, opened=(wire,))]
        )
        await scene.source.step()
        assert scene.session(1).user == "ann"
        cut = scene.session(2)
        assert cut.ByteSize() <= MAX_SESSION
        assert cut.truncated == ["application", "connections"]
        revision = cut.revision
        server = scene.sources["server"]
        server.again = Observation([Observed("s", Session(service="db"), accepted=wire)])
        await server.step()
        linked = scene.session(2)
        assert linked.upstream_ids == [3]
        assert scene.session(3).downstream_ids == [2]
        assert linked.revision > revision
        assert linked.truncated == ["application", "connections"]
        top = scene.table.revision
        again = Session(service="proxy", application=WAY_TOO_LONG, connections=connections)
        scene.source.again = Observation(
            [seen("small", user="ann"), Observed("large", again, opened=(wire,))]
        )
        await scene.source.step()
        assert scene.table.revision == top, "the same, cut in the same way, is no change"

    run(test, sources=["fake:", "fake:server"])


def test_what_stays_of_a_member_that_cannot_be_read_stays_named() -> None:
    async def test(scene: Scene) -> None:
        scene.source.again = Observation([Observed("a", Session(application=WAY_TOO_LONG))])
        await scene.source.step()
        odd = (Unreadable("odd", ("application",)),)
        scene.source.again = Observation([Observed("a", Session(user="ann"), unreadable=odd)])
        await scene.source.step()
        session = scene.session(1)
        assert (len(session.application), session.user) == (TEXT_BYTES // 2, "ann")
        assert session.truncated == ["application"]
        scene.source.again = Observation([Observed("a", Session(user="ann", application="app"))])
        await scene.source.step()
        assert not scene.session(1).truncated

    run(test)


def test_long_keys_are_told_apart_and_not_kept() -> None:
    long = "k" * 5_000_000

    async def test(scene: Scene) -> None:
        scene.source.show([long + "a", long + "b"])
        await scene.source.step()
        assert scene.ids == [1, 2]
        held: dict[str, Any] = dict((await scene.ledger.held())["fake"])
        assert max(map(len, held)) < KEY_BYTES
        scene.source.show([long + "b"])
        await scene.source.step()
        assert scene.ids == [2]

    run(test)
    assert short("k" * KEY_BYTES) == "k" * KEY_BYTES
    assert short("ü" * KEY_BYTES) != short("ü" * KEY_BYTES + "x")


def test_what_all_sources_say_of_their_services_fits_one_message() -> None:
    services = tuple(ServiceStatus(name=f"{n:0500}", state="Started") for n in range(20_000))
    for sources in (1, 10, 1000):
        told = fitting_services(services, sources)
        size = SourceStatus(services=told).ByteSize()
        assert size * sources < 2 << 20 < (size * 1.01 + 600) * sources
        assert all(one is other for one, other in zip(told, services, strict=False))

    async def test(scene: Scene) -> None:
        scene.source.again = Observation([], services=services)
        await scene.source.step()
        assert len(scene.table.source("fake").services) == len(fitting_services(services, 1))

    run(test)


def test_what_is_said_of_a_source_is_short() -> None:
    assert printable("gone\udcff") == "gone\\udcff"
    assert len(printable("x" * 5_000_000)) == 1024

    async def test(scene: Scene) -> None:
        scene.source.failing = WAY_TOO_LONG
        await scene.source.step()
        await scene.source.step()
        assert scene.table.source("fake").error == "é" * 512
        (report,) = scene.collector.reports()
        assert report.last_error == "é" * 512

    run(test)
