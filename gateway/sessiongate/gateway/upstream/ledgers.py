"""Looks whether several cores have one ledger: in two, the same id is of different sessions."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from sessiongate.client.errors import CallError
from sessiongate.gateway.upstream.client import CoreClient

log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds between two looks


class LedgerCheck:
    """Asks all cores, also those that are not called now."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Callable[[str], CoreClient],
        found: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Tell ``found`` how many ledgers there are, after each look."""
        self._addresses, self._connect, self._found = addresses, connect, found
        self._told = ""  # what was logged last

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> int:
        """Return how many different ledgers the cores have that answer now."""
        ledgers: dict[str, list[str]] = defaultdict(list)
        for address in self._addresses:
            client = self._connect(address)
            try:
                ledger = await client.ledger()
            except CallError:  # it is away, or stands by
                continue
            finally:
                await client.close()
            if ledger:  # a core of an earlier release does not state it
                ledgers[ledger].append(address)
        self._found(len(ledgers))
        self._tell("; ".join(sorted(map(", ".join, ledgers.values()))) if len(ledgers) > 1 else "")
        return len(ledgers)

    def _tell(self, apart: str) -> None:
        if apart and apart != self._told:
            log.error(
                "the cores have different ledgers (%s): the same id is of another session at each;"
                " name only cores of one fleet in --core",
                apart,
            )
        elif self._told and not apart:
            log.warning("the cores that answer have the same ledger now")
        self._told = apart
