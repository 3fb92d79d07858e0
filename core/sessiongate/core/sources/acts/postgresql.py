"""Ends backends of PostgreSQL, and cancels their statements.

A backend is named by its process id and its start, in the statement that signals it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sessiongate.core.sources.acting import ActError, ActFault, Action, Strike, Target
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.libpq import LibpqClient, QueryRefusedError
from sessiongate.core.sources.support.own_connections import OwnConnections

_MICROSECONDS = "(extract(epoch FROM a.{}) * 1000000)::bigint"
_START = _MICROSECONDS.format("backend_start")
_STATE_CHANGE = _MICROSECONDS.format("state_change")
_SETUP = f"""
SET statement_timeout = {{timeout}};
SELECT a.pid, {_START} FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
"""  # noqa: S608 - numbers only
# Without the privilege, a role sees neither the start nor the state of other roles' backends.
_LOOK = f"SELECT {_START} FROM pg_stat_activity a WHERE a.pid = {{pid}}"  # noqa: S608 - numbers only
# A server that has restarted has other backends, whatever their numbers.
_STRIKE = f"""
SELECT a.state, CASE WHEN {{condition}} THEN {{function}}(a.pid) END FROM pg_stat_activity a
WHERE a.pid = {{pid}} AND {_START} = {{start}}
 AND abs(extract(epoch FROM pg_postmaster_start_time())::float8 - {{incarnation!r}}) < 0.001
"""  # noqa: S608 - numbers and constants only
_RUNS = "a.state IN ('active', 'fastpath function call')"
_RUNNING = (b"active", b"fastpath function call")
_GONE = "the session has ended"


@asynccontextmanager
async def aim(
    endpoint: Endpoint,
    own: OwnConnections,
    database: str,
    patience: float,
    action: Action,
    target: Target,
) -> AsyncIterator[Strike]:
    """Aim at a backend: see `ActingSource`. The server gives up after ``patience`` seconds.

    The connection is one of the source's ``own``.
    """
    pid, _, start = target.item.key.partition(" ")
    if target.incarnation is None or not start:
        raise _unseen(endpoint)
    statement = _STRIKE.format(
        condition=_condition(action, target),
        function="pg_cancel_backend" if action is Action.CANCEL else "pg_terminate_backend",
        pid=int(pid),
        start=int(start),
        incarnation=target.incarnation,
    )
    milliseconds = max(1, round(patience * 1000))
    client = LibpqClient(endpoint, database, _SETUP.format(timeout=milliseconds))
    with own.opening() as connection:
        try:
            await client.query()  # it logs in
            for its_pid, its_start in client.setup_answer.rows:
                # A reader that lacks the privilege does not see the start.
                connection.know((its_pid, its_start), (its_pid, None))
            (found,) = await client.query(_LOOK.format(pid=int(pid)))
            if not found.rows:
                raise ActError(ActFault.GONE, _GONE)
            if found.rows[0][0] is None:
                raise _unseen(endpoint)
            yield partial(_strike, client, statement)
        finally:
            await client.close()


def _condition(action: Action, target: Target) -> str:
    if action is Action.TERMINATE:
        return "true"
    if not target.same_statement:
        return _RUNS
    if not target.session.HasField("last_active_time"):
        raise ActError(ActFault.UNSUPPORTED, "the server does not report when the statement began")
    return f"{_RUNS} AND {_STATE_CHANGE} = {target.session.last_active_time.ToMicroseconds()}"


async def _strike(client: LibpqClient, statement: str) -> None:
    try:
        (answer,) = await client.query(statement, once=True)
    except QueryRefusedError as error:
        raise ActError(ActFault.REFUSED, str(error)) from None
    if not answer.rows:
        raise ActError(ActFault.GONE, _GONE)
    state, done = answer.rows[0]
    if done is None:
        raise _not_running(state)
    if done != b"t":  # the process ended just now
        raise ActError(ActFault.GONE, _GONE)


def _not_running(state: Cell) -> ActError:
    if state in _RUNNING:
        return ActError(ActFault.CHANGED, "the session runs another statement now")
    return ActError(ActFault.NO_STATEMENT, "the session runs no statement")


def _unseen(endpoint: Endpoint) -> ActError:
    text = f"user {endpoint.user!r} does not see when other users' sessions began, so they cannot"
    return ActError(ActFault.REFUSED, f"{text} be told apart: GRANT pg_read_all_stats")
