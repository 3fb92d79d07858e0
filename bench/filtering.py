"""Pages of one user's sessions, from a small table and a large one, new at each revision.

A page that was requested before at the same revision is remembered. So some users' pages are
requested from each of two gateways in turn, then the table changes, and so on. Each user has
equally many sessions in both, and all were requested once from the gateway's whole copy: no
page is rendered for the first time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import BufferedRWPair
from itertools import count, cycle
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from bench.asking import ask
from bench.changes import Serving, serving
from bench.measures import Found, Measure, Sizes
from bench.programs import PATIENCE, BenchError
from bench.stack import steady, synthetic, wait_for_copy, wait_until_whole
from bench.turns import METRICS

_TEXT = "page of 100 of a user not asked for at this revision"
FEW = Measure(f"{_TEXT}, {{few:,}} sessions", "/s")
MANY = Measure(f"{_TEXT}, {{filtered:,}} sessions", "/s")
RATIO = Measure(f"{_TEXT}, {{filtered:,}} to {{few:,}} sessions", "", 0.8, at_most=False)

EACH = 200  # sessions of each user, on average: a page is full
_REVISIONS = 40


def measure(sizes: Sizes) -> Found:
    """Request pages from both tables by turns; compare the medians."""
    with ExitStack() as stack:
        few, many = (
            _Table(stack.enter_context(serving(_sources(number))), number)
            for number in (sizes.few, sizes.filtered)
        )
        for _ in range(_REVISIONS):
            for table in (few, many):
                table.walk(few.users)
    yield FEW, few.rate
    yield MANY, many.rate
    yield RATIO, many.rate / few.rate


def _sources(sessions: int) -> Callable[[Path, float], Sequence[str]]:
    return lambda folder, interval: [
        *steady(folder, interval),
        *synthetic(sessions, users=sessions // EACH),
        *("--metrics", "127.0.0.1:0"),
    ]


class _Table:
    """A gateway's pages, of one user after another."""

    def __init__(self, gateway: Serving, sessions: int) -> None:
        self.users = sessions // EACH
        revision = wait_until_whole(gateway.core, sessions + 1)  # with the one that stays
        wait_for_copy(gateway.http, gateway.program.expect(METRICS), revision)
        self._gateway = gateway
        self._file = _connect(gateway.http)
        self._took: list[float] = []
        self._revisions = count(1)
        self._next = cycle(range(self.users))
        ask(gateway.http, "/v1/services")  # answered once the copy is indexed
        for _ in range(self.users):
            self._request()

    @property
    def rate(self) -> float:
        """Pages a second, by the median."""
        return 1 / median(self._took)

    def walk(self, users: int) -> None:
        """Change the table, and request the pages of a number of users."""
        user = f"changed_{next(self._revisions)}"
        self._gateway.show(user)
        self._gateway.seen(user)
        for _ in range(users):
            began = time.perf_counter()
            self._request()
            self._took.append(time.perf_counter() - began)

    def _request(self) -> None:
        """Request a page with as little work of our own as possible."""
        query = urlencode(
            {"filter": f'/attributes/user="app_{next(self._next)}"', "page[size]": 100}
        )
        self._file.write(f"GET /v1/sessions?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._file.flush()
        status = self._file.readline()
        lines = iter(self._file.readline, b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        body = self._file.read(int(headers[b"content-length"]))
        if b" 200 " not in status or body.count(b'"type":"sessions"') != 100:
            raise BenchError(f"{query} is answered with {status!r} {body[:300]!r}")


def _connect(address: str) -> BufferedRWPair:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE).makefile("rwb")
