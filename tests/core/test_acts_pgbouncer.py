"""Acting on the clients of a real PgBouncer: of Debian's, and of the first that can."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

from sessiongate.core.sources.base import (
    ActError,
    ActFault,
    ActingSource,
    Action,
    Observed,
    SourceConfig,
    SourceConfigError,
    Target,
    open_source,
)
from tests import debian13
from tests.core.acting import struck
from tests.core.real import Watched
from tests.postgres import (
    PASSWORD,
    STORED,
    SUPERUSER,
    PgBouncer,
    Postgres,
    is_alive,
    running_pgbouncer,
    running_postgres,
)

USERS = {SUPERUSER: PASSWORD, "app": PASSWORD, "reader": PASSWORD}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.execute(f"CREATE ROLE app LOGIN PASSWORD '{STORED}'")
        yield postgres


@contextmanager
def pooling(server: Postgres, program: Sequence[str] = ()) -> Iterator[PgBouncer]:
    with running_pgbouncer(server, USERS, program=program, stats_users="reader") as pgbouncer:
        yield pgbouncer


@pytest.fixture(scope="module")
def able(server: Postgres) -> Iterator[PgBouncer]:
    """Run PgBouncer 1.24."""
    with pooling(server, debian13.pgbouncer()) as pgbouncer:
        yield pgbouncer


def watched(pgbouncer: PgBouncer, **options: str) -> Watched:
    login = {"action_user": SUPERUSER, "action_password": PASSWORD}
    options = {"password": PASSWORD, "actions": "terminate", **login, **options}
    return Watched(f"pgbouncer://reader@127.0.0.1:{pgbouncer.port}", **options)


def target(source: Watched, client: psycopg.Connection) -> Target:
    """Return a client's session as a target, once it is shown."""
    client.execute("SELECT 1")
    end = socket.socket(fileno=os.dup(client.fileno()))
    with end:
        port = end.getsockname()[1]
    source.until(lambda found: any(session.port == port for session in found))
    observation = source.observe()
    (item,) = (one for one in observation.sessions if one.session.port == port)
    return Target(item, item.session, observation.incarnation)


def test_the_right_one_of_two_equal_clients_ends(able: PgBouncer) -> None:
    with (
        watched(able) as source,
        able.connect(user="app") as one,
        able.connect(user="app") as other,
    ):
        aimed = target(source, one)
        target(source, other)
        assert source.run(struck(source.source, Action.TERMINATE, aimed)) is None
        assert not is_alive(one)
        assert is_alive(other)
        again = struck(source.source, Action.TERMINATE, aimed)
        assert source.run(again) is ActFault.GONE


@pytest.mark.parametrize("are_shown", [False, True])
def test_the_connection_of_an_act_is_no_session(able: PgBouncer, are_shown: bool) -> None:
    options = {"include_self": "true"} if are_shown else {}
    with watched(able, **options) as source, able.connect(user="app") as client:
        aimed = target(source, client)
        acts = source.source
        assert isinstance(acts, ActingSource)

        async def act() -> set[str]:
            async with acts.aim(Action.TERMINATE, aimed):
                return {each.session.user for each in (await acts.observe()).sessions}

        assert (SUPERUSER in source.run(act())) is are_shown
        source.until(lambda found: all(one.user != SUPERUSER for one in found))


def test_a_pointer_that_is_another_clients_by_now_hits_nobody(able: PgBouncer) -> None:
    with watched(able) as source, able.connect(user="app") as client:
        aimed = target(source, client)
        pointer, _, rest = aimed.item.key.partition(" ")
        # As it would have been shown before, had its place been another's then.
        for key in (f"{pointer} 2001-01-01 00:00:00 UTC 127.0.0.1 1 0", f"0x1 {rest}"):
            before = replace(aimed, item=Observed(key, aimed.session))
            fault = source.run(struck(source.source, Action.TERMINATE, before))
            assert fault is ActFault.GONE
        assert is_alive(client)


def test_a_client_that_has_gone_meanwhile_is_not_mistaken_for_the_next(able: PgBouncer) -> None:
    with watched(able) as source:
        client = able.connect(user="app")
        aimed = target(source, client)
        acts = source.source
        assert isinstance(acts, ActingSource)

        async def act() -> None:
            async with acts.aim(Action.TERMINATE, aimed) as strike:
                client.close()
                with able.connect(user="app") as following:
                    with pytest.raises(ActError) as caught:
                        await strike()
                    assert caught.value.fault is ActFault.GONE
                    assert is_alive(following)

        source.run(act())


def test_who_may_only_look_is_refused(able: PgBouncer) -> None:
    login = {"action_user": "reader", "action_password": PASSWORD}
    with watched(able, **login) as source, able.connect(user="app") as client:
        aimed = target(source, client)
        assert source.run(struck(source.source, Action.TERMINATE, aimed)) is ActFault.REFUSED
        assert is_alive(client)


def test_an_older_version_is_not_trusted_with_it(server: Postgres) -> None:
    with (
        pooling(server) as pgbouncer,
        watched(pgbouncer) as source,
        pgbouncer.connect(user="app") as client,
    ):
        aimed = target(source, client)
        fault = source.run(struck(source.source, Action.TERMINATE, aimed))
        assert fault in (ActFault.UNSUPPORTED, None)  # None: where Debian's is new enough
        assert is_alive(client) == (fault is not None)


def test_a_statement_is_cancelled_at_the_server_not_here() -> None:
    config = SourceConfig.parse("pgbouncer://a@127.0.0.1", {"actions": "cancel"})
    with pytest.raises(SourceConfigError, match="'cancel' is impossible; pgbouncer allows: term"):
        open_source(config)
