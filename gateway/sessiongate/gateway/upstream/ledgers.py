"""Looks whether several cores have one ledger: in two, the same id is of different sessions."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from sessiongate.client.errors import CallError
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.watched_file import FileError

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
        self._known: dict[str, str] = {}  # ledgers by address, as last stated
        self._told = ""  # what was logged last

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> int:
        """Return how many different ledgers the cores have, as far as each has ever answered."""
        for address in self._addresses:
            if ledger := await self._ask(address):
                self._known[address] = ledger
        ledgers: dict[str, list[str]] = defaultdict(list)
        for address, ledger in self._known.items():
            ledgers[ledger].append(address)
        self._found(len(ledgers))
        self._tell("; ".join(sorted(map(", ".join, ledgers.values()))) if len(ledgers) > 1 else "")
        return len(ledgers)

    async def _ask(self, address: str) -> str:
        """Return the name of a core's ledger; empty if it does not answer, or is too old."""
        try:
            client = self._connect(address)
        except FileError:  # such as of a certificate that is being replaced
            return ""
        try:
            return await client.ledger()
        except CallError:  # it is away, or stands by
            return ""
        finally:
            await client.close()

    def _tell(self, apart: str) -> None:
        if apart and apart != self._told:
            log.error(
                "the cores have different ledgers (%s): the same id is of another session at each;"
                " name only cores of one fleet in --core",
                apart,
            )
        elif self._told and not apart:
            log.warning("the cores have the same ledger now")
        self._told = apart
