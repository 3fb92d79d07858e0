"""A ledger in PostgreSQL whose server, connection or schema does what it likes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from sessiongate.core.ledger.base import PageSize
from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.past_selector import PastSelector
from sessiongate.core.ledger.postgresql import connection, pen
from sessiongate.core.ledger.postgresql import ledger as ledgers
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.place import id_of
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine, running_engine, until_known
from tests.faults.scale import times
from tests.polling import eventually
from tests.postgres import Postgres
from tests.relay import Relay, at_once
from tests.servers import PATIENCE, prepare

SECOND = 10**9
HOUR = 3600 * SECOND
BYTES = times(211, 7)  # from one cut to the next


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a server up soon, but not one that gets no CPU for a while; try again soon."""
    monkeypatch.setattr(ledgers, "ANSWER_TIMEOUT", 4.0)
    monkeypatch.setattr(ledgers, "_LOOK", 0.1)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 4)
    monkeypatch.setattr(pen, "_RETRY", (0.05, 0.1))


async def opened(ledger: PostgresqlLedger, *keys: str, source: str = "a") -> list[int]:
    now = time.time_ns()
    openings = [Opening(key, now, session=Session(service="x", user="u")) for key in keys]
    return await ledger.record(source, opened=openings, closed=[], incarnation=None)


async def closed(ledger: PostgresqlLedger, *idents: int) -> None:
    now = time.time_ns()
    await ledger.record(
        "a", opened=[], closed=[Closing(ident, now) for ident in idents], incarnation=None
    )


async def held(ledger: PostgresqlLedger) -> dict[str, int]:
    return {key: id_of(place) for key, place in (await ledger.held())["a"].items()}


async def open_(url: str, **options: Any) -> PostgresqlLedger:
    return await PostgresqlLedger.open(url, now=time.time_ns, **options)


async def again(write: Callable[[], Any]) -> Any:
    """Write until that succeeds."""
    while True:
        try:
            return await write()
        except LedgerError:
            await asyncio.sleep(0.02)


def backend(server: Postgres, name: str, database: str) -> int:
    """Return the id of the server's process for a connection of a ledger."""
    with server.connect() as client:
        rows = client.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s AND datname = %s"
            " AND application_name NOT LIKE '%% upkeep' AND application_name NOT LIKE '%% history'",
            (f"{name}%", database),
        ).fetchall()
    ((pid,),) = rows
    return int(pid)


def test_the_server_that_ends_the_connection_loses_nothing(engine: Engine, impatient: None) -> None:
    database = engine.database()

    async def work() -> None:
        ledger = await open_(engine.url(database))
        first = await opened(ledger, "one")
        for turn in range(3):
            pid = backend(engine.server, "sessiongate core", database)
            engine.server.execute(f"SELECT pg_terminate_backend({pid})")
            key = f"more {turn}"
            first += await again(partial(opened, ledger, key))
        assert len({*first}) == 4
        assert sorted((await held(ledger)).values()) == sorted(first)
        assert await ledger.is_in_place()
        await ledger.close()

    asyncio.run(work())


def test_it_is_free_once_it_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RELEASE", PATIENCE)
    database = engine.database()

    async def work() -> None:
        ledger = await open_(engine.url(database))
        pid = backend(engine.server, "sessiongate core", database)
        os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.1, os.kill, pid, signal.SIGCONT)
        await ledger.close()
        await (await open_(engine.url(database))).close()

    asyncio.run(work())


@pytest.mark.parametrize("way", ["answers_left", "requests_left"])
def test_what_was_cut_off_at_any_byte_was_written_or_was_not(
    engine: Engine, impatient: None, way: str
) -> None:
    """Whoever is told that it was not written is right, whatever the server has done."""

    async def work() -> None:
        async with Relay(engine.server.port) as relay:
            database = engine.database()
            ledger = await open_(engine.url(database, port=relay.port))
            is_cut, left, now = True, 0, time.time_ns()
            known = {"old": (await opened(ledger, "old"))[0]}
            ended, given = list[int](), {*known.values()}
            while is_cut:
                (ident,) = known.values()
                changes: dict[str, Any] = {
                    "opened": [Opening(f"{left}", now, session=Session(service="x"))],
                    "closed": [Closing(ident, now)],
                    "incarnation": float(left),
                    "place": f"{left}",
                }
                before = await ledger.incarnation("a"), await ledger.places()
                ledger._store.pen.take_ids(1)
                setattr(relay, way, left)
                try:
                    ids = await ledger.record("a", **changes)
                    is_cut = getattr(relay, way) is None
                except LedgerError:
                    setattr(relay, way, None)
                    assert await again(lambda: held(ledger)) == known, "nothing was written"
                    assert (await ledger.incarnation("a"), await ledger.places()) == before
                    assert await again(lambda: past(ledger)) == ended
                    ids = await again(partial(ledger.record, "a", **changes))
                setattr(relay, way, None)
                assert not given & {*ids}
                given |= {*ids}
                ended.append(ident)
                known = {f"{left}": ids[0]}
                assert await again(lambda: held(ledger)) == known
                assert await again(lambda: past(ledger)) == ended
                assert ledger.size.rows == len(ended)
                left += BYTES
            await ledger.close()
            ledger = await open_(engine.url(database))
            assert (await held(ledger), await past(ledger)) == (known, ended)
            assert await ledger.places() == {"a": f"{left - BYTES}"}
            assert ledger.size.rows == len(ended)
            await ledger.close()

    asyncio.run(work())


async def past(ledger: PostgresqlLedger) -> list[int]:
    """Return the sessions that have ended."""
    now = time.time_ns()
    page = await ledger.page(
        PastSelector(0, now + HOUR, now + HOUR),
        None,
        PageSize(10**6, 10**9),
        (now, now),
        lambda ident: None,
    )
    return [each.session.id for each in page.sessions if each.HasField("end_time")]


@pytest.mark.long
def test_a_server_that_hangs_is_given_up_and_writing_goes_on(
    engine: Engine, impatient: None
) -> None:
    async def work() -> None:
        ledger = await open_(engine.url(engine.database()))
        (first,) = await opened(ledger, "one")
        engine.server.server.suspend()
        try:
            with pytest.raises(LedgerError):
                await opened(ledger, "two")
            with pytest.raises(LedgerError):
                await ledger.note([])
            assert await ledger.is_in_place()
        finally:
            engine.server.server.resume()
        (second,) = await again(lambda: opened(ledger, "two"))
        assert await held(ledger) == {"one": first, "two": second}
        await ledger.close()

    asyncio.run(work())


def test_a_second_core_is_told_who_has_the_ledger(engine: Engine) -> None:
    async def work() -> None:
        url = engine.url(engine.database())
        ledger = await open_(url)
        with pytest.raises(LedgerHeldError, match=r"is in use by sessiongate core .* backend"):
            await open_(url)
        await opened(ledger, "one")
        await ledger.close()
        ledger = await open_(url)
        assert await opened(ledger, "two") == [2], "no id is lost by a restart"
        await ledger.close()

    asyncio.run(work())


def test_a_core_that_another_one_has_replaced_does_not_write(
    engine: Engine, impatient: None
) -> None:
    async def work() -> None:
        database = engine.database()
        async with Relay(engine.server.port) as relay:
            former = await open_(engine.url(database, port=relay.port))
            await opened(former, "one")
            pid = backend(engine.server, "sessiongate core", database)
            relay.hold = lambda passed: 3600.0
            engine.server.execute(f"SELECT pg_terminate_backend({pid})")
            later = await again(lambda: open_(engine.url(database)))
            (second,) = await opened(later, "two")
            await later.close()
            relay.hold = at_once
            with pytest.raises(LedgerHeldError, match="was used by another core meanwhile"):
                await until_known(lambda: opened(former, "three"))
            assert not await former.is_in_place()
            await former.close()
        later = await open_(engine.url(database))
        assert await held(later) == {"one": 1, "two": second}
        await later.close()

    asyncio.run(work())


def test_a_commit_that_no_standby_has_confirmed_is_taken_back(
    engine: Engine, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who cancels the wait for a standby makes it succeed here, and only here."""
    monkeypatch.setattr(ledgers, "ANSWER_TIMEOUT", PATIENCE)  # the wait for the standby is one
    server = engine.server

    async def work() -> None:
        database = engine.database()
        ledger = await open_(engine.url(database))
        (first,) = await opened(ledger, "one")
        pid = backend(server, "sessiongate core", database)
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        server.execute("SELECT pg_reload_conf()")
        try:
            await asyncio.to_thread(waiting_for_a_standby, server, False)
            writing = asyncio.ensure_future(opened(ledger, "two"))
            await asyncio.to_thread(waiting_for_a_standby, server, True)
            server.execute(f"SELECT pg_cancel_backend({pid})")
            with pytest.raises(LedgerError, match="may not have written to a standby"):
                await writing
        finally:
            server.execute("ALTER SYSTEM RESET synchronous_standby_names")
            server.execute("SELECT pg_reload_conf()")
        assert await again(lambda: held(ledger)) == {"one": first}
        (second,) = await again(lambda: opened(ledger, "two"))
        assert await held(ledger) == {"one": first, "two": second}
        await ledger.close()

    def waiting_for_a_standby(server: Postgres, waits: bool) -> None:
        def look() -> tuple[str, int]:
            with server.connect() as client:
                ((names, number),) = client.execute(
                    "SELECT current_setting('synchronous_standby_names'),"
                    " (SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep')"
                ).fetchall()
                return names, number

        eventually(look, lambda found: found == ("nobody", int(waits)))

    asyncio.run(work())


@pytest.fixture
def own() -> Iterator[Engine]:
    """Return a server of the test's own."""
    with running_engine() as engine:
        yield engine


@pytest.mark.long
def test_a_server_that_restarts_loses_nothing_and_a_new_core_takes_no_risk(
    own: Engine, impatient: None
) -> None:
    url = own.url(own.database())

    async def work() -> None:
        ledger = await open_(url)
        assert await opened(ledger, "one") == [1]
        own.server.restart()
        (second,) = await again(lambda: opened(ledger, "two"))
        assert second < 10_000, "this core knows that nothing is missing"
        await ledger.close()
        own.server.restart()
        clock = time.time_ns() // 1000
        ledger = await open_(url)
        assert await held(ledger) == {"one": 1, "two": second}
        assert (await opened(ledger, "three"))[0] > clock, "it cannot know what was given since"
        await ledger.close()

    asyncio.run(work())


@pytest.mark.long
def test_a_server_that_was_restored_gives_no_id_again(own: Engine, impatient: None) -> None:
    url, data = own.url(own.database()), own.server.folder / "data"
    copy = own.server.folder / "copy"

    async def work() -> None:
        ledger = await open_(url)
        given = {*await opened(ledger, "one")}
        own.server.server.kill()
        prepare("cp", "-a", data, copy)
        own.server.restart()
        given |= {*await again(lambda: opened(ledger, "two"))}
        own.server.server.kill()
        await asyncio.to_thread(shutil.rmtree, data)
        copy.rename(data)
        own.server.restart()
        with pytest.raises(LedgerError, match="has lost some of the last writes"):
            await until_known(lambda: opened(ledger, "three"))
        assert not await ledger.is_in_place(), "the core starts anew"
        await ledger.close()
        ledger = await open_(url)
        assert await held(ledger) == {"one": 1}
        (third,) = await opened(ledger, "two")
        assert third not in given
        await ledger.close()

    asyncio.run(work())
