"""Process lists of MariaDB and MySQL: rows into sessions, and what time alone does to them."""

from __future__ import annotations

import pytest

from core.sources.base import Wire
from core.sources.processlist import Dialect, ProcessList, Row
from core.sources.statement import MAX_BYTES
from sessiongate.v1 import session_pb2

NOW = 1_800_000_000.0
SERVER = ("192.0.2.9", 3306)


def row(ident: int = 7, **changes: object) -> Row:
    """A client of MariaDB that has been idle for a second."""
    given: dict[str, object] = {
        "user": "app",
        "host": "192.0.2.7:4711",
        "database": "shop",
        "command": "Sleep",
        "info": None,
        "query_id": 42,
        "idle": 1000,
    }
    return Row._make((ident, *{**given, **changes}.values()))


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
    (item,) = processes().read([row(command=command, user=user)], NOW).sessions
    assert item.session.state == state
    assert item.session.HasField("user") == (user != "unauthenticated user")


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
    assert processes().read([lone], NOW).sessions == []
    assert processes().strangers([lone]) == []


def test_a_client_may_have_any_name() -> None:
    clients = [row(1, user="system user"), row(2, user="event_scheduler")]
    found = processes().read(clients, NOW).sessions
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
    (item,) = processes().read([row(host=host)], NOW).sessions
    session = item.session
    assert (session.remote, session.port) == (remote, port)
    assert (session.HasField("remote"), session.HasField("port")) == (bool(remote), bool(port))
    address = (remote, port) if remote and port and not remote.endswith(("t", "e")) else None
    assert item.accepted == Wire(client=address, server=SERVER, server_id=7)


def test_sessions_are_in_the_order_of_their_ids() -> None:
    found = processes().read([row(11), row(9), row(10)], NOW).sessions
    assert [item.key for item in found] == ["9", "10", "11"]


def test_without_a_new_request_no_clock_changes_anything() -> None:
    reader = processes()
    first = reader.read([row(idle=1000)], NOW)
    active = first.sessions[0].session.last_active_time
    assert active.ToMilliseconds() == (NOW - 1) * 1000
    for idle, moment in ((61_000, NOW + 60), (0, NOW + 120), (-5, NOW - 500), (9**15, NOW)):
        assert reader.read([row(idle=idle)], moment) is first
    later = reader.read([row(idle=0, query_id=43)], NOW + 0.25)
    assert later.sessions[0].session.last_active_time.ToMilliseconds() == (NOW + 0.25) * 1000


def test_where_requests_are_not_counted_the_time_tells() -> None:
    """As in MySQL, which counts whole seconds."""
    reader = processes()
    first = reader.read([row(query_id=None, idle=3000)], NOW)
    for idle, moment in ((4000, NOW + 1.4), (4000, NOW + 0.1), (9000, NOW + 7.2)):
        assert reader.read([row(query_id=None, idle=idle)], moment) is first
    later = reader.read([row(query_id=None, idle=0)], NOW + 8)
    assert later.sessions[0].session.last_active_time.ToSeconds() == NOW + 8


@pytest.mark.parametrize("idle", [None, -1, (1 << 32) * 1000])
def test_a_time_that_cannot_be_is_left_out(idle: int | None) -> None:
    (item,) = processes().read([row(idle=idle)], NOW).sessions
    assert not item.session.HasField("last_active_time")


def test_a_client_that_logs_in_is_asked_about_then() -> None:
    reader = processes()
    nobody, somebody = row(user="unauthenticated user"), row()
    assert reader.strangers([nobody]) == []
    reader.read([nobody], NOW)
    assert reader.strangers([somebody]) == [7]
    reader.introduce({7: {"program_name": "billing", "_pid": "12"}})
    (item,) = reader.read([somebody], NOW).sessions
    assert item.session.application == "billing"
    assert dict(item.session.connection_attributes) == {"program_name": "billing", "_pid": "12"}
    assert reader.strangers([somebody]) == []
    reader.read([], NOW)
    assert reader.strangers([somebody]) == [7]


@pytest.mark.parametrize(
    ("text", "kept", "truncated"),
    [
        ("SELECT 1", "SELECT 1", False),
        ("x" * MAX_BYTES, "x" * MAX_BYTES, False),
        ("x" * (MAX_BYTES + 1), "x" * MAX_BYTES, True),
        ("x" + "ä" * MAX_BYTES, "x" + "ä" * (MAX_BYTES // 2 - 1), True),
    ],
)
def test_a_statement_is_cut_and_marked(text: str, kept: str, truncated: bool) -> None:
    (item,) = processes().read([row(command="Query", info=text)], NOW).sessions
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
    query = dialect.query(statements=False, include_self=False)
    assert f" FROM {table} " in query
    assert f" FROM {status}_schema.global_status " in dialect.start
    assert "INFO" not in query  # statements do not leave the server
    assert "INFO" in dialect.query(statements=True, include_self=True)
