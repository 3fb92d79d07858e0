"""Callers beside an attack: small calls ten times a second, in a process that does nothing else.

An attack in the same process would make them wait for its interpreter, not for the program.
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from sessiongate.v1.session_service_pb2 import GetSessionRequest, ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.forked import FORKING
from tests.program import PATIENCE, channel

PERIOD = 0.1  # seconds from one call to the next
LATEST = 30.0  # seconds that a caller waits for an answer, also on a machine that is loaded

# Raises an error that says what is wrong with an answer.
Ask = Callable[[], None]


class Answer(NamedTuple):
    """An answer to a caller."""

    began: float  # on the machine's monotonic clock, which all processes share
    took: float  # seconds
    wrong: str  # why it is not an answer, or is untrue; empty if all is well


class Beside:
    """Callers that ask from `__enter__`, when each has its first answer, to `__exit__`.

    Their answers are available afterwards; ``since`` and ``until`` select those of requests that
    were under way between two moments, and for `wrong` of those that began there.
    """

    def __init__(self, rest: str, core: str, authority: Path | None = None) -> None:
        """Take a URL (``rest``), a gRPC target (``core``), and the URL's CA (``authority``)."""
        self._arguments = [rest, core, *([str(authority)] if authority else ())]
        self._answers: Mapping[str, list[Answer]] = {}
        self.totals: set[int] = set()  # how many sessions there were, according to lists

    def __enter__(self) -> Self:
        self._pipe, theirs = FORKING.Pipe()
        with theirs:
            self._process = FORKING.Process(target=_ask_all, args=(theirs, *self._arguments))
            self._process.start()
        try:
            self._pipe.recv()
        except EOFError:
            self._end()
            raise AssertionError("a caller had no first answer") from None
        return self

    def _end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._pipe.send("enough")
            assert self._pipe.poll(PATIENCE), "a caller still waits"
            answers, totals = self._pipe.recv()
        finally:
            self._end()
        if error is None:
            self._answers, self.totals = answers, totals

    def wrong(self, since: float = 0.0, until: float = math.inf) -> list[str]:
        """Return what was wrong with answers."""
        return [
            f"{name}: {answer.wrong}"
            for name, answers in self._answers.items()
            for answer in answers
            if answer.wrong and since <= answer.began < until
        ]

    def count(self, since: float = 0.0, until: float = math.inf) -> dict[str, int]:
        """Count each caller's answers."""
        return {name: len(took) for name, took in self._took(since, until)}

    def p99(self, since: float = 0.0, until: float = math.inf) -> dict[str, int]:
        """Return the most ms that each caller waited, except for one answer in 100."""
        return {name: _ms(took[len(took) * 99 // 100]) for name, took in self._took(since, until)}

    def slowest(self, since: float = 0.0, until: float = math.inf) -> dict[str, int]:
        """Return the most ms that each caller waited."""
        return {name: _ms(took[-1]) for name, took in self._took(since, until)}

    def _took(self, since: float, until: float) -> Iterator[tuple[str, list[float]]]:
        """Yield the seconds by caller, ascending. Fail unless all were answered, with the truth."""
        wrong = self.wrong(since, until)
        assert not wrong, (len(wrong), wrong[:3])
        assert self._answers
        for name, answers in self._answers.items():
            took = sorted(
                each.took
                for each in answers
                if not each.wrong and since <= each.began + each.took and each.began < until
            )
            assert took, f"{name}: not one answer"
            yield name, took


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


class _Caller(threading.Thread):
    """Asks until it is told to stop, and then a last time."""

    def __init__(self, ask: Ask, stop: threading.Event) -> None:
        super().__init__()
        self._ask = ask
        self._stop_asking = stop
        self.answers: list[Answer] = []

    def run(self) -> None:
        due, goes_on = time.monotonic(), True
        while goes_on:
            goes_on = not self._stop_asking.wait(max(0.0, due - time.monotonic()))
            began, wrong = time.monotonic(), ""
            due = began + PERIOD
            try:
                self._ask()
            except Exception as error:
                wrong = f"{error!r:.500}"
            self.answers.append(Answer(began, time.monotonic() - began, wrong))


def _getting(rest: str, authority: str | None, path: str, *, ident: str | None) -> Ask:
    """Return a function that requests a path on its own persistent connection."""
    url = urlsplit(rest)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=LATEST)
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(
            url.hostname,
            url.port,
            timeout=LATEST,
            context=ssl.create_default_context(cafile=authority),
        )

    def ask() -> None:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            connection.close()  # the next call opens another
            raise
        assert answer.status == 200, f"{answer.status} {body!r:.300}"
        document = json.loads(body)
        assert ident is None or document["data"]["id"] == ident, body

    return ask


def _ask_all(pipe: Connection, rest: str, core: str, authority: str | None = None) -> None:
    """Tell when all callers have an answer, ask until that is enough, and send all answers."""
    totals: set[int] = set()
    with channel(core) as opened:
        stub = SessionServiceStub(opened)

        def get() -> None:
            found = stub.GetSession(GetSessionRequest(id=1), timeout=LATEST)
            assert found.session.id == 1, found

        def list_one() -> None:
            page = stub.ListSessions(ListSessionsRequest(page_size=1), timeout=LATEST)
            assert [each.id for each in page.sessions] == [1], page
            totals.add(page.total_size)

        asks: dict[str, Ask] = {
            "GetSession": get,
            "ListSessions": list_one,
            "/v1/sessions/1": _getting(rest, authority, "/v1/sessions/1", ident="1"),
            "/healthz": _getting(rest, authority, "/healthz", ident=None),
        }
        for ask in asks.values():
            ask()
        stop = threading.Event()
        callers = {name: _Caller(ask, stop) for name, ask in asks.items()}
        for caller in callers.values():
            caller.start()
        pipe.send("asking")
        with suppress(EOFError):  # whoever started this has been killed
            pipe.recv()
        stop.set()
        for caller in callers.values():
            caller.join()
    pipe.send(({name: caller.answers for name, caller in callers.items()}, totals))
