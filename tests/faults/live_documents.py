"""Documents whose sessions come and go while programs read them; the truth about them."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_CONNECTED = "Wed May 17 10:06:35 2017"
_EVERY = 0.2  # seconds between two changes
_KEPT = 120.0  # seconds after its end for which a session is remembered
_never = float("inf")


@dataclass(slots=True)
class _Life:
    """When a session began and ended: right before and right after, on `time.monotonic`."""

    begun: tuple[float, float]
    ended: tuple[float, float] = (_never, _never)


class LiveDocument:
    """A source's document. Each session is told by its user, whom no other ever has."""

    def __init__(self, file: Path, users: Iterator[int], chance: random.Random) -> None:
        self.name = file.stem
        self.url = f"document:{file}?name={self.name}&interval=0.2&timeout=1"
        self._file, self._users, self._chance = file, users, chance
        self._lives: dict[str, _Life] = {}
        self._alive: list[str] = []
        self.fill(30)

    @property
    def users(self) -> set[str]:
        """Who is connected."""
        return {*self._alive}

    def fill(self, sessions: int) -> None:
        """Let sessions begin, or the newest ones end, until there are so many."""
        missing = sessions - len(self._alive)
        self._change(self._alive[sessions:], missing)

    def turn(self) -> None:
        """Let some sessions end, and as many begin."""
        ending = self._chance.sample(self._alive, self._chance.randrange(1, 6))
        self._change(ending, len(ending))

    def wrong(self, shown: Collection[str], since: float, until: float) -> str | None:
        """Return what is wrong with an answer, as of any one time between two moments."""
        lives = dict(self._lives)
        for user in shown:
            life = lives.get(user)
            if life is None or life.begun[0] > until:
                return f"{self.name} never had the session of {user}"
            if life.ended[1] < since:
                return f"{self.name}: {user} had left {since - life.ended[1]:.1f} s before"
        for user, life in lives.items():
            if life.begun[1] < since and life.ended[0] > until and user not in shown:
                lacking = f"is missing after {since - life.begun[1]:.1f} s"
                return f"{self.name}: {user} {lacking}"
        return None

    def _change(self, ending: Collection[str], beginning: int) -> None:
        fresh = [f"user-{next(self._users)}" for _ in range(max(0, beginning))]
        alive = [user for user in self._alive if user not in {*ending}] + fresh
        data = [
            {
                "id": user,
                "type": "sessions",
                "relationships": {"services": {"data": [{"id": "app", "type": "services"}]}},
                "attributes": {"state": "Session started", "connected": _CONNECTED, "user": user},
            }
            for user in alive
        ]
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps({"data": data}))
        before = time.monotonic()
        for user in fresh:
            self._lives[user] = _Life((before, _never))
        for user in ending:
            self._lives[user].ended = before, _never
        os.replace(beside, self._file)
        after = time.monotonic()
        for user in fresh:
            self._lives[user].begun = before, after
        for user in ending:
            self._lives[user].ended = before, after
        self._alive = alive
        self._lives = {
            user: life for user, life in self._lives.items() if life.ended[1] > after - _KEPT
        }


class LiveDocuments:
    """Several documents, which change in a thread unless they rest."""

    def __init__(self, folder: Path, names: Collection[str], seed: int) -> None:
        users = count(1)
        self.documents = [
            LiveDocument(folder / f"{name}.json", users, random.Random(f"{seed} {name}"))
            for name in names
        ]
        self._stop, self._lock = threading.Event(), threading.Lock()

    def users(self) -> set[str]:
        """Return who is connected to any."""
        return {user for each in self.documents for user in each.users}

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let nothing change until the block ends."""
        with self._lock:
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let sessions come and go until the block ends."""
        thread = threading.Thread(target=self._change)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _change(self) -> None:
        while not self._stop.wait(_EVERY):
            with self._lock:
                for each in self.documents:
                    each.turn()
