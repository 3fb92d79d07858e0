"""``pgbouncer:`` over a real PgBouncer in front of a real server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import ConnStatus, PGconn

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceConfig,
    SourceConfigError,
    SourceError,
    TcpLink,
    open_source,
)
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.libpq import LibpqClient, QueryResult
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.pgbouncer_clients import CLIENT_STATES, Clients
from sessiongate.core.sources.support.pgbouncer_console import (
    CONSOLE,
    ClientRow,
    ClientRows,
    Shown,
    rows,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Session
from sessiongate.v1.states import state_of
from tests import postgres
from tests.core.documentation import block, states
from tests.core.real import Watched
from tests.polling import eventually
from tests.postgres import (
    PASSWORD,
    STORED,
    PgBouncer,
    Postgres,
    running_pgbouncer,
    running_postgres,
)
from tests.relay import Relay

STARTED = session_pb2.SESSION_STATE_STARTED
USERS = {"postgres": PASSWORD, "app": PASSWORD, "sessiongate": PASSWORD}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute(f"CREATE ROLE app LOGIN PASSWORD '{STORED}'")
        yield server


@pytest.fixture(scope="module")
def running(server: Postgres) -> Iterator[PgBouncer]:
    """Run one in another time zone, which lets the documented user in as a source."""
    name, _, value = block("PgBouncer", "ini").partition("=")
    settings = {name.strip(): value.strip(), "server_tls_sslmode": "prefer"}
    with running_pgbouncer(server, USERS, {"TZ": "Asia/Kolkata"}, **settings) as pool:
        yield pool


@pytest.fixture
def pool(running: PgBouncer) -> PgBouncer:
    """Return one without clients: those of an earlier test may still leave."""
    with watched(running) as source:
        source.until(lambda sessions: not sessions)
    return running


@pytest.fixture
def clients() -> Iterator[postgres.Clients]:
    clients = postgres.Clients()
    yield clients
    clients.close()


def url(pool: PgBouncer, *, user: str = "sessiongate", host: str = "127.0.0.1") -> str:
    return f"pgbouncer://{user}:{quote(PASSWORD)}@{host}:{pool.port}"


def watched(pool: PgBouncer, *, host: str = "127.0.0.1", **options: str) -> Watched:
    return Watched(url(pool, host=host), **{"timezone": "Asia/Kolkata", **options})


def named(source: Watched, application: str) -> Observed:
    """Return the session of the client with this application name."""
    (item,) = (item for item in source.items() if item.session.application == application)
    return item


def backend(client: psycopg.Connection) -> int:
    """Begin a transaction; return the process id of its backend."""
    client.execute("BEGIN")
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    assert row
    return int(row[0])


def local_end(client: psycopg.Connection) -> tuple[str, int]:
    with socket.socket(fileno=os.dup(client.fileno())) as own:
        address, port = own.getsockname()[:2]
    return address, port


@pytest.mark.parametrize(
    ("host", "shown", "database", "sslmode", "encrypted"),
    [
        ("127.0.0.1", "127.0.0.1:{}", "shop", "disable", False),
        ("::1", "[::1]:{}", "shop6", "disable", False),
        ("127.0.0.1", "127.0.0.1:{}", "shop", "require", True),
    ],
)
def test_a_client_over_tcp(
    server: Postgres,
    pool: PgBouncer,
    clients: postgres.Clients,
    host: str,
    shown: str,
    database: str,
    sslmode: str,
    encrypted: bool,
) -> None:
    before = int(time.time())
    client = pool.connect(
        host=host, dbname=database, user="app", sslmode=sslmode, application_name="till 7"
    )
    clients.add(client)
    pid = backend(client)
    with watched(pool) as source:
        observation = source.observe()
    after = time.time()
    assert observation.incarnation is None
    (item,) = observation.sessions
    session = item.session
    assert (session.service, session.database, session.state) == (database, database, STARTED)
    assert (session.user, session.application) == ("app", "till 7")
    assert (session.remote, session.port) == (host, local_end(client)[1])
    assert before <= session.connect_time.seconds <= session.last_active_time.seconds <= after
    assert session.native_id.startswith("0x")
    assert item.key.startswith(f"{session.native_id} ")
    assert session.HasField("tls_cipher")
    assert session.tls_cipher.startswith("TLS_") == encrypted
    (connection,) = session.connections
    assert (connection.server, connection.connection_id) == (shown.format(server.port), pid)
    assert connection.tls_cipher.startswith("TLS_"), "it prefers to"
    assert item.accepted == TcpLink(local_end(client), (host, pool.port))
    (wire,) = item.opened
    assert (wire.server, wire.server_id) == ((host, server.port), pid)
    # The server says the same at the other end.
    reached = "[::1]" if host == "::1" else host
    superuser = f"postgresql://postgres:{quote(PASSWORD)}@{reached}:{server.port}"
    with Watched(superuser) as far:
        assert wire in [one.accepted for one in far.items()]


def test_a_client_over_a_unix_socket(pool: PgBouncer, clients: postgres.Clients) -> None:
    client = pool.connect(host=str(pool.folder), dbname="shopunix")
    clients.add(client)
    pid = backend(client)
    with watched(pool) as source:
        (item,) = source.items()
    for field in ("remote", "port", "application"):
        assert not item.session.HasField(field)
    assert item.session.HasField("tls_cipher")
    (connection,) = item.session.connections
    assert (connection.connection_id, connection.tls_cipher) == (pid, "")
    assert connection.server.startswith("unix:")
    assert item.accepted is None
    assert item.opened == ()


def test_a_client_has_a_server_for_as_long_as_a_transaction(
    pool: PgBouncer, clients: postgres.Clients
) -> None:
    holder = clients.add(pool.connect(application_name="holder"))
    waiter = clients.add(pool.connect(application_name="waiter"))

    def connected(sessions: list[Session]) -> dict[str, int]:
        return {session.application: len(session.connections) for session in sessions}

    with watched(pool) as source:
        assert connected(source.sessions()) == {"holder": 0, "waiter": 0}
        eventually(lambda: source.observe() is source.observe())  # nothing happens
        backend(holder)
        waiter.pgconn.send_query(b"BEGIN")
        source.until(lambda _: console(pool, "waiter") == "waiting")
        # In the second of its request, what the holder does is in doubt.
        source.until(lambda sessions: all(one.HasField("activity") for one in sessions))
        second = source.observe()
        assert source.observe() is second, "what waits waits on"
        sessions = [item.session for item in second.sessions]
        assert connected(sessions) == {"holder": 1, "waiter": 0}
        assert {session.state for session in sessions} == {STARTED}
        holder.execute("COMMIT")
        source.until(lambda sessions: connected(sessions) == {"holder": 0, "waiter": 1})
        clients.close()
        source.until(lambda sessions: not sessions)


def console(pool: PgBouncer, application: str) -> str:
    """Return PgBouncer's name for the state of a client."""
    with pool.connect(dbname="pgbouncer") as admin:
        cursor = admin.execute("SHOW CLIENTS")
        assert cursor.description
        names = [column.name for column in cursor.description]
        (state,) = (
            row[names.index("state")]
            for row in cursor
            if row[names.index("application_name")] == application
        )
    return str(state)


def test_the_states_are_the_documented_ones() -> None:
    table = states("PgBouncer")
    assert state_of(table.pop("nothing")) == session_pb2.SESSION_STATE_UNSPECIFIED
    assert {name: state_of(words) for name, words in table.items()} == CLIENT_STATES


@pytest.mark.parametrize("unix", [False, True])
def test_the_source_shows_itself_only_when_asked_to(
    pool: PgBouncer, clients: postgres.Clients, unix: bool
) -> None:
    # Another user of the console, and another program of this source's name.
    clients.add(pool.connect(dbname="pgbouncer", user="sessiongate", application_name="other"))
    clients.add(pool.connect(user="app", application_name="sessiongate"))
    host = quote(str(pool.folder), safe="") if unix else "127.0.0.1"

    def shown(sessions: list[Session]) -> list[tuple[str, str]]:
        return sorted((session.service, session.application) for session in sessions)

    others = [("pgbouncer", "other"), ("shop", "sessiongate")]
    with watched(pool, host=host) as source:
        source.until(lambda sessions: shown(sessions) == others)
    whole = sorted([*others, ("pgbouncer", "sessiongate")])
    with watched(pool, host=host, include_self="true") as source:
        source.until(lambda sessions: shown(sessions) == whole)


def test_the_source_knows_itself_behind_address_translation(pool: PgBouncer) -> None:
    async def main() -> None:
        async with Relay(pool.port) as relay:
            place = url(pool).replace(f":{pool.port}", f":{relay.port}")
            source = open_source(SourceConfig.parse(f"{place}?timezone=Asia/Kolkata"))
            assert (await source.observe()).sessions == ()
            await source.close()

    asyncio.run(main())


def test_who_is_not_in_stats_users_is_refused(pool: PgBouncer) -> None:
    with Watched(url(pool, user="app")) as source:
        assert source.failure().startswith(f"127.0.0.1:{pool.port}: ")
        assert "not allowed: add the user to stats_users in pgbouncer.ini" in source.failure()


def test_a_pool_that_asks_for_the_password_itself_is_told_what_to_change(server: Postgres) -> None:
    settings = {"stats_users": "sessiongate", "auth_type": "plain"}
    with (
        running_pgbouncer(server, USERS, {}, **settings) as pool,
        Watched(url(pool)) as source,
    ):
        said = source.failure()
    assert said.startswith(f"127.0.0.1:{pool.port}: the server requests the password in cleartext")
    assert "configure scram-sha-256 there (PgBouncer: auth_type in pgbouncer.ini;" in said


def test_a_wrong_password_is_not_repeated(
    pool: PgBouncer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text("open barley")
    place = f"pgbouncer://sessiongate@127.0.0.1:{pool.port}"
    with Watched(place, password_file=str(secret), timezone="Asia/Kolkata") as source:
        text = source.failure()
        assert "authentication failed" in text
        assert "barley" not in text + repr(source.source) + caplog.text
        secret.write_text(PASSWORD)
        assert source.sessions() == []


def test_the_certificate_is_verified(pool: PgBouncer) -> None:
    trusted = {"tls": "verify", "tls_ca": str(pool.certificates.ca)}
    with watched(pool, host="localhost", include_self="true", **trusted) as source:
        (session,) = source.sessions()
        assert session.tls_cipher.startswith("TLS_")
    with watched(pool, host="localhost", tls="verify") as source:
        assert "certificate verify failed" in source.failure()


def test_a_zone_that_does_not_fit_costs_the_times_only(
    pool: PgBouncer, clients: postgres.Clients
) -> None:
    client = clients.add(pool.connect(application_name="it"))
    backend(client)
    with watched(pool) as source, watched(pool, timezone="Europe/Berlin") as other:
        right = named(source, "it")
        # PgBouncer may end the query between two readings, once.
        item = eventually(
            lambda: (named(other, "it"), named(other, "it")), lambda pair: pair[0] is pair[1]
        )[0]
    assert item.key == right.key, "what the time is called is known all the same"
    assert [part.fields for part in item.unreadable] == [("connect_time",), ("last_active_time",)]
    assert item.unreadable[0].text == (
        "SHOW CLIENTS connect_time: expected a local time of Europe/Berlin;"
        " set timezone=AREA/CITY to PgBouncer's zone"
    )
    right.session.ClearField("connect_time")
    right.session.ClearField("last_active_time")
    for one in (item, right):  # PgBouncer may end the query between the two readings
        one.session.ClearField("activity")
    assert item.session == right.session
    assert item.accepted == right.accepted


def test_the_name_of_an_application_may_be_any_bytes(
    pool: PgBouncer, clients: postgres.Clients
) -> None:
    clients.add(pool.connect(application_name="it"))
    clients.add(pool.connect(application_name="café"))
    parameters = f"host=127.0.0.1 port={pool.port} user=app password='{PASSWORD}' dbname=shop "
    odd = PGconn.connect(parameters.encode() + b"sslmode=disable application_name=caf\xe9")
    assert odd.status == ConnStatus.OK
    try:
        with watched(pool) as source:
            observation = source.observe()
            shown = {item.session.application for item in observation.sessions}
            assert shown == {"it", "café", "caf\ufffd"}
            assert source.observe() is observation
    finally:
        odd.finish()


def test_what_hangs_is_given_up_and_seen_again(
    pool: PgBouncer, clients: postgres.Clients, caplog: pytest.LogCaptureFixture
) -> None:
    clients.add(pool.connect(application_name="it"))
    with watched(pool) as source, watched(pool) as fresh:
        (session,) = source.sessions()
        pool.server.suspend()
        try:
            source.give_up()
            source.give_up()
            fresh.give_up()
        finally:
            pool.server.resume()
        source.until(lambda sessions: sessions == [session])
        assert session in fresh.sessions()
    assert not caplog.records


def test_after_a_restart_all_sessions_are_others(pool: PgBouncer) -> None:
    with watched(pool) as source:
        with pool.connect():
            (before,) = source.items()
        pool.server.kill()
        assert "Connection refused" in source.failure()
        pool.restart()
        with pool.connect():
            (after,) = source.items()
        pool.restart()
        assert source.items() == [], "the connection that was open is made again"
    assert before.key != after.key


@pytest.fixture
def processes(server: Postgres) -> Iterator[list[PgBouncer]]:
    """Run two that share a port, each with its own Unix socket."""
    settings: dict[str, object] = {"so_reuseport": 1, "stats_users": "sessiongate"}
    with (
        running_pgbouncer(server, USERS, None, (), **settings) as one,
        running_pgbouncer(server, USERS, None, (), listen_port=one.port, **settings) as other,
    ):
        yield [one, other]


def add_client(process: PgBouncer, clients: postgres.Clients) -> None:
    """Connect to this very process, with its folder's name as the application."""
    folder = str(process.folder)
    clients.add(process.connect(host=folder, application_name=folder))


def applications(source: Watched) -> list[str]:
    return [session.application for session in source.sessions()]


def test_of_several_processes_on_a_port_one_is_read_and_the_rest_told_of(
    processes: list[PgBouncer], clients: postgres.Clients
) -> None:
    for process in processes:
        for _ in range(3):
            add_client(process, clients)
    with Watched(url(processes[0])) as source:
        observation = source.observe()
        assert observation.partial.startswith("so_reuseport is on: other PgBouncer processes")
        assert len(set(applications(source))) == 1
        assert source.observe() is observation
        for _ in range(10):  # each connection may reach either
            source.run(source.source.close())
            assert source.observe() is observation, "nobody's session ended"
    for process in processes:
        with Watched(url(process, host=quote(str(process.folder), safe=""))) as source:
            assert source.observe().partial == ""
            assert applications(source) == [str(process.folder)] * 3


def test_a_process_on_a_shared_port_that_ended_is_replaced_by_another(
    processes: list[PgBouncer], clients: postgres.Clients
) -> None:
    for process in processes:
        add_client(process, clients)
    with Watched(url(processes[0])) as source:
        (before,) = applications(source)
        (ended,) = (each for each in processes if str(each.folder) == before)
        ended.server.kill()
        (after,) = applications(source)
    assert {before, after} == {str(each.folder) for each in processes}


def test_a_console_that_refuses_to_tell_its_settings_is_read(pool: PgBouncer) -> None:
    endpoint = Endpoint.of(SourceConfig.parse(url(pool)), port=pool.port)
    client = LibpqClient(endpoint, CONSOLE, "SHOW NONSENSE", needs_setup=False)

    async def main() -> list[QueryResult]:
        answers = await client.query("SHOW CLIENTS")
        await client.close()
        return answers

    assert asyncio.run(main())[0].rows
    assert client.setup_answer.rows == ()


def test_a_broken_answer_is_none(pool: PgBouncer, clients: postgres.Clients) -> None:
    for _ in range(20):
        clients.add(pool.connect())

    async def main() -> None:
        async with Relay(pool.port) as relay:
            place = f"127.0.0.1:{relay.port}"
            source = open_source(
                SourceConfig.parse(
                    f"pgbouncer://sessiongate:{quote(PASSWORD)}@{place}?timezone=Asia/Kolkata"
                )
            )
            whole = await source.observe()
            assert len(whole.sessions) == 20
            await source.close()
            for relay.cut_after in (1, 50, 200, 600, 1000, 3000):
                with pytest.raises(SourceError, match=place):
                    await source.observe()
            relay.cut_after, relay.garble = None, 0
            # Garbage may announce more than ever arrives.
            with pytest.raises((SourceError, TimeoutError)):
                async with asyncio.timeout(1):
                    await source.observe()
            relay.garble = None
            assert await source.observe() is whole
            await source.close()

    asyncio.run(main())


# The columns of each version, and a client and its server in those of the first.
ENDS = ["addr", "port", "local_addr", "local_port", "connect_time", "request_time"]
LINKS = ["wait", "wait_us", "close_needed", "ptr", "link", "remote_pid", "tls"]
OLD = ["type", "user", "database", "state", *ENDS, *LINKS]
NEW = ["type", "user", "database", "replication", "state", *ENDS, *LINKS]
NEW += ["application_name", "prepared_statements", "id", "thread_id"]
WHEN = "2026-11-23 20:30:00 CET"
CLIENT: dict[str, object] = {
    **{"type": "C", "user": "app", "database": "shop", "state": "active"},
    **{"addr": "10.0.0.1", "port": 4000, "local_addr": "10.0.0.5", "local_port": 6432},
    **{"connect_time": WHEN, "request_time": "2026-11-23 20:30:09 CET"},
    **{"wait": 0, "wait_us": 0, "close_needed": 0, "ptr": "0xc1", "link": "0xf1"},
    **{"remote_pid": 0, "tls": "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"},
}
SERVER: dict[str, object] = {
    **CLIENT,
    **{"type": "S", "addr": "10.0.0.7", "port": 5432, "local_port": 5000},
    **{"ptr": "0xf1", "link": "0xc1", "remote_pid": 77, "tls": ""},
}
START = 1_795_462_200


def answer(columns: list[str], *lines: dict[str, object]) -> QueryResult:
    return QueryResult(columns, [tuple(cell(line.get(name)) for name in columns) for line in lines])


def cell(value: object) -> bytes | None:
    """Encode a value as PgBouncer does."""
    return None if value is None else str(value).encode()


def rows_of(answer: QueryResult) -> Sequence[ClientRow]:
    return asyncio.run(rows(answer))


def look(
    turning: Clients, clients: Sequence[ClientRow], servers: Sequence[ClientRow]
) -> Observation:
    return asyncio.run(turning.read(Shown(clients, servers, {}, {b"shop": b"transaction"}, None)))


def read(clients: QueryResult, servers: QueryResult) -> list[Observed]:
    turning = Clients(LocalTime(ZoneInfo("Europe/Berlin")))
    return list(look(turning, rows_of(clients), rows_of(servers)).sessions)


def expected(application: str | None = None) -> Session:
    session = Session(
        service="shop",
        native_id="0xc1",
        state=STARTED,
        user="app",
        database="shop",
        remote="10.0.0.1",
        port=4000,
        tls_cipher="TLS_AES_256_GCM_SHA384",
        connections=[BackendConnection(server="10.0.0.7:5432", connection_id=77, tls_cipher="")],
        application=application,
    )
    session.connect_time.FromSeconds(START)
    session.last_active_time.FromSeconds(START + 9)
    session.activity.state = session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION
    session.activity.native = "active"
    return session


def test_the_columns_of_1_12() -> None:
    (item,) = read(answer(OLD, CLIENT), answer(OLD, SERVER))
    assert item.session == expected()


def test_the_columns_of_1_25() -> None:
    told = {**CLIENT, "replication": "none", "application_name": "till 7", "id": 3}
    (item,) = read(answer(NEW, told), answer(NEW, {**SERVER, "application_name": "till 7"}))
    assert item.session == expected(application="till 7")
    assert item.accepted == TcpLink(("10.0.0.1", 4000), ("10.0.0.5", 6432))
    assert item.opened == (TcpLink(("10.0.0.5", 5000), ("10.0.0.7", 5432), 77),)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"addr": "pool"}, "remote"),
        ({"port": "http"}, "port"),
        ({"port": -1}, "port"),
        ({"port": 70_000}, "port"),
        ({"connect_time": "yesterday"}, "connect_time"),
        ({"connect_time": "0001-01-01 00:00:00"}, "connect_time"),
        ({"request_time": "9999-12-31 23:59:59 UTC"}, "last_active_time"),
        ({"request_time": ""}, "last_active_time"),
        ({"tls": "TLSv1.3"}, "tls_cipher"),
    ],
)
def test_an_odd_member_costs_itself(change: dict[str, object], field: str) -> None:
    (item,) = read(answer(OLD, {**CLIENT, **change}), answer(OLD, SERVER))
    (part,) = item.unreadable
    assert part.fields == (field,)
    assert part.text.startswith(f"SHOW CLIENTS {next(iter(change))}: expected ")
    wanted = expected()
    wanted.ClearField(field)
    assert item.session == wanted


@pytest.mark.parametrize("change", [{"local_addr": "x"}, {"local_port": -1}])
def test_an_odd_end_of_its_own_costs_no_field(change: dict[str, object]) -> None:
    (item,) = read(answer(OLD, {**CLIENT, **change}), answer(OLD, SERVER))
    assert [part.fields for part in item.unreadable] == [()]
    assert item.accepted == TcpLink(("10.0.0.1", 4000), None)
    assert item.session == expected()


def test_an_odd_server_costs_the_connection_to_it() -> None:
    (item,) = read(answer(OLD, CLIENT), answer(OLD, {**SERVER, "port": None, "addr": "db"}))
    assert [part.fields for part in item.unreadable] == [("connections",)]
    assert (list(item.session.connections), item.opened) == ([], ())
    (item,) = read(answer(OLD, CLIENT), answer(OLD, {**SERVER, "remote_pid": "x", "tls": "?"}))
    assert [part.fields for part in item.unreadable] == [(), ()]
    assert list(item.session.connections) == [BackendConnection(server="10.0.0.7:5432")]


@pytest.mark.parametrize("change", [{"ptr": None}, {"ptr": ""}, {"connect_time": None}])
def test_a_client_that_cannot_be_known_is_left_out(change: dict[str, object]) -> None:
    turning = Clients(LocalTime(ZoneInfo("Europe/Berlin")))
    other = {**CLIENT, "ptr": "0xc2", "link": ""}
    lines = rows_of(answer(OLD, {**CLIENT, **change}, other))
    observation = look(turning, lines, [])
    assert [item.session.native_id for item in observation.sessions] == ["0xc2"]
    (lost,) = observation.unreadable
    assert lost.text == f"SHOW CLIENTS {next(iter(change))}: expected a text"
    assert look(turning, lines, []) is observation


ODD = (
    st.none()
    | st.binary(max_size=40)
    | st.sampled_from(
        [
            *(b"-1", b"0", b"4294967296", b"9" * 5000, b"unix", b"::ffff:1.2.3.4", b"fe80::1%x"),
            *(b"0001-01-01 00:00:00 UTC", b"9999-12-31 23:59:59", b"2026-11-23 20:30:00 +9999"),
        ]
    )
)


@given(
    of_server=st.booleans(),
    line=st.integers(0, 2),
    column=st.sampled_from(ClientRow._fields),
    value=ODD,
)
def test_one_odd_cell_costs_one_session_at_most(
    of_server: bool, line: int, column: str, value: bytes | None
) -> None:
    def lines(row: dict[str, object], kind: str, other: str) -> Sequence[ClientRow]:
        told = ({**row, "ptr": f"0x{kind}{n}", "link": f"0x{other}{n}"} for n in range(3))
        return rows_of(answer(NEW, *told))

    clients, servers = lines(CLIENT, "c", "f"), lines(SERVER, "f", "c")
    turning = Clients(LocalTime(ZoneInfo("Europe/Berlin")))
    whole = look(turning, clients, servers)
    assert not any(item.unreadable for item in whole.sessions)
    odd = list(servers if of_server else clients)
    odd[line] = odd[line]._replace(**{column: value})
    found = look(turning, clients if of_server else odd, odd if of_server else servers)
    assert len(found.sessions) + len(found.unreadable) == 3
    untouched = [item for n, item in enumerate(whole.sessions) if n != line]
    if not of_server or column not in ("ptr", "link"):  # which may take another's server away
        kept = [item for item in found.sessions if any(item is one for one in untouched)]
        assert kept == untouched
    for item in found.sessions:
        item.session.SerializeToString()
    texts = [part.text for item in found.sessions for part in item.unreadable]
    for text in (*texts, *(part.text for part in found.unreadable)):
        assert text.isprintable()
        assert re.match(r"SHOW (CLIENTS|SERVERS) \w+: expected ", text)
    again = look(turning, clients, servers)
    assert [item.session for item in again.sessions] == [item.session for item in whole.sessions]


@pytest.mark.parametrize("change", [{"link": "0xc2"}, {"link": ""}, {"ptr": "0xf2"}])
def test_a_server_is_a_clients_where_both_say_so(change: dict[str, object]) -> None:
    (item,) = read(answer(OLD, CLIENT), answer(OLD, {**SERVER, **change}))
    assert not item.session.connections
    assert item.opened == ()


@pytest.mark.parametrize("change", [{"connect_time": WHEN.replace("00 C", "01 C")}, {"port": 4001}])
def test_a_place_in_memory_used_again_is_another_client(change: dict[str, object]) -> None:
    (one,) = read(answer(OLD, CLIENT), answer(OLD))
    (other,) = read(answer(OLD, {**CLIENT, **change}), answer(OLD))
    assert one.session.native_id == other.session.native_id
    assert one.key != other.key


def test_a_line_that_is_repeated_is_one_client_and_another_with_its_place_is_another() -> None:
    turning = Clients(LocalTime(ZoneInfo("Europe/Berlin")))
    other = {**CLIENT, "port": 4001}
    lines = rows_of(answer(OLD, CLIENT, other, CLIENT, other))
    observation = look(turning, lines, [])
    assert [item.session.port for item in observation.sessions] == [CLIENT["port"], 4001]
    assert look(turning, rows_of(answer(OLD, CLIENT, other)), []) is observation


def test_a_row_is_the_same_object_only_if_all_of_it_is_stated_again() -> None:
    kept = ClientRows()

    def reading(columns: list[str], *lines: dict[str, object]) -> Sequence[ClientRow]:
        found = asyncio.run(kept.read(answer(columns, *lines)))
        assert found == rows_of(answer(columns, *lines))  # whatever was read before
        return found

    elsewhere = {**CLIENT, "ptr": "0xc2"}
    first, other = reading(NEW, CLIENT, elsewhere)
    again, same = reading(NEW, elsewhere, CLIENT)
    assert (again is other, same is first) == (True, True)
    unread = [*NEW, "wait"]  # a column that is no part of a row
    waiting, _ = reading(unread, {**CLIENT, "wait": 1}, elsewhere | {"wait": 0})
    longer, new, gone = reading(
        unread, {**CLIENT, "wait": 2}, {**CLIENT, "ptr": "0xc3", "wait": 0}, elsewhere | {"wait": 0}
    )
    assert (longer is waiting, new.ptr, gone == other) == (True, b"0xc3", True)
    (changed,) = reading(NEW, {**CLIENT, "port": 4001})
    assert (first.port, changed.port) == (b"4000", b"4001")
    reading(NEW[::-1], {**CLIENT, "port": 4001})  # the same cells in other places
    reading(NEW, CLIENT, {**CLIENT, "port": 4001}, CLIENT)
    reading(OLD, CLIENT)


def test_a_cancel_request_has_no_name() -> None:
    request = {**CLIENT, "state": "active_cancel_req", "user": "(nouser)", "database": "(nodb)"}
    (item,) = read(answer(NEW, request), answer(NEW))
    assert item.session.state == session_pb2.SESSION_STATE_DUMMY
    assert not item.session.HasField("user")
    assert not item.session.HasField("database")


def test_another_programs_answer_is_refused() -> None:
    with pytest.raises(SourceError, match="not PgBouncer: its clients have no connect_time"):
        rows_of(QueryResult(["database", "id"], [(b"shop", b"1")]))


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("/shop", "the console is database 'pgbouncer'"),
        ("?statements=true", "unknown option 'statements'; pgbouncer allows: .*timezone"),
        ("?timezone=CET%2B1", r"timezone must be AREA/CITY.*, got 'CET\+1'"),
        ("?timezone=../UTC", "timezone must be AREA/CITY.*, got '../UTC'"),
        ("?include_self=yes", "include_self must be true or false, got 'yes'"),
    ],
)
def test_a_wrong_option_is_named(rest: str, complaint: str) -> None:
    config = SourceConfig.parse(f"pgbouncer://ann:treasure@pool1{rest}")
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(config)
    assert "treasure" not in str(caught.value)
