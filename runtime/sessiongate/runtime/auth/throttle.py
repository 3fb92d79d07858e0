"""A limit on the failed attempts of an address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from math import ceil

from sessiongate.runtime.addresses import parse_ip, unmapped
from sessiongate.runtime.auth.identity import TooManyAttemptsError

BURST = 10  # attempts that may fail at once, or be in progress
REFILL = 6.0  # seconds until an address may fail once more
MAX_ADDRESSES = 10_000


class Throttle:
    """A bucket of attempts per address, emptied by failed ones.

    Each attempt is taken from its address's bucket, and returned if it succeeds. An IPv6
    network of 64 bits counts as one address: one host may have all of it. An address whose
    bucket is full again is forgotten in time; if there are too many addresses, those that
    tried least recently are forgotten first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each address's bucket is full again.
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, address: str) -> None:
        """Take an attempt. Raises `TooManyAttemptsError` if none is left."""
        place = _place(address)
        now = self._clock()
        while self._full and next(iter(self._full.values())) <= now:
            self._full.popitem(last=False)
        full = max(self._full.get(place, now), now)
        wait = full + REFILL - (now + BURST * REFILL)
        if wait > 0:
            raise TooManyAttemptsError(ceil(wait))
        self._full[place] = full + REFILL
        self._full.move_to_end(place)
        if len(self._full) > MAX_ADDRESSES:
            self._full.popitem(last=False)

    def give_back(self, address: str) -> None:
        """Return an attempt, which succeeded."""
        place = _place(address)
        if place in self._full:
            self._full[place] -= REFILL
            if self._full[place] <= self._clock():
                del self._full[place]


def _place(address: str) -> str:
    """Return what counts as one address."""
    found = parse_ip(address.partition("%")[0])
    if found is None:
        return address
    found = unmapped(found)
    if isinstance(found, IPv6Address):
        found = IPv6Address(int(found) >> 64 << 64)
    return str(found)
