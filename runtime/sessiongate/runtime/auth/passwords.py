"""Password checks that cost little and reveal nothing."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import bcrypt

from sessiongate.runtime.auth.htpasswd import COST, MAX_PASSWORD, Users
from sessiongate.runtime.auth.identity import TooManyAttemptsError, WrongCredentialsError
from sessiongate.runtime.auth.throttle import Throttle

REMEMBER = 60.0  # seconds without use until a correct password is no longer cached
MAX_WAITING = 64  # checks that run or wait


@cache
def nobody() -> bytes:
    """Return the hash to compare passwords with if there are no users."""
    return bcrypt.hashpw(secrets.token_bytes(32), bcrypt.gensalt(COST))


@dataclass(slots=True)
class _Remembered:
    """A user's correct password: its mark, the hash that it matches, and when it expires."""

    mark: bytes
    hashed: bytes
    until: float


class Passwords:
    """Checks passwords against users' hashes; use it inside one running loop.

    bcrypt is slow on purpose: it runs in its own thread, for which at most `MAX_WAITING`
    checks wait. Equal checks run once. A correct password is cached until it has not been
    used for `REMEMBER` seconds, or until its user changes, as a hash under a key that only
    this process knows; its sender then does not wait.
    """

    def __init__(
        self, users: Callable[[], Users], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Check against ``users``, which returns the same object as long as nothing changes."""
        self._get_users = users
        self._clock = clock
        self._throttle = Throttle(clock)
        self._key = secrets.token_bytes(32)
        self._users = users()
        self._nobody = nobody()  # make it now: it takes as long as a check
        # By user name; each hash is as in `_users`.
        self._remembered: dict[str, _Remembered] = {}
        # By mark, and the hash it is compared with.
        self._running: dict[tuple[bytes, bytes], asyncio.Task[bool]] = {}
        self._pool = ThreadPoolExecutor(1, "password")

    async def check(self, name: str, password: bytes, address: str) -> bytes | None:
        """Return the user's hash if the password is correct. Raises `TooManyAttemptsError`."""
        users = self._get_users()
        if users is not self._users:
            self._users = users
            self._remembered = {
                name: known
                for name, known in self._remembered.items()
                if users.get(name) == known.hashed
            }
        mark = hmac.digest(self._key, name.encode() + b"\0" + password, "sha256")
        known = self._remembered.get(name)
        now = self._clock()
        if known and hmac.compare_digest(known.mark, mark) and now < known.until:
            known.until = now + REMEMBER
            return known.hashed
        hashed = self._hash(name)
        running = self._running.get((mark, hashed))
        if running is None:
            if len(self._running) >= MAX_WAITING:
                raise TooManyAttemptsError(1)
            self._throttle.take(address)
            running = asyncio.create_task(self._compare(name, password, address, mark, hashed))
            self._running[mark, hashed] = running
        # Others may wait for it too: it continues if this caller leaves.
        return hashed if await asyncio.shield(running) else None

    def confirm(self, name: str, hashed: bytes) -> None:
        """Raise `WrongCredentialsError` if this is no longer the user's hash."""
        if self._get_users().get(name) != hashed:
            raise WrongCredentialsError

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _compare(
        self, name: str, password: bytes, address: str, mark: bytes, hashed: bytes
    ) -> bool:
        is_known = self._users.get(name) == hashed
        try:
            equal = await asyncio.get_running_loop().run_in_executor(
                self._pool, _is_of, password, hashed
            )
        finally:
            del self._running[mark, hashed]
        if not equal or not is_known:
            return False
        self._throttle.give_back(address)
        if self._users.get(name) == hashed:
            self._remembered[name] = _Remembered(mark, hashed, self._clock() + REMEMBER)
        return True

    def _hash(self, name: str) -> bytes:
        """Return the user's hash; for an unknown name, another user's, always the same.

        So a check takes as long as for some user: hashes differ in cost.
        """
        if known := self._users.get(name):
            return known
        others = list(self._users.values()) or [self._nobody]
        choice = hmac.digest(self._key, name.encode(), "sha256")
        return others[int.from_bytes(choice) % len(others)]


def _is_of(password: bytes, hashed: bytes) -> bool:
    return len(password) <= MAX_PASSWORD and bcrypt.checkpw(password, hashed)
