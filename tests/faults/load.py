"""Clients that ask all the time and check every answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from tests.faults.crowd import Crowd
from tests.faults.scale import times
from tests.program import PATIENCE

PAUSE = times(0.01, 0.0)  # seconds from one answer to the next question
# What a gateway may answer while its core is away, and must answer in JSON:API form.
AWAY = (503, 504)

Check = Callable[[Mapping[str, Any]], None]


class Load(Crowd):
    """Threads that request paths in turn.

    ``outcomes`` counts: "right", "503", "504", "cut" (a transfer that visibly did not
    end), "refused" (no connection could be made). Anything else is in ``wrong``.
    """

    def __init__(self, address: str, paths: Mapping[str, Check], clients: int = 4) -> None:
        self._address = address
        self._paths = paths
        super().__init__([self._ask] * clients)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0  # seconds that the slowest answer took

    def wait_for(self, outcome: str, count: int) -> None:
        """Wait until ``outcome`` has happened ``count`` times more than it has now."""
        with self._changed:
            target = self.outcomes[outcome] + count
            done = self._changed.wait_for(lambda: self.outcomes[outcome] >= target, PATIENCE)
        assert done, f"no {count} more of {outcome}: {self.outcomes}, {self.wrong[:3]}"

    def _ask(self) -> None:
        with httpx.Client(base_url=f"http://{self._address}", timeout=PATIENCE) as client:
            while not self._stop.is_set():
                for path, check in self._paths.items():
                    began = time.monotonic()
                    outcome = self._outcome(client, path, check)
                    with self._changed:
                        self.slowest = max(self.slowest, time.monotonic() - began)
                        self.outcomes[outcome] += 1
                        self._changed.notify_all()
                    self._stop.wait(PAUSE)

    def _outcome(self, client: httpx.Client, path: str, check: Check) -> str:
        try:
            answer = client.get(path)
        except httpx.ConnectError:
            return "refused"
        except httpx.TransportError:
            return "cut"
        try:
            document = answer.json()
            if answer.status_code in AWAY:
                (error,) = document["errors"]
                assert error["status"] == str(answer.status_code)
                assert answer.status_code == 504 or answer.headers["retry-after"]
                return str(error["status"])
            assert answer.status_code == 200
            check(document)
        except Exception as error:
            self.wrong.append(f"{path}: {answer.status_code} {error!r} {answer.text[:300]}")
            return "wrong"
        return "right"
