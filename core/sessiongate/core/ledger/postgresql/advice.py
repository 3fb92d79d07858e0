"""Warnings about a ledger's server, logged once at the start."""

from __future__ import annotations

import logging

from sessiongate.core.ledger.postgresql.connection import SCHEMA, LedgerConnection

log = logging.getLogger(__name__)

_ABOUT = """
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname <> %s
        AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'),
    (SELECT count(*) FROM pg_stat_replication), current_setting('synchronous_standby_names'),
    current_setting('full_page_writes')
"""


def advise(connection: LedgerConnection) -> None:
    """Log what is risky about the server, the database and the role. Raises psycopg's errors."""
    ((is_super, is_shared, standbys, synchronous, whole_pages),) = connection.execute(
        _ABOUT, SCHEMA
    )
    role, name = connection.raw.info.user, connection.raw.info.dbname
    if is_super:
        log.warning(
            "the ledger's role %s is a superuser: a role that owns the schema %s is enough",
            *(role, SCHEMA),
        )
    if is_shared:
        log.warning(
            "the ledger's database %s has tables of others: give the ledger a database of its own,"
            " which others cannot lock, restore or drop",
            name,
        )
    if standbys and not synchronous:
        log.warning(
            "the ledger's server replicates asynchronously: if a standby is promoted, sessions of"
            " the last moments may be missing, get new ids and be missing in the history; name"
            " standbys in synchronous_standby_names to prevent that"
        )
    if whole_pages != "on":
        log.warning(
            "the ledger's server has full_page_writes=off: a power cut may damage the ledger"
        )
