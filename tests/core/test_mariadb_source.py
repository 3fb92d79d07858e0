"""``mariadb://`` over a real MariaDB: what it reads of real clients, and with which rights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sessiongate.core.sources.base import Observation, SourceConfig, SourceConfigError
from sessiongate.core.sources.mariadb import open_source
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES
from sessiongate.v1 import session_pb2
from tests.core.observing import hanging, refusal, seen, until_same
from tests.mariadb import (
    PASSWORD,
    MariaDB,
    documented_lines,
    end,
    mariadb,
    only,
    opened,
    run,
    running,
)
from tests.servers import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb() as running:
        yield running


def test_each_client_is_a_session_with_its_user_and_address(server: MariaDB) -> None:
    async def observe() -> None:
        async with (
            server.client(database="shop") as four,
            server.client(host="::1") as six,
            server.client(host="") as local,
            opened(server) as source,
        ):
            found = await only(source, four, six, local)
            assert [item.session.native_id for item in found] == [
                str(client.thread_id()) for client in (four, six, local)
            ]
            assert [item.session.database for item in found] == ["shop", "", ""]
            for item in found:
                assert item.key == item.session.native_id
                assert item.session.service == "db"
                assert item.session.user == "app"
                assert item.session.state == session_pb2.SESSION_STATE_STARTED
                assert not item.session.HasField("connect_time")  # the server does not state it
                assert not item.session.HasField("tls_cipher")
                assert item.session.HasField("last_active_time")
            for item, client in zip(found, (four, six), strict=False):
                assert (item.session.remote, item.session.port) == await end(client)
                assert item.accepted is not None
                assert item.accepted.client == await end(client)
                assert item.accepted.server == ("127.0.0.1", server.port)
                assert item.accepted.server_id == client.thread_id()
            assert not found[2].session.HasField("remote")
            assert not found[2].session.HasField("port")
            assert found[2].accepted is not None
            assert found[2].accepted.client is None

    asyncio.run(observe())


def test_an_idle_session_stays_as_it_is_and_an_active_one_does_not(server: MariaDB) -> None:
    async def observe() -> None:
        async with (
            server.client() as idle,
            server.client() as active,
            opened(server) as source,
        ):
            await only(source, idle, active)

            async def observe_both() -> tuple[Observation, Observation]:
                first = await until_same(source)
                await run(active, "SELECT 1")
                return first, await source.observe()

            async with asyncio.timeout(PATIENCE):
                first, second = await observe_both()
                while second.sessions[0] is not first.sessions[0]:  # it arrived late
                    first, second = await observe_both()
        before, after = (item.sessions[1].session.last_active_time for item in (first, second))
        assert before.ToNanoseconds() < after.ToNanoseconds()

    asyncio.run(observe())


def test_own_connection_is_shown_only_when_asked_for(server: MariaDB) -> None:
    async def observe() -> None:
        async with opened(server) as source:
            await only(source)
        async with opened(server, include_self="true") as source:
            (own,) = await seen(source, lambda found: len(found) == 1)
        assert own.session.user == "sessiongate"

    asyncio.run(observe())


def test_a_reading_connection_that_was_given_up_is_no_session(server: MariaDB) -> None:
    async def observe() -> None:
        async with opened(server) as source:
            await only(source)
            source._query = f"SELECT SLEEP({PATIENCE})"  # which the server does not stop at once
            await hanging(source)
            for _ in range(3):
                assert not (await source.observe()).sessions

    asyncio.run(observe())


@pytest.mark.long
def test_a_statement_is_read_only_when_asked_for(server: MariaDB) -> None:
    statement = f"SELECT SLEEP({PATIENCE}), '{'ä' * MAX_STATEMENT_BYTES}'"

    async def observe() -> None:
        async with (
            server.client() as client,
            server.client() as other,
            running(client, statement.encode(), other),
        ):
            async with opened(server, statements="true") as source:
                item, _ = await seen(
                    source, lambda found: len(found) == 2 and bool(found[0].session.queries)
                )
                await until_same(source)
            async with opened(server) as source:
                silent = await only(source, client, other)
        (query,) = item.session.queries
        assert query.truncated
        assert statement.startswith(query.statement)
        assert (
            MAX_STATEMENT_BYTES - 1 <= len(query.statement.encode()) <= MAX_STATEMENT_BYTES
        )  # not half a letter
        assert query.receive_time == item.session.last_active_time
        assert abs(query.receive_time.seconds - time.time()) < PATIENCE
        assert not query.HasField("complete_time")
        assert all(not item.session.queries for item in silent)

    asyncio.run(observe())


def test_attributes_are_read_where_that_is_granted(server: MariaDB) -> None:
    _, grant = documented_lines()

    async def observe() -> None:
        async with server.client(program_name="billing") as client:
            async with opened(server) as source:
                (without,) = await only(source, client)
            async with server.client("root", host="") as root:
                await run(root, grant)
            async with opened(server) as source:
                (found,) = await only(source, client)
                await until_same(source)
        assert not without.session.HasField("application")
        assert not without.session.connection_attributes
        assert found.session.application == "billing"
        assert found.session.connection_attributes["_client_name"] == "asyncmy"

    asyncio.run(observe())


def test_the_documented_grant_is_needed_and_named(server: MariaDB) -> None:
    async def observe() -> str:
        async with opened(server, "nosy") as source:
            return await refusal(source.observe())

    text = asyncio.run(observe())
    assert text.endswith("user 'nosy' lacks the PROCESS privilege: GRANT PROCESS ON *.*")


@pytest.mark.parametrize("user", ["sessiongate", "plain", "nobody"])
def test_a_wrong_password_is_named_and_not_shown(server: MariaDB, user: str) -> None:
    async def observe() -> str:
        async with opened(server, user, password="treasure") as source:
            return await refusal(source.observe())

    text = asyncio.run(observe())
    assert f"Access denied for user '{user}'" in text
    assert "treasure" not in text


def test_a_password_file_is_read_for_each_connection(server: MariaDB, tmp_path: Path) -> None:
    file = tmp_path / "password"
    url = f"mysql://plain@[::1]:{server.port}?password_file={file}"

    async def observe() -> None:
        source = open_source(SourceConfig.parse(url))
        assert "password_file" in await refusal(source.observe())
        file.write_text("outdated\n", encoding="utf-8")
        assert "Access denied" in await refusal(source.observe())
        file.write_text(f"{PASSWORD}\n", encoding="utf-8")
        await only(source)
        await source.close()

    asyncio.run(observe())


def test_a_unix_socket_is_read_from_too(server: MariaDB) -> None:
    async def observe() -> None:
        location = quote(str(server.socket), safe="")
        async with (
            opened(server, "plain", host=location, port="3306") as source,
            server.client() as client,
        ):
            (item,) = await only(source, client)
        assert item.accepted is not None
        assert item.accepted.server is None

    asyncio.run(observe())


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mariadb://db1", "a user is required"),
        ("mariadb://ann:treasure@db1/shop", "the URL must not name a database"),
        ("mysql://ann:treasure@db1?statements=yes", "must be true or false"),
        ("mysql://ann:treasure@db1?links=true", "allows: .*statements, include_self"),
    ],
)
def test_a_wrong_configuration_is_named(url: str, complaint: str) -> None:
    with pytest.raises(SourceConfigError, match=complaint) as caught:
        open_source(SourceConfig.parse(url, {"name": "here"}))
    assert "treasure" not in str(caught.value)
