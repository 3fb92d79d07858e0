"""The documented form: how it is parsed, and how errors name their place."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.sources.base import Observed, SourceError, Unreadable
from sessiongate.core.sources.support import jsonapi_sessions
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.session_times import DocumentTimes
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES
from sessiongate.v1.session_pb2 import ActivityState, BackendConnection, Session, SessionState
from tests.core.observing import stated
from tests.faults.scale import times

DATA = Path(__file__).parent.parent / "data"
MOMENT = datetime(2026, 11, 23, 18, 32, 39, 200_000, tzinfo=UTC)

# A session that states everything that can be read.
FULL: dict[str, Any] = {
    "id": "7",
    "type": "sessions",
    "relationships": {
        "services": {"data": [{"id": "RW-Split-Router", "type": "services"}]},
        "filters": {"data": [{"id": "Hint", "type": "filters"}, {"id": "Log", "type": "filters"}]},
    },
    "attributes": {
        "state": "Session ready for routing",
        "connected": "Wed May  3 10:06:35 2017",
        "user": "app",
        "remote": "::ffff:127.0.0.1",
        "port": 34300,
        "database": "shop",
        "idle": 95.2,
        "connections": [
            {"server": "server1", "connection_id": 10, "cipher": ""},
            {"server": "server2", "connection_id": "18446744073709551615"},
        ],
        "client": {
            "cipher": "TLS_AES_256_GCM_SHA384",
            "connection_attributes": {"_pid": "15800", "program_name": "hold.py"},
        },
        "queries": [
            {
                "command": "COM_QUERY",
                "statement": "SELECT 1",
                "received": "2026-11-23T18:32:00.123",
                "completed": "2026-11-23T19:32:01+01:00",
                "responses": [],
            },
            {"command": "COM_PING", "received": "2026-11-23T18:32:02.000"},
            {"statement": "SELECT SLEEP(9)", "received": "2026-11-23T18:32:03Z"},
        ],
        "memory": {"total": 66868, "variables": 0},
        "io_activity": 3,
        "thread": 1,
        "application": "hold",
        "seconds_alive": 95.1,
        "log": [],
    },
    "links": {"self": "http://localhost:8989/v1/sessions/7"},
}


def read_sessions(
    document: object, times: DocumentTimes, *, statements: bool = False
) -> tuple[Sequence[Observed], Sequence[Unreadable]]:
    """Read a document to its end: return its sessions, and those that cannot be read."""
    content = json.dumps(document).encode()
    sessions, unreadable, partial = jsonapi_sessions.read_sessions(
        content, times, statements=statements
    )
    assert not partial
    return sessions, unreadable


UTC_TIMES = DocumentTimes(MOMENT.timestamp(), ServerZone(ZoneInfo("UTC")))


def observed(document: object) -> Sequence[Observed]:
    """Return the sessions of a document, all of which must be readable."""
    sessions, unreadable = read_sessions(document, UTC_TIMES, statements=True)
    assert not unreadable
    assert not any(item.unreadable for item in sessions)
    return sessions


def read(name: str) -> list[Session]:
    document = json.loads((DATA / name).read_bytes())
    return [item.session for item in observed(document)]


def full(**attributes: object) -> dict[str, Any]:
    session = copy.deepcopy(FULL)
    session["attributes"].update(attributes)
    return session


def seconds(session: Session) -> str:
    return session.connect_time.ToJsonString()


def test_the_reference_texts_sessions_come_in_their_order() -> None:
    sessions = read("sessions.json")
    assert [(item.native_id, item.service) for item in sessions] == [
        ("1", "RW-Split-Router"),
        ("2", "Read-Connection-Router"),
        ("3", "CLI"),
    ]
    for session in sessions:
        assert session.state == SessionState.SESSION_STATE_LISTENER
        assert seconds(session) == "2017-05-17T10:06:35Z"
        stated = {field.name for field, _ in session.ListFields()}
        assert stated == {"native_id", "service", "state", "connect_time"}


def test_a_document_may_be_one_session() -> None:
    assert read("session_1.json") == read("sessions.json")[:1]


def test_what_maxscale_answers_today_is_read() -> None:
    first, second = read("maxscale-24.02/sessions.json")
    expected = Session(
        native_id="2",
        service="Read-Connection-Router",
        state=SessionState.SESSION_STATE_STARTED,
        user="app",
        remote="127.0.0.1",
        port=34300,
        tls_cipher="",
        connection_attributes={
            "_client_name": "pymysql",
            "_client_version": "1.2.4",
            "_pid": "15800",
            "program_name": "hold.py",
        },
        connections=[BackendConnection(server="server1", connection_id=10, tls_cipher="")],
        memory_bytes=66868,
        io_activity=0,
        thread=0,
        application="hold.py",
    )
    expected.connect_time.FromJsonString("2026-11-23T18:31:04Z")
    expected.last_active_time.FromDatetime(MOMENT - timedelta(seconds=95.2))
    assert first == expected
    assert (second.native_id, second.service) == ("1", "RW-Split-Router")
    assert [item.native_id for item in read("maxscale-24.02/session_one.json")] == ["1"]


def test_every_documented_attribute_is_read() -> None:
    (item,) = observed({"data": FULL})
    session = item.session
    assert session.filters == ["Hint", "Log"]
    assert session.state == SessionState.SESSION_STATE_ROUTER_READY
    assert seconds(session) == "2017-05-03T10:06:35Z"
    assert session.remote == "::ffff:127.0.0.1"
    assert session.database == "shop"
    assert session.application == "hold"
    assert session.tls_cipher == "TLS_AES_256_GCM_SHA384"
    assert session.last_active_time.ToDatetime(UTC) == MOMENT - timedelta(seconds=95.2)
    assert list(session.connections) == [
        BackendConnection(server="server1", connection_id=10, tls_cipher=""),
        BackendConnection(server="server2", connection_id=2**64 - 1),
    ]
    assert [query.statement for query in session.queries] == ["SELECT 1", "SELECT SLEEP(9)"]
    done, running = session.queries
    assert done.receive_time.ToJsonString() == "2026-11-23T18:32:00.123Z"
    assert done.complete_time.ToJsonString() == "2026-11-23T18:32:01Z"
    assert running.receive_time.ToJsonString() == "2026-11-23T18:32:03Z"
    assert not running.HasField("complete_time")
    assert not done.truncated


def test_both_date_forms_are_one_key() -> None:
    forms = ["Wed May  3 10:06:35 2017", "Wed, 03 May 2017 10:06:35 GMT"]
    keys = [observed({"data": full(connected=form)})[0].key for form in forms]
    assert len(set(keys)) == 1


def test_an_id_used_again_is_another_key() -> None:
    dates = ["Wed May  3 10:06:35 2017", "Wed May  3 10:06:36 2017"]
    keys = [observed({"data": full(connected=date)})[0].key for date in dates]
    assert len(set(keys)) == 2


def test_statements_are_left_alone_unless_asked_for() -> None:
    document = {"data": full(queries="not even an array")}
    (item,), unreadable = read_sessions(document, UTC_TIMES)
    assert not item.session.queries
    assert not item.unreadable
    assert not unreadable


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("x" * MAX_STATEMENT_BYTES, "x" * MAX_STATEMENT_BYTES),
        ("x" * (MAX_STATEMENT_BYTES + 1), "x" * MAX_STATEMENT_BYTES),
        ("x" + "é" * MAX_STATEMENT_BYTES, "x" + "é" * (MAX_STATEMENT_BYTES // 2 - 1)),
    ],
)
def test_a_long_statement_is_cut_and_marked(statement: str, kept: str) -> None:
    queries = [{"statement": statement, "received": "2026-11-23T18:32:00.000"}]
    (item,) = observed({"data": full(queries=queries)})
    (query,) = item.session.queries
    assert query.statement == kept
    assert query.truncated == (kept != statement)


def test_a_statement_that_was_cut_before_stays_marked() -> None:
    queries = [{"statement": "x", "received": "2026-11-23T18:32:00Z", "truncated": True}]
    (item,) = observed({"data": full(queries=queries)})
    assert item.session.queries[0].truncated


def test_what_another_sessiongate_cut_stays_named() -> None:
    names = ["queries", "no field", "application"]
    (item,) = observed({"data": full(truncated=names)})
    assert item.session.truncated == ["application", "queries"]
    for odd in ("application", [5], {"application": True}):
        (item,), _ = read_sessions({"data": full(truncated=odd)}, UTC_TIMES)
        assert [part.fields for part in item.unreadable] == [()]
        assert not item.session.truncated


def test_null_counts_as_absent() -> None:
    optional = set(FULL["attributes"]) - {"state", "connected"}
    session = observed({"data": full(**dict.fromkeys(optional))})[0].session
    stated = {field.name for field, _ in session.ListFields()}
    assert stated == {"native_id", "service", "filters", "state", "connect_time"}


def test_an_unknown_state_is_unspecified() -> None:
    (item,) = observed({"data": full(state="Session on holiday")})
    assert item.session.state == SessionState.SESSION_STATE_UNSPECIFIED


def test_the_state_words_of_every_version_are_known() -> None:
    words = {"Session created": "ALLOC", "Session creation failed": "STOPPING"}
    for word, name in words.items():
        (item,) = observed({"data": full(state=word)})
        assert item.session.state == SessionState.Value(f"SESSION_STATE_{name}")


def test_a_client_on_a_unix_socket_has_no_port() -> None:
    (item,) = observed({"data": full(remote="localhost", port=-1)})
    assert (item.session.remote, item.session.HasField("port")) == ("localhost", False)


def test_an_id_that_was_printed_as_a_c_int_is_what_it_was() -> None:
    numbers = {-2147483643: 2147483653, -1: 2**32 - 1, 2**31: 2**31, 2**32: 2**32, 0: 0}
    connections = [{"server": "s", "connection_id": number} for number in numbers]
    (item,) = observed({"data": full(connections=connections)})
    assert [each.connection_id for each in item.session.connections] == [*numbers.values()]


@pytest.mark.parametrize("year", ["0001", "1600", "2300", "9999"])
def test_a_start_that_cannot_be_stored_is_left_out(year: str) -> None:
    document = {"data": full(connected=f"Wed May  3 10:06:35 {year}")}
    (item,), _ = read_sessions(document, UTC_TIMES)
    assert not item.session.HasField("connect_time")
    (part,) = item.unreadable
    assert part.text == "/data/attributes/connected: expected a time from the years 1678 to 2261"
    assert part.fields == ("connect_time",)


@pytest.mark.parametrize(
    ("zone", "connected", "utc"),
    [
        ("Europe/Helsinki", "Wed Jan  3 10:06:35 2024", "2024-01-03T08:06:35Z"),
        ("Europe/Helsinki", "Wed Jul  3 10:06:35 2024", "2024-07-03T07:06:35Z"),
        ("Europe/Helsinki", "Wed, 03 Jul 2024 10:06:35 GMT", "2024-07-03T10:06:35Z"),
        ("Asia/Kathmandu", "Wed Jul  3 10:06:35 2024", "2024-07-03T04:21:35Z"),
        ("Europe/Helsinki", "Sun Oct 27 02:59:59 2024", "2024-10-26T23:59:59Z"),
        ("Europe/Helsinki", "Sun Oct 27 03:00:00 2024", None),
        ("Europe/Helsinki", "Sun Oct 27 04:00:00 2024", "2024-10-27T02:00:00Z"),
    ],
)
def test_local_times_are_of_the_zone_that_is_configured(
    zone: str, connected: str, utc: str | None
) -> None:
    times = DocumentTimes(MOMENT.timestamp(), ServerZone(ZoneInfo(zone)))
    (item,), _ = read_sessions({"data": full(connected=connected)}, times)
    if utc is None:
        assert "a local time that occurred twice in Europe/Helsinki" in item.unreadable[0].text
    else:
        assert seconds(item.session) == utc


def test_a_key_is_of_what_is_stated_in_whichever_zone_it_is_read() -> None:
    zones = [ServerZone(ZoneInfo(name)) for name in ("UTC", "Europe/Helsinki")]
    other = {**full(connected="Wed, 03 May 2017 10:06:35 GMT"), "id": "8"}
    document = {"data": [full(), other]}
    keys = [
        [item.key for item in read_sessions(document, DocumentTimes(0.0, zone))[0]]
        for zone in zones
    ]
    assert keys == [["7 1493805995", "8 1493805995"]] * 2


NO_SERVICES: dict[str, Any] = {"services": {"data": []}}
TWO_SERVICES = {"services": {"data": FULL["relationships"]["services"]["data"] * 2}}
DATE = '/connected: expected a date such as "Wed May 17 10:06:35 2017"'

# Wrong attributes, what is said of them, and of which fields.
WRONG_ATTRIBUTES: list[tuple[dict[str, object], str, str]] = [
    ({"state": 1}, "/state: expected a string, found a number", "state"),
    ({"state": None}, "/state: missing", "state"),
    ({"user": ["app"]}, "/user: expected a string, found an array", "user"),
    ({"user": "\ud800"}, "/user: expected Unicode text", "user"),
    ({"port": "34300"}, "/port: expected an integer, found a string", "port"),
    ({"port": True}, "/port: expected an integer, found a boolean", "port"),
    ({"port": -2}, "/port: expected an integer from 0 to 65535", "port"),
    ({"port": 65536}, "/port: expected an integer from 0 to 65535", "port"),
    ({"thread": -1}, "/thread: expected an integer from 0 to 4294967295", "thread"),
    ({"io_activity": 1.5}, "/io_activity: expected an integer", "io_activity"),
    ({"memory": 5}, "/memory: expected an object, found a number", "memory_bytes"),
    ({"memory": {"total": {}}}, "/memory/total: expected an integer", "memory_bytes"),
    ({"idle": "95.2"}, "/idle: expected a number, found a string", "last_active_time"),
    ({"idle": -0.1}, "/idle: expected a number of at least 0", "last_active_time"),
    ({"idle": 1e12}, "/idle: expected a time from the years", "last_active_time"),
    ({"idle": 1e300}, "/idle: expected a time from the years", "last_active_time"),
    ({"idle": 1.7e308}, "/idle: expected a time from the years", "last_active_time"),
    ({"idle": 10**400}, "/idle: expected a finite number", "last_active_time"),
    ({"idle": float("nan")}, "/idle: expected a finite number", "last_active_time"),
    (
        {"client": {**FULL["attributes"]["client"], "cipher": 1}},
        "/client/cipher: expected a string",
        "tls_cipher",
    ),
    (
        {"client": {"cipher": "TLS_AES_256_GCM_SHA384", "connection_attributes": {"SECRET": 1}}},
        "/client/connection_attributes: expected Unicode strings only",
        "connection_attributes",
    ),
    (
        {"client": {"cipher": "TLS_AES_256_GCM_SHA384", "connection_attributes": {"\ud800": ""}}},
        "/client/connection_attributes: expected Unicode strings only",
        "connection_attributes",
    ),
    ({"connections": {}}, "/connections: expected an array, found an object", "connections"),
    ({"connections": [None]}, "/connections/0: expected an object, found null", "connections"),
    ({"connections": [{}]}, "/connections/0/server: missing", "connections"),
    (
        {"connections": [{"server": "s", "connection_id": 2**64}]},
        "/connections/0/connection_id: expected an integer from 0 to 18446744073709551615",
        "connections",
    ),
    (
        {"connections": [{"server": "s", "connection_id": -(2**31) - 1}]},
        "/connections/0/connection_id: expected an integer from 0 to 18446744073709551615",
        "connections",
    ),
    (
        {"connections": [{"server": "s", "connection_id": "1e3"}]},
        "/connections/0/connection_id: expected an integer, found a string",
        "connections",
    ),
    ({"queries": ["SECRET"]}, "/queries/0: expected an object, found a string", "queries"),
    (
        {"queries": [{"statement": "SECRET", "received": "SECRET"}]},
        "/queries/0/received: expected an ISO 8601 date",
        "queries",
    ),
    (
        {"queries": [{"statement": "SECRET", "received": "0001-01-01T00:00:00+01:00"}]},
        "/queries/0/received: expected a time from the years 1678 to 2261",
        "queries",
    ),
]


@pytest.mark.parametrize(("attributes", "text", "field"), WRONG_ATTRIBUTES)
def test_a_member_that_cannot_be_read_is_left_out_and_named(
    attributes: dict[str, object], text: str, field: str
) -> None:
    document = {"data": [full(**attributes), {**FULL, "id": "8"}]}
    (odd, other), unreadable = read_sessions(document, UTC_TIMES, statements=True)
    assert not unreadable
    (part,) = odd.unreadable
    assert part.text.startswith(f"/data/0/attributes{text}")
    assert part.text.isascii()
    assert part.fields == (field,)
    assert "SECRET" not in part.text
    for session in (odd.session, other.session):
        session.ClearField(field)
        session.ClearField("native_id")
    assert odd.session == other.session, "all else is as it was"


def test_of_a_list_what_can_be_read_is() -> None:
    connections = [None, {"server": "one"}, {"server": 5}, {"server": "two"}]
    client = {"connection_attributes": {"a": "b", "c": 5}}
    document = {"data": full(connections=connections, client=client)}
    (item,), _ = read_sessions(document, UTC_TIMES)
    assert [each.server for each in item.session.connections] == ["one", "two"]
    assert dict(item.session.connection_attributes) == {"a": "b"}
    assert len(item.unreadable) == 2


@pytest.mark.parametrize(
    ("relationships", "text", "field"),
    [
        ({}, "/services: missing", "service"),
        (NO_SERVICES, "/services/data: expected exactly one service, found 0", "service"),
        (TWO_SERVICES, "/services/data: expected exactly one service, found 2", "service"),
        (
            {**FULL["relationships"], "filters": {"data": [5]}},
            "/filters/data/0: expected an object, found a number",
            "filters",
        ),
    ],
)
def test_a_relationship_that_cannot_be_read_is_left_out(
    relationships: dict[str, Any], text: str, field: str
) -> None:
    document = {"data": {**FULL, "relationships": relationships}}
    (item,), unreadable = read_sessions(document, UTC_TIMES)
    assert not unreadable
    assert item.unreadable == (Unreadable(f"/data/relationships{text}", (field,)),)


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        (None, ": expected an object, found null"),
        ({}, "/type: missing"),
        ({**FULL, "id": 7}, "/id: expected a string, found a number"),
        ({**FULL, "id": ""}, "/id: expected a string that is not empty"),
        ({**FULL, "type": "servers"}, '/type: expected "sessions"'),
        ({**FULL, "attributes": []}, "/attributes: expected an object, found an array"),
        (full(connected=None), "/attributes/connected: missing"),
        (full(connected=5), "/attributes/connected: expected a string, found a number"),
        (full(connected="SECRET\n"), f"/attributes{DATE}"),
        (full(connected="Wed May 32 10:06:35 2017"), f"/attributes{DATE}"),
    ],
)
def test_a_session_without_a_readable_key_is_named_and_the_others_stay(
    resource: object, text: str
) -> None:
    (item,), (part,) = read_sessions({"data": [resource, FULL]}, UTC_TIMES)
    assert item.key == observed({"data": FULL})[0].key
    assert part.text.startswith(f"/data/0{text}")
    assert "SECRET" not in part.text


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "the document: expected an object, found null"),
        ([], "the document: expected an object, found an array"),
        ({}, "/data: missing"),
        (
            json.loads((DATA / "maxscale-24.02/session_malformed.json").read_bytes()),
            "/data: missing",
        ),
        ({"data": 1}, "/data: expected an array or an object, found a number"),
    ],
)
def test_what_is_no_document_of_sessions_is_refused(document: object, message: str) -> None:
    with pytest.raises(SourceError, match=f"^{re.escape(message)}"):
        read_sessions(document, UTC_TIMES, statements=True)


def test_the_recorded_list_of_odd_clients_is_read() -> None:
    sessions = {item.native_id: item for item in read("maxscale-24.02/sessions_odd.json")}
    assert len(sessions) == 5
    assert sessions["3"].state == SessionState.SESSION_STATE_ALLOC, "it has not logged in"
    assert (sessions["2"].remote, sessions["2"].HasField("port")) == ("localhost", False)


# Any text, including halves of surrogate pairs, which JSON can write.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


ACTIVITY: dict[str, Any] = {
    "state": "waiting",
    "since": "2026-11-23T18:32:03.250Z",
    "native": "active",
    "wait": "Lock: transactionid",
    "transaction_started": "2026-11-23T18:31:00.000Z",
    "blocked_by": ["9", "8", "elsewhere"],
}


def with_id(ident: str, **attributes: object) -> dict[str, Any]:
    return {**full(**attributes), "id": ident}


def test_the_activity_that_a_sessiongate_states_is_read_back() -> None:
    connected = {"connected": "Mon May 18 10:06:35 2017"}
    document = [full(activity=ACTIVITY), with_id("8", **connected), with_id("9")]
    blocked, eight, nine = observed({"data": document})
    activity = blocked.session.activity
    assert activity.state == ActivityState.ACTIVITY_STATE_WAITING
    assert activity.since_time.ToJsonString() == "2026-11-23T18:32:03.250Z"
    assert (activity.native, activity.wait) == ("active", "Lock: transactionid")
    assert activity.transaction_start_time.ToJsonString() == "2026-11-23T18:31:00Z"
    assert blocked.blocked_by == (nine.key, eight.key)
    assert not eight.session.HasField("activity")  # which is not idle, whatever "idle" says


def test_of_two_sessions_with_the_same_id_neither_blocks() -> None:
    document = [full(activity=ACTIVITY), with_id("8"), with_id("8"), with_id("9")]
    blocked, *_, nine = observed({"data": document})
    assert blocked.blocked_by == (nine.key,)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("state", "busy"),
        ("state", None),
        ("since", "2026-11-23T18:32:03"),
        ("since", "soon"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("since", "9999-12-31T23:59:59Z"),
        ("native", 5),
        ("wait", "\ud800"),
        ("transaction_started", 1.5),
        ("blocked_by", "8"),
        ("blocked_by", [8]),
    ],
)
def test_an_odd_activity_costs_itself(name: str, odd: object) -> None:
    document = {"data": [full(activity={**ACTIVITY, name: odd})]}
    ((item,), _) = read_sessions(document, UTC_TIMES)
    (part,) = item.unreadable
    assert part.fields == ("activity",)
    assert "/attributes/activity" in part.text
    assert not item.session.HasField("activity")
    assert item.session.user == "app"


def places(value: object) -> list[tuple[str | int, ...]]:
    """Return the path to every value within a JSON value."""
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    else:
        members = []
    return [(), *((name, *rest) for name, inner in members for rest in places(inner))]


def replaced(document: Any, place: tuple[str | int, ...], value: object) -> Any:
    if not place:
        return value
    document = copy.copy(document)
    document[place[0]] = replaced(document[place[0]], place[1:], value)
    return document


@given(document=JSON)
def test_any_json_is_read_or_refused(document: object) -> None:
    with suppress(SourceError):
        read_sessions(document, UTC_TIMES, statements=True)


RECORDED = [*json.loads((DATA / "maxscale-24.02/sessions_odd.json").read_bytes())["data"], FULL]


@settings(max_examples=times(75, 5000))
@given(index=st.integers(0, len(RECORDED) - 1), data=st.data(), value=JSON)
def test_a_value_in_any_place_costs_its_session_at_most(
    index: int, data: st.DataObject, value: object
) -> None:
    place = data.draw(st.sampled_from(places(RECORDED[index])))
    rows = [*RECORDED]
    rows[index] = replaced(rows[index], place, value)
    before = list(observed({"data": RECORDED}))
    sessions, unreadable = read_sessions({"data": rows}, UTC_TIMES, statements=True)
    assert len(sessions) + len(unreadable) == len(rows)
    found = [stated(item) for item in sessions]
    for item in before[:index] + before[index + 1 :]:
        assert stated(item) in found
    for part in (*unreadable, *(part for item in sessions for part in item.unreadable)):
        assert part.text.startswith(f"/data/{index}")
        assert part.text.isascii()
