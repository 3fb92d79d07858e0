"""``postgresql:`` over a real server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from operator import is_
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import (
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceError,
    TcpLink,
    open_source,
)
from sessiongate.core.sources.postgresql import PostgreSQLSource
from sessiongate.core.sources.support.libpq import QueryResult
from sessiongate.core.sources.support.postgresql_backends import (
    BACKEND_STATES,
    BackendRow,
    Backends,
    Reached,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Query, Session
from sessiongate.v1.states import state_of
from tests.core.documentation import block, states
from tests.core.observing import seen
from tests.core.real import Watched
from tests.polling import eventually
from tests.postgres import PASSWORD, STORED, SUPERUSER, Clients, Postgres, running_postgres
from tests.relay import Relay
from tests.servers import certificates, private_folder

STARTED = session_pb2.SESSION_STATE_STARTED
UNKNOWN = session_pb2.SESSION_STATE_UNSPECIFIED
SLEEP = "SELECT pg_sleep(3600)"


def read(backends: Backends, rows: Sequence[BackendRow]) -> Observation:
    return asyncio.run(backends.read(rows))


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute(f"CREATE ROLE app LOGIN PASSWORD '{STORED}'")
        yield server


@pytest.fixture
def server(running: Postgres) -> Postgres:
    """Return one without clients."""
    running.wait_until_left()
    return running


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.close()


def url(server: Postgres, *, user: str = SUPERUSER, host: str = "127.0.0.1", port: int = 0) -> str:
    return f"postgresql://{user}:{quote(PASSWORD)}@{host}:{port or server.port}"


def pid(client: psycopg.Connection) -> int:
    return client.info.backend_pid


def local_port(client: psycopg.Connection) -> int:
    row = client.execute("SELECT inet_client_port()").fetchone()
    assert row
    return int(row[0])


def end(server: Postgres, client: psycopg.Connection) -> None:
    """End a client whose statement is still running."""
    server.execute(f"SELECT pg_terminate_backend({pid(client)})")


@pytest.mark.parametrize(
    ("host", "sslmode", "encrypted"),
    [("127.0.0.1", "disable", False), ("::1", "disable", False), ("127.0.0.1", "require", True)],
)
def test_a_client_over_tcp(
    server: Postgres, clients: Clients, host: str, sslmode: str, encrypted: bool
) -> None:
    before = time.time()
    client = server.connect(host=host, sslmode=sslmode, user="app", application_name="till 7")
    clients.add(client)
    port = local_port(client)
    after = time.time()
    with Watched(url(server)) as watched:
        observation = watched.observe()
    (item,) = observation.sessions
    session = item.session
    start = session.connect_time.ToMicroseconds()
    assert item.key == f"{pid(client)} {start}"
    assert observation.incarnation is not None
    assert observation.incarnation < before < start / 1e6 < after
    assert start < session.last_active_time.ToMicroseconds() < after * 1e6
    assert session.native_id == str(pid(client))
    assert (session.service, session.state) == ("here", STARTED)
    assert (session.user, session.database) == ("app", "postgres")
    assert (session.application, session.remote, session.port) == ("till 7", host, port)
    assert session.HasField("tls_cipher")
    assert session.tls_cipher.startswith("TLS_") == encrypted
    assert not session.connections
    assert not session.queries, "nobody asked for statements"
    # This source connects by IPv4: the address that an IPv6 client reached is not known.
    reached = ("127.0.0.1", server.port) if host == "127.0.0.1" else None
    assert item.accepted == TcpLink((host, port), reached, pid(client))


def test_a_client_over_a_unix_socket(server: Postgres, clients: Clients) -> None:
    client = clients.add(server.connect(host=str(server.folder)))
    with Watched(url(server)) as watched:
        (item,) = watched.items()
    assert item.session.native_id == str(pid(client))
    assert item.session.tls_cipher == ""
    assert item.session.HasField("tls_cipher")
    for field in ("remote", "port", "application"):
        assert not item.session.HasField(field)
    assert item.accepted is None


def test_the_source_may_use_the_unix_socket_itself(server: Postgres, clients: Clients) -> None:
    client = clients.add(server.connect())
    with Watched(url(server, host=quote(str(server.folder), safe=""))) as watched:
        (item,) = watched.items()
    assert item.accepted == TcpLink(("127.0.0.1", local_port(client)), None, pid(client))


def test_what_a_client_does_is_its_state(server: Postgres, clients: Clients) -> None:
    client = clients.add(server.connect(application_name="it"))
    with server.connect(application_name="other") as other, Watched(url(server)) as watched:

        def state() -> str:
            """Return the server's state; check that the source sees the session it denotes."""
            row = other.execute(
                "SELECT state FROM pg_stat_activity WHERE pid = %s", [pid(client)]
            ).fetchone()
            (session,) = (one for one in watched.sessions() if one.application == "it")
            assert row
            assert session.state == BACKEND_STATES[row[0]] == STARTED
            return str(row[0])

        assert state() == "idle"
        client.execute("BEGIN")
        assert state() == "idle in transaction"
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1/0")
        assert state() == "idle in transaction (aborted)"
        client.execute("ROLLBACK")
        client.execute("SET track_activities = off")
        assert state() == "disabled"
        client.execute("SET track_activities = on")
        client.pgconn.send_query(SLEEP.encode())
        while state() != "active":
            pass
        end(server, client)


def test_the_states_are_the_documented_ones() -> None:
    table = states("PostgreSQL")
    assert state_of(table.pop("nothing")) == UNKNOWN
    assert {name: state_of(words) for name, words in table.items()} == BACKEND_STATES


def test_nothing_changes_where_nothing_happens(server: Postgres, clients: Clients) -> None:
    clients.add(server.connect())
    client = clients.add(server.connect())
    runs = clients.add(server.connect())
    runs.pgconn.send_query(SLEEP.encode())
    with Watched(url(server), statements="true") as watched:
        watched.until(lambda sessions: bool(sessions[2].queries))
        first = watched.observe()
        assert watched.observe() is first
        client.execute("SELECT 1")
        second = watched.observe()
    assert second.sessions[0] is first.sessions[0], "the other ones' are as they were"
    assert second.sessions[1].key == first.sessions[1].key
    assert second.sessions[1].session != first.sessions[1].session
    assert second.sessions[2] is first.sessions[2]
    end(server, runs)


def test_sessions_stand_in_the_order_they_began_in(server: Postgres, clients: Clients) -> None:
    pids = [str(pid(clients.add(server.connect()))) for _ in range(5)]
    with Watched(url(server)) as watched:
        assert [session.native_id for session in watched.sessions()] == pids
        clients.close()
        watched.until(lambda sessions: not sessions)


def test_the_source_shows_itself_only_when_asked_to(server: Postgres) -> None:
    with Watched(url(server)) as watched:
        assert watched.sessions() == []
    server.wait_until_left()
    with Watched(url(server), include_self="true") as watched:
        (session,) = watched.sessions()
    assert (session.user, session.application) == (SUPERUSER, "sessiongate")


def test_a_reading_connection_that_was_given_up_is_no_session(server: Postgres) -> None:
    with Watched(url(server)) as watched, server.connect() as looking:
        watched.observe()
        question = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sessiongate'"
        ((backend,),) = looking.execute(question).fetchall()
        os.kill(backend, signal.SIGSTOP)
        try:
            watched.give_up()
            shown = {each.native_id for each in watched.sessions()}
            assert shown == {str(pid(looking))}
            assert (backend,) in looking.execute(question).fetchall(), "the server still lists it"
        finally:
            os.kill(backend, signal.SIGCONT)


def test_a_reading_connection_that_was_given_up_at_first_is_no_session(server: Postgres) -> None:
    with Watched(url(server)) as watched, server.connect() as looking:
        source = watched.source
        assert isinstance(source, PostgreSQLSource)
        read, source._select = source._select, "SELECT pg_sleep(60)"
        asked = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

        async def give_up() -> None:
            observing = asyncio.ensure_future(source.observe())
            while not looking.execute(asked).rowcount:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)
            observing.cancel()
            await asyncio.wait((observing,))

        watched.run(give_up())
        source._select = read
        assert {each.native_id for each in watched.sessions()} == {str(pid(looking))}
        assert looking.execute(asked).rowcount, "the server still lists it"
        looking.execute("SELECT pg_terminate_backend(pid)" + asked.removeprefix("SELECT"))


def test_statements_only_where_asked_for(server: Postgres, clients: Clients) -> None:
    client = clients.add(server.connect())
    with Watched(url(server), statements="true") as watched:

        def queries() -> list[Query]:
            (session,) = watched.sessions()
            return list(session.queries)

        assert queries() == [], "it has not run any"
        client.execute("SELECT 'äöü'")
        (query,) = queries()
        assert (query.statement, query.truncated) == ("SELECT 'äöü'", False)
        assert query.complete_time.ToMicroseconds() > query.receive_time.ToMicroseconds()
        client.execute(f"SELECT '{'é' * 10_000}'".encode())
        (query,) = queries()
        assert query.truncated
        assert 16 * 1024 - 2 < len(query.statement.encode()) <= 16 * 1024
        client.execute("SET track_activities = off")
        assert queries() == []
        client.execute("SET track_activities = on")
        client.pgconn.send_query(SLEEP.encode())

        def runs(sessions: list[Session]) -> bool:
            return [query.statement for query in sessions[0].queries] == [SLEEP]

        (session,) = watched.until(runs)
        assert not session.queries[0].HasField("complete_time")
    end(server, client)


# A row as the server sends it.
ROW = BackendRow(
    pid=b"7",
    backend_start=b"1795462200123456",
    usename=b"app",
    datname=b"shop",
    application_name=b"till 7",
    client_addr=b"10.0.0.1",
    client_port=b"4000",
    state=b"idle",
    state_change=b"1795462201000001",
    ssl=b"t",
    cipher=b"TLS_AES_256_GCM_SHA384",
    query=b"\\x53454c4543542031",
    query_start=b"1795462201000000",
    xact_start=None,
    wait=None,
    wait_start=None,
    blockers=None,
)
REACHED = Reached(1.0, "10.0.0.5", 5432, statement_size=1024)


ODD = (
    st.none()
    | st.binary(max_size=40)
    | st.sampled_from(
        [
            *(b"-1", b"0", b"70000", b"4294967296", b"9" * 5000, b"infinity", b"NaN", b"\\xf"),
            *(b"-62135596800000000", b"253402300799000000", b"10.0.0.0/8", b"[local]"),
        ]
    )
)


@given(line=st.integers(0, 3), column=st.sampled_from(BackendRow._fields), value=ODD)
def test_one_odd_cell_costs_one_session_at_most(
    line: int, column: str, value: bytes | None
) -> None:
    hidden = dict.fromkeys(BackendRow._fields[5:])
    rows = [
        ROW,
        ROW._replace(pid=b"8", client_addr=None, client_port=b"-1", ssl=b"f", cipher=None),
        ROW._replace(pid=b"9", state=b"active", query_start=b"1795462201000002"),
        ROW._replace(pid=b"10", backend_start=None, **hidden),
    ]
    backends = Backends("here", REACHED)
    whole = read(backends, rows)
    assert not any(item.unreadable for item in whole.sessions)
    odd = [*rows]
    odd[line] = odd[line]._replace(**{column: value})
    found = read(backends, odd)
    assert len(found.sessions) + len(found.unreadable) == 4
    untouched = [item for n, item in enumerate(whole.sessions) if n != line]
    kept = [item for item in found.sessions if any(item is one for one in untouched)]
    assert kept == untouched
    assert read(backends, odd) is found
    for item in found.sessions:
        item.session.SerializeToString()
    texts = [part.text for item in found.sessions for part in item.unreadable]
    for text in (*texts, *(part.text for part in found.unreadable)):
        assert re.match(r"pg_stat_activity \w+: expected (a|an|t|hexadecimal) ", text)
    again = read(backends, rows)
    assert [item.session for item in again.sessions] == [item.session for item in whole.sessions]


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("backend_start", b"-62135596800000000", "connect_time"),
        ("client_addr", b"db1", "remote"),
        ("client_port", b"-1", "port"),
        ("state_change", b"253402300799000000", "last_active_time"),
        ("ssl", b"yes", "tls_cipher"),
        ("query", b"SELECT 1", "queries"),
    ],
)
def test_an_odd_member_costs_itself(column: str, value: bytes, field: str) -> None:
    (whole,) = read(Backends("here", REACHED), [ROW]).sessions
    (item,) = read(Backends("here", REACHED), [ROW._replace(**{column: value})]).sessions
    assert [part.fields for part in item.unreadable] == [(field,)]
    whole.session.ClearField(field)
    if field == "last_active_time":  # from which its activity began, too
        whole.session.activity.ClearField("since_time")
    for session in (whole.session, item.session):
        for query in session.queries:
            query.ClearField("complete_time")
    assert item.session == whole.session


def test_a_statement_without_a_start_is_shown() -> None:
    (item,) = read(Backends("here", REACHED), [ROW._replace(query_start=b"now")]).sessions
    assert [part.fields for part in item.unreadable] == [()]
    (query,) = item.session.queries
    assert (query.statement, query.HasField("receive_time")) == ("SELECT 1", False)


@pytest.mark.parametrize(
    ("column", "value"), [("pid", None), ("pid", b"0"), ("backend_start", b"")]
)
def test_a_backend_that_cannot_be_known_is_left_out(column: str, value: bytes | None) -> None:
    backends = Backends("here", REACHED)
    observation = read(backends, [ROW._replace(**{column: value}), ROW])
    assert [item.session.native_id for item in observation.sessions] == ["7"]
    (lost,) = observation.unreadable
    assert lost.text.startswith(f"pg_stat_activity {column}: expected an integer")


@pytest.mark.parametrize(
    "line",
    [
        (),
        (b"nan", None, None, b"1024", b"UTF8"),
        (b"1.5", b"here", b"5432", b"1024", b"UTF8"),
        (b"1.5", b"10.0.0.5", b"0", b"1024", b"UTF8"),
        (b"1.5", None, None, None, b"UTF8"),
    ],
)
def test_what_makes_no_sense_of_the_server_itself_is_no_postgresql(line: tuple[bytes]) -> None:
    with pytest.raises(SourceError, match="the server is not PostgreSQL"):
        Reached.of(QueryResult(["it"] * len(line), [line]))


def test_a_statement_that_the_server_cut_is_marked() -> None:
    reached = Reached(start=1.0, address=None, port=None, statement_size=1024)

    def query(text: str) -> Query:
        row = ROW._replace(query=b"\\x" + text.encode().hex().encode())
        ((item,)) = read(Backends("here", reached), [row]).sessions
        return item.session.queries[0]

    assert query("x" * 1023).truncated
    assert query("x" * 1020).truncated, "a character of four bytes may have been cut off"
    assert not query("x" * 1019).truncated


def test_names_may_be_any_bytes(server: Postgres, clients: Clients) -> None:
    server.execute(
        "CREATE DATABASE ascii TEMPLATE template0 ENCODING SQL_ASCII",
        f"CREATE ROLE cafe LOGIN PASSWORD '{STORED}'",
    )
    clients.add(server.connect(user="cafe"))
    with server.connect(dbname="ascii") as admin, Watched(url(server)) as watched:
        admin.execute(b'ALTER ROLE cafe RENAME TO "caf\xe9"')
        watched.until(lambda sessions: "caf\ufffd" in {session.user for session in sessions})


def test_names_that_the_consoles_database_cannot_express(
    server: Postgres, clients: Clients
) -> None:
    server.execute(
        "CREATE DATABASE win ENCODING 'WIN1252' TEMPLATE template0 LOCALE 'C'",
        f"CREATE ROLE \"Ýrsa\" LOGIN PASSWORD '{STORED}'",
        f"CREATE ROLE zoe LOGIN PASSWORD '{STORED}'",
        'CREATE DATABASE "日本"',
    )
    clients.add(server.connect(user="app"))
    clients.add(server.connect(user="Ýrsa", dbname="日本", application_name="café"))
    utf8 = clients.add(server.connect(user="zoe"))
    windows = clients.add(server.connect(user="zoe", dbname="win"))
    with server.connect(dbname="win") as admin:
        admin.execute('ALTER ROLE zoe RENAME TO "Zoë"')
    utf8.execute("SELECT '日本'")
    windows.execute("SELECT 'äöü'")
    console = url(server) + "/win"

    def left(sessions: list[Session]) -> bool:
        return len(sessions) == 4  # the client that renamed the role has left

    with Watched(console, statements="true") as watched, Watched(url(server)) as other:
        sessions = watched.until(left)
        observation = watched.observe()
        assert watched.observe() is observation
        assert not any(item.unreadable for item in observation.sessions)
        assert [(one.user, one.database) for one in sessions] == [
            *(("app", "postgres"), ("Ýrsa", "日本"), ("Zoë", "postgres"), ("Zoë", "win")),
        ]
        assert sessions[1].application.startswith("caf"), "the server keeps ASCII only"
        assert [query.statement for one in sessions[2:] for query in one.queries] == [
            *("SELECT '日本'", "SELECT 'äöü'"),
        ]
        # In this source's database, nothing says what the byte is.
        names = {session.user for session in other.sessions()}
        assert names == {"app", "Ýrsa", "Zo\ufffd", SUPERUSER}
        utf8.execute(f"SELECT '{'é' * 10_000}'".encode())
        cut = watched.sessions()[2].queries[0]
        assert cut.truncated
        assert cut.statement == f"SELECT '{'é' * 8188}"


def grant(server: Postgres, role: str, *lines: str) -> str:
    """Grant a role just these lines; return the URL of a source with that role."""
    server.execute(*(line.replace("sessiongate", role) for line in lines))
    server.wait_until_left()
    return url(server, user=role)


def test_the_documented_grant_is_enough(server: Postgres, clients: Clients) -> None:
    where = grant(server, "granted", *block("PostgreSQL", "sql").splitlines())
    clients.add(server.connect(user="app", sslmode="require"))
    clients.add(server.connect(host=str(server.folder)))
    with (
        Watched(where, statements="true") as watched,
        Watched(url(server), statements="true") as superuser,
    ):
        granted = watched.sessions()
        assert [one.state for one in granted] == [STARTED, STARTED]
        assert granted == [one for one in superuser.sessions() if one.user != "granted"]


def test_without_a_grant_others_are_seen_but_not_known(server: Postgres, clients: Clients) -> None:
    create, _ = block("PostgreSQL", "sql").splitlines()
    where = grant(server, "bare", create)
    client = server.connect(user="app", application_name="till 7")
    clients.add(client)
    with Watched(where, statements="true") as watched:
        (item,) = watched.items()
        assert watched.items() == [item], "and no process of the server's own"
    assert item.key == str(pid(client))
    assert item.accepted is None
    assert item.session == Session(
        service="here",
        native_id=str(pid(client)),
        user="app",
        database="postgres",
        application="till 7",
        state=UNKNOWN,
    )


def test_without_a_grant_replication_is_no_session(server: Postgres, clients: Clients) -> None:
    server.execute(
        f"CREATE ROLE looking LOGIN PASSWORD '{STORED}'",
        "CREATE DATABASE copy",
        "SELECT pg_create_logical_replication_slot('copying', 'pgoutput')",
        "CREATE PUBLICATION copied",
    )
    server.wait_until_left()
    client = clients.add(server.connect(user="app"))
    clients.add(server.connect(replication="database"))  # and requests nothing
    there = f"host=127.0.0.1 port={server.port} user={SUPERUSER} password=''{PASSWORD}''"
    with server.connect(dbname="copy") as admin, Watched(url(server, user="looking")) as watched:
        admin.execute(
            f"CREATE SUBSCRIPTION copying CONNECTION '{there} dbname=postgres'"
            " PUBLICATION copied WITH (create_slot = false)".encode()
        )
        try:
            while not _replicates(admin):
                pass
            shown = {session.native_id for session in watched.sessions()}
            assert shown == {str(pid(client)), str(pid(admin))}
        finally:
            admin.execute("DROP SUBSCRIPTION copying")


def _replicates(admin: psycopg.Connection) -> bool:
    """Return whether a worker of the subscription is there, and both senders."""
    row = admin.execute(
        "SELECT (SELECT count(pid) FROM pg_stat_subscription),"
        " (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming')"
    ).fetchone()
    return row == (1, 1)


def test_a_wrong_password_is_not_repeated(
    server: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    where = f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}"
    secret = tmp_path / "secret"
    secret.write_text("open barley\n")
    for options in ({"password": "open barley"}, {"password_file": str(secret)}):
        with Watched(where, **options) as watched:
            text = watched.failure()
            assert text.startswith(f"127.0.0.1:{server.port}: ")
            assert "password authentication failed" in text
            assert "barley" not in text + repr(watched.source) + caplog.text
            if "password_file" in options:  # which has been corrected meanwhile
                secret.write_text(PASSWORD)
                assert watched.sessions() == []


@pytest.mark.parametrize("login", ["app%3Abarley", "app%40barley", "app barley", "app%22barley"])
def test_a_password_that_was_typed_as_a_user_is_not_repeated(server: Postgres, login: str) -> None:
    with Watched(f"postgresql://{login}@127.0.0.1:{server.port}") as watched:
        text = watched.failure()
    assert text.startswith(f"127.0.0.1:{server.port}: ")
    assert text.endswith("of the URL is not a plain name)")
    assert "barley" not in text


def test_the_servers_certificate_is_verified(server: Postgres, clients: Clients) -> None:
    trusted = {"tls": "verify", "tls_ca": str(server.certificates.ca)}
    with Watched(url(server, host="localhost"), include_self="true", **trusted) as watched:
        (session,) = watched.sessions()
        assert session.tls_cipher
    with Watched(url(server, host="[::1]"), **trusted) as watched:
        assert re.search('certificate .* does not match host name "::1"', watched.failure())
    with Watched(url(server, host="localhost"), tls="verify") as watched:
        assert "certificate verify failed" in watched.failure()
    with private_folder() as folder:
        other = str(certificates(folder).ca)
        with Watched(url(server, host="localhost"), tls="verify", tls_ca=other) as watched:
            assert "certificate verify failed" in watched.failure()


def failure(watched: Watched) -> str:
    """Return the error text of an observation over a new connection; "" if it does not fail."""
    watched.run(watched.source.close())
    try:
        watched.observe()
    except SourceError as error:
        return str(error)
    return ""


def test_a_password_is_not_shown_in_the_clear(server: Postgres) -> None:
    rules = server.folder / "data" / "pg_hba.conf"
    kept = rules.read_text()
    with Watched(url(server)) as watched:
        try:
            rules.write_text("host all all 127.0.0.1/32 password\n" + kept)
            server.execute("SELECT pg_reload_conf()")
            # The server applies the new rules once it notices them: until then, it lets it in.
            text = eventually(lambda: failure(watched), lambda text: "password" in text)
            assert "cleartext" in text
        finally:
            rules.write_text(kept)
            with server.connect(host=str(server.folder)) as admin:
                admin.execute("SELECT pg_reload_conf()")


def test_a_server_that_hangs_is_given_up_and_seen_again(
    server: Postgres, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    clients.add(server.connect())
    with Watched(url(server)) as watched, Watched(url(server)) as fresh:
        before = watched.observe()
        server.server.suspend()
        try:
            watched.give_up()
            watched.give_up()
            fresh.give_up()
        finally:
            server.server.resume()
        (item,) = before.sessions

        def alone(sessions: list[Session]) -> bool:
            return len(sessions) == 1  # the abandoned connections have gone

        assert watched.until(alone) == [item.session]
        assert watched.observe().incarnation == before.incarnation
        assert fresh.until(lambda sessions: item.session in sessions)
    assert not caplog.records, "the driver waits for nothing"


def test_a_server_that_restarts_is_another(server: Postgres) -> None:
    with Watched(url(server)) as watched:
        with server.connect():
            before = watched.observe()
        server.server.kill()
        assert "Connection refused" in watched.failure()
        server.restart()
        with server.connect() as client:
            after = watched.observe()
            assert [one.session.native_id for one in after.sessions] == [str(pid(client))]
        server.restart()
        assert watched.observe().sessions == (), "the connection that was open is made again"
    assert before.incarnation is not None
    assert after.incarnation is not None
    assert before.incarnation < after.incarnation


def test_a_broken_answer_is_none(server: Postgres, clients: Clients) -> None:
    for _ in range(20):
        clients.add(server.connect())

    async def main() -> None:
        async with Relay(server.port) as relay:
            place = f"127.0.0.1:{relay.port}"
            source = open_source(SourceConfig.parse(url(server, port=relay.port)))
            whole = await source.observe()
            assert len(whole.sessions) == 20
            await source.close()
            for relay.cut_after in (1, 50, 200, 600, 1000, 1500):
                with pytest.raises(SourceError, match=place):
                    await source.observe()
            relay.cut_after, relay.garble = None, 0
            # Garbage may announce more than ever arrives.
            with pytest.raises((SourceError, TimeoutError)):
                async with asyncio.timeout(1):
                    await source.observe()
            relay.garble = None
            # Connections that were given up may still leave.
            found = await seen(source, lambda sessions: len(sessions) == 20)
            assert all(map(is_, found, whole.sessions))
            await source.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("?statement=true", "unknown option 'statement'; postgresql allows: .*statements"),
        ("?statements=yes", "statements must be true or false, got 'yes'"),
        ("?include_self=1", "include_self must be true or false, got '1'"),
        ("?tls=require", "tls must be verify or off, got 'require'"),
    ],
)
def test_a_wrong_option_is_named(query: str, complaint: str) -> None:
    config = SourceConfig.parse(f"postgresql://ann:treasure@db1{query}")
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(config)
    assert "treasure" not in str(caught.value)
