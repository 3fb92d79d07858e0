"""The activity of a thread of a MariaDB or MySQL server, by its command and its transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sessiongate.core.sources.support.cells import Cell
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Activity, ActivityState

_SLEEP = "Sleep"


class Transaction(NamedTuple):
    """A thread's transaction. Times are in seconds since the epoch, by this machine's clock."""

    stated: tuple[Cell, ...]  # its id and times, as the server states them
    started: float | None = None
    lock: str | None = None  # the lock that it waits for; None: it does not wait
    waits_since: float | None = None
    blockers: tuple[int, ...] = ()  # the threads that it waits for, in ascending order

    def without_wait(self) -> Transaction:
        """Return the transaction as if it did not wait."""
        return Transaction(self.stated, self.started)


UNKNOWN = Transaction(())
"""It is not known whether there is a transaction."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """All transactions at a moment, in seconds since the epoch, by the ids of their threads."""

    moment: float
    by_thread: Mapping[int, Transaction]


NO_TRANSACTIONS = Transactions(math.inf, {})
"""The transactions of a server without InnoDB: none."""


def thread_activity(
    command: str,
    *,
    is_connecting: bool,
    wait: str | None,
    since: float | None,
    transaction: Transaction | None,
) -> Activity | None:
    """Return what a client's thread is doing; None if that is not known.

    ``since`` is when its request began or ended, in seconds since the epoch; ``wait`` is what the
    server says that it waits for.
    """
    if transaction is UNKNOWN and command == _SLEEP:
        return None
    lock = transaction.lock if transaction else None
    activity = Activity(native=command, state=_state(command, is_connecting, transaction, wait))
    if activity.state == session_pb2.ACTIVITY_STATE_WAITING:
        activity.wait = lock or wait or ""
        if lock and transaction and transaction.waits_since is not None:
            since = transaction.waits_since
    if since is not None:
        activity.since_time.FromMilliseconds(int(since * 1000))
    if transaction and transaction.started is not None:
        activity.transaction_start_time.FromMilliseconds(int(transaction.started * 1000))
    return activity


def _state(
    command: str, is_connecting: bool, transaction: Transaction | None, wait: str | None
) -> ActivityState:
    if is_connecting:
        return session_pb2.ACTIVITY_STATE_CONNECTING
    if command == _SLEEP:
        if transaction:
            return session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION
        return session_pb2.ACTIVITY_STATE_IDLE
    if wait or (transaction and transaction.lock):
        return session_pb2.ACTIVITY_STATE_WAITING
    return session_pb2.ACTIVITY_STATE_ACTIVE
