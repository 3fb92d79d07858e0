"""Which PostgreSQL servers a ledger accepts, and what it says of them."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus, PGconn

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Opening
from sessiongate.core.ledger.postgresql import connection
from sessiongate.core.ledger.postgresql.connection import LedgerAwayError, LedgerConnection
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import TABLES_VERSION
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import ROLE, Engine
from tests.postgres import PASSWORD, SUPERUSER, running_pgbouncer, running_postgres


def try_(url: str) -> None:
    """Open a ledger, write to it, and close it."""

    async def work() -> None:
        ledger = await PostgresqlLedger.open(url, now=time.time_ns)
        now = time.time_ns()
        opening = Opening(f"{now}", now, session=Session(service="x"))
        await ledger.record("a", opened=[opening], closed=[], incarnation=None)
        await ledger.close()

    asyncio.run(work())


def refusal(url: str) -> str:
    """Return why a ledger cannot be opened."""
    with pytest.raises(LedgerError) as raised:
        try_(url)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_the_role_that_the_documentation_makes_is_enough(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    url = engine.url(engine.database())
    try_(url)
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_superuser_and_a_shared_database_are_warned_of(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    database = engine.database()
    with engine.server.connect(dbname=database) as client:
        client.execute("CREATE TABLE orders (id int)")
        client.execute("DROP SCHEMA sessiongate")
    try_(engine.url(database, user=SUPERUSER))
    assert "role postgres is a superuser" in caplog.text
    assert f"the ledger's database {database} has tables of others" in caplog.text
    assert "asynchronously" not in caplog.text


def test_asynchronous_replication_is_named(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    url = engine.url(engine.database())
    where = make_conninfo(**engine.server.parameters(replication="true"))
    standby = PGconn.connect(where.encode())
    try:
        start = standby.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2)
        assert start is not None
        assert standby.exec_(b"START_REPLICATION PHYSICAL " + start).status == ExecStatus.COPY_BOTH
        try_(url)
    finally:
        standby.finish()
    assert "the ledger's server replicates asynchronously" in caplog.text


def test_what_loses_writes_or_names_is_refused(engine: Engine) -> None:
    with running_postgres() as server:
        url = f"postgresql://{SUPERUSER}:{quote(PASSWORD)}@127.0.0.1:{server.port}/postgres"
        assert "must not be on a server with fsync=off" in refusal(url)
    engine.server.execute("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0")
    assert "needs a database with the encoding UTF8, not LATIN1" in refusal(
        engine.url("latin", user=SUPERUSER)
    )


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_is_refused(engine: Engine, mode: str) -> None:
    engine.server.database = engine.database()
    users = {ROLE: PASSWORD, SUPERUSER: PASSWORD}
    ignored = "extra_float_digits,search_path"
    with running_pgbouncer(
        engine.server, users, pool_mode=mode, ignore_startup_parameters=ignored
    ) as pgbouncer:
        url = engine.url("shop", port=pgbouncer.port)
        assert "must not be reached through a pooler" in refusal(url)


def test_what_the_role_lacks_is_named(engine: Engine) -> None:
    database = engine.database()
    with engine.server.connect(dbname=database) as client:
        client.execute("DROP SCHEMA sessiongate")
    text = refusal(engine.url(database))
    assert f'CREATE SCHEMA sessiongate AUTHORIZATION "{ROLE}"' in text
    engine.server.execute(f"REVOKE CONNECT ON DATABASE {database} FROM {ROLE}")
    assert "permission denied for database" in refusal(engine.url(database))
    assert 'database "nowhere" does not exist' in refusal(engine.url("nowhere"))
    wrong = f"postgresql://{ROLE}:guess@127.0.0.1:{engine.server.port}/{database}"
    assert "password authentication failed" in refusal(wrong)


def test_a_server_that_hangs_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's ping lets nothing else of the process run."""
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = LedgerPlace.parse(f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/d")
        with pytest.raises(LedgerAwayError):
            LedgerConnection(place, "tests")
        server.setblocking(False)
        server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_tables_of_a_later_version_are_left_alone(engine: Engine) -> None:
    database = engine.database()
    url = engine.url(database)
    try_(url)
    with engine.server.connect(dbname=database) as client:
        client.execute(
            "UPDATE sessiongate.version SET number = %s, oldest = %s",
            (TABLES_VERSION + 2, TABLES_VERSION),
        )
    try_(url)  # it only has more than this program knows
    with engine.server.connect(dbname=database) as client:
        client.execute("UPDATE sessiongate.version SET oldest = oldest + 1")
    supported = f"has version {TABLES_VERSION + 2}; this program supports only {TABLES_VERSION}"
    assert supported in refusal(url)


def test_tls_is_verified(engine: Engine, tmp_path: Path) -> None:
    database, port = engine.database(), engine.server.port
    login = f"postgresql://{ROLE}:{quote(PASSWORD)}@"
    authority = engine.server.certificates.ca
    try_(f"{login}localhost:{port}/{database}?tls=verify&tls_ca={authority}")
    other = tmp_path / "other.pem"
    other.write_text("no certificate")
    unknown = refusal(f"{login}localhost:{port}/{database}?tls=verify")
    assert "certificate verify failed" in unknown
    assert "cannot be reached" in refusal(
        f"{login}localhost:{port}/{database}?tls=verify&tls_ca={other}"
    )
    wrong = refusal(f"{login}[::1]:{port}/{database}?tls=verify&tls_ca={authority}")
    assert "certificate" in wrong


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:p@h/d?sslmode=off", "unknown option 'sslmode'"),
        ("postgresql://u:p@h/d?pasword=x", "unknown option"),
        ("postgresql://u:p@h/d/e", "must name one database"),
        ("postgresql:d", "the location does not start with //"),
        ("postgresql://u:p@h:99999/d", "the port must be from 1 to 65535"),
        ("postgresql://u:p@h/d?password=p", "more than one password"),
        ("postgresql://u@h/d?tls=maybe", "tls must be verify or off, got 'maybe'"),
    ],
)
def test_a_url_that_is_wrong_is_named_without_its_password(url: str, text: str) -> None:
    with pytest.raises(LedgerError, match=text.replace("?", r"\?")) as raised:
        LedgerPlace.parse(url)
    assert "p@" not in str(raised.value).replace("USER:PASSWORD@HOST", "")


def test_a_place_has_defaults() -> None:
    place = LedgerPlace.parse("postgresql://app@db.example.com")
    assert (str(place), place.endpoint.user) == ("sessiongate at db.example.com:5432", "app")
    assert place.endpoint.tls is not None, "as for sources: off on this machine only"
    assert LedgerPlace.parse("postgres://localhost/other").endpoint.tls is None


def test_a_server_that_is_too_old_is_named_before_what_it_does_not_know(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OLDEST", 990_000)
    monkeypatch.setattr(connection, "_SETTINGS", (("setting_of_99", "'on'"),))
    assert refusal(engine.url(engine.database())).endswith("needs PostgreSQL 99 or later")
