"""History over gRPC, from a real core that is restarted, and against what it showed before."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.client import CallError, Client, Reason
from sessiongate.v1.history_service_pb2 import (
    CountPastSessionsRequest,
    EndReason,
    ExportPastSessionsRequest,
    GapReason,
    ListPastSessionsRequest,
    PastSession,
    PastSessionFilter,
)
from sessiongate.v1.history_service_pb2_grpc import HistoryServiceStub
from sessiongate.v1.session_pb2 import ActivityState
from sessiongate.v1.session_service_pb2 import (
    COUNT_BY_SERVICE,
    COUNT_BY_STATE,
    COUNT_BY_USER,
    SessionFilter,
)
from tests.gateway.programs import LONG, running_core
from tests.polling import eventually

CONNECTED = time.asctime(time.gmtime())
ORDERS = ["connect_time", "connect_time desc", "end_time", "end_time desc"]


def stamp(seconds: float) -> Timestamp:
    found = Timestamp()
    found.FromNanoseconds(int(seconds * 1e9))
    return found


@contextmanager
def asked(source: str, ledger: Path) -> Iterator[Client]:
    """Run a core with a ledger, and ask it."""
    with (
        running_core(source, ledger=f"sqlite:///{ledger}") as core,
        Client(core, timeout=LONG) as client,
    ):
        yield client


def has_shown(client: Client, ident: int) -> bool:
    """Return whether there is, or was, a session of this id, and so of each lower one."""
    try:
        client.get_past_session(ident)
    except CallError:
        return False
    return True


def show(file: Path, *idents: int) -> None:
    """Make a document's sessions these."""
    data = [
        {
            "id": str(ident),
            "type": "sessions",
            "attributes": {
                "state": "Session started",
                "connected": CONNECTED,
                "user": f"user{ident}",
            },
            "relationships": {"services": {"data": [{"id": "orders", "type": "services"}]}},
        }
        for ident in idents
    ]
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps({"data": data}))
    os.replace(beside, file)


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    """Run a core whose sessions come and go."""
    with running_core("synthetic:?sessions=300&churn=60&interval=0.2") as address:
        yield address


@pytest.fixture(scope="module")
def churning(core: str) -> Iterator[Client]:
    """Ask that core once many sessions have ended."""
    with Client(core, timeout=LONG) as client:
        eventually(lambda: has_shown(client, 400))
        yield client


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Ask a core whose sessions came and went until it was restarted."""
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with asked("synthetic:?sessions=300&churn=60&interval=0.2", ledger) as client:
        eventually(lambda: has_shown(client, 600))
    with asked("synthetic:?sessions=50", ledger) as client:
        yield client


def key_of(past: PastSession, order: str) -> tuple[int, int]:
    if order.startswith("connect_time"):
        return past.session.connect_time.ToNanoseconds(), past.session.id
    is_open = not past.HasField("end_time")
    return (1 << 63) if is_open else past.end_time.ToNanoseconds(), past.session.id


@pytest.mark.parametrize("order", ORDERS)
def test_pages_are_the_whole_in_order_while_sessions_come_and_go(
    churning: Client, order: str
) -> None:
    request = ListPastSessionsRequest(page_size=37, order_by=order)

    def ended_of_late() -> bool:
        """Return whether any did in the last second: none do while the core gets no CPU."""
        request.filter.start_time.CopyFrom(stamp(time.time() - 1))
        return any(past.HasField("end_time") for past in churning.past_sessions(request.filter))

    eventually(ended_of_late)
    found: list[PastSession] = []
    as_of = 0
    while True:
        page = churning.list_past_sessions(request)
        found += page.sessions
        as_of = page.as_of_time.ToNanoseconds()
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    idents = [past.session.id for past in found]
    assert len(idents) == len({*idents}) > 300
    for past in found:  # in the order, what ended since the first page has not
        if past.HasField("end_time") and past.end_time.ToNanoseconds() > as_of:
            past.ClearField("end_time")
    keys = [key_of(past, order) for past in found]
    assert keys == sorted(keys, reverse=order.endswith("desc"))


def test_the_present_is_what_is_listed(churning: Client) -> None:
    def agree() -> bool:
        before = {one.id: one for one in churning.sessions()}
        now = PastSessionFilter(at_time=stamp(time.time()))
        found = {past.session.id: past for past in churning.past_sessions(now)}
        live = {ident for ident, past in found.items() if not past.HasField("end_time")}
        if live != before.keys() or live != {one.id for one in churning.sessions()}:
            return False  # some came or went meanwhile
        for ident in live:
            kept, shown = found[ident].session, before[ident]
            for name in ("source", "service", "user", "remote", "port", "database", "state"):
                assert getattr(kept, name) == getattr(shown, name)
            assert kept.connect_time == shown.connect_time
            assert not kept.HasField("activity")
            assert not kept.queries
        return True

    eventually(agree)


@pytest.mark.parametrize("order", ORDERS)
def test_filters_select_as_they_do_among_live_sessions(churning: Client, order: str) -> None:
    everything = [*churning.past_sessions(PastSessionFilter(end_time=stamp(time.time())))]
    some = everything[len(everything) // 2].session
    for wanted in (
        SessionFilter(users=[some.user]),
        SessionFilter(services=[some.service], databases=[some.database]),
        SessionFilter(remotes=[some.remote]),
        SessionFilter(remotes=["10.0.0.0/9"]),
        SessionFilter(applications=[some.application], states=[some.state]),
        SessionFilter(sources=["synthetic"]),
        SessionFilter(sources=["other"]),
        SessionFilter(connected_after=some.connect_time),
        SessionFilter(connected_before=some.connect_time),
    ):
        until = PastSessionFilter(end_time=stamp(time.time()), sessions=wanted)
        found = {past.session.id for past in churning.past_sessions(until, order_by=order)}
        matching = {one.session.id for one in everything if _matches(one, wanted)}
        known = {one.session.id for one in everything}
        assert found & known == matching


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.7, 3.0, 300.0])
def test_counts_are_what_is_listed_at_each_moment(settled: Client, seconds: float) -> None:
    user = max(session.user for session in settled.sessions())
    now = time.time()
    for sessions in (None, SessionFilter(users=[user]), SessionFilter(remotes=["0.0.0.0/1"])):
        listed: dict[int, list[PastSession]] = {}  # by moment
        for by, name in ((COUNT_BY_SERVICE, "service"), (COUNT_BY_USER, "user")):
            asked = PastSessionFilter(start_time=stamp(now - seconds), end_time=stamp(now))
            asked.sessions.MergeFrom(sessions or SessionFilter())
            response = settled.count_past_sessions(
                CountPastSessionsRequest(filter=asked, moments=7, by=by, max_groups=3)
            )
            groups: list[dict[str, int]] = []
            for moment in response.times:
                at = PastSessionFilter(at_time=moment, sessions=sessions)
                if moment.ToNanoseconds() not in listed:  # the sessions of both have ended
                    listed[moment.ToNanoseconds()] = [*settled.past_sessions(at)]
                known = listed[moment.ToNanoseconds()]
                groups.append(Counter(getattr(past.session, name) for past in known))
            assert [*response.total_counts] == [sum(found.values()) for found in groups]
            totals = sum((Counter(found) for found in groups), Counter[str]())
            order = sorted(totals, key=lambda value: (-totals[value], value))
            assert [group.value.text for group in response.groups] == order[:3]
            for group in response.groups:
                counts = [found.get(group.value.text, 0) for found in groups]
                assert [*group.counts] == counts


def test_the_moments_of_a_count_go_from_the_first_to_the_last(churning: Client) -> None:
    now = time.time()
    before = stamp(now - 24 * 3600)  # the core began
    asked = PastSessionFilter(start_time=before, end_time=stamp(now + 1000))
    response = churning.count_past_sessions(CountPastSessionsRequest(filter=asked))
    times = [moment.ToNanoseconds() for moment in response.times]
    assert len(times) == len(response.total_counts) == 60
    assert times[0] == asked.start_time.ToNanoseconds()
    assert 0 <= response.as_of_time.ToNanoseconds() - times[-1] < 100
    assert not response.groups
    assert response.total_counts[-1] > 0
    assert {gap.reason for gap in response.gaps} == {GapReason.GAP_REASON_BEFORE_HISTORY}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"moments": 1}, "moments: must be an integer from 2 to 500, got 1"),
        ({"moments": 501}, "moments: must be an integer from 2 to 500, got 501"),
        ({"max_groups": -1}, "max_groups: must be an integer from 1 to 100, got -1"),
        ({"by": COUNT_BY_STATE}, "by: must be one of COUNT_BY_SERVICE, COUNT_BY_SOURCE, COUNT_"),
        ({"filter": PastSessionFilter(at_time=stamp(1))}, "filter.at_time: is one moment: set"),
        ({"filter": PastSessionFilter()}, "filter.start_time: is required"),
        (
            {"filter": PastSessionFilter(start_time=stamp(time.time() + 86_400))},
            "filter.start_time: must be before end_time, and in the past, for 60 moments",
        ),
    ],
)
def test_a_bad_count_is_named(churning: Client, wrong: dict[str, Any], text: str) -> None:
    asked = {"filter": PastSessionFilter(start_time=stamp(1)), **wrong}
    with pytest.raises(CallError) as caught:
        churning.count_past_sessions(CountPastSessionsRequest(**asked))
    assert text in str(caught.value)


def _matches(past: PastSession, wanted: SessionFilter) -> bool:
    session = past.session
    start = session.connect_time.ToNanoseconds()
    address = [int(part) for part in session.remote.split(".")]
    for remote in wanted.remotes:
        is_inside = address[0] == 10 and address[1] < 128 if "/" in remote else None
        if not (session.remote == remote if is_inside is None else is_inside):
            return False
    return all(
        not names or getattr(session, field) in names
        for field, names in (
            *(("user", wanted.users), ("service", wanted.services), ("state", wanted.states)),
            *(("database", wanted.databases), ("application", wanted.applications)),
            ("source", wanted.sources),
        )
    ) and not (
        (wanted.HasField("connected_after") and start < wanted.connected_after.ToNanoseconds())
        or (
            wanted.HasField("connected_before") and start >= wanted.connected_before.ToNanoseconds()
        )
    )


def test_an_export_is_all_pages(churning: Client, core: str) -> None:
    until = PastSessionFilter(end_time=stamp(time.time()))
    with grpc.insecure_channel(core) as channel:
        request = ExportPastSessionsRequest(filter=until)
        parts = [*HistoryServiceStub(channel).ExportPastSessions(request)]
    exported = [past.session.id for part in parts for past in part.sessions]
    listed = [past.session.id for past in churning.past_sessions(until)]
    assert {*exported} <= {*listed}
    assert len(exported) == len({*exported})


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (PastSessionFilter(at_time=stamp(1), start_time=stamp(1)), "filter.at_time: cannot be"),
        (
            PastSessionFilter(start_time=stamp(5), end_time=stamp(5)),
            "filter.end_time: must be after",
        ),
        (PastSessionFilter(at_time=Timestamp(seconds=1 << 60)), "filter.at_time: must be a valid"),
        (
            PastSessionFilter(
                sessions=SessionFilter(activities=[ActivityState.ACTIVITY_STATE_ACTIVE])
            ),
            "filter.sessions.activities: is not known of past sessions",
        ),
        (
            PastSessionFilter(sessions=SessionFilter(remotes=["x"])),
            r"filter.sessions.remotes\[0\]: must be an IPv4 or IPv6 address",
        ),
    ],
)
def test_a_bad_filter_is_named(churning: Client, wanted: PastSessionFilter, text: str) -> None:
    with pytest.raises(CallError, match=text) as caught:
        next(iter(churning.past_sessions(wanted)))
    assert caught.value.reason == Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"order_by": "user"}, "order_by: must be one of connect_time, connect_time desc"),
        ({"page_size": -1}, "page_size: must be at least 0"),
        ({"page_token": "x"}, "page_token: must be the next_page_token of a page"),
    ],
)
def test_a_bad_request_is_named(churning: Client, more: dict[str, object], text: str) -> None:
    with pytest.raises(CallError, match=text):
        churning.list_past_sessions(ListPastSessionsRequest(**more))  # type: ignore[arg-type]


def test_a_session_that_was_never_there_is_not_found(churning: Client) -> None:
    for ident in (1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        with pytest.raises(CallError) as caught:
            churning.get_past_session(ident)
        assert caught.value.reason == Reason.SESSION_NOT_FOUND
    with pytest.raises(CallError, match="id: must be at least 1"):
        churning.get_past_session(0)


def test_ends_and_gaps_are_told_over_restarts(tmp_path: Path) -> None:
    file, ledger = tmp_path / "sessions.json", tmp_path / "ledger.db"
    show(file, 11, 12, 13)
    source = f"document:{file}?interval=0.1"
    with asked(source, ledger=ledger) as client:
        show(file, 12, 13)
        eventually(lambda: client.get_past_session(11).end_reason)
        closed = client.get_past_session(11)
        assert closed.end_reason == EndReason.END_REASON_CLOSED
        assert closed.end_time.ToNanoseconds() >= closed.session.connect_time.ToNanoseconds()
        assert (closed.session.user, closed.session.service) == ("user11", "orders")
        seen = time.time()
        eventually(lambda: _gaps(client, seen), lambda gaps: not gaps)
        ended = closed.end_time.ToNanoseconds()
        eventually(
            lambda: client.list_sources()[0].last_success_time.ToNanoseconds(),
            lambda observed: observed > ended,
        )
    show(file, 13)
    with asked(source, ledger=ledger) as client:
        back = time.time()
        missed = client.get_past_session(12)
        assert missed.end_reason == EndReason.END_REASON_NOT_SEEN
        assert missed.last_seen_time.ToNanoseconds() >= ended
        assert missed.last_seen_time.ToNanoseconds() <= missed.end_time.ToNanoseconds()
        assert not client.get_past_session(13).HasField("end_time")
        assert client.get_past_session(11) == closed
        assert _gaps(client, 1.0) == [GapReason.GAP_REASON_BEFORE_HISTORY]
        between = (missed.last_seen_time.ToNanoseconds() / 1e9 + back) / 2
        assert GapReason.GAP_REASON_BEFORE_HISTORY not in _gaps(client, between)
        interval = PastSessionFilter(start_time=stamp(seen), end_time=stamp(back))
        reasons = {
            gap.reason
            for gap in client.list_past_sessions(ListPastSessionsRequest(filter=interval)).gaps
        }
        assert GapReason.GAP_REASON_CORE_DOWN in reasons
        file.unlink()
        eventually(lambda: client.list_sources()[0].last_error)
        lost = time.time()
        assert _gaps(client, lost) == [GapReason.GAP_REASON_UNREACHABLE]
        wanted = PastSessionFilter(at_time=stamp(lost))
        alive = {past.session.id for past in client.past_sessions(wanted)}
        assert alive == {13}, "what was open stays so, and the gap says that this is not known"


def test_open_sessions_are_found_by_what_they_are_now(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    with asked(f"document:{file}?interval=0.1", tmp_path / "ledger.db") as client:
        text = file.read_text().replace("user2", "other")
        beside = file.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, file)
        eventually(lambda: client.get_session(2).session.user, lambda user: user == "other")

        def found(user: str, order: str) -> list[int]:
            wanted = PastSessionFilter(sessions=SessionFilter(users=[user]))
            return [past.session.id for past in client.past_sessions(wanted, order_by=order)]

        for order in ORDERS:
            assert found("other", order) == [2]
            assert found("user2", order) == []
            assert found("user1", order) == [1]


def _ids(client: Client) -> Iterator[int]:
    return (past.session.id for past in client.past_sessions())


def _gaps(client: Client, moment: float) -> list[GapReason]:
    request = ListPastSessionsRequest(filter=PastSessionFilter(at_time=stamp(moment)))
    return [gap.reason for gap in client.list_past_sessions(request).gaps]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"history": "off"}, GapReason.GAP_REASON_RETENTION),
        ({"history_min": 3600}, GapReason.GAP_REASON_BELOW_MINIMUM),
    ],
)
def test_what_is_not_kept_is_a_gap(
    tmp_path: Path, settings: dict[str, Any], reason: GapReason
) -> None:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    with (
        running_core(f"document:{file}?interval=0.1", ledger="sqlite://", **settings) as core,
        Client(core, timeout=LONG) as client,
    ):
        show(file, 2)
        eventually(lambda: [one.id for one in client.sessions()], lambda ids: ids == [2])
        eventually(lambda: [*_ids(client)], lambda ids: ids == [2])
        with pytest.raises(CallError):
            client.get_past_session(1)
        assert _gaps(client, time.time()) == [reason], "at once"
