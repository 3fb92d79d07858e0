"""Which of several cores is called: one at a time, and the next when that is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Protocol, Self

import grpc

from sessiongate.client.errors import CallError
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.errors import Reason

# Seconds without a message after which the core is lost: it promises one a second.
SILENCE = 5.0

_ROUNDS = 3  # in which a call tries every core
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 0.2  # seconds after a round: doubles from the first to the last

# Why a call is UNAVAILABLE though its core is not: another core is no better, or may be worse.
_OF_THE_CALL = frozenset(
    (Reason.SOURCE_UNREACHABLE, Reason.LEDGER_UNAVAILABLE, Reason.AUDIT_UNAVAILABLE)
)
# Why a core refuses every call, before it looks at one.
DID_NOTHING = frozenset((Reason.NOT_READY, Reason.CORE_STANDBY))


class Position(Protocol):
    """The number of times that the called core was lost; processes may share it."""

    value: int


class _OwnPosition:
    def __init__(self) -> None:
        self.value = 0


class Cores:
    """Addresses in the order in which they are called; clients that share it call the same core.

    The next core is called once the present one is lost: it cannot be reached, it says that it
    stands by, starts or stops, or it does not answer a call for `SILENCE` seconds.
    Nobody goes back before the others are lost too.
    """

    def __init__(self, addresses: Iterable[str], position: Position | None = None) -> None:
        self.addresses = tuple(dict.fromkeys(addresses))
        if not self.addresses:
            raise ValueError("there must be at least one address")
        # Not locked: a process may end at any time. What two write at once is the same.
        self._position = _OwnPosition() if position is None else position
        self._seen = self._position.value
        self._asked: float | None = None  # since when the core owes an answer
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def drawn(cls, addresses: str | Iterable[str], position: Position | None = None) -> Self:
        """Return one or more addresses in an order drawn at random."""
        found = [addresses] if isinstance(addresses, str) else [*addresses]
        return cls(random.sample(found, len(found)), position)

    def __len__(self) -> int:
        return len(self.addresses)

    @property
    def position(self) -> int:
        """A number that stays the same as long as the same core is called, and then grows."""
        if self._position.value != self._seen:
            self._seen = self._position.value
            self._asked = None
            for listener in self._listeners:
                listener()
        return self._seen

    @property
    def address(self) -> str:
        """The address of the core that is called."""
        return self.addresses[self.position % len(self)]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function whenever another core is called from now on."""
        _ = self.position  # others may have lost cores before
        self._listeners.append(listener)

    def asked(self) -> None:
        """Note that the core is asked something."""
        if self._asked is None:
            self._asked = elapsed()

    def heard(self, position: int) -> None:
        """Note that the core of a position has sent something."""
        if position == self.position:
            self._asked = None

    def failed(self, position: int, error: CallError) -> bool:
        """Note that a call has failed; return whether another core may answer it."""
        if error.code is grpc.StatusCode.UNAVAILABLE and error.reason not in _OF_THE_CALL:
            return self.lose(position)
        if error.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
            self.heard(position)
        # The deadline of a call passes somewhat before or after the same time on this clock.
        elif self._asked is not None and elapsed() - self._asked >= SILENCE * 0.9:
            self.lose(position)
        return False

    def lose(self, position: int) -> bool:
        """Call the next core if that of a position is still called; return whether there is one."""
        if len(self) == 1:
            return False
        if self._position.value == position:
            self._position.value = position + 1
        return self.position != position

    def repeats(self, position: int, error: CallError, attempt: int, *, acts: bool) -> bool:
        """Note that an attempt of a call has failed; return whether to try the next core.

        A call that ``acts`` is only tried there if the core has said that it did nothing.
        """
        is_another = self.failed(position, error)
        if acts and error.reason not in DID_NOTHING:
            return False
        return is_another and attempt < _ROUNDS * len(self)

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after an attempt: none until every core was tried."""
        rounds, rest = divmod(attempt, len(self))
        if rest:
            return 0.0
        return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2 ** (rounds - 1), _LAST_PAUSE)  # noqa: S311


ONE_CORE = Cores(("",))  # for who does not choose between several
