"""Ledgers as earlier versions wrote them."""

from __future__ import annotations

import sqlite3

# Without history: the sessions that were open, in the table of those versions.
_WITHOUT_HISTORY = """
create table sessions (
    id bigint not null primary key, source varchar not null, key varchar not null,
    connect_time bigint not null, closed_time bigint
);
insert into sessions select id, source, key, connect_time, null from open_sessions;
create index sessions_by_closed_time on sessions (closed_time) where closed_time is not null;
drop table open_sessions;
drop table past_sessions;
drop table coverage;
drop table runs;
drop table observed_sources;
delete from counters where name like 'history_%';
update counters set value = 2 where name = 'schema';
"""
_OF_0_1 = """
drop table kept_ids;
drop table places;
update counters set value = 1 where name = 'schema';
"""


def become_2(connection: sqlite3.Connection) -> None:
    """Turn a ledger into one of version 2, which had no history."""
    connection.executescript(_WITHOUT_HISTORY)


def become_0_1(connection: sqlite3.Connection) -> None:
    """Turn a ledger into one that 0.1 left: it knows no stated ids."""
    connection.executescript(_WITHOUT_HISTORY + _OF_0_1)
