"""Activities of PgBouncer's clients, over a real PgBouncer in front of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import pytest

from sessiongate.core.sources.base import Observed, SourceConfig, open_source
from sessiongate.core.sources.support.libpq import QueryResult
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.pgbouncer_clients import CLIENT_ACTIVITIES, Clients
from sessiongate.core.sources.support.pgbouncer_console import Shown, awaiting, pool_modes, rows
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS, activity_of
from sessiongate.v1.session_pb2 import Activity, Session
from tests import postgres
from tests.core.documentation import activities
from tests.core.observing import seen
from tests.core.real import Watched
from tests.polling import eventually
from tests.postgres import PASSWORD, PgBouncer, Postgres, running_pgbouncer, running_postgres
from tests.relay import Relay

IDLE = session_pb2.ACTIVITY_STATE_IDLE
ACTIVE = session_pb2.ACTIVITY_STATE_ACTIVE
STUCK = session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION
WAITING = session_pb2.ACTIVITY_STATE_WAITING
SLEEP = b"SELECT pg_sleep(3600)"


@dataclass(frozen=True)
class Scene:
    """A PgBouncer with clients, which are named, and a source that reads it."""

    pool: PgBouncer
    server: Postgres
    clients: postgres.Clients
    source: Watched

    def connect(self, name: str, database: str = "shop", *statements: str) -> psycopg.Connection:
        """Connect a client that has run these statements."""
        client = self.pool.connect(dbname=database, application_name=name)
        self.clients.add(client)
        for statement in statements:
            client.execute(statement.encode())
        return client

    def run(self, name: str, database: str = "shop", *statements: str) -> psycopg.Connection:
        """Connect a client that runs a statement, after others."""
        client = self.connect(name, database, *statements)
        client.pgconn.send_query(SLEEP)
        return client

    def doing(self, wanted: Mapping[str, Activity | None]) -> list[Session]:
        """Return the sessions as soon as each named one does what is wanted, times aside."""

        def holds(sessions: list[Session]) -> bool:
            return {one.application: timeless(one) for one in sessions} == wanted

        return self.source.until(holds)

    def told(self) -> dict[str, dict[str, object]]:
        """Return the rows of SHOW CLIENTS, by the client's name."""
        with self.pool.connect(dbname="pgbouncer", application_name="admin") as admin:
            cursor = admin.execute("SHOW CLIENTS")
            assert cursor.description
            names = [column.name for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        return {str(row["application_name"]): row for row in found}


def timeless(session: Session) -> Activity | None:
    """Return what a session does, without when that began."""
    if not session.HasField("activity"):
        return None
    activity = Activity()
    activity.CopyFrom(session.activity)
    activity.ClearField("since_time")
    return activity


def active(state: session_pb2.ActivityState) -> Activity:
    """Return an activity of a client that PgBouncer calls active."""
    return Activity(state=state, native="active")


WAITS = Activity(state=WAITING, native="waiting", wait="server connection")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def scene(server: Postgres, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Run one in the pool mode that a test names; transaction pooling by default."""
    settings = {"stats_users": "sessiongate", "pool_mode": getattr(request, "param", "transaction")}
    users = {"postgres": PASSWORD, "sessiongate": PASSWORD}
    clients = postgres.Clients()
    with (
        running_pgbouncer(server, users, {"TZ": "UTC"}, **settings) as pool,
        Watched(
            f"pgbouncer://sessiongate:{quote(PASSWORD)}@127.0.0.1:{pool.port}", timezone="UTC"
        ) as source,
    ):
        yield Scene(pool, server, clients, source)
        clients.close()
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    server.wait_until_left()


def test_running_idle_waiting_and_stuck_clients_are_told_apart(scene: Scene) -> None:
    scene.connect("new")
    scene.connect("idle", "shop", "SELECT 1")
    scene.connect("stuck", "shop", "BEGIN", "SELECT 1")
    scene.run("waits")
    scene.run("runs", "shopunix")
    scene.run("runs in transaction", "shop6", "BEGIN")
    wanted = {
        "new": active(IDLE),
        "idle": active(IDLE),
        "stuck": active(STUCK),
        "waits": WAITS,
        "runs": active(ACTIVE),
        "runs in transaction": active(ACTIVE),
    }
    sessions = scene.doing(wanted)
    told = scene.told()
    for session in sessions:
        name = session.application
        assert session.activity.native == told[name]["state"]
        is_working = session.activity.state in (ACTIVE, WAITING)
        assert bool(told[name]["wait"] or told[name]["wait_us"]) == is_working
        assert session.activity.HasField("since_time") == is_working
        if is_working:  # to the second, since it asked
            assert session.activity.since_time == session.last_active_time
    # The server says the same of those that have one.
    expected = {
        connection.connection_id: ACTIVITY_WORDS[session.activity.state]
        for session in sessions
        for connection in session.connections
    }
    assert len(expected) == 3
    with scene.server.connect() as admin:
        query = "SELECT pid, state FROM pg_stat_activity WHERE pid = ANY (%s)"
        eventually(
            lambda: dict[int, str](admin.execute(query, [[*expected]]).fetchall()),
            lambda words: words == expected,
        )


def test_what_one_does_another_waits_for(scene: Scene) -> None:
    stuck = scene.connect("stuck", "shop", "BEGIN", "SELECT 1")
    waits = scene.connect("waits")
    waits.pgconn.send_query(b"BEGIN")
    scene.doing({"stuck": active(STUCK), "waits": WAITS})
    stuck.execute("COMMIT")
    scene.doing({"stuck": active(IDLE), "waits": active(STUCK)})
    waits.close()
    scene.doing({"stuck": active(IDLE)})
    stuck.pgconn.send_query(SLEEP)
    scene.doing({"stuck": active(ACTIVE)})


def test_requests_that_follow_each_other_are_answered_until_the_last_is(scene: Scene) -> None:
    client = scene.connect("pipeline", "shop", "BEGIN")
    client.pgconn.enter_pipeline_mode()
    for query in (b"SELECT 1", SLEEP):
        client.pgconn.send_query_params(query, None)
        client.pgconn.pipeline_sync()
    client.pgconn.flush()
    with scene.server.connect() as admin:
        wait = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while admin.execute(wait).fetchone() is None:  # the first has been answered
            pass
    scene.doing({"pipeline": active(ACTIVE)})


@pytest.mark.parametrize("scene", ["session"], indirect=True)
def test_whether_one_that_keeps_its_server_is_in_a_transaction_is_not_known(scene: Scene) -> None:
    scene.connect("new", "shop6")
    scene.connect("stuck", "shop", "BEGIN", "SELECT 1")
    scene.connect("used", "shopunix", "SELECT 1")
    scene.run("waits")
    scene.run("runs", "shoptls")
    wanted = {"new": active(IDLE), "stuck": None, "used": None, "waits": WAITS}
    scene.doing({**wanted, "runs": active(ACTIVE)})


def test_a_console_that_does_not_show_its_pools_shows_all_else(scene: Scene) -> None:
    scene.connect("idle", "shop", "SELECT 1")
    scene.connect("stuck", "shop6", "BEGIN", "SELECT 1")
    scene.run("runs", "shopunix")
    wanted = {"idle": active(IDLE), "stuck": None, "runs": active(ACTIVE)}

    def holds(items: Sequence[Observed]) -> bool:
        return {item.session.application: timeless(item.session) for item in items} == wanted

    async def observe() -> None:
        async with Relay(scene.pool.port) as relay:
            relay.reword = b"SHOW POOLS", b"SHOW MAGIC"
            url = f"pgbouncer://sessiongate:{quote(PASSWORD)}@127.0.0.1:{relay.port}"
            source = open_source(SourceConfig.parse(url, {"name": "here", "timezone": "UTC"}))
            await seen(source, holds)
            await source.close()

    asyncio.run(observe())


def test_nothing_changes_while_nothing_happens(scene: Scene) -> None:
    scene.connect("stuck", "shop", "BEGIN", "SELECT 1")
    scene.run("waits")
    scene.run("runs", "shopunix")
    scene.doing({"stuck": active(STUCK), "waits": WAITS, "runs": active(ACTIVE)})
    first = scene.source.observe()
    waited = scene.told()["waits"]
    now = waited
    while (now["wait"], now["wait_us"]) == (waited["wait"], waited["wait_us"]):
        now = scene.told()["waits"]
    assert scene.source.observe() is first


def test_a_client_of_the_console_does_nothing_that_is_known(scene: Scene) -> None:
    scene.clients.add(scene.pool.connect(dbname="pgbouncer", application_name="admin"))
    scene.doing({"admin": None})


# Rows as PgBouncer states them; the columns beyond these are the other tests' business.
STATED = {
    **{"database": "shop", "connect_time": "2026-11-23 20:30:00 UTC", "ptr": "0xc1"},
    **{"link": "0xf1", "state": "active", "request_time": "2026-11-23 20:30:09 UTC"},
    **{"replication": "none", "wait": "0", "wait_us": "0"},
}
POOLS = QueryResult(
    ("database", "user", "pool_mode"),
    [(b"shop", b"app", b"transaction"), (b"shop", b"batch", b"transaction")],
)


def look(
    changes: Mapping[str, str | None] | None = None, *, now: str = "", pools: QueryResult = POOLS
) -> Observed:
    """Return the only client as it is shown, with changes of its row."""
    stated: dict[str, str | None] = {**STATED, **(changes or {})}
    cells = tuple(None if value is None else value.encode() for value in stated.values())

    async def read() -> Observed:
        answer = QueryResult([*stated], [cells])
        waiting, modes = await awaiting(answer), await pool_modes(pools)
        shown = Shown(await rows(answer), [], waiting, modes, now.encode() or None)
        (item,) = (await Clients(LocalTime(ZoneInfo("UTC"))).read(shown)).sessions
        return item

    return asyncio.run(read())


def test_a_request_that_came_as_the_console_was_asked_is_in_doubt() -> None:
    now = STATED["request_time"]
    assert timeless(look().session) == active(STUCK)
    assert not look(now=now).session.HasField("activity")
    assert timeless(look({"wait_us": "1"}, now=now).session) == active(ACTIVE)
    assert timeless(look({"link": ""}, now=now).session) == active(IDLE)


@pytest.mark.parametrize("replication", ["logical", "physical"])
def test_replication_keeps_its_server(replication: str) -> None:
    assert not look({"replication": replication}).session.HasField("activity")
    item = look({"replication": replication, "wait": "7"})
    assert timeless(item.session) == active(ACTIVE)


@pytest.mark.parametrize(
    "pools",
    [
        QueryResult(POOLS.columns, [*POOLS.rows, (b"shop", b"old", b"session")]),
        QueryResult(POOLS.columns, [(b"shop", b"old", b"session"), *POOLS.rows]),
        QueryResult(POOLS.columns, [(b"shop", b"app", b"statement")]),
        QueryResult(POOLS.columns, [(b"shop", b"app", None)]),
        QueryResult(POOLS.columns, []),
        QueryResult(("database", "user"), [(b"shop", b"app")]),
        QueryResult((), ()),
    ],
)
def test_without_transaction_pooling_nobody_is_said_to_be_in_one(pools: QueryResult) -> None:
    assert not look(pools=pools).session.HasField("activity")
    assert timeless(look({"wait": "3"}, pools=pools).session) == active(ACTIVE)


@pytest.mark.parametrize("cell", ["x", "-1", "1.5", ""])
@pytest.mark.parametrize("column", ["wait", "wait_us"])
def test_a_wait_that_cannot_be_read_is_not_known(column: str, cell: str) -> None:
    item = look({column: cell})
    assert [part.text for part in item.unreadable] == [
        "SHOW CLIENTS wait: expected a number of seconds"
    ]
    assert not item.session.HasField("activity")
    assert not look({column: None}).session.HasField("activity")


def test_the_activities_are_the_documented_ones() -> None:
    table = activities("PgBouncer")
    assert (table.pop("nothing"), table.pop("active")) == ("none", "see below")
    assert {name: activity_of(word) for name, word in table.items()} == CLIENT_ACTIVITIES
