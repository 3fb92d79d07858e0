"""Acting on the connections of a real MariaDB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from asyncmy import errors
from asyncmy.connection import Connection

from sessiongate.core.sources.acts import mysql as acts
from sessiongate.core.sources.base import ActFault, Action, Observation, Target
from sessiongate.core.sources.mariadb import MariaDBSource
from sessiongate.core.sources.support.mysql_dialect import Dialect
from sessiongate.core.sources.support.stability import TOLERANCE
from sessiongate.v1.errors import Reason
from sessiongate.v1.history_service_pb2 import EndReason
from sessiongate.v1.session_pb2 import Session
from tests.core.acting import BOTH, acting, struck
from tests.mariadb import PASSWORD, MariaDB, mariadb, opened, run
from tests.servers import PATIENCE

_ACTS = f"""\
CREATE USER app@'%' IDENTIFIED BY '{PASSWORD}';
CREATE DATABASE shop;
GRANT ALL ON shop.* TO app@'%';
CREATE USER acts@'%' IDENTIFIED BY '{PASSWORD}';
GRANT PROCESS, CONNECTION ADMIN ON *.* TO acts@'%';
"""
_T = TypeVar("_T")
_SLEEP = b"SELECT SLEEP(600)"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb(accounts=_ACTS) as running:
        yield running


OPTIONS = {
    "actions": ",".join(BOTH),
    "action_user": "acts",
    "action_password": PASSWORD,
}


async def target(source: MariaDBSource, client: Connection, command: str = "Sleep") -> Target:
    """Return a client's session as a target, once it is running such a command."""
    async with asyncio.timeout(PATIENCE):
        while True:
            observation: Observation = await source.observe()
            for item in observation.sessions:
                session = item.session
                is_it = session.native_id == str(client.thread_id())
                if is_it and session.activity.native == command:
                    return Target(item, session, observation.incarnation)


async def asleep(server: MariaDB, client: Connection) -> asyncio.Task[object]:
    """Begin a statement that lasts; return its task, once the server is running it.

    The server lists a new command before it gives the statement its number, and an old one for a
    moment after it has answered: only the state shows which of them is listed.
    """
    task = asyncio.ensure_future(client.query(_SLEEP))
    state = f"SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {client.thread_id()}"
    async with server.client(user="acts") as other, asyncio.timeout(PATIENCE):
        while await run(other, state) != [("User sleep",)]:
            assert not task.done()
    return task


@asynccontextmanager
async def sleeping(server: MariaDB, client: Connection) -> AsyncIterator[asyncio.Task[object]]:
    """Run a statement that lasts; yield its task, once the server is running it."""
    task = await asleep(server, client)
    try:
        yield task
    finally:
        client.close()
        await asyncio.gather(task, return_exceptions=True)


async def is_alive(client: Connection) -> bool:
    try:
        return await run(client, "SELECT 1") == [(1,)]
    except errors.OperationalError:
        return False


def test_the_right_one_of_two_equal_sessions_ends(server: MariaDB) -> None:
    async def test() -> None:
        async with (
            server.client() as one,
            server.client() as other,
            opened(server, **OPTIONS) as source,
        ):
            aimed = await target(source, one)
            assert await struck(source, Action.CANCEL, aimed) is ActFault.NO_STATEMENT
            assert await struck(source, Action.TERMINATE, aimed) is None
            assert not await is_alive(one)
            assert await is_alive(other)
            assert await struck(source, Action.TERMINATE, aimed) is ActFault.GONE

    asyncio.run(test())


@pytest.mark.parametrize("are_shown", [False, True])
def test_the_connection_of_an_act_is_no_session(server: MariaDB, are_shown: bool) -> None:
    async def test() -> None:
        options = OPTIONS | ({"include_self": "true"} if are_shown else {})
        async with server.client() as client, opened(server, **options) as source:
            aimed = await target(source, client)

            async def users() -> set[str]:
                return {each.session.user for each in (await source.observe()).sessions}

            async with source.aim(Action.TERMINATE, aimed):
                assert ("acts" in await users()) is are_shown
            async with asyncio.timeout(PATIENCE):
                while "acts" in (seen := await users()):
                    assert are_shown, seen
            async with server.client(user="acts"):  # whoever connects as that user is a session
                assert "acts" in await users()

    asyncio.run(test())


def test_the_connection_of_an_act_that_hangs_is_no_session(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with server.client() as client, opened(server, **OPTIONS) as source:
            aimed = await target(source, client)
            asked = asyncio.Event()

            async def hang(*_arguments: object) -> None:
                asked.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(acts, "fetch", hang)
            acting = asyncio.create_task(struck(source, Action.TERMINATE, aimed))
            await asked.wait()
            for _ in ("while it hangs", "after it was given up"):
                found = await source.observe()
                assert "acts" not in {each.session.user for each in found.sessions}
                acting.cancel()
                await asyncio.wait({acting})

    asyncio.run(test())


def test_a_statement_is_cancelled_by_its_number(server: MariaDB) -> None:
    async def test() -> None:
        async with (
            server.client() as one,
            server.client() as other,
            opened(server, **OPTIONS) as source,
            sleeping(server, other) as spared,
        ):
            aimed = replace(await target(source, one), same_statement=True)
            await run(one, "SELECT 1")
            async with sleeping(server, one) as ended:
                # It was another statement that was seen.
                later = await target(source, one, "Query")
                assert await struck(source, Action.CANCEL, aimed) is ActFault.CHANGED
                later = replace(later, same_statement=True)
                assert await struck(source, Action.CANCEL, later) is None
                await asyncio.wait({ended}, timeout=PATIENCE)
                assert ended.done()
                assert await is_alive(one)
                assert not spared.done()

    asyncio.run(test())


def test_a_statement_that_follows_between_look_and_act_goes_on(server: MariaDB) -> None:
    async def test() -> None:
        async with (
            server.client() as client,
            server.client(user="acts") as other,
            opened(server, **OPTIONS) as source,
        ):
            first = await asleep(server, client)
            aimed = await target(source, client, "Query")
            async with source.aim(Action.CANCEL, aimed) as strike:
                await run(other, f"KILL QUERY {client.thread_id()}")
                await asyncio.gather(first, return_exceptions=True)
                async with sleeping(server, client) as spared:
                    await target(source, client, "Query")
                    with pytest.raises(Exception, match="another statement"):
                        await strike()
                    assert not spared.done()

    asyncio.run(test())


@pytest.mark.long
def test_a_statement_without_a_number_is_told_by_its_age(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a MySQL, which states no numbers of statements, and ages in whole seconds."""
    of = Dialect.of

    def as_mysql(version: str, performance_schema: bool) -> Dialect:
        found = of(version, performance_schema)
        return replace(found, query_id="NULL", idle="TIME * 1000")

    monkeypatch.setattr(Dialect, "of", as_mysql)

    async def test() -> None:
        async with (
            server.client() as client,
            server.client(user="acts") as other,
            opened(server, **OPTIONS) as source,
        ):
            first = await asleep(server, client)
            aimed = replace(await target(source, client, "Query"), same_statement=True)
            began = time.monotonic()
            await run(other, f"KILL QUERY {client.thread_id()}")
            await asyncio.gather(first, return_exceptions=True)
            while time.monotonic() - began < 2 * TOLERANCE:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            async with sleeping(server, client) as ended:
                assert await struck(source, Action.CANCEL, aimed) is ActFault.CHANGED
                assert not ended.done()
                later = replace(await target(source, client, "Query"), same_statement=True)
                assert await struck(source, Action.CANCEL, later) is None
                await asyncio.wait({ended}, timeout=PATIENCE)
                assert ended.done()

    asyncio.run(test())


def test_a_connection_id_that_is_given_again_hits_nobody() -> None:
    with mariadb(accounts=_ACTS) as server:

        async def test() -> None:
            async with opened(server, **OPTIONS) as source:
                async with server.client() as client:
                    aimed = await target(source, client)
                    ident = client.thread_id()
                server.restart()
                async with asyncio.timeout(PATIENCE):
                    while True:  # the ids begin anew
                        async with server.client() as client:
                            if client.thread_id() > ident:
                                pytest.fail("its id was passed over")
                            if client.thread_id() == ident:
                                async with sleeping(server, client) as spared:
                                    seen = await target(source, client, "Query")
                                    # The same client, of a server that started earlier.
                                    before = replace(seen, incarnation=(seen.incarnation or 0) - 1)
                                    for action in Action:
                                        hit = await struck(source, action, aimed)
                                        assert hit in (ActFault.GONE, ActFault.CHANGED), action
                                        assert not spared.done(), action
                                        hit = await struck(source, action, before)
                                        assert hit is ActFault.GONE, action
                                        assert not spared.done(), action
                                return

        asyncio.run(test())


def test_who_has_become_another_user_is_not_ended(server: MariaDB, tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            server.client() as client,
            opened(server, **OPTIONS) as source,
        ):
            aimed = await target(source, client)
            stranger = Session()
            stranger.CopyFrom(aimed.session)
            stranger.user = "other"
            changed = replace(aimed, session=stranger)
            assert await struck(source, Action.TERMINATE, changed) is ActFault.CHANGED
            assert await is_alive(client)

    asyncio.run(test())


def test_a_user_without_the_privilege_is_refused(server: MariaDB) -> None:
    async def test() -> None:
        async with (
            server.client() as client,
            opened(server, actions="terminate") as source,
        ):
            aimed = await target(source, client)
            assert await struck(source, Action.TERMINATE, aimed) is ActFault.REFUSED
            assert await is_alive(client)

    asyncio.run(test())


def test_history_tells_who_was_ended_and_a_changed_session_is_spared(
    server: MariaDB, tmp_path: Path
) -> None:
    url = f"mariadb://sessiongate@127.0.0.1:{server.port}"
    tls = {"tls": "verify", "tls_ca": str(server.certificates.ca)}
    source = {
        "url": url,
        "name": "db",
        "password": PASSWORD,
        "interval": 0.2,
        **tls,
        **OPTIONS,
        "actions": BOTH,
    }

    async def test() -> None:
        loop = asyncio.get_running_loop()

        async def apart(work: Callable[..., _T], *arguments: object, **fields: object) -> _T:
            return await loop.run_in_executor(None, partial(work, *arguments, **fields))

        async with server.client(database="shop") as client:
            with acting(tmp_path, source) as core:
                seen = await apart(core.session, databases=["shop"])
                before = {"identity_revision": seen.identity_revision}
                await run(client, "USE information_schema")
                now = await apart(core.session, databases=["information_schema"])
                assert now.id == seen.id
                refused = await apart(core.refusal, core.terminate, seen.id, **before)
                assert refused == Reason.SESSION_CHANGED
                assert await is_alive(client)
                await apart(core.terminate, seen.id, identity_revision=now.identity_revision)
                assert core.past(seen.id).end_reason == EndReason.END_REASON_TERMINATED
                assert core.outcomes() == ["session_changed", "begun", "done"]

    asyncio.run(test())
