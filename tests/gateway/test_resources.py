"""The documented representation of a session."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.representation.session import session_resource
from sessiongate.v1.session_pb2 import BackendConnection, Query, Session, SessionState
from sessiongate.v1.states import STATE_WORDS
from tests.gateway.scripted import session

BASE = "http://localhost:8989"
NOW = 1_495_015_600.0  # 2017-05-17T10:06:40Z

EVERYTHING = """{
    "id": "18446744073709551615",
    "type": "sessions",
    "relationships": {
        "services": {
            "links": {
                "self": "http://localhost:8989/v1/services/"
            },
            "data": [
                {
                    "id": "app",
                    "type": "services"
                }
            ]
        },
        "filters": {
            "data": [
                {
                    "id": "log",
                    "type": "filters"
                },
                {
                    "id": "mask",
                    "type": "filters"
                }
            ]
        }
    },
    "attributes": {
        "state": "Session started",
        "connected": "Wed May 17 10:06:35 2017",
        "user": "ann",
        "remote": "192.0.2.1",
        "port": 34300,
        "database": "shop",
        "idle": 2.8,
        "connections": [
            {
                "server": "db-1",
                "connection_id": 10,
                "cipher": ""
            },
            {
                "server": "db-2"
            }
        ],
        "client": {
            "cipher": "TLS_AES_256_GCM_SHA384",
            "connection_attributes": {
                "_pid": "1",
                "program_name": "shop"
            }
        },
        "queries": [
            {
                "statement": "SELECT 1",
                "received": "2017-05-17T10:06:36.250Z",
                "completed": "2017-05-17T10:06:37.000Z"
            },
            {
                "statement": "SELECT 2",
                "received": "2017-05-17T10:06:38.000Z",
                "truncated": true
            }
        ],
        "memory": {
            "total": 66868
        },
        "io_activity": 0,
        "thread": 0,
        "application": "shop/1.2",
        "source": "test",
        "native_id": "77"
    },
    "links": {
        "self": "http://localhost:8989/v1/sessions/18446744073709551615"
    }
}"""


def at(text: str) -> Timestamp:
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment


def test_all_that_is_known_stands_in_its_order() -> None:
    known = session(
        2**64 - 1,
        filters=["log", "mask"],
        user="ann",
        remote="192.0.2.1",
        port=34300,
        database="shop",
        last_active_time=at("2017-05-17T10:06:37.240Z"),
        connections=[
            BackendConnection(server="db-1", connection_id=10, tls_cipher=""),
            BackendConnection(server="db-2"),
        ],
        tls_cipher="TLS_AES_256_GCM_SHA384",
        connection_attributes={"program_name": "shop", "_pid": "1"},
        queries=[
            Query(
                statement="SELECT 1",
                receive_time=at("2017-05-17T10:06:36.25Z"),
                complete_time=at("2017-05-17T10:06:37Z"),
            ),
            Query(statement="SELECT 2", receive_time=at("2017-05-17T10:06:38Z"), truncated=True),
        ],
        memory_bytes=66868,
        io_activity=0,
        thread=0,
        application="shop/1.2",
        native_id="77",
    )
    assert json.dumps(session_resource(known, BASE, NOW), indent=4) == EVERYTHING


def test_what_is_not_known_is_left_out() -> None:
    resource = session_resource(session(1), BASE, NOW)
    assert list(resource["relationships"]) == ["services"]
    assert resource["attributes"] == {
        "state": "Session started",
        "connected": "Wed May 17 10:06:35 2017",
    }


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ({"tls_cipher": ""}, {"cipher": ""}),
        ({"connection_attributes": {"a": "b"}}, {"connection_attributes": {"a": "b"}}),
    ],
)
def test_a_client_may_be_known_in_part(fields: dict[str, object], client: object) -> None:
    assert session_resource(session(1, **fields), BASE, NOW)["attributes"]["client"] == client


def test_a_day_of_one_digit_is_padded_as_c_does() -> None:
    early = session(1)
    early.connect_time.FromJsonString("2017-05-03T00:00:00.999Z")
    attributes = session_resource(early, BASE, NOW)["attributes"]
    assert attributes["connected"] == "Wed May  3 00:00:00 2017"


@pytest.mark.parametrize(
    ("active", "idle"),
    [
        ("2017-05-17T10:06:40Z", "0.0"),
        ("2017-05-17T10:06:39.96Z", "0.0"),
        ("2017-05-17T10:06:39.94Z", "0.1"),
        ("2017-05-17T10:06:40.04Z", "0.0"),
        ("2017-05-17T11:00:00Z", "0.0"),
        ("2017-05-17T09:06:40Z", "3600.0"),
    ],
)
def test_idle_is_the_time_since_the_last_activity_and_never_negative(
    active: str, idle: str
) -> None:
    made = session(1, last_active_time=at(active))
    assert json.dumps(session_resource(made, BASE, NOW)["attributes"]["idle"]) == idle


@pytest.mark.parametrize("state", SessionState.values())
def test_states_have_the_documented_words(state: SessionState) -> None:
    made = session(1)
    made.state = state
    assert session_resource(made, BASE, NOW)["attributes"]["state"] == STATE_WORDS[state]


def test_unreachable_sources_are_named_where_there_are_any() -> None:
    assert Gaps().meta() == {}
    assert Gaps(("a", "b")).meta() == {"unreachable": ["a", "b"]}
    gaps = Gaps(("a",), ("p",)).union(Gaps(("b",), ("p", "o")))
    assert gaps.meta() == {"unreachable": ["a", "b"], "partial": ["o", "p"]}


def test_a_session_whose_service_could_not_be_read_is_on_none() -> None:
    relationships = session_resource(Session(id=1), BASE, 0.0)["relationships"]
    assert relationships["services"]["data"] == []


def test_an_empty_list_is_shown_if_it_is_known_to_be_empty() -> None:
    attributes = session_resource(Session(id=1), BASE, 0.0)["attributes"]
    assert not {"connections", "queries"} & attributes.keys()
    known = Session(id=1, known_empty=["connections", "queries"])
    attributes = session_resource(known, BASE, 0.0)["attributes"]
    assert (attributes["connections"], attributes["queries"]) == ([], [])


def test_what_was_cut_is_named_and_a_list_of_which_nothing_is_left_is_empty() -> None:
    cut = Session(id=1, application="a", truncated=["application", "queries"])
    attributes = session_resource(cut, BASE, 0.0)["attributes"]
    assert attributes["truncated"] == ["application", "queries"]
    assert attributes["queries"] == []
    assert "connections" not in attributes
    assert "truncated" not in session_resource(Session(id=1), BASE, 0.0)["attributes"]


def test_a_statement_whose_time_is_not_known_has_none() -> None:
    session = Session(id=1, queries=[Query(statement="SELECT 1")])
    resource = session_resource(session, BASE, 0.0)
    assert resource["attributes"]["queries"] == [{"statement": "SELECT 1"}]
