"""Answers of a REST API, read again and again: what changes, and what only the clock does."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sources.base import Observation, SourceError, Wire
from core.sources.sessionlist import SessionList

DATA = Path(__file__).parent.parent / "data"
RECORDED = (DATA / "maxscale-24.02" / "sessions.json").read_bytes()
REFERENCE = (DATA / "sessions.json").read_bytes()
NOW = 1_800_000_000.0
SERVERS = {"server1": ("192.0.2.9", 3306)}


def answer(*changes: dict[str, Any]) -> bytes:
    """The recorded answer, with changes to the attributes of its sessions, 2 and then 1."""
    document = json.loads(RECORDED)
    for resource, change in zip(document["data"], changes, strict=False):
        resource["attributes"].update(change)
    return json.dumps(document).encode()


def later(seconds: float, *changes: dict[str, Any]) -> bytes:
    """The same so many seconds later."""
    times = {"idle": 95.2 + seconds, "seconds_alive": 95.1 + seconds}
    return answer(*({**times, **change} for change in (changes or ({}, {}))))


def read(
    reader: SessionList, body: bytes, moment: float = NOW, started: float | None = None
) -> Observation:
    return reader.read(body, moment, SERVERS, started)


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
    assert session.connection_attributes["program_name"] == "hold.py"
    assert (session.memory_bytes, session.thread, session.io_activity) == (66868, 0, 0)
    (backend,) = session.connections
    assert (backend.server, backend.connection_id, backend.tls_cipher) == ("server1", 10, "")
    assert two.accepted == Wire(client=("127.0.0.1", 34300), server_id=2)
    assert two.opened == (Wire(server=("192.0.2.9", 3306), server_id=10),)


def test_a_server_without_an_address_is_no_wire() -> None:
    one, _ = SessionList().read(RECORDED, NOW, {}, None).sessions
    assert one.opened == ()


def test_wires_follow_the_servers_addresses() -> None:
    reader = SessionList()
    read(reader, RECORDED)
    moved = reader.read(RECORDED, NOW, {"server1": ("192.0.2.10", 3306)}, None)
    assert moved.sessions[0].opened == (Wire(server=("192.0.2.10", 3306), server_id=9),)


def test_the_reference_text_is_read_again_without_a_change() -> None:
    reader = SessionList()
    first = reader.read(REFERENCE, NOW, {}, None)
    assert [item.session.service for item in first.sessions][2] == "CLI"
    assert reader.read(REFERENCE, NOW + 100, {}, None) is first


def test_time_alone_changes_nothing() -> None:
    reader = SessionList()
    first = read(reader, later(0))
    for seconds, jitter in ((1, 0.4), (2, -0.6), (3600, 1.4), (7200, -1.4)):
        assert read(reader, later(seconds), NOW + seconds + jitter) is first


def test_times_that_are_read_anew_change_nothing_either() -> None:
    """Where another session's attribute has changed, so that the answer is read."""
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
def test_an_idle_time_that_is_none_is_named_by_its_place(idle: str) -> None:
    body = answer({}, {"idle": "IDLE"}).replace(b'"IDLE"', idle.encode())
    reader = SessionList()
    read(reader, RECORDED)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^/data/1/attributes/idle: "):
            read(reader, body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "/data: missing"),
        (b'{"data": 5}', "/data: expected an array"),
        (b'{"data": [5]}', "/data/0: expected an object"),
        (b'{"data": [{"id": "1"}]}', "/data/0/relationships: missing"),
        (b'{"data": [{"id": 1, "attributes": {}}]}', "/data/0/relationships: missing"),
        (b'{"data": [{"id": "1", "attributes": {}}]}', "/data/0/relationships: missing"),
        ((DATA / "session_1.json").read_bytes(), "no list of sessions"),
        (RECORDED.replace(b'"sessions"', b'"users"'), "/data/0/type: expected"),
    ],
)
def test_what_is_no_list_of_sessions_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        read(SessionList(), body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, JSON, JSON, st.binary())
def test_no_answer_is_more_than_a_source_error(
    ident: Any, attributes: Any, value: Any, raw: bytes
) -> None:
    reader = SessionList(statements=True)
    resource = {"id": ident, "attributes": attributes}
    bodies = [
        raw,
        *(json.dumps(each).encode() for each in (value, {"data": value}, {"data": [resource]})),
    ]
    for name in ("idle", "state", "port", "connections", "client", "queries", "memory", "remote"):
        bodies.append(answer({name: value}))
    for body in bodies:
        with suppress(SourceError):
            read(reader, body)
