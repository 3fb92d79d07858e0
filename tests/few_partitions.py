"""How many partitions the ledgers of tests make ahead, and those of programs that are forked.

A new ledger takes its server 0.35 s of CPU otherwise, most of it for partitions of hours in
which nothing will end.
"""

from __future__ import annotations

from sessiongate.core.ledger.postgresql.partitions import HOUR

AHEAD = 4 * HOUR
