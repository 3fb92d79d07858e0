"""Opens a ledger of the kind that its URL names; only that kind is imported."""

from __future__ import annotations

from collections.abc import Callable

from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.runtime.urls import is_in_postgresql


async def open_ledger(
    url: str, *, policy: HistoryPolicy, now: Callable[[], int], again: int = 0
) -> Ledger:
    """Open the ledger at a URL; create it if it does not exist.

    ``policy`` says which past sessions are kept; ``now`` returns ns since the epoch. One in memory
    was opened ``again`` that many times before. Raises `LedgerError`.
    """
    if is_in_postgresql(url):
        from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger

        return await PostgresqlLedger.open(url, policy=policy, now=now)
    from sessiongate.core.ledger.sqlite import SqliteLedger

    return await SqliteLedger.open(url, policy=policy, now=now, again=again)
