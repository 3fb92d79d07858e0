"""Process lists of MariaDB and MySQL: how rows become sessions, and what time alone changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sessiongate.core.sources.base import Observation, TcpLink
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.mysql_cells import integer
from sessiongate.core.sources.support.mysql_dialect import Dialect
from sessiongate.core.sources.support.processlist import ProcessList
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES
from sessiongate.core.sources.support.thread_activity import (
    NO_TRANSACTIONS,
    Transaction,
    Transactions,
)
from sessiongate.core.sources.support.threads import ThreadRow, Threads
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS

NOW = 1_800_000_000.0
SERVER = ("192.0.2.9", 3306)


def row(ident: int = 7, **changes: object) -> ThreadRow:
    """Make a client of MariaDB that has been idle for a second."""
    given: dict[str, object] = {
        "user": "app",
        "host": "192.0.2.7:4711",
        "database": "shop",
        "command": "Sleep",
        "info": None,
        "wait": None,
        "query_id": 42,
        "idle": 1000,
    }
    return ThreadRow._make(map(cell, (ident, *{**given, **changes}.values())))


def cell(value: object) -> Cell:
    """Encode a value as the server does."""
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def listed(*rows: ThreadRow) -> Threads:
    return threads(rows)


def threads(rows: Iterable[ThreadRow]) -> Threads:
    return asyncio.run(Threads.of(rows))


def strangers(reader: ProcessList, listed: Threads) -> list[int]:
    return asyncio.run(reader.unknown_clients(listed))


def read(
    reader: ProcessList,
    listed: Threads,
    moment: float,
    transactions: Transactions | None = NO_TRANSACTIONS,
) -> Observation:
    return asyncio.run(reader.read(listed, moment, transactions))


def processes() -> ProcessList:
    return ProcessList("db", 1_700_000_000, SERVER)


@pytest.mark.parametrize(
    ("command", "user", "state"),
    [
        ("Sleep", "app", session_pb2.SESSION_STATE_STARTED),
        ("Query", "app", session_pb2.SESSION_STATE_STARTED),
        ("Binlog Dump", "replica", session_pb2.SESSION_STATE_STARTED),
        ("Connect", "app", session_pb2.SESSION_STATE_ALLOC),
        ("Sleep", "unauthenticated user", session_pb2.SESSION_STATE_ALLOC),
        ("Killed", "app", session_pb2.SESSION_STATE_STOPPING),
        ("Quit", "app", session_pb2.SESSION_STATE_STOPPING),
    ],
)
def test_the_state_is_the_command(command: str, user: str, state: int) -> None:
    (item,) = read(processes(), listed(row(command=command, user=user)), NOW).sessions
    assert item.session.state == state
    assert item.session.HasField("user") == (user != "unauthenticated user")


@pytest.mark.parametrize(
    ("changes", "word", "wait"),
    [
        ({"command": "Sleep"}, "idle", ""),
        ({"command": "Query"}, "active", ""),
        ({"command": "Binlog Dump"}, "active", ""),
        ({"command": "Killed"}, "active", ""),
        ({"command": "Query", "wait": "User lock"}, "waiting", "User lock"),
        ({"command": "Sleep", "wait": "User lock"}, "idle", ""),
        ({"command": "Connect", "user": "unauthenticated user"}, "connecting", ""),
        ({"command": "Connect", "query_id": 0}, "connecting", ""),
        ({"command": "Connect", "query_id": None}, "connecting", ""),
        ({"command": "Connect"}, "active", ""),  # a running event
    ],
)
def test_the_activity_is_the_command_and_what_it_waits_for(
    changes: dict[str, object], word: str, wait: str
) -> None:
    (item,) = read(processes(), listed(row(7, **changes)), NOW).sessions
    activity = item.session.activity
    assert (ACTIVITY_WORDS[activity.state], activity.wait) == (word, wait)
    assert activity.native == changes["command"]
    assert activity.since_time.ToSeconds() == NOW - 1
    assert not activity.HasField("transaction_start_time")


def held(
    moment: float = NOW - 0.5, *, blockers: tuple[int, ...] = (8,), since: float = NOW - 0.75
) -> Transactions:
    """Make transactions of threads 7, which waits for others, and 8, as they were at a moment."""
    waiting = Transaction((b"2",), NOW - 9, "RECORD X", since, blockers)
    return Transactions(moment, {7: waiting, 8: Transaction((b"1",), NOW - 20)})


def states(found: Observation) -> list[tuple[str, tuple[str, ...]]]:
    """Return what each session is doing, and who blocks it."""
    return [
        (ACTIVITY_WORDS.get(item.session.activity.state, ""), item.blocked_by)
        for item in found.sessions
    ]


def test_a_transaction_says_who_is_idle_in_one_and_who_waits_for_whom() -> None:
    rows = listed(row(7, command="Query"), row(8), row(9))
    first, second, third = read(processes(), rows, NOW, held()).sessions
    assert first.session.activity.wait == "RECORD X"
    assert first.session.activity.since_time.ToMilliseconds() == (NOW - 0.75) * 1000
    assert first.blocked_by == ("8",)
    started = [
        item.session.activity.transaction_start_time.seconds for item in (first, second, third)
    ]
    assert started == [NOW - 9, NOW - 20, 0]
    words = [ACTIVITY_WORDS[item.session.activity.state] for item in (first, second, third)]
    assert words == ["waiting", "idle in transaction", "idle"]


@pytest.mark.parametrize(
    ("query_id", "idle", "is_waiting"),
    [(42, 501, True), (42, 499, False), (None, 2000, True), (None, 1000, False)],
)
def test_a_wait_counts_only_for_a_request_that_had_begun(
    query_id: int | None, idle: int, is_waiting: bool
) -> None:
    """MySQL's seconds may be one too many."""
    rows = listed(row(7, command="Query", query_id=query_id, idle=idle), row(8))
    expected = ("waiting", ("8",)) if is_waiting else ("active", ())
    assert states(read(processes(), rows, NOW, held()))[0] == expected


@pytest.mark.parametrize("thread", [8, 9])
def test_who_has_done_something_since_the_transactions_were_read_may_be_in_one_or_not(
    thread: int,
) -> None:
    reader = processes()
    before = states(read(reader, listed(row(thread, idle=501)), NOW, held()))
    ended = listed(row(thread, query_id=43, idle=499))
    assert states(read(reader, ended, NOW, held())) == [("", ())]
    assert states(read(reader, ended, NOW + 1, None)) == [("", ())]
    assert states(read(reader, ended, NOW + 1, held(NOW + 0.5))) == before


def test_a_new_request_is_not_shown_in_the_transaction_of_an_earlier_one() -> None:
    found = read(processes(), listed(row(8, command="Query", idle=499)), NOW, held())
    activity = found.sessions[0].session.activity
    assert ACTIVITY_WORDS[activity.state] == "active"
    assert not activity.HasField("transaction_start_time")


def test_what_was_known_of_transactions_holds_while_nobody_does_anything() -> None:
    reader = processes()
    rows = row(7, command="Query"), row(8)
    first = read(reader, listed(*rows), NOW, held())
    assert read(reader, listed(*rows), NOW + 1, None) is first
    ran = row(8, query_id=43, idle=1)
    assert states(read(reader, listed(rows[0], ran), NOW + 2, None)) == [
        ("active", ()),
        ("", ()),  # whether it is still in a transaction is not known
    ]
    assert states(read(reader, listed(rows[0], ran), NOW + 3, held())) == states(first)
    assert states(read(reader, listed(rows[0]), NOW + 4, None)) == [("active", ())]


def test_a_new_blocker_is_a_change_and_the_same_one_is_none() -> None:
    reader = processes()
    rows = listed(row(7, command="Query"), row(8), row(9))
    first = read(reader, rows, NOW, held())
    assert read(reader, rows, NOW + 1, held(NOW + 0.5)) is first
    second = read(reader, rows, NOW + 2, held(blockers=(8, 9)))
    assert second.sessions[0].blocked_by == ("8", "9")
    assert second.sessions[1] is first.sessions[1]


@pytest.mark.parametrize(
    ("command", "user", "host"),
    [
        ("Daemon", "event_scheduler", "localhost"),
        ("Daemon", "system user", ""),
        ("Slave_IO", "system user", ""),
        ("Slave_SQL", "system user", None),
        ("Slave_worker", "system user", ""),
        ("Query", "system user", ""),
        ("Connect", "system user", "connecting host"),
    ],
)
def test_the_servers_own_threads_are_no_sessions(command: str, user: str, host: str | None) -> None:
    lone = row(command=command, user=user, host=host)
    assert read(processes(), listed(lone), NOW).sessions == []
    assert strangers(processes(), listed(lone)) == []


def test_a_client_may_have_any_name() -> None:
    clients = [row(1, user="system user"), row(2, user="event_scheduler")]
    found = read(processes(), listed(*clients), NOW).sessions
    assert [item.session.user for item in found] == ["system user", "event_scheduler"]


@pytest.mark.parametrize(
    ("host", "remote", "port"),
    [
        ("192.0.2.7:4711", "192.0.2.7", 4711),
        ("2001:db8::7:4711", "2001:db8::7", 4711),
        ("::ffff:192.0.2.7:4711", "192.0.2.7", 4711),
        ("client.example:4711", "client.example", 4711),
        ("localhost:4711", "localhost", 4711),
        ("client.example", "client.example", 0),
        ("localhost", "", 0),
        ("", "", 0),
        (None, "", 0),
    ],
)
def test_the_host_is_address_and_port(host: str | None, remote: str, port: int) -> None:
    (item,) = read(processes(), listed(row(host=host)), NOW).sessions
    session = item.session
    assert (session.remote, session.port) == (remote, port)
    assert (session.HasField("remote"), session.HasField("port")) == (bool(remote), bool(port))
    address = (remote, port) if remote and port and not remote.endswith(("t", "e")) else None
    assert item.accepted == TcpLink(client=address, server=SERVER, server_id=7)


def test_sessions_are_in_the_order_of_their_ids() -> None:
    found = read(processes(), listed(row(11), row(9), row(10)), NOW).sessions
    assert [item.key for item in found] == ["9", "10", "11"]


def test_without_a_new_request_no_clock_changes_anything() -> None:
    reader = processes()
    first = read(reader, listed(row(idle=1000)), NOW)
    active = first.sessions[0].session.last_active_time
    assert active.ToMilliseconds() == (NOW - 1) * 1000
    for idle, moment in ((61_000, NOW + 60), (0, NOW + 120), (-5, NOW - 500), (9**15, NOW)):
        assert read(reader, listed(row(idle=idle)), moment) is first
    later = read(reader, listed(row(idle=0, query_id=43)), NOW + 0.25)
    assert later.sessions[0].session.last_active_time.ToMilliseconds() == (NOW + 0.25) * 1000


def test_where_requests_are_not_counted_the_time_tells() -> None:
    """As in MySQL, which counts whole seconds."""
    reader = processes()
    first = read(reader, listed(row(query_id=None, idle=3000)), NOW)
    for idle, moment in ((4000, NOW + 1.4), (4000, NOW + 0.1), (9000, NOW + 7.2)):
        assert read(reader, listed(row(query_id=None, idle=idle)), moment) is first
    later = read(reader, listed(row(query_id=None, idle=0)), NOW + 8)
    assert later.sessions[0].session.last_active_time.ToSeconds() == NOW + 8


@pytest.mark.parametrize("idle", [None, -1, (1 << 32) * 1000])
def test_a_time_that_cannot_be_is_left_out(idle: int | None) -> None:
    (item,) = read(processes(), listed(row(idle=idle)), NOW).sessions
    assert not item.session.HasField("last_active_time")


def test_a_client_that_logs_in_is_asked_about_then() -> None:
    reader = processes()
    nobody, somebody = row(user="unauthenticated user"), row()
    assert strangers(reader, listed(nobody)) == []
    read(reader, listed(nobody), NOW)
    assert strangers(reader, listed(somebody)) == [7]
    reader.remember({7: {"program_name": "billing", "_pid": "12"}})
    (item,) = read(reader, listed(somebody), NOW).sessions
    assert item.session.application == "billing"
    assert dict(item.session.connection_attributes) == {"program_name": "billing", "_pid": "12"}
    assert strangers(reader, listed(somebody)) == []
    read(reader, listed(), NOW)
    assert strangers(reader, listed(somebody)) == [7]


# From a MariaDB 10.11, with statements: a client that waits, one that runs something, one that
# logs in, one on a Unix socket, and the event scheduler.
RECORDED = [
    ThreadRow(b"9", b"app", b"127.0.0.1:41782", b"shop", b"Sleep", None, None, b"65", b"2041"),
    ThreadRow(b"10", b"app", b"::1:41784", None, b"Query", b"SELECT SLEEP(9)", None, b"67", b"13"),
    ThreadRow(
        b"11", b"unauthenticated user", b"127.0.0.1:41790", None, b"Connect", None, None, b"0", b"8"
    ),
    ThreadRow(b"12", b"root", b"localhost", None, b"Sleep", b"", None, b"71", b"0"),
    ThreadRow(b"5", b"event_scheduler", b"localhost", None, b"Daemon", None, None, b"0", b"60040"),
]
CELLS = st.one_of(
    st.none(),
    st.binary(max_size=24),
    st.integers().map(lambda value: b"%d" % value),
    st.sampled_from(
        [b"9" * 20, b"-" + b"9" * 20, b"9" * 5000, b"1e300", b"nan", b"\xd9\xa1", b"1_0", b" 1"]
    ),
    st.sampled_from([b"Daemon", b"system user", b"unauthenticated user", b":70000", b"::1%eth0:5"]),
)


@given(
    place=st.integers(0, 4),
    column=st.sampled_from(ThreadRow._fields),
    odd=CELLS,
    is_counted=st.booleans(),
)
@example(place=0, column="ident", odd=b"9" * 5000, is_counted=True)
@example(place=1, column="idle", odd=b"9" * 5000, is_counted=False)
@example(place=1, column="idle", odd=b"-" + b"9" * 20, is_counted=False)
@example(place=3, column="command", odd=None, is_counted=True)
def test_one_odd_row_costs_itself(place: int, column: str, odd: Cell, is_counted: bool) -> None:
    # MySQL does not count requests.
    rows = RECORDED if is_counted else [each._replace(query_id=None) for each in RECORDED]
    reader = processes()
    before = read(reader, threads(rows), NOW)
    assert [item.key for item in before.sessions] == ["9", "10", "11", "12"]
    changed = rows[place]._replace(**{column: odd})
    ident = integer(changed.ident)
    assume(ident not in {integer(each.ident) for each in rows if each is not rows[place]})
    after = read(reader, threads([*rows[:place], changed, *rows[place + 1 :]]), NOW)
    kept = [item for index, item in enumerate(before.sessions) if index != place]
    assert {id(item) for item in kept} <= {id(item) for item in after.sessions}
    assert len(kept) <= len(after.sessions) <= len(kept) + 1
    assert [part.text.split(":")[0] for part in after.unreadable] == (
        ["ID"] if ident is None or ident < 0 else []
    )
    members = [part.text.split(":")[0] for item in after.sessions for part in item.unreadable]
    assert members in ([], ["TIME"], ["COMMAND"])
    again = read(reader, threads([*rows[:place], changed, *rows[place + 1 :]]), NOW)
    assert again is after


def test_an_id_that_two_threads_have_is_one_session() -> None:
    found = read(processes(), listed(row(7), row(7, user="other"), row(8)), NOW)
    assert [(item.key, item.session.user) for item in found.sessions] == [
        ("7", "app"),
        ("8", "app"),
    ]
    assert [part.text for part in found.unreadable] == ["ID: expected a unique number"]


@pytest.mark.parametrize("query_id", [None, 42])
def test_a_time_that_is_no_number_is_odd_until_it_is_one(query_id: int | None) -> None:
    reader = processes()
    odd = read(reader, listed(row(idle="soon", query_id=query_id, info="SELECT 1")), NOW)
    (item,) = odd.sessions
    assert [part.fields for part in item.unreadable] == [("last_active_time",)]
    assert not item.session.HasField("last_active_time")
    assert not item.session.queries[0].HasField("receive_time")
    later = listed(row(idle="soon still", query_id=query_id, info="SELECT 1"))
    assert read(reader, later, NOW + 60) is odd
    (item,) = read(
        reader, listed(row(idle=5000, query_id=query_id, info="SELECT 1")), NOW + 90
    ).sessions
    assert item.session.last_active_time.ToSeconds() == NOW + 85
    assert item.unreadable == ()


def test_a_thread_without_a_command_keeps_the_state_it_had() -> None:
    (item,) = read(processes(), listed(row(command=None)), NOW).sessions
    assert [part.fields for part in item.unreadable] == [("state", "activity")]
    assert (item.session.state, item.session.user) == (session_pb2.SESSION_STATE_UNSPECIFIED, "app")


def test_what_the_server_does_not_know_is_absent() -> None:
    """Values that MySQL's performance schema may lack, for any thread."""
    lone = row(user=None, host=None, database=None, info=None, query_id=None, idle=None)
    (item,) = read(processes(), listed(lone), NOW).sessions
    for field in ("user", "remote", "port", "database", "last_active_time"):
        assert not item.session.HasField(field)
    assert item.unreadable == ()


@pytest.mark.parametrize(
    ("text", "kept", "truncated"),
    [
        ("SELECT 1", "SELECT 1", False),
        ("x" * MAX_STATEMENT_BYTES, "x" * MAX_STATEMENT_BYTES, False),
        ("x" * (MAX_STATEMENT_BYTES + 1), "x" * MAX_STATEMENT_BYTES, True),
        ("x" + "ä" * MAX_STATEMENT_BYTES, "x" + "ä" * (MAX_STATEMENT_BYTES // 2 - 1), True),
        (
            b"x" * (MAX_STATEMENT_BYTES - 3) + b"\xff",
            "x" * (MAX_STATEMENT_BYTES - 3) + "\ufffd",
            False,
        ),
        (b"x" * MAX_STATEMENT_BYTES + b"\xff", "x" * MAX_STATEMENT_BYTES, True),
    ],
)
def test_a_statement_is_cut_and_marked(text: str | bytes, kept: str, truncated: bool) -> None:
    (item,) = read(processes(), listed(row(command="Query", info=text)), NOW).sessions
    (query,) = item.session.queries
    assert (query.statement, query.truncated) == (kept, truncated)
    assert query.receive_time.ToSeconds() == NOW - 1


@pytest.mark.parametrize(
    ("version", "performance_schema", "table", "status"),
    [
        ("10.11.19-MariaDB-0+deb12u1", True, "information_schema.PROCESSLIST", "information"),
        ("5.5.5-10.3.39-MariaDB-log", False, "information_schema.PROCESSLIST", "information"),
        ("8.0.22", True, "performance_schema.processlist", "performance"),
        ("8.4.3-log", True, "performance_schema.processlist", "performance"),
        ("9.1.0", True, "performance_schema.processlist", "performance"),
        ("8.0.22", False, "information_schema.PROCESSLIST", "performance"),
        ("8.0.21", True, "information_schema.PROCESSLIST", "performance"),
        ("5.7.44", True, "information_schema.PROCESSLIST", "performance"),
    ],
)
def test_each_server_is_asked_where_it_takes_the_fewest_locks(
    version: str, performance_schema: bool, table: str, status: str
) -> None:
    dialect = Dialect.of(version, performance_schema)
    query = dialect.query(statements=False, include_self=False, most=7)
    assert f" FROM {table} " in query
    assert f" FROM {status}_schema.global_status " in dialect.start
    assert "INFO" not in query  # statements do not leave the server
    info = "INFO_BINARY" if "MariaDB" in version else "CAST(INFO AS BINARY)"
    assert f"LEFT({info}, 16385)" in dialect.query(statements=True, include_self=True, most=7)
