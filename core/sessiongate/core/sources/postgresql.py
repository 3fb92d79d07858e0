"""``postgresql://USER@HOST:5432/DATABASE``: the client backends of PostgreSQL 10 to 18.

They are read from ``pg_stat_activity`` over one connection that stays open. A
role that is not a member of ``pg_monitor`` (or ``pg_read_all_stats``) sees only
that other roles' sessions exist, so nothing else is reported about them.
Options: ``statements=true`` reads the clients' statements, ``include_self=true``
shows that connection too, and those of acts; and those of all network sources
(`core.sources.support.endpoint`), also for those who act (`core.sources.acts.postgresql`).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from operator import itemgetter

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Action,
    Observation,
    SourceConfig,
    SourceError,
    Strike,
    Target,
)
from sessiongate.core.sources.support.endpoint import (
    ACTION_OPTIONS,
    CREDENTIAL_OPTIONS,
    TLS_OPTIONS,
    Endpoint,
    flag,
)
from sessiongate.core.sources.support.libpq import LibpqClient
from sessiongate.core.sources.support.own_connections import OwnConnections
from sessiongate.core.sources.support.postgresql_backends import BackendRow, Backends, Reached
from sessiongate.core.sources.support.spelling import DEFAULT_PORTS
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES
from sessiongate.runtime.elapsed import elapsed

DEFAULT_DATABASE = "postgres"

# Settings of the connection. It is read-only, and the server cancels statements that this
# end no longer waits for. The planner expects only a handful of backends, and would use
# nested loops that scan all databases for each.
_SETUP = """
SET default_transaction_read_only = on;
SET statement_timeout = {timeout};
SET enable_nestloop = off;
SET bytea_output = hex;
SELECT extract(epoch FROM pg_postmaster_start_time())::float8, host(inet_server_addr()),
 inet_server_port(), pg_size_bytes(current_setting('track_activity_query_size')),
 current_setting('server_encoding'),
 a.pid, (extract(epoch FROM a.backend_start) * 1000000)::bigint
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
"""

# Times are in microseconds since the epoch, as the server stores them. If this role may
# not see a backend's type (NULL), the server's own backends are recognized by the lack of
# a user or database, and replication by the replication views, which are read only then.
# Only a backend that runs waits for something other than its client. The locks are read if one
# waits for a lock: since when, and as which of all, the longest first. (Versions before 14 do
# not have waitstart.) Those that block it are looked up for the first ones, and for leaders of
# parallel queries that wait for their workers.
# No join is needed for that: without nested loops it would look so dear to the planner that the
# server compiled the query each time (JIT), for nearly a second.
_SELECT = """
WITH waits AS (
 SELECT jsonb_object_agg(l.pid, jsonb_build_array((extract(epoch FROM l.since) * 1000000)::bigint,
  l.number)) AS by_pid
 FROM (SELECT pid, since, row_number() OVER (ORDER BY since, pid) AS number FROM (
  SELECT pid, CAST(to_jsonb(k) ->> 'waitstart' AS timestamptz) AS since
  FROM pg_locks k WHERE NOT granted AND pid IS NOT NULL) w) l)
SELECT a.pid, (extract(epoch FROM a.backend_start) * 1000000)::bigint, a.usename, a.datname,
 a.application_name, host(a.client_addr), a.client_port, a.state,
 (extract(epoch FROM a.state_change) * 1000000)::bigint, s.ssl, s.cipher, {statement},
 (extract(epoch FROM a.xact_start) * 1000000)::bigint,
 CASE WHEN {runs} THEN a.wait_event_type || ': ' || a.wait_event END,
 CASE WHEN {runs} AND a.wait_event_type = 'Lock' THEN ({wait} ->> 0)::bigint END,
 CASE WHEN {runs} AND (a.wait_event_type = 'Lock' AND ({wait} ->> 1)::bigint <= {most_waiting}
   OR a.wait_event = 'ExecuteGather')
  THEN nullif((pg_blocking_pids(a.pid))[1:{most_blockers}], '{{}}') END
FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
WHERE (a.backend_type = 'client backend'
 OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL AND a.pid NOT IN (
  SELECT pid FROM pg_stat_replication
  UNION ALL SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL)){others}
ORDER BY a.backend_start, a.pid LIMIT {most}
"""
_RUNS = "a.state IN ('active', 'fastpath function call', 'starting')"
_WAIT = "((SELECT by_pid FROM waits) -> a.pid::text)"
# All that wait for one lock block each other in turn, so the look-ups take the square of their
# number, just when the server is in trouble.
_MOST_WAITING = 300  # whose blockers are looked up
_MOST_BLOCKERS = 100  # of one backend
_STATEMENT = (
    # One byte more than is kept, to detect truncation.
    f"substring(textsend(a.query) FROM 1 FOR {MAX_STATEMENT_BYTES + 1}),"
    " (extract(epoch FROM a.query_start) * 1000000)::bigint"
)
_NO_STATEMENT = "NULL::bytea, NULL::bigint"
_OTHERS = " AND a.pid <> pg_backend_pid()"
_pid_and_start = itemgetter(0, 1)  # columns


class PostgreSQLSource:
    """A server's client backends."""

    possible_actions = (Action.CANCEL, Action.TERMINATE)

    def __init__(
        self,
        endpoint: Endpoint,
        service: str,
        *,
        timeout: float,
        acting: Endpoint | None = None,
        statements: bool = False,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
    ) -> None:
        """Show sessions on ``service``; the server cancels queries after ``timeout`` seconds.

        ``acting`` is the server with other credentials, if those are for acting.
        """
        most = max_sessions + 1  # one more, to detect an excess
        milliseconds = max(1, round(timeout * 1000))
        self._database = database = endpoint.path or DEFAULT_DATABASE
        self._endpoint = endpoint
        self._acting = acting or endpoint
        self._timeout = timeout
        self._client = LibpqClient(
            endpoint, database, _SETUP.format(timeout=milliseconds), most=most
        )
        self._service = service
        self._select = _SELECT.format(
            statement=_STATEMENT if statements else _NO_STATEMENT,
            others="" if include_self else _OTHERS,
            runs=_RUNS,
            wait=_WAIT,
            most_waiting=_MOST_WAITING,
            most_blockers=_MOST_BLOCKERS,
            most=most,
        )
        self._backends: Backends | None = None
        self._own = OwnConnections(are_shown=include_self)

    async def observe(self) -> Observation:
        """Return the current client backends. Raises `SourceError`, which names the server."""
        requested = elapsed()
        try:
            (answer,) = await self._client.query(self._select)
        finally:  # also if the server does not answer
            for row in self._client.setup_answer.rows[:1]:
                self._own.reads(row[-2:])
        try:
            if len(answer.columns) != len(BackendRow._fields):
                raise SourceError("the server is not PostgreSQL")
            reached = Reached.of(self._client.setup_answer)
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None
        if self._backends is None or self._backends.reached != reached:
            self._backends = Backends(self._service, reached)
        rows = await self._own.left_out(answer.rows, _pid_and_start, requested)
        return await self._backends.read(rows)

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Aim at a backend."""
        from sessiongate.core.sources.acts.postgresql import aim  # only if that is allowed

        return aim(self._acting, self._own, self._database, self._timeout, action, target)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def open_source(config: SourceConfig) -> PostgreSQLSource:
    """Open the server that a configuration names. Raises `SourceConfigError`."""
    config.take(*("statements", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS, *ACTION_OPTIONS))
    endpoint = Endpoint.of(config, port=DEFAULT_PORTS["postgresql"])
    return PostgreSQLSource(
        endpoint,
        config.name,
        timeout=config.timeout,
        acting=endpoint.for_actions(config),
        statements=flag(config, "statements"),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
    )
