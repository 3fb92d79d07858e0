"""Activities of PostgreSQL's backends, and the sessions that block them, over a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias
from urllib.parse import quote

import psycopg
import pytest

from sessiongate.core.sources import postgresql
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.postgresql_backends import (
    BACKEND_ACTIVITIES,
    BackendRow,
    Backends,
    Reached,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import activity_of
from sessiongate.v1.session_pb2 import Activity, ActivityState
from tests.core.documentation import activities, block
from tests.core.real import Watched
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, Clients, Postgres, running_postgres
from tests.servers import PATIENCE

ACTIVE = session_pb2.ACTIVITY_STATE_ACTIVE
WAITING = session_pb2.ACTIVITY_STATE_WAITING
SLEEP = "SELECT pg_sleep(3600)"
CHANGE = "UPDATE stock SET pieces = pieces + 1 WHERE item = {}"

# What the server says of its clients, asked in another way than the source asks.
TOLD = b"""
SELECT a.pid, state, state_change, xact_start, wait_event_type, wait_event, waitstart,
 pg_blocking_pids(a.pid)
FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND NOT granted
WHERE backend_type = 'client backend' AND application_name <> 'sessiongate'
 AND a.pid <> pg_backend_pid()
"""
RUNS = ("active", "fastpath function call")


class Doing(NamedTuple):
    """A session's activity, and the pids of the sessions that block it."""

    activity: Activity | None
    blockers: frozenset[str]


Doings: TypeAlias = Mapping[str, Doing]  # by pid


@dataclass(frozen=True)
class Scene:
    """A server with clients, and a source that reads it with the documented grant."""

    server: Postgres
    clients: Clients
    admin: psycopg.Connection
    watched: Watched

    def connect(self, *statements: str) -> psycopg.Connection:
        """Connect a client that has run these statements."""
        client = self.clients.add(self.server.connect())
        # Who would wait for each other goes on doing so.
        for statement in ("SET deadlock_timeout = '1h'", *statements):
            client.execute(statement.encode())
        return client

    def run(self, statement: str, *before: str) -> psycopg.Connection:
        """Connect a client that runs a statement, after others."""
        client = self.connect(*before)
        client.pgconn.send_query(statement.encode())
        return client

    def told(self) -> Doings:
        """Return what the server says that its clients do."""
        return {str(row[0]): doing(*row[1:]) for row in self.admin.execute(TOLD)}

    def shown(self) -> Doings:
        """Return what the source says."""
        items = {item.session.native_id: item for item in self.watched.items()}
        return {one: shown(item) for one, item in items.items() if one != pid(self.admin)}

    def both(self, holds: Callable[[Doings], bool]) -> Doings:
        """Return what both say, the same, as soon as the condition ``holds``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            before, found, after = self.told(), self.shown(), self.told()
            if before == after and holds(after):
                assert found == after
                return found
            assert time.monotonic() < deadline, after

    def blocked(self, *waiting: psycopg.Connection) -> Doings:
        """Return what both say as soon as these clients are blocked, and no others."""
        wanted = {pid(client) for client in waiting}

        def holds(all_: Doings) -> bool:
            waits = {one for one, each in all_.items() if is_waiting(each)}
            return waits == wanted == {one for one, each in all_.items() if each.blockers}

        return self.both(holds)


def doing(
    state: str | None,
    state_change: datetime,
    xact_start: datetime | None,
    kind: str | None,
    event: str | None,
    wait_start: datetime | None,
    blockers: list[int],
) -> Doing:
    """Return what a row of `TOLD` says."""
    blocking = frozenset(str(one) for one in blockers)
    known = activity_of(state or "")
    if known is None or state is None:
        return Doing(None, blocking)
    activity = Activity(state=known, native=state)
    activity.since_time.FromDatetime(state_change)
    if state == "active" and kind:
        activity.wait = f"{kind}: {event}"
    if kind == "Lock" or blockers:  # who has just got it waits until it has noticed
        activity.state = WAITING
        if wait_start:
            activity.since_time.FromDatetime(wait_start)
    if xact_start:
        activity.transaction_start_time.FromDatetime(xact_start)
    return Doing(activity, blocking)


def shown(item: Observed) -> Doing:
    """Return what an observed session does."""
    activity = item.session.activity if item.session.HasField("activity") else None
    return Doing(activity, frozenset(key.partition(" ")[0] for key in item.blocked_by))


def is_waiting(doing: Doing) -> bool:
    return doing.activity is not None and doing.activity.state == WAITING


def pid(client: psycopg.Connection) -> str:
    return str(client.info.backend_pid)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute(
            *block("PostgreSQL", "sql").splitlines(),
            "CREATE TABLE stock AS SELECT item, 0 AS pieces FROM generate_series(1, 1000) item",
            "CREATE TABLE prices (price int)",
            "ANALYZE stock",
            "CREATE FUNCTION price(int) RETURNS int PARALLEL SAFE LANGUAGE plpgsql"
            " AS 'BEGIN PERFORM 1 FROM prices; RETURN $1; END'",
        )
        yield server


@pytest.fixture
def scene(server: Postgres) -> Iterator[Scene]:
    clients = Clients()
    with server.connect() as admin, watched(server) as source:
        yield Scene(server, clients, admin, source)
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        clients.close()
    server.wait_until_left()


def watched(server: Postgres, *, user: str = "sessiongate", **options: str) -> Watched:
    return Watched(f"postgresql://{user}:{quote(PASSWORD)}@127.0.0.1:{server.port}", **options)


def states(all_: Doings, *clients: psycopg.Connection) -> list[ActivityState | None]:
    """Return what each of the clients does."""
    found = (all_[pid(client)].activity for client in clients)
    return [None if activity is None else activity.state for activity in found]


def waits(all_: Doings, *clients: psycopg.Connection) -> list[str]:
    """Return what each of the clients waits for."""
    found = (all_[pid(client)].activity for client in clients)
    return ["" if activity is None else activity.wait for activity in found]


def queued(scene: Scene) -> tuple[list[psycopg.Connection], Doings]:
    """Let three clients wait for a table, one after the other; return them, and what both say."""
    scene.connect("BEGIN", "LOCK prices IN ACCESS EXCLUSIVE MODE")
    queue: list[psycopg.Connection] = []
    for _ in range(3):
        queue.append(scene.run("LOCK prices IN ACCESS EXCLUSIVE MODE", "BEGIN"))
        found = scene.blocked(*queue)
    return queue, found


def test_running_idle_and_stuck_clients_are_told_apart(scene: Scene) -> None:
    idle, begun, failed = scene.connect("SELECT 1"), scene.connect("BEGIN"), scene.connect("BEGIN")
    with pytest.raises(psycopg.errors.DivisionByZero):
        failed.execute("SELECT 1/0")
    disabled = scene.connect("SET track_activities = off")
    sleeps, copies = scene.run(SLEEP), scene.run("COPY stock FROM STDIN")
    found = scene.both(lambda all_: waits(all_, sleeps) == ["Timeout: PgSleep"])
    assert states(found, idle, begun, failed, disabled, sleeps, copies) == [
        session_pb2.ACTIVITY_STATE_IDLE,
        session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION,
        session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED,
        None,
        ACTIVE,
        ACTIVE,
    ]
    assert waits(found, idle, begun, failed) == ["", "", ""], "they wait for their clients"
    assert waits(found, copies) == ["Client: ClientRead"], "and so does a statement that runs"


def test_who_waits_for_whom_is_a_chain(scene: Scene) -> None:
    first = scene.connect("BEGIN", CHANGE.format(1))
    second = scene.run(CHANGE.format(1), "BEGIN", CHANGE.format(2))
    scene.blocked(second)
    third = scene.run(CHANGE.format(2))
    found = scene.blocked(second, third)
    assert found[pid(second)].blockers == {pid(first)}
    assert found[pid(third)].blockers == {pid(second)}
    assert states(found, first, second, third) == [
        *(session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, WAITING, WAITING)
    ]
    assert waits(found, second, third) == ["Lock: transactionid"] * 2
    first.execute("COMMIT")
    found = scene.blocked(third)
    scene.admin.execute("SELECT pg_terminate_backend(%s)", [pid(second)])
    idle = [session_pb2.ACTIVITY_STATE_IDLE] * 2
    found = scene.both(lambda all_: states(all_, first, third) == idle)
    assert pid(second) not in found


def test_who_waits_for_each_other_waits_for_each_other(scene: Scene) -> None:
    one = scene.connect("BEGIN", "SELECT pg_advisory_xact_lock(1)")
    other = scene.run("SELECT pg_advisory_xact_lock(1)", "BEGIN", "SELECT pg_advisory_xact_lock(2)")
    one.pgconn.send_query(b"SELECT pg_advisory_xact_lock(2)")
    found = scene.blocked(one, other)
    assert [found[pid(each)].blockers for each in (one, other)] == [{pid(other)}, {pid(one)}]
    assert waits(found, one, other) == ["Lock: advisory"] * 2


def test_who_waits_in_a_queue_waits_for_those_before(scene: Scene) -> None:
    queue, found = queued(scene)
    assert [len(found[pid(each)].blockers) for each in queue] == [1, 2, 3]


def test_of_a_long_queue_as_many_are_read_as_are_shown(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_MOST_BLOCKERS", 2)
    queue, found = queued(scene)
    with watched(scene.server) as fewer:
        items = {item.session.native_id: item for item in fewer.items()}
    last = shown(items[pid(queue[-1])]).blockers
    assert len(last) == 2
    assert last < found[pid(queue[-1])].blockers


def test_of_many_that_wait_those_that_waited_longest_are_looked_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_MOST_WAITING", 2)
    queue, found = queued(scene)
    with watched(scene.server) as fewer:
        items = {item.session.native_id: shown(item) for item in fewer.items()}
    assert [items[pid(each)] for each in queue[:2]] == [found[pid(each)] for each in queue[:2]]
    last = found[pid(queue[-1])]
    assert items[pid(queue[-1])] == Doing(last.activity, frozenset())


def test_the_server_does_not_compile_the_query(scene: Scene) -> None:
    scene.admin.execute("SET enable_nestloop = off")
    for statements in ("false", "true"):
        with watched(scene.server, statements=statements) as source:
            assert isinstance(source.source, postgresql.PostgreSQLSource)
            query = f"EXPLAIN {source.source._select}"
        plan = " ".join(row[0] for row in scene.admin.execute(query.encode()))
        assert "CTE waits" in plan
        assert "JIT" not in plan


def test_what_is_no_session_is_left_out_of_who_blocks(scene: Scene) -> None:
    scene.connect("BEGIN", CHANGE.format(3), "PREPARE TRANSACTION 'forgotten'")
    waits_for_it = scene.run(CHANGE.format(3))
    try:

        def is_settled(told: Doings) -> bool:  # the server names the blocker before the wait
            doing = told[pid(waits_for_it)]
            return doing.blockers == {"0"} and bool(doing.activity and doing.activity.wait)

        told = eventually(scene.told, is_settled)
        found = scene.shown()[pid(waits_for_it)]
        assert found == Doing(told[pid(waits_for_it)].activity, frozenset())
        assert found.activity is not None
        assert found.activity.state == WAITING
    finally:
        scene.admin.execute("ROLLBACK PREPARED 'forgotten'")


def test_the_workers_of_a_query_are_its_session(scene: Scene) -> None:
    """A leader waits for its workers, and they wait for a lock."""
    holder = scene.connect("BEGIN", "LOCK prices IN ACCESS EXCLUSIVE MODE")
    settings = ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size")
    leader = scene.run(
        "SELECT sum(price(item)) FROM stock",
        *(f"SET {name} = 0" for name in settings),
        "SET parallel_leader_participation = off",
    )
    found = scene.blocked(leader)
    assert found[pid(leader)].blockers == {pid(holder)}
    assert (states(found, leader), waits(found, leader)) == ([WAITING], ["IPC: ExecuteGather"])


def test_before_version_14_a_wait_began_with_its_statement(scene: Scene) -> None:
    scene.admin.execute("CREATE SCHEMA older")
    scene.admin.execute("GRANT USAGE ON SCHEMA older TO PUBLIC")
    scene.admin.execute(
        "CREATE VIEW older.pg_locks AS SELECT locktype, pid, mode, granted FROM pg_locks"
    )
    scene.admin.execute("GRANT SELECT ON older.pg_locks TO PUBLIC")
    scene.admin.execute(f"CREATE ROLE older LOGIN PASSWORD '{STORED}' IN ROLE pg_monitor")
    scene.admin.execute("ALTER ROLE older SET search_path = older, pg_catalog")
    scene.connect("SELECT pg_advisory_lock(1)")
    waiting = scene.run("SELECT pg_advisory_lock(1)")
    scene.blocked(waiting)
    with watched(scene.server, user="older") as source:
        (item,) = (each for each in source.items() if each.session.native_id == pid(waiting))
    assert item.session.activity.state == WAITING
    assert item.session.activity.since_time == item.session.last_active_time


def test_a_role_without_the_grant_knows_what_its_own_sessions_do(scene: Scene) -> None:
    scene.admin.execute(f"CREATE ROLE bare LOGIN PASSWORD '{STORED}'")
    holder = scene.connect("SELECT pg_advisory_lock(1)")
    other = scene.run("SELECT pg_advisory_lock(1)")
    scene.blocked(other)  # before the next one: who asks later waits for it, too
    own = scene.clients.add(scene.server.connect(user="bare"))
    own.pgconn.send_query(b"SELECT pg_advisory_lock_shared(1)")
    scene.blocked(other, own)
    with watched(scene.server, user="bare") as source:
        items = {item.session.native_id: item for item in source.items()}
    for hidden in (holder, other):
        assert not items[pid(hidden)].session.HasField("activity")
    assert items[pid(own)].session.activity.state == WAITING
    assert items[pid(own)].blocked_by == (items[pid(holder)].key, items[pid(other)].key)


def test_nothing_changes_while_nothing_happens(scene: Scene) -> None:
    scene.connect("BEGIN", CHANGE.format(4))
    scene.blocked(scene.run(CHANGE.format(4)))
    sleeps = scene.run(SLEEP)
    scene.both(lambda all_: waits(all_, sleeps) == ["Timeout: PgSleep"])
    first = scene.watched.observe()
    assert scene.admin.execute("SELECT 1")
    second = scene.watched.observe()
    changed = [
        (old.session.native_id, new.session.native_id)
        for old, new in zip(first.sessions, second.sessions, strict=True)
        if old is not new
    ]
    assert changed == [(pid(scene.admin),) * 2]


# A row as the server sends it.
ROW = BackendRow(
    pid=b"7",
    backend_start=b"1795462200123456",
    usename=b"app",
    datname=b"shop",
    application_name=b"",
    client_addr=None,
    client_port=b"-1",
    state=b"active",
    state_change=b"1795462201000001",
    ssl=b"f",
    cipher=None,
    query=None,
    query_start=None,
    xact_start=b"1795462201000000",
    wait=b"Lock: tuple",
    wait_start=b"1795462202000000",
    blockers=b"{8,9,8}",
)
OTHER = ROW._replace(pid=b"8", state=b"idle", wait=None, wait_start=None, blockers=None)


def read(backends: Backends, *rows: BackendRow) -> list[Observed]:
    return list(asyncio.run(backends.read(rows)).sessions)


@pytest.fixture
def backends() -> Backends:
    return Backends("here", Reached(1.0, "10.0.0.5", 5432, statement_size=1024))


def test_a_blocker_whose_pid_is_another_sessions_now_blocks_no_more(backends: Backends) -> None:
    item, other = read(backends, ROW, OTHER)
    assert item.blocked_by == (other.key,)
    again, _ = read(backends, ROW, OTHER)
    assert again is item
    changed, successor = read(backends, ROW, OTHER._replace(backend_start=b"1795462209123456"))
    assert changed.blocked_by == (successor.key,) != item.blocked_by
    (alone,) = read(backends, ROW)
    assert alone.blocked_by == ()
    assert alone.session == item.session


@pytest.mark.parametrize("cell", [b"{}", b"{NULL}", b"8", b"{8", b"x", b"", b"{-8}", b"{88}"])
def test_blockers_that_cannot_be_read_are_left_out(backends: Backends, cell: bytes) -> None:
    item, other = read(backends, ROW._replace(blockers=cell), OTHER)
    assert item.blocked_by in ((), (other.key,))
    assert (item.blocked_by == (other.key,)) == (b"8" in cell.strip(b"{").split(b","))


@pytest.mark.parametrize(
    ("column", "field"),
    [("xact_start", "transaction_start_time"), ("wait_start", None), ("state_change", None)],
)
def test_a_time_that_cannot_be_read_costs_itself(
    backends: Backends, column: str, field: str | None
) -> None:
    (whole,) = read(backends, ROW)
    (item,) = read(backends, ROW._replace(**{column: b"infinity"}))
    assert len(item.unreadable) == 1
    expected = whole.session.activity
    if field is not None:
        expected.ClearField(field)
    elif column == "wait_start":
        expected.since_time.CopyFrom(whole.session.last_active_time)
    assert item.session.activity == expected


@pytest.mark.parametrize(("state", "word"), BACKEND_ACTIVITIES.items())
def test_a_backend_that_connects_goes_on_connecting_while_it_waits(
    backends: Backends, state: str, word: ActivityState
) -> None:
    (item,) = read(backends, ROW._replace(state=state.encode()))
    assert item.session.activity.state == (WAITING if word == ACTIVE else word)
    assert item.session.activity.native == state


@pytest.mark.parametrize("state", [None, b"disabled", b"dreaming"])
def test_what_is_not_known_is_no_activity(backends: Backends, state: bytes | None) -> None:
    (item,) = read(backends, ROW._replace(state=state))
    assert not item.session.HasField("activity")


def test_the_activities_are_the_documented_ones() -> None:
    table = activities("PostgreSQL")
    assert (table.pop("nothing"), table.pop("disabled")) == ("none", "none")
    assert {name: activity_of(word) for name, word in table.items()} == BACKEND_ACTIVITIES
