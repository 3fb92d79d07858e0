"""A session that is prepared when it is first seen, compared with one that is prepared later."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect.links import Links
from sessiongate.core.collect.preparation import Preparation
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.ledger.past import description_of, opening_description
from sessiongate.core.place import place_of
from sessiongate.core.sources.base import Observed, SourceConfig, TcpLink, Unreadable
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session

NOW = 1_700_000_000 * 10**9 + 5
ID = 2**40 + 3
LINK = TcpLink(("10.0.0.1", 5), ("10.0.0.2", 3306), 7)


def _doing(session: Session) -> None:
    activity = session.activity
    activity.state, activity.native = session_pb2.ACTIVITY_STATE_ACTIVE, "active"
    activity.since_time.seconds, activity.transaction_start_time.seconds = 70, 60
    activity.blocked_by_ids.append(4)  # the core states those


def _unstorable(session: Session) -> None:
    session.connect_time.seconds = session.last_active_time.seconds = 2**62
    session.activity.since_time.seconds = session.activity.transaction_start_time.nanos = -1


def _empty(session: Session) -> None:
    session.user = session.remote = session.database = session.application = ""
    session.port, session.native_id, session.tls_cipher = 0, "", ""
    session.activity.SetInParent()


def _long(session: Session) -> None:
    session.user, session.application = "ü" * 2000, "x" * 1024
    session.connection_attributes["program"] = "y" * 300
    session.connections.add(server="a", connection_id=5)


def _nothing(session: Session) -> None:
    session.Clear()


def _socket(session: Session) -> None:
    session.remote, session.source = "/run/socket", "another"


def _observed(change: Callable[[Session], None]) -> Observed:
    session = Session(service="orders", user="ann", remote="::ffff:10.1.2.3", port=9, database="d")
    session.state = session_pb2.SESSION_STATE_STARTED
    session.connect_time.seconds, session.connect_time.nanos = 50, 123
    session.last_active_time.seconds, session.native_id = 55, "9"
    change(session)
    return Observed("k", session, LINK, (LINK,))


def _preparation(*, states_links: bool) -> Preparation:
    table = SessionTable(["s"], 0, Timestamp)
    scopes = Scopes("net", "machine").of(SourceConfig.parse("mysql://h:1?name=s"))
    return Preparation("s", table, Links(), MAX_SESSION, scopes if states_links else None)


@pytest.mark.parametrize("states_links", [False, True])
@pytest.mark.parametrize(
    "change", [lambda _: None, _doing, _unstorable, _empty, _long, _nothing, _socket]
)
def test_what_is_prepared_at_first_is_what_would_be_later(
    change: Callable[[Session], None], states_links: bool
) -> None:
    preparation = _preparation(states_links=states_links)
    seen, again = _observed(change), _observed(change)
    opening, first = preparation.opening("k", seen, lambda: NOW)
    assert first is not None
    place = place_of(opening.connect_time, ID)
    assert opening.connect_time in (NOW, 50 * 10**9 + 123)
    assert opening_description(opening, ID) == description_of(again.session)
    early = preparation.ready("k", seen, place, first).draft
    later = preparation.ready("k", again, place).draft
    assert early is not None
    assert later is not None
    assert early._replace(body=b"") == later._replace(body=b"")
    assert Session.FromString(early.body) == Session.FromString(later.body)
    # If it cannot be shown as it was prepared, the object that keeps it is prepared again.
    last = preparation.ready("k", seen, place).draft
    assert last is not None
    assert Session.FromString(last.body) == Session.FromString(later.body)


@pytest.mark.parametrize(
    "observed",
    [
        Observed("k", Session(), blocked_by=("j",)),
        Observed("k", Session(), stated_id=5),
        Observed("k", Session(), unreadable=(Unreadable("user", ("user",)),)),
        Observed("k", Session(upstream_ids=[4])),
        Observed("k", Session(truncated=["user"])),
        Observed("k", Session(queries=[session_pb2.Query(statement="x")])),
        Observed("k", Session(user="x" * MAX_SESSION)),
    ],
)
def test_what_depends_on_more_is_prepared_later(observed: Observed) -> None:
    opening, first = _preparation(states_links=False).opening("k", observed, lambda: NOW)
    assert first is None
    assert (opening.connect_time, opening.stated_id) == (NOW, observed.stated_id)
