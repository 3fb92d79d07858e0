"""``mariadb://`` over a real MariaDB whose clients are out to trip it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from operator import is_

import pytest
from asyncmy import errors
from asyncmy.connection import Connection
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sessiongate.core.sources import mariadb as source_module
from sessiongate.core.sources.base import Observation, Observed
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.mysql_cells import integer
from sessiongate.core.sources.support.mysql_dialect import Dialect
from sessiongate.core.sources.support.stability import TOLERANCE
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES
from sessiongate.core.sources.support.threads import ThreadRow
from sessiongate.v1 import session_pb2
from tests.core.observing import seen, stated, until_same
from tests.mariadb import MariaDB, documented_lines, mariadb, only, opened, run, running
from tests.servers import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb() as running:
        yield running


_SLEEP = f"SELECT SLEEP({PATIENCE}), ".encode()


def runs_alone(found: list[Observed]) -> bool:
    """Return whether the first of two clients runs a statement, and no others are there."""
    return len(found) == 2 and bool(found[0].session.queries)


@pytest.mark.parametrize(
    ("charset", "sent", "shown"),
    [
        ("utf8mb4", "'größe 数 😀'".encode(), "'größe 数 😀'"),
        ("utf8mb4", b"_binary'\xed\xa0\x80 \xff'", "_binary'\ufffd\ufffd\ufffd \ufffd'"),
        ("utf8mb4", b"'a\0b'", "'a\0b'"),
        ("latin1", "'größe'".encode("latin-1"), "'gr\ufffd\ufffde'"),  # ößes bytes are not UTF-8
    ],
)
def test_a_statement_may_hold_any_bytes(
    server: MariaDB, charset: str, sent: bytes, shown: str
) -> None:
    async def observe() -> None:
        async with (
            server.client(charset=charset) as client,
            server.client() as other,
            opened(server, statements="true") as source,
        ):
            _, before = await only(source, client, other)
            async with running(client, _SLEEP + sent, other):
                item, after = await seen(source, runs_alone)
                await until_same(source)
        (query,) = item.session.queries
        assert query.statement == _SLEEP.decode() + shown
        assert not query.truncated
        assert (item.unreadable, after.key == before.key) == ((), True)

    asyncio.run(observe())


@pytest.mark.parametrize("over", [-1, 0, 1, 2, 3, 4, 5])
def test_a_cut_falls_between_characters(server: MariaDB, over: int) -> None:
    """A statement ``over`` bytes above the limit, which ends with a four-byte character."""
    filler = MAX_STATEMENT_BYTES - len(_SLEEP) - len("'😀'".encode()) + over
    statement = _SLEEP + f"'{'x' * filler}😀'".encode()

    async def observe() -> None:
        async with (
            server.client() as client,
            server.client() as other,
            opened(server, statements="true") as source,
            running(client, statement, other),
        ):
            item, _ = await seen(source, runs_alone)
        (query,) = item.session.queries
        assert query.truncated == (over > 0)
        assert query.statement == statement[:MAX_STATEMENT_BYTES].decode(errors="ignore")

    asyncio.run(observe())


def test_names_may_be_of_any_bytes(server: MariaDB) -> None:
    names = {
        "größe".encode(): "größe",
        b"lone\xed\xa0\x80": "lone\ufffd\ufffd\ufffd",
        "数据库".encode(): "数据库",
    }

    async def observe() -> None:
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(server.client("root", host=""))
            source = await stack.enter_async_context(opened(server))
            clients = []
            for name in names:
                await root.query(b"CREATE DATABASE `%s`" % name)
                await root.query(b"CREATE USER '%s'@'%%' IDENTIFIED BY 'open sesame'" % name)
                await root.query(b"GRANT ALL ON `%s`.* TO '%s'@'%%'" % (name, name))
                client = await stack.enter_async_context(server.client(name))
                await client.query(b"USE `%s`" % name)
                clients.append(client)
            found = await only(source, root, *clients)
            for name in names:
                await root.query(b"DROP USER '%s'@'%%'" % name)
                await root.query(b"DROP DATABASE `%s`" % name)
        shown = [(item.session.user, item.session.database) for item in found[1:]]
        assert shown == [(name, name) for name in names.values()]
        assert not any(item.unreadable for item in found)

    asyncio.run(observe())


class Bytes:
    """An object that the driver accepts as text, and sends as these bytes."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def encode(self, _: str) -> bytes:
        return self._sent


def test_an_attribute_may_be_of_any_bytes(server: MariaDB) -> None:
    _, grant = documented_lines()
    programs = [b"\xff\xfe", b"lone\xed\xa0\x80", b"", "größe".encode(), b"a\0b\x1b[2J"]

    async def observe() -> None:
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(server.client("root", host=""))
            await run(root, grant)
            clients = [
                await stack.enter_async_context(server.client(program_name=Bytes(program)))
                for program in programs
            ]
            source = await stack.enter_async_context(opened(server))
            found = await only(source, root, *clients)
            await until_same(source)
        # The server itself replaces bytes that are not characters at all.
        shown = ["??", "lone\ufffd\ufffd\ufffd", "", "größe", "a\0b\x1b[2J"]
        assert [item.session.application for item in found[1:]] == shown
        assert not any(item.unreadable for item in found)

    asyncio.run(observe())


def test_an_odd_attribute_costs_only_itself(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, grant = documented_lines()
    lone = "\ufffd" * 3
    known = f"({source_module._ATTRIBUTES.format('{0}')}) known"
    odd = (
        "SELECT NULL, 'nobody', '1' UNION ALL SELECT 'x', 'text', '1'"
        " UNION ALL SELECT 18446744073709551615, 'stranger', '1'"
        f" UNION ALL SELECT PROCESSLIST_ID, NULL, '1' FROM {known}"
        f" UNION ALL SELECT PROCESSLIST_ID, 'empty', NULL FROM {known}"
        f" UNION ALL SELECT PROCESSLIST_ID, UNHEX('EDA080'), UNHEX('EDA080') FROM {known}"
        f" UNION ALL SELECT * FROM {known}"
    )
    monkeypatch.setattr(source_module, "_ATTRIBUTES", odd)

    async def observe() -> None:
        async with server.client("root", host="") as root:
            await run(root, grant)
            async with server.client(program_name="billing") as client, opened(server) as source:
                _, item = await only(source, root, client)
        assert sorted(item.session.connection_attributes) == [
            *("_client_name", "_client_version", "_pid", "program_name", lone)
        ]
        assert item.session.connection_attributes[lone] == lone
        assert item.session.application == "billing"

    asyncio.run(observe())


def are_settled(found: list[Observed]) -> bool:
    """Return whether all but one of four clients have not logged in."""
    states = [item.session.state for item in found]
    return len(states) == 4 and states[1:] == [session_pb2.SESSION_STATE_ALLOC] * 3


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1"])
def test_clients_whose_login_fails_or_hangs_hide_nobody(server: MariaDB, charset: str) -> None:
    async def observe() -> None:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(server.client())
            source = await stack.enter_async_context(opened(server))
            (before,) = await only(source, client)
            for _ in range(3):  # they send nothing, and stay unauthenticated
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                stack.callback(writer.close)
            with pytest.raises(errors.OperationalError, match="Access denied"):
                async with server.client(b"lone\xed\xa0\x80\xff", charset=charset):
                    pass
            known, *others = await seen(source, are_settled)
        assert known.key == before.key
        assert not any(item.session.HasField("user") for item in others)

    asyncio.run(observe())


@pytest.mark.long
@pytest.mark.parametrize("version", ["10.11.19-MariaDB", "8.0.21"])
def test_what_only_the_clock_changes_is_no_change(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Clients that sleep, run, and wait for each other's locks, in and out of transactions.

    Also queried like MySQL, as far as MariaDB can answer that.
    """
    dialect = Dialect.of(version, performance_schema=False)
    monkeypatch.setattr(Dialect, "of", lambda *_, **__: dialect)

    async def age(client: Connection) -> int:
        """Return the seconds since one of the clients last made a request."""
        query = "SELECT MIN(TIME) FROM information_schema.PROCESSLIST WHERE USER = 'app'"
        ((seconds,),) = await run(client, query)
        return int(str(seconds))

    async def observe() -> None:
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(server.client("root", host=""))
            idle, busy, holder, waiter = [
                await stack.enter_async_context(server.client(database="shop")) for _ in range(4)
            ]
            source = await stack.enter_async_context(opened(server, statements="true"))
            await run(root, "CREATE OR REPLACE TABLE shop.stock (item INT) ENGINE=InnoDB")
            await run(root, "INSERT INTO shop.stock VALUES (1)")
            await run(holder, "BEGIN")
            await run(holder, "UPDATE stock SET item = 2")
            update = b"UPDATE stock SET item = 3"
            await stack.enter_async_context(running(waiter, update, root))
            await stack.enter_async_context(running(busy, _SLEEP + b"1", root))

            def runs(found: list[Observed]) -> bool:
                return sum(bool(item.session.queries) for item in found) == 2

            def is_settled(found: list[Observed]) -> bool:
                states = [item.session.activity.state for item in found[1:]]
                return states == [
                    session_pb2.ACTIVITY_STATE_IDLE,
                    session_pb2.ACTIVITY_STATE_ACTIVE,
                    session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION,
                    session_pb2.ACTIVITY_STATE_WAITING,
                ]

            await seen(source, lambda found: len(found) == 5 and runs(found))
            await run(idle, "SELECT 1")
            # The client has its answer before the server has ended the statement.
            await seen(source, runs)
            await seen(source, is_settled)
            clients = {str(client.thread_id()) for client in (idle, busy, holder, waiter)}
            # What was seen so far may have taken long to arrive: compare nothing with it.
            source = await stack.enter_async_context(opened(server, statements="true"))
            known: list[Observed] = []
            compared = 0
            while await age(root) < 3 or not compared:
                began = time.monotonic()
                found = (await source.observe()).sessions
                now = [item for item in found if item.key in clients]
                await asyncio.sleep(0.05)  # only time is to pass
                if time.monotonic() - began > TOLERANCE - 1.2:
                    # What takes longer to arrive than the tolerance allows may look changed.
                    source = await stack.enter_async_context(opened(server, statements="true"))
                    known = []
                    continue
                if known:
                    assert all(map(is_, now, known))
                    compared += 1
                known = now
            assert len(known) == 4

    asyncio.run(observe())


_CELLS = st.one_of(
    st.none(),
    st.binary(max_size=24),
    st.sampled_from([b"-1", b"18446744073709551615", b"9" * 20, b"1e300", b"nan", b"Daemon"]),
)


@pytest.mark.long
@settings(max_examples=40)
@given(column=st.sampled_from(ThreadRow._fields), odd=_CELLS)
def test_whatever_the_server_sends_of_a_client_hides_no_other(
    server: MariaDB, column: str, odd: Cell
) -> None:
    """Through the driver, from a server that is told what to send."""
    rows = [
        ThreadRow(
            ident, b"app", b"192.0.2.7:4711", b"shop", b"Query", b"SELECT 1", None, b"42", None
        )
        for ident in (b"7", b"8", b"9")
    ]

    changed = rows[1]._replace(**{column: odd})
    ident = integer(changed.ident)
    assume(ident not in (7, 9))

    async def observe() -> tuple[Observation, ...]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dialect, "query", lambda *_, **__: said([rows[0], changed, rows[2]]))
            async with opened(server, "plain") as source:
                observation = await source.observe()
                source._query = said(rows)
                return observation, await source.observe()

    after, usual = asyncio.run(observe())
    others = [item for item in after.sessions if item.key in ("7", "9")]
    assert len(usual.sessions) == 3
    assert list(map(stated, others)) == [stated(usual.sessions[0]), stated(usual.sessions[2])]
    assert len(after.sessions) <= 3
    assert bool(after.unreadable) == (ident is None or ident < 0)


def said(rows: Iterable[ThreadRow]) -> str:
    """Return a query that selects these rows."""
    return " UNION ALL ".join(
        "SELECT " + ", ".join("NULL" if cell is None else f"UNHEX('{cell.hex()}')" for cell in row)
        for row in rows
    )


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        ("SELECT 1700000000", 1_700_000_000),
        ("SELECT -5", -5),
        ("SELECT NULL", None),
        ("SELECT 'soon'", None),
        ("SELECT 1e300", None),
        ("SELECT 253402300800", None),
        ("SELECT -99999999999", None),
        ("SELECT 1 FROM DUAL WHERE FALSE", None),
    ],
)
def test_a_start_that_cannot_be_is_none(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch, answer: str, start: int | None
) -> None:
    monkeypatch.setattr("sessiongate.core.sources.support.mysql_dialect._START", answer)

    async def observe() -> None:
        async with server.client() as client, opened(server) as source:
            await only(source, client)
            observation = await until_same(source)
        assert observation.incarnation == start

    asyncio.run(observe())
