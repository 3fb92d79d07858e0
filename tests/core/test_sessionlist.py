"""Answers of a REST API, read repeatedly: what changes, and what only the clock changes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.sources.base import Observation, SourceError, TcpLink
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.sessionlist import ReadingContext, SessionList
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session
from tests.core.observing import arriving
from tests.core.test_jsonapi_sessions import places, replaced
from tests.faults.scale import times

DATA = Path(__file__).parent.parent / "data"
RECORDED = (DATA / "maxscale-24.02" / "sessions.json").read_bytes()
REFERENCE = (DATA / "sessions.json").read_bytes()
NOW = 1_800_000_000.0
SERVERS = {"server1": ("192.0.2.9", 3306)}


def answer(*changes: dict[str, Any]) -> bytes:
    """Return the recorded answer, with changes to the attributes of its sessions, 2 and then 1."""
    document = json.loads(RECORDED)
    for resource, change in zip(document["data"], changes, strict=False):
        resource["attributes"].update(change)
    return json.dumps(document).encode()


def later(seconds: float, *changes: dict[str, Any]) -> bytes:
    """Return the same answer ``seconds`` later."""
    times = {"idle": 95.2 + seconds, "seconds_alive": 95.1 + seconds}
    return answer(*({**times, **change} for change in (changes or ({}, {}))))


UTC_ZONE = ServerZone(ZoneInfo("UTC"))


def read(
    reader: SessionList,
    body: bytes,
    moment: float = NOW,
    started: float | None = None,
    *,
    servers: dict[str, tuple[str, int]] = SERVERS,
    zone: ServerZone = UTC_ZONE,
    skew: float = 0.0,
) -> Observation:
    context = ReadingContext(moment, zone, skew, servers, started)
    return asyncio.run(reader.read(arriving(body), context))


def test_the_recorded_sessions_come_in_the_order_of_their_ids() -> None:
    one, two = read(SessionList(), RECORDED).sessions
    assert [one.session.native_id, two.session.native_id] == ["1", "2"]
    assert one.key == "1 1795458664"
    session = two.session
    assert session.service == "Read-Connection-Router"
    assert (session.user, session.remote, session.port) == ("app", "127.0.0.1", 34300)
    assert session.connect_time.seconds == 1795458664
    assert session.last_active_time.ToMilliseconds() == (NOW - 95.2) * 1000
    assert session.tls_cipher == ""
    assert session.HasField("tls_cipher")
    assert session.connection_attributes["program_name"] == session.application == "hold.py"
    assert (session.memory_bytes, session.thread, session.io_activity) == (66868, 0, 0)
    (backend,) = session.connections
    assert (backend.server, backend.connection_id, backend.tls_cipher) == ("server1", 10, "")
    assert two.accepted == TcpLink(client=("127.0.0.1", 34300), server_id=2)
    assert two.opened == (TcpLink(server=("192.0.2.9", 3306), server_id=10),)


def only_one(reader: SessionList, *changes: dict[str, Any]) -> Session:
    """Return session 2 of an answer."""
    return read(reader, answer(*changes)).sessions[1].session


UNFINISHED = {"queries": [{"statement": "SELECT 1", "received": "2026-11-23T18:32:00.123"}]}
FINISHED = {"queries": [{**UNFINISHED["queries"][0], "completed": "2026-11-23T18:32:00.124"}]}
# As a sessiongate and old versions of MaxScale answer.
AGELESS = {"seconds_alive": None}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, session_pb2.ACTIVITY_STATE_IDLE),
        (FINISHED, session_pb2.ACTIVITY_STATE_IDLE),
        (UNFINISHED, session_pb2.ACTIVITY_STATE_ACTIVE),
        ({"idle": 0.0}, session_pb2.ACTIVITY_STATE_ACTIVE),
        ({"idle": None}, 0),
        ({"state": "Session created"}, 0),
        (AGELESS, 0),
        ({**AGELESS, "idle": 0.0}, 0),
        ({"activity": {"state": "connecting"}}, session_pb2.ACTIVITY_STATE_CONNECTING),
        ({"activity": {"state": "busy"}}, 0),
    ],
)
def test_the_activity_is_inferred_from_the_idle_time(change: dict[str, Any], state: int) -> None:
    session = only_one(SessionList(statements=True), change)
    assert session.activity.state == state
    assert session.activity.native == ""
    if state and "activity" not in change:
        assert session.activity.since_time == session.last_active_time


def test_blockers_are_found_whoever_comes_first_and_whatever_changes() -> None:
    def waiting(ident: str) -> dict[str, Any]:
        return {**AGELESS, "activity": {"state": "waiting", "blocked_by": [ident, "77"]}}

    reader = SessionList()
    one, two = read(reader, answer(waiting("1"), waiting("2"))).sessions
    assert (one.blocked_by, two.blocked_by) == ((two.key,), (one.key,))
    again = read(reader, answer(waiting("1"), {**waiting("2"), "io_activity": 5})).sessions
    assert again[0] is not one
    assert again[1] is two
    assert again[0].blocked_by == (two.key,)
    # The session that it waits for is another one now.
    moved = {**waiting("1"), "connected": "Mon, 23 Nov 2026 18:31:05 GMT"}
    one, two = read(reader, answer(moved, {**waiting("2"), "io_activity": 5})).sessions
    assert one.blocked_by == (two.key,) != (again[1].key,)
    assert again[0].blocked_by == (again[1].key,)  # what was delivered does not change


def test_a_server_without_an_address_is_no_wire() -> None:
    one, _ = read(SessionList(), RECORDED, servers={}).sessions
    assert one.opened == ()


def test_wires_follow_the_servers_addresses() -> None:
    reader = SessionList()
    read(reader, RECORDED)
    moved = read(reader, RECORDED, servers={"server1": ("192.0.2.10", 3306)})
    assert moved.sessions[0].opened == (TcpLink(server=("192.0.2.10", 3306), server_id=9),)


def test_the_reference_text_is_read_again_without_a_change() -> None:
    reader = SessionList()
    first = read(reader, REFERENCE)
    assert [item.session.service for item in first.sessions][2] == "CLI"
    assert read(reader, REFERENCE, NOW + 100) is first


def test_time_alone_changes_nothing() -> None:
    reader = SessionList()
    first = read(reader, later(0))
    for seconds, jitter in ((1, 0.4), (2, -0.6), (3600, 1.4), (7200, -1.4)):
        assert read(reader, later(seconds), NOW + seconds + jitter) is first


def test_times_that_are_read_anew_change_nothing_either() -> None:
    """Another session's attribute has changed, so that the answer is read."""
    reader = SessionList()
    first = read(reader, later(0))
    second = read(reader, later(10, {"io_activity": 5}, {}), NOW + 11)
    assert second.sessions[0] is first.sessions[0]
    assert second.sessions[1].session.io_activity == 5
    before, after = first.sessions[1].session, second.sessions[1].session
    assert (
        abs(before.last_active_time.ToMicroseconds() - after.last_active_time.ToMicroseconds()) < 5
    )


def test_a_session_that_was_active_says_so() -> None:
    reader = SessionList()
    first = read(reader, later(0))
    second = read(reader, later(10, {"idle": 0.1}, {}), NOW + 10)
    assert second.sessions[0] is first.sessions[0]
    assert second.sessions[1].session.last_active_time.ToMilliseconds() == (NOW + 9.9) * 1000


def test_sessions_that_come_and_go_leave_the_others_alone() -> None:
    reader = SessionList()
    first = read(reader, RECORDED)
    document = json.loads(RECORDED)
    gone = document["data"].pop()
    second = read(reader, json.dumps(document).encode())
    assert list(second.sessions) == [first.sessions[1]]
    document["data"].append({**gone, "id": "10"})
    third = read(reader, json.dumps(document).encode())
    assert [item.session.native_id for item in third.sessions] == ["2", "10"]
    assert third.sessions[0] is first.sessions[1]


def test_another_start_is_another_observation() -> None:
    reader = SessionList()
    first = read(reader, RECORDED, started=NOW - 1000)
    second = read(reader, RECORDED, started=NOW - 10)
    assert (first.incarnation, second.incarnation) == (NOW - 1000, NOW - 10)
    assert second is not first
    assert read(reader, RECORDED, started=NOW - 10) is second


def test_a_name_within_a_text_is_no_time() -> None:
    text = 'said "idle": 5 and "idle":6'
    reader = SessionList()
    first = read(reader, later(0, {"user": text}, {}))
    assert first.sessions[1].session.user == text
    assert read(reader, later(9, {"user": text}, {}), NOW + 9) is first
    changed = read(reader, later(9, {"user": text.replace("5", "7")}, {}), NOW + 9)
    assert changed.sessions[1].session.user != text


def test_statements_are_read_only_where_they_are_wanted() -> None:
    queries = [{"statement": "SELECT 1", "received": "2026-11-23T18:31:04.000"}]
    body = answer({"queries": queries})
    assert not read(SessionList(), body).sessions[1].session.queries
    (query,) = read(SessionList(statements=True), body).sessions[1].session.queries
    assert query.statement == "SELECT 1"


@pytest.mark.parametrize("idle", ["-1", "1e999", "true", '"5"', "NaN", "1" + "0" * 400, "[]"])
def test_an_idle_time_that_is_none_is_left_out_and_named(idle: str) -> None:
    body = answer({}, {"idle": "IDLE"}).replace(b'"IDLE"', idle.encode())
    reader = SessionList()
    first = read(reader, RECORDED)
    second = read(reader, body)
    assert second.sessions[1] is first.sessions[1]
    odd = second.sessions[0]
    assert not odd.session.HasField("last_active_time")
    assert odd.unreadable[0].text.startswith("session 1 /attributes/idle: expected ")
    assert read(reader, body, NOW + 1) is second


def test_a_session_that_cannot_be_read_costs_itself() -> None:
    document = json.loads(RECORDED)
    document["data"] += [5, {"id": 7, "attributes": {}}, {"id": "8", "attributes": {}}]
    reader = SessionList()
    first = read(reader, RECORDED)
    second = read(reader, json.dumps(document).encode())
    assert list(second.sessions) == list(first.sessions)
    assert [part.text for part in second.unreadable] == [
        "/data/2: expected an object, found a number",
        "/data/3/id: expected a string, found a number",
        "session 8 /type: missing",
    ]
    assert read(reader, json.dumps(document).encode()) is second


@pytest.mark.parametrize(
    ("change", "statements", "known"),
    [
        ({"connections": [], "queries": []}, True, ["connections", "queries"]),
        ({"connections": [], "queries": []}, False, ["connections"]),
        ({"connections": None, "queries": None}, True, []),
        ({"connections": [5], "queries": 5}, True, []),
        ({}, False, []),
    ],
)
def test_a_list_that_is_stated_and_empty_is_known_to_be(
    change: dict[str, object], statements: bool, known: list[str]
) -> None:
    session = read(SessionList(statements=statements), answer(change)).sessions[1].session
    assert session.known_empty == known


def test_attributes_that_cannot_be_read_leave_the_application_as_it_was() -> None:
    body = answer({"client": {"connection_attributes": 5}})
    (part,) = read(SessionList(), body).sessions[1].unreadable
    assert part.fields == ("connection_attributes", "application")


def test_one_id_twice_is_two_sessions_or_one() -> None:
    document = json.loads(RECORDED)
    later = json.loads(answer({"connected": "Mon, 23 Nov 2026 18:40:00 GMT"}))["data"][0]
    document["data"] += [document["data"][0], later]
    reader = SessionList()
    first = read(reader, json.dumps(document).encode())
    assert len({item.key for item in first.sessions}) == 3
    assert read(reader, json.dumps(document).encode(), NOW + 1) is first


def test_a_statement_that_runs_is_no_change() -> None:
    def busy(seconds: float, **change: Any) -> bytes:
        return later(seconds, {"idle": 0.0, **change}, {})

    reader = SessionList()
    first = read(reader, later(0))
    began = read(reader, busy(10), NOW + 10)
    assert began.sessions[1].session.last_active_time.ToSeconds() == NOW + 10
    for seconds in range(11, 60):
        assert read(reader, busy(seconds), NOW + seconds) is began
        assert read(reader, busy(seconds).replace(b": ", b" : "), NOW + seconds) is began
    other = read(reader, busy(60, io_activity=7), NOW + 60)
    assert other.sessions[1].session.last_active_time.ToSeconds() == NOW + 60
    ended = read(reader, later(63, {"idle": 0.5}, {}), NOW + 63)
    assert ended.sessions[1].session.last_active_time.ToMilliseconds() == (NOW + 62.5) * 1000
    soon = read(reader, later(63.5, {"idle": 0.0}, {}), NOW + 63.5)
    sessions = [each.sessions[1].session for each in (began, ended, soon)]
    assert [session.activity.state for session in sessions] == [
        session_pb2.ACTIVITY_STATE_ACTIVE,
        session_pb2.ACTIVITY_STATE_IDLE,
        session_pb2.ACTIVITY_STATE_ACTIVE,
    ]
    assert [session.activity.since_time for session in sessions] == [
        session.last_active_time for session in sessions
    ]
    assert sessions[1].last_active_time == sessions[2].last_active_time
    assert first.sessions[0] is soon.sessions[0]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 5000, "expected an object"),
        (b"[]", "expected an object"),
        (b"{}", "/data: missing"),
        (b'{"data": 5}', "/data: expected an array"),
    ],
)
def test_what_is_no_list_of_sessions_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        read(SessionList(), body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.binary())
def test_no_answer_is_more_than_a_source_error(value: Any, raw: bytes) -> None:
    for body in (raw, json.dumps(value).encode(), json.dumps({"data": value}).encode()):
        with suppress(SourceError):
            read(SessionList(statements=True), body)


ODD_CLIENTS = json.loads((DATA / "maxscale-24.02" / "sessions_odd.json").read_bytes())["data"]


@settings(max_examples=times(50, 3000))
@given(index=st.integers(0, len(ODD_CLIENTS) - 1), data=st.data(), value=JSON)
def test_a_value_in_any_place_costs_its_session_at_most(
    index: int, data: st.DataObject, value: object
) -> None:
    rows = [*ODD_CLIENTS]
    rows[index] = replaced(rows[index], data.draw(st.sampled_from(places(rows[index]))), value)
    for reader in (SessionList(statements=True), SessionList()):
        before = read(reader, json.dumps({"data": ODD_CLIENTS}).encode())
        body = json.dumps({"data": rows}).encode()
        for known in (reader, SessionList(statements=True)):
            after = read(known, body, NOW + 1)
            keys = {item.key: item.session for item in after.sessions}
            others = [item for item in before.sessions if item.session.native_id != native(index)]
            for item in others:
                assert item.key in keys
                if known is reader:
                    assert keys[item.key] is item.session


def native(index: int) -> str:
    return str(ODD_CLIENTS[index]["id"])
