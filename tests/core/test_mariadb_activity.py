"""``mariadb://`` over a real MariaDB: what its clients are doing, and who blocks whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from asyncmy import errors
from asyncmy.connection import Connection

from sessiongate.core.sources import mariadb as source_module
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.mariadb import MariaDBSource
from sessiongate.core.sources.support import innodb
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_pb2 import Activity
from tests.core.observing import seen, until_same
from tests.mariadb import MariaDB, mariadb, opened, run
from tests.servers import PATIENCE

LISTED = (
    "SELECT ID, COMMAND, UNIX_TIMESTAMP(NOW(6)) - TIME_MS / 1000"
    " FROM information_schema.PROCESSLIST"
    " WHERE USER = 'app' ORDER BY ID"
)
STARTED = (
    "SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, '1970-01-01 05:45:00', trx_started)"
    " FROM information_schema.INNODB_TRX"
)
ROW_LOCK = "RECORD X `shop`.`stock`"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb() as running:
        asyncio.run(_stocked(running))
        yield running


async def _stocked(server: MariaDB) -> None:
    async with server.client("root", host="") as root:
        await run(root, "CREATE TABLE shop.stock (item INT PRIMARY KEY, n INT) ENGINE=InnoDB")
        await run(root, "INSERT INTO shop.stock VALUES (1, 1), (2, 2), (3, 3)")


@asynccontextmanager
async def scene(server: MariaDB, clients: int, **options: str) -> AsyncIterator[Scene]:
    """Connect an administrator, clients and a source."""
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(server.client("root", host=""))
        source = await stack.enter_async_context(opened(server, **options))
        opening = [server.client(database="shop") for _ in range(clients)]
        found = [await stack.enter_async_context(client) for client in opening]
        shown = Scene(root, source, found)
        try:
            yield shown
        finally:
            await shown.end()


class Scene:
    """A server's administrator, its clients, the statements that they run, and its source."""

    def __init__(
        self, root: Connection, source: MariaDBSource, clients: Sequence[Connection]
    ) -> None:
        self.root = root
        self.source = source
        self.clients = clients
        self._running: dict[Connection, asyncio.Task[object]] = {}

    def start(self, client: Connection, statement: str) -> None:
        """Begin a statement, and do not wait for its end."""
        self._running[client] = asyncio.ensure_future(run(client, statement))

    async def ended(self, client: Connection) -> None:
        """Wait for the end of a client's statement."""
        with suppress(errors.MySQLError):
            await self._running.pop(client)

    async def end(self) -> None:
        """End all statements."""
        for client in self.clients:
            with suppress(errors.MySQLError):
                await run(self.root, f"KILL {client.thread_id()}")
        for task in self._running.values():
            with suppress(errors.MySQLError):
                await task

    async def until_asleep(self, client: Connection) -> None:
        """Wait until the server has ended a statement: the client has its answer before that."""
        commands = "SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = "
        async with asyncio.timeout(PATIENCE):
            while await run(self.root, f"{commands}{client.thread_id()}") != [("Sleep",)]:
                pass

    def shown(self, found: Sequence[Observed]) -> list[Observed]:
        """Return the clients' sessions, in the order of the clients."""
        by_key = {item.key: item for item in found}
        keys = [str(client.thread_id()) for client in self.clients]
        return [by_key[key] for key in keys if key in by_key]

    def blockers(self, found: Sequence[Observed]) -> list[list[int]]:
        """Return whom each client waits for, by the places of the clients."""
        keys = [str(client.thread_id()) for client in self.clients]
        return [[keys.index(key) for key in item.blocked_by] for item in self.shown(found)]

    async def until(self, *wanted: str) -> list[Observed]:
        """Observe until the clients do what is wanted; return all sessions."""
        return await seen(self.source, lambda found: words(self.shown(found)) == [*wanted])

    async def until_blocked(self, *wanted: list[int]) -> list[Observed]:
        """Observe until the clients wait for whom is wanted; return all sessions."""
        return await seen(self.source, lambda found: self.blockers(found) == [*wanted])


def words(found: Sequence[Observed]) -> list[str]:
    return [ACTIVITY_WORDS.get(item.session.activity.state, "") for item in found]


def activities(found: Sequence[Observed]) -> list[Activity]:
    return [item.session.activity for item in found]


def test_activities_are_those_of_the_process_list_row_by_row(server: MariaDB) -> None:
    async def observe() -> None:
        async with scene(server, 7) as shown:
            idle, busy, holder, waiter, locked, locker, begun = shown.clients
            await run(idle, "SELECT n FROM stock")
            shown.start(busy, f"SELECT SLEEP({PATIENCE})")
            await run(holder, "BEGIN")
            await run(holder, "UPDATE stock SET n = 9 WHERE item = 1")
            shown.start(waiter, "UPDATE stock SET n = 8 WHERE item = 1")
            await run(locker, "SELECT GET_LOCK('turn', 0)")
            shown.start(locked, f"SELECT GET_LOCK('turn', {PATIENCE})")
            await run(begun, "BEGIN")  # InnoDB has no transaction yet
            await shown.until(
                *("idle", "active", "idle in transaction", "waiting", "waiting", "idle", "idle")
            )
            await asyncio.sleep(innodb._COPY_KEPT)  # the source is no longer resting
            found = shown.shown((await shown.source.observe()).sessions)
            now = time.time()
            listed = await run(shown.root, LISTED)
            started = {row[0]: row[1] for row in await run(shown.root, STARTED)}
            await until_same(shown.source)
        shown_by = {item.key: item.session.activity for item in found}
        assert [activity.native for activity in shown_by.values()] == [row[1] for row in listed]
        for ident, _, began in listed:
            activity = shown_by[str(ident)]
            if activity.state != 5 or activity.wait == "User lock":
                # Counted back from when the list arrived, which is a little later.
                since = activity.since_time.ToMilliseconds() / 1000
                assert float(str(began)) - 0.01 <= since <= now
            has_started = activity.HasField("transaction_start_time")
            assert has_started == (ident in started)
            if has_started:
                assert activity.transaction_start_time.seconds == started[ident]
        waits = [activity.wait for activity in activities(found)]
        assert waits == ["", "", "", ROW_LOCK, "User lock", "", ""]
        assert found[3].blocked_by == (str(holder.thread_id()),)
        assert not any(item.blocked_by for item in found if item is not found[3])

    asyncio.run(observe())


def test_who_waits_in_a_chain_is_blocked_by_the_next_until_that_ends(server: MariaDB) -> None:
    async def observe() -> None:
        async with scene(server, 3) as shown:
            first, second, third = shown.clients
            for client, item in ((first, 1), (second, 2)):
                await run(client, "BEGIN")
                await run(client, f"UPDATE stock SET n = n + 1 WHERE item = {item}")
            shown.start(second, "UPDATE stock SET n = n + 1 WHERE item = 1")
            await shown.until_blocked([], [0], [])
            shown.start(third, "SELECT n FROM stock WHERE item = 2 FOR UPDATE")
            found = shown.shown(await shown.until_blocked([], [0], [1]))
            assert words(found) == ["idle in transaction", "waiting", "waiting"]
            began = activities(found)[1]
            assert began.transaction_start_time.seconds <= began.since_time.seconds
            await run(shown.root, f"KILL {first.thread_id()}")
            await seen(shown.source, lambda found: len(shown.shown(found)) == 2)
            await shown.ended(second)
            await seen(
                shown.source, lambda found: shown.shown(found)[1].blocked_by == (keys(second))
            )
            await run(second, "ROLLBACK")
            await shown.ended(third)
            found = await seen(
                shown.source, lambda found: words(shown.shown(found)) == ["idle", "idle"]
            )
        assert not any(item.blocked_by for item in found)

    asyncio.run(observe())


def keys(*clients: Connection) -> tuple[str, ...]:
    return tuple(str(client.thread_id()) for client in clients)


def test_a_queue_is_blocked_by_all_before_it_or_if_long_by_those_that_hold(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def observe() -> None:
        # Their ten pairs are more rows than the source reads sessions, which is six.
        async with scene(server, 5, max_sessions="3") as shown:
            holder, *queue = shown.clients
            await run(holder, "BEGIN")
            await run(holder, "UPDATE stock SET n = 0 WHERE item = 3")
            for place, client in enumerate(queue):
                shown.start(client, "UPDATE stock SET n = n + 1 WHERE item = 3")
                expected = [[*range(number)] for number in range(place + 2)]
                await shown.until_blocked(*expected, *([] for _ in queue[place + 1 :]))
            monkeypatch.setattr(innodb, "_FEW_WAITING", 2)
            await shown.until_blocked([], *([0] for _ in queue))

    asyncio.run(observe())


def test_those_with_shared_locks_only_are_told_apart_by_nothing(server: MariaDB) -> None:
    """To the server, all of their transactions have the id 0."""

    async def observe() -> None:
        async with scene(server, 4) as shown:
            reader, holder, writer, waiter = shown.clients
            for client, statement in (
                (reader, "SELECT n FROM stock WHERE item = 2 LOCK IN SHARE MODE"),
                (holder, "UPDATE stock SET n = 9 WHERE item = 1"),
            ):
                await run(client, "BEGIN")
                await run(client, statement)
            shown.start(writer, "UPDATE stock SET n = 8 WHERE item = 2")
            shown.start(waiter, "SELECT n FROM stock WHERE item = 1 LOCK IN SHARE MODE")
            transaction = "idle in transaction"
            found = await shown.until(transaction, transaction, "waiting", "waiting")
            assert shown.blockers(found) == [[], [], [], []]
            assert activities(shown.shown(found))[3].wait == "RECORD S `shop`.`stock`"

    asyncio.run(observe())


def test_a_table_that_is_being_altered_is_waited_for(server: MariaDB) -> None:
    async def observe() -> None:
        async with scene(server, 2) as shown:
            reader, other = shown.clients
            await run(reader, "BEGIN")
            await run(reader, "SELECT n FROM stock")
            shown.start(other, "ALTER TABLE stock COMMENT = 'waits'")
            _, waiting = shown.shown(await shown.until("idle in transaction", "waiting"))
            assert waiting.session.activity.wait == "Waiting for table metadata lock"
            assert waiting.blocked_by == ()  # the server does not say who holds it
            await run(reader, "COMMIT")
            await shown.ended(other)
            found = shown.shown(await shown.until("idle", "idle"))
            assert not found[1].session.activity.HasField("wait")

    asyncio.run(observe())


def test_a_login_is_connecting_and_a_running_event_active(server: MariaDB) -> None:
    def connects(found: Sequence[Observed]) -> dict[str, str]:
        chosen = [item for item in found if item.session.activity.native == "Connect"]
        return {item.session.user: word for item, word in zip(chosen, words(chosen), strict=True)}

    async def observe() -> None:
        async with scene(server, 0) as shown:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await seen(shown.source, lambda found: connects(found) == {"": "connecting"})
            writer.close()
            await run(shown.root, "SET GLOBAL event_scheduler = ON")
            event = "CREATE EVENT shop.nap ON SCHEDULE AT NOW() DO"
            await run(shown.root, f"{event} SELECT SLEEP({PATIENCE})")
            await seen(shown.source, lambda found: connects(found) == {"root": "active"})
            await run(shown.root, "SET GLOBAL event_scheduler = OFF")

    asyncio.run(observe())


def test_what_the_server_remembers_for_others_is_never_shown(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader keeps an old copy of InnoDB's tables alive, and the source does not rest."""
    monkeypatch.setattr(innodb, "_COPY_KEPT", 0.0)
    monkeypatch.setattr(innodb, "_REST", 0.0)
    has_read = asyncio.Event()

    async def read(reader: Connection) -> None:
        while True:
            await run(reader, "SELECT COUNT(*) FROM information_schema.INNODB_TRX")
            has_read.set()

    async def observe() -> None:
        async with scene(server, 1) as shown, server.client("root", host="") as reader:
            (client,) = shown.clients
            reading = asyncio.ensure_future(read(reader))
            await has_read.wait()
            for _ in range(3):
                await run(client, "BEGIN")
                await run(client, "UPDATE stock SET n = 5 WHERE item = 1")
                await shown.until_asleep(client)
                for _ in range(3):
                    found = shown.shown((await shown.source.observe()).sessions)
                    assert words(found)[0] in ("", "idle in transaction")
                await run(client, "COMMIT")
                await shown.until_asleep(client)
                for _ in range(3):
                    found = shown.shown((await shown.source.observe()).sessions)
                    assert words(found)[0] in ("", "idle")
            reading.cancel()
            await asyncio.wait({reading})

    asyncio.run(observe())


def test_another_reader_is_waited_for_once(server: MariaDB) -> None:
    async def observe() -> None:
        async with scene(server, 1) as shown:
            await run(shown.clients[0], "BEGIN")
            await run(shown.clients[0], "UPDATE stock SET n = 5 WHERE item = 1")
            await shown.until_asleep(shown.clients[0])
            await run(shown.root, STARTED)
            found = shown.shown((await shown.source.observe()).sessions)
            assert words(found) == ["idle in transaction"]

    asyncio.run(observe())


@pytest.mark.parametrize(
    ("name", "query", "state"),
    [
        ("HAS_INNODB", "SELECT 1 FROM information_schema.NOTHING", "idle"),
        ("_TRANSACTIONS", "SELECT {}, {} FROM information_schema.NOTHING", ""),
        ("_TRANSACTIONS", "SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL /* {} {} */", ""),
    ],
)
def test_without_transactions_all_else_is_shown(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch, name: str, query: str, state: str
) -> None:
    where = source_module if name == "HAS_INNODB" else innodb
    monkeypatch.setattr(where, name, query)

    async def observe() -> None:
        async with scene(server, 2) as shown:
            idle, busy = shown.clients
            await run(idle, "SELECT 1")
            shown.start(busy, f"SELECT SLEEP({PATIENCE})")
            found = shown.shown(await shown.until(state, "active"))
            assert found[0].session.HasField("last_active_time")
            await until_same(shown.source)

    asyncio.run(observe())
