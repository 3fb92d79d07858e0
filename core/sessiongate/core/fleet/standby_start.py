"""The next start of a core that stands by: its revisions, and the ids that the ledger has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

from sessiongate.core.fleet.membership import Membership
from sessiongate.core.ledger.postgresql.open_sessions import read_places
from sessiongate.core.ledger.postgresql.starts import ReservedStart, reserve_start

_KEYS_AT_ONCE = 5000  # that are asked for, which takes some 30 ms: beats wait for the answer


class StandbyStart:
    """A start that is reserved (`core.collect.warm_table.FutureStart`)."""

    def __init__(self, membership: Membership, reserved: ReservedStart) -> None:
        self._membership = membership
        self.reserved = reserved

    @classmethod
    async def next(cls, membership: Membership, last: StandbyStart | None) -> StandbyStart:
        """Return the last start, if it can still be the next one; else reserve another.

        Raises `LedgerError`.
        """
        if last is not None:
            is_next = partial(last.reserved.is_next, shard=membership.shard)
            if await membership.call(is_next):
                return last
        return cls(membership, await membership.call(reserve_start))

    @property
    def revision(self) -> int:
        """The number above which its revisions are."""
        return self.reserved.revision

    def is_reserved(self, revision: int) -> bool:
        """Return whether no later start uses this revision or a lower one of this start."""
        return self.reserved.is_reserved(revision)

    async def reserve(self, revision: int) -> None:
        """Make sure of that. Raises `LedgerError`."""
        self.reserved.require(revision)

    async def places(self, source: str, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the places (`core.place`) of a source's open sessions with these keys, by key.

        Raises `LedgerError`.
        """
        found: dict[str, int] = {}
        following = iter(keys)
        while part := [*islice(following, _KEYS_AT_ONCE)]:
            found |= await self._membership.call(partial(read_places, source=source, keys=part))
        return found
