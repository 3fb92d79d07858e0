"""The documented form: what is read from it, and how it says where it is wrong."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.sources.base import SourceError
from core.sources.documented import read_sessions
from core.sources.statement import MAX_BYTES
from sessiongate.v1.session_pb2 import BackendConnection, Session, SessionState

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


def read(name: str) -> list[Session]:
    document = json.loads((DATA / name).read_bytes())
    return [item.session for item in read_sessions(document, MOMENT)]


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
    )
    expected.connect_time.FromJsonString("2026-11-23T18:31:04Z")
    expected.last_active_time.FromDatetime(MOMENT - timedelta(seconds=95.2))
    assert first == expected
    assert (second.native_id, second.service) == ("1", "RW-Split-Router")
    assert [item.native_id for item in read("maxscale-24.02/session_one.json")] == ["1"]


def test_every_documented_attribute_is_read() -> None:
    (item,) = read_sessions({"data": FULL}, MOMENT, statements=True)
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
    keys = [read_sessions({"data": full(connected=form)}, MOMENT)[0].key for form in forms]
    assert len(set(keys)) == 1


def test_an_id_used_again_is_another_key() -> None:
    dates = ["Wed May  3 10:06:35 2017", "Wed May  3 10:06:36 2017"]
    keys = [read_sessions({"data": full(connected=date)}, MOMENT)[0].key for date in dates]
    assert len(set(keys)) == 2


def test_statements_are_left_alone_unless_asked_for() -> None:
    (item,) = read_sessions({"data": full(queries="not even an array")}, MOMENT)
    assert not item.session.queries


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("x" * MAX_BYTES, "x" * MAX_BYTES),
        ("x" * (MAX_BYTES + 1), "x" * MAX_BYTES),
        ("x" + "é" * MAX_BYTES, "x" + "é" * (MAX_BYTES // 2 - 1)),
    ],
)
def test_a_long_statement_is_cut_and_marked(statement: str, kept: str) -> None:
    queries = [{"statement": statement, "received": "2026-11-23T18:32:00.000"}]
    (item,) = read_sessions({"data": full(queries=queries)}, MOMENT, statements=True)
    (query,) = item.session.queries
    assert query.statement == kept
    assert query.truncated == (kept != statement)


def test_a_statement_that_was_cut_before_stays_marked() -> None:
    queries = [{"statement": "x", "received": "2026-11-23T18:32:00Z", "truncated": True}]
    (item,) = read_sessions({"data": full(queries=queries)}, MOMENT, statements=True)
    assert item.session.queries[0].truncated


def test_null_counts_as_absent() -> None:
    optional = set(FULL["attributes"]) - {"state", "connected"}
    session = read_sessions({"data": full(**dict.fromkeys(optional))}, MOMENT)[0].session
    stated = {field.name for field, _ in session.ListFields()}
    assert stated == {"native_id", "service", "filters", "state", "connect_time"}


def test_an_unknown_state_is_unspecified() -> None:
    (item,) = read_sessions({"data": full(state="Session on holiday")}, MOMENT)
    assert item.session.state == SessionState.SESSION_STATE_UNSPECIFIED


NO_SERVICES: dict[str, Any] = {"services": {"data": []}}
TWO_SERVICES = {"services": {"data": FULL["relationships"]["services"]["data"] * 2}}
ATTRIBUTE = "/data/0/attributes"

WRONG_ATTRIBUTES: list[tuple[dict[str, object], str]] = [
    ({"state": 1}, "/state: expected a string, found a number"),
    ({"state": None}, "/state: missing"),
    ({"connected": None}, "/connected: missing"),
    (
        {"connected": "yesterday\n"},
        '/connected: "yesterday\\n" is not a date such as '
        '"Wed May 17 10:06:35 2017" or "Wed, 17 May 2017 10:06:35 GMT"',
    ),
    ({"connected": "x" * 99}, '/connected: "' + "x" * 60 + '..." is not a date'),
    ({"connected": "Wed May 32 10:06:35 2017"}, '/connected: "Wed May 32 10:06:35 2017" is not'),
    ({"user": ["app"]}, "/user: expected a string, found an array"),
    ({"user": "\ud800"}, "/user: not Unicode text"),
    ({"port": "34300"}, "/port: expected a whole number, found a string"),
    ({"port": True}, "/port: expected a whole number, found a boolean"),
    ({"port": 65536}, "/port: expected a whole number from 0 to 65535"),
    ({"thread": -1}, "/thread: expected a whole number from 0 to 4294967295"),
    ({"io_activity": 1.5}, "/io_activity: expected a whole number, found a number"),
    ({"memory": 5}, "/memory: expected an object, found a number"),
    ({"memory": {"total": {}}}, "/memory/total: expected a whole number, found an object"),
    ({"idle": "95.2"}, "/idle: expected a number, found a string"),
    ({"idle": -0.1}, "/idle: -0.1 is not a number of seconds"),
    ({"idle": 1e12}, "/idle: 1e+12 is not a number of seconds"),
    ({"idle": 1e300}, "/idle: 1e+300 is not a number of seconds"),
    ({"idle": 10**400}, "/idle: expected a finite number"),
    ({"idle": float("nan")}, "/idle: expected a finite number"),
    ({"client": []}, "/client: expected an object, found an array"),
    ({"client": {"cipher": 1}}, "/client/cipher: expected a string, found a number"),
    (
        {"client": {"connection_attributes": {"a/b~c": 1}}},
        "/client/connection_attributes/a~1b~0c: expected a string, found a number",
    ),
    (
        {"client": {"connection_attributes": {"\ud800": "x"}}},
        "/client/connection_attributes/\\ud800: not Unicode text",
    ),
    ({"connections": {}}, "/connections: expected an array, found an object"),
    ({"connections": [{}]}, "/connections/0/server: missing"),
    (
        {"connections": [{"server": "s", "connection_id": 2**64}]},
        "/connections/0/connection_id: expected a whole number from 0 to 18446744073709551615",
    ),
    (
        {"connections": [{"server": "s", "connection_id": "1e3"}]},
        "/connections/0/connection_id: expected a whole number, found a string",
    ),
    ({"queries": [{"statement": "SECRET"}]}, "/queries/0/received: missing"),
    ({"queries": ["SECRET"]}, "/queries/0: expected an object, found a string"),
    (
        {"queries": [{"statement": "SECRET", "received": "SECRET"}]},
        "/queries/0/received: expected a date of ISO 8601",
    ),
    (
        {"queries": [{"statement": "SECRET", "received": "0001-01-01T00:00:00+01:00"}]},
        "/queries/0/received: expected a date of ISO 8601",
    ),
]

WRONG_DOCUMENTS: list[tuple[object, str]] = [
    (None, "the document: expected an object, found null"),
    ([], "the document: expected an object, found an array"),
    ({}, "/data: missing"),
    (json.loads((DATA / "maxscale-24.02/session_malformed.json").read_bytes()), "/data: missing"),
    ({"data": 1}, "/data: expected an array or an object, found a number"),
    ({"data": [None]}, "/data/0: expected an object, found null"),
    ({"data": [FULL, {}]}, "/data/1/relationships: missing"),
    ({"data": {**FULL, "id": 7}}, "/data/id: expected a string, found a number"),
    ({"data": {**FULL, "id": ""}}, "/data/id: empty"),
    ({"data": {**FULL, "type": "servers"}}, '/data/type: expected "sessions"'),
    ({"data": {**FULL, "attributes": []}}, "/data/attributes: expected an object, found an array"),
    ({"data": {**FULL, "relationships": {}}}, "/data/relationships/services: missing"),
    (
        {"data": {**FULL, "relationships": NO_SERVICES}},
        "/data/relationships/services/data: expected exactly one service, found 0",
    ),
    (
        {"data": {**FULL, "relationships": TWO_SERVICES}},
        "/data/relationships/services/data: expected exactly one service, found 2",
    ),
    ({"data": [FULL, FULL]}, '/data/1/id: "7" is also the id of /data/0'),
    (
        {"data": [FULL, full(connected="Wed May  3 10:06:36 2017")]},
        '/data/1/id: "7" is also the id of /data/0',
    ),
    *(
        ({"data": [full(**attributes)]}, ATTRIBUTE + message)
        for attributes, message in WRONG_ATTRIBUTES
    ),
]


@pytest.mark.parametrize(("document", "message"), WRONG_DOCUMENTS)
def test_an_error_names_the_place(document: object, message: str) -> None:
    with pytest.raises(SourceError, match=f"^{re.escape(message)}") as raised:
        read_sessions(document, MOMENT, statements=True)
    assert "SECRET" not in str(raised.value)
    assert str(raised.value).isascii()


# Any text, halves of surrogate pairs included, which JSON can write.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


def places(value: object) -> list[tuple[str | int, ...]]:
    """The way to every value within a JSON value."""
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


def refusal(document: object) -> str:
    """The error's text, or nothing where the document can be read."""
    try:
        read_sessions(document, MOMENT, statements=True)
    except SourceError as error:
        return str(error)
    return ""


@settings(deadline=None)
@given(document=JSON)
def test_any_json_is_read_or_refused(document: object) -> None:
    assert refusal(document).isascii()


@settings(deadline=None, max_examples=500)
@given(place=st.sampled_from(places({"data": [FULL]})), value=JSON)
def test_any_value_in_any_place_is_read_or_refused(
    place: tuple[str | int, ...], value: object
) -> None:
    text = refusal(replaced({"data": [FULL]}, place, value))
    assert text.startswith(("/data", "the document: ")) or not text
