"""``synthetic:?sessions=N&churn=PER_SECOND&users=N&seed=S``: generated, for load tests only.

The same seed generates the same sessions and replaces them in the same order; only
the number of replaced ones depends on the time.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from sessiongate.core.sources.base import Observation, Observed, SourceConfig, SourceConfigError
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.runtime.memory import unsearched, untrack, untracked
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session

DEFAULT_SESSIONS = 1000
DEFAULT_USERS = 50
# When the first session connected; the others follow at intervals of a second.
_EPOCH = 1_767_225_600  # 2026-01-01 00:00:00 UTC

_SERVICES = ("orders-rw", "orders-ro", "billing", "reports")
_DATABASES = ("orders", "billing", "warehouse")
_APPLICATIONS = ("checkout", "invoicer", "dashboard", "etl", "psql")
_CIPHERS = ("", "TLS_AES_256_GCM_SHA384")
_SERVER_NAMES = tuple(f"server-{number}" for number in range(6))
_STARTED = session_pb2.SESSION_STATE_STARTED
# Of the numbers that a session is made of, after its service's and its user's: three of its
# address, its port, its database, when it was last active, its cipher, its application, its server.
_LIMITS = (
    *(4, 256, 254, 28000, len(_DATABASES), 3600),
    *(len(_CIPHERS), len(_APPLICATIONS), len(_SERVER_NAMES)),
)
# What sessions are doing, and its source's word, in turn: of ten in 25 it is known. The last one
# waits for the one before it.
_ACTIVITIES = (
    *(None,) * 15,
    *((session_pb2.ACTIVITY_STATE_IDLE, "idle"),) * 4,
    *((session_pb2.ACTIVITY_STATE_ACTIVE, "active"),) * 2,
    (session_pb2.ACTIVITY_STATE_CONNECTING, "login"),
    (session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED, "idle in transaction (aborted)"),
    (session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION, "idle in transaction"),
    (session_pb2.ACTIVITY_STATE_WAITING, "active"),
)
_WAITING = len(_ACTIVITIES) - 1
_IN_TRANSACTION = range(_WAITING - 2, len(_ACTIVITIES))
_NOT_MADE = Session()
_AT_ONCE = 20  # sessions that are made before a pause may be due
_PART = 4096  # sessions in a dict: one that grows or goes takes less than a millisecond


class SyntheticSource:
    """Generates ``sessions`` live sessions, and replaces ``churn`` of them each second.

    They belong to ``users`` users. ``clock`` is monotonic, in seconds; time starts at the
    first observation.
    """

    def __init__(
        self,
        sessions: int,
        churn: float,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        users: int = DEFAULT_USERS,
    ) -> None:
        self._churn = churn
        self._clock = clock
        self._maker = _Maker(seed, users)
        self._victims = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._began: float | None = None
        self._made = 0  # sessions; also the serial number of the next
        # The serial number of the session in each slot, and the sessions by serial
        # number, in the order in which they were made: in parts, none of which is large.
        self._slots = untracked(list(range(sessions)))
        self._live: dict[int, dict[int, Observed]] = {}
        self._observation = Observation(())
        self._observed = 0  # sessions that had been made then

    async def observe(self) -> Observation:
        """Return the live sessions; the same object if none were replaced.

        The first call has them all. It works in short steps.
        """
        now, pace = self._clock(), Pace()
        if self._began is None:
            self._began = now
        due = len(self._slots) + int((now - self._began) * self._churn) if self._slots else 0
        if self._made < due:
            await pace.rest()  # other sources may begin in this turn of the loop, too
        while self._made < due:
            with unsearched():
                for _ in range(min(_AT_ONCE, due - self._made)):
                    self._make_next()
                untrack(self._live[(self._made - 1) // _PART])
            await pace.pause()
        if self._made != self._observed:  # also if the last call was cancelled
            sessions: list[Observed] = untracked([])
            for part in self._live.values():
                sessions += part.values()
                await pace.pause()
            self._observation, self._observed = Observation(sessions), self._made
        return self._observation

    async def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _make_next(self) -> None:
        """Make the next session; once there are enough, it replaces another."""
        serial = self._made
        if serial >= len(self._slots):
            slot = self._victims.randrange(len(self._slots))
            gone = self._slots[slot]
            part = self._live[gone // _PART]
            del part[gone]
            if not part:
                del self._live[gone // _PART]
            self._slots[slot] = serial
            if self._maker.turn(gone + 1) == _WAITING and self._is_live(gone + 1):
                untrack(self._enter(gone + 1))
        is_blocked = self._maker.turn(serial) == _WAITING and self._is_live(serial - 1)
        self._enter(serial, is_blocked=is_blocked)
        self._made += 1

    def _is_live(self, serial: int) -> bool:
        return serial in self._live.get(serial // _PART, ())

    def _enter(self, serial: int, *, is_blocked: bool = False) -> dict[int, Observed]:
        part = self._live.setdefault(serial // _PART, {})
        part[serial] = _Generated(self._maker, serial, is_blocked=is_blocked)
        return part


class _Maker(NamedTuple):
    """Makes a source's sessions, each independently of the others; refers to none of them."""

    seed: int
    users: int

    def turn(self, serial: int) -> int:
        """Return what a session does, by its place in `_ACTIVITIES`."""
        return (serial + self.seed) % len(_ACTIVITIES)

    def make(self, serial: int, *, is_blocked: bool = False) -> Session:
        """Make the session with this serial number.

        ``is_blocked`` means that the session before it still exists, if it waits for that.
        """
        service, user, a, b, c, port, database, active, cipher, application, server = _thrown(
            self.seed, serial, self.users
        )
        connected = _EPOCH + serial
        session = Session()  # to name its fields as arguments would take twice as long
        session.native_id = str(serial)
        session.service = _SERVICES[service]
        session.state = _STARTED
        session.user = f"app_{user}"
        session.remote = f"10.{a}.{b}.{1 + c}"
        session.port = 32768 + port
        session.database = _DATABASES[database]
        session.connect_time.seconds = connected
        session.last_active_time.seconds = connected + active
        session.tls_cipher = _CIPHERS[cipher]
        session.application = _APPLICATIONS[application]
        connection = session.connections.add()
        connection.server = _SERVER_NAMES[server]
        connection.connection_id = serial + 1
        connection.tls_cipher = ""
        _set_activity(session, self.turn(serial), is_blocked=is_blocked)
        return session


def _set_activity(session: Session, turn: int, *, is_blocked: bool) -> None:
    if (known := _ACTIVITIES[turn]) is None:
        return
    activity, began = session.activity, session.last_active_time.seconds
    activity.state, activity.native = known
    activity.since_time.seconds = began
    if turn in _IN_TRANSACTION:
        connected = session.connect_time.seconds
        activity.transaction_start_time.seconds = (connected + began) // 2
    if is_blocked:
        activity.wait = "Lock: transactionid"
    elif turn == _WAITING:
        activity.state = session_pb2.ACTIVITY_STATE_ACTIVE


class _Generated(Observed):
    """A session that is made when it is first asked for.

    Making many takes longer than a source may take, and the core asks for them in turn.
    """

    __slots__ = ("_maker",)

    def __init__(self, maker: _Maker, serial: int, *, is_blocked: bool = False) -> None:
        blockers = (str(serial - 1),) if is_blocked else ()
        super().__init__(str(serial), _NOT_MADE, blocked_by=blockers)
        self._maker = maker

    @property
    def session(self) -> Session:
        if self._session is _NOT_MADE:
            self._session = self._maker.make(int(self.key), is_blocked=bool(self.blocked_by))
        return super().session


def _thrown(seed: int, serial: int, users: int) -> list[int]:
    """Return cheap pseudo-random numbers that depend only on the seed and the serial number.

    Each is below its limit: the user's below ``users``, and the others as `_LIMITS` has them.
    """
    rest = int.from_bytes(hashlib.blake2b(b"%d %d" % (seed, serial), digest_size=16).digest())
    numbers = []
    for limit in (len(_SERVICES), users, *_LIMITS):
        rest, number = divmod(rest, limit)
        numbers.append(number)
    return numbers


def open_source(config: SourceConfig) -> SyntheticSource:
    """Open the source that a configuration describes. Raises `SourceConfigError`."""
    options = config.take("sessions", "churn", "users", "seed")
    if config.location:
        raise SourceConfigError(
            f"source {config.name}: synthetic takes no location; use 'synthetic:'"
        )
    try:
        sessions = int(options.get("sessions", DEFAULT_SESSIONS))
        churn = float(options.get("churn", 0))
        users = int(options.get("users", DEFAULT_USERS))
        seed = int(options.get("seed", 0))
    except ValueError:
        sessions = -1
    if sessions < 0 or users < 1 or seed < 0 or not 0 <= churn < float("inf"):
        raise SourceConfigError(
            f"source {config.name}: sessions and seed must be integers of at least 0, users one"
            " of at least 1, and churn a number of at least 0 (sessions per second)"
        )
    return SyntheticSource(sessions, churn, seed, users=users)
