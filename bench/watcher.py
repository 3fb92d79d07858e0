"""A watcher of a synthetic source, which knows when each session was replaced there.

The source numbers the sessions that it makes. So a session's number says when, since the
first observation, it took another's place; and when that observation was is known from the
newest session of any observation whose time the core reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import NamedTuple

import grpc

from bench.measures import LONG
from bench.programs import BenchError
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
    WatchSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, Source
from sessiongate.v1.source_service_pb2_grpc import SourceServiceStub

_SAMPLES = 5  # observations from which the time of the first one is computed


class Churning(NamedTuple):
    """A synthetic source: its name, sessions, and how many are replaced each second."""

    name: str
    sessions: int
    churn: float


class _Step(NamedTuple):
    """Replacements that were told together."""

    told: float  # seconds since the epoch
    first: int  # the number of the oldest, from 0 on


class Watcher(Thread):
    """Keeps a copy of a source's sessions until `stop`."""

    def __init__(self, channel: grpc.Channel, source: Churning) -> None:
        super().__init__(daemon=True)
        self._source = source
        request = WatchSessionsRequest(filter=SessionFilter(sources=[source.name]))
        self._call = SessionServiceStub(channel).WatchSessions(request)
        self.synced = Event()  # also if it has failed
        self._copy: dict[int, int] = {}  # the number of each session, by id
        self._news: list[int] = []  # numbers that the copy got since the last state of the table
        self._steps: list[_Step] = []
        self._last = -1  # the newest number
        # When the copy had all sessions last, or began, in seconds since the epoch.
        self._whole = time.time()
        self._fault = ""
        self._is_stopping = False
        self.start()

    def run(self) -> None:
        try:
            for message in self._call:
                self._take(message)
        except grpc.RpcError as error:
            if not self._is_stopping:
                self._fault = f"the stream ended: {error.details()}"
        self.synced.set()

    def stop(self) -> None:
        """Stop watching. Raises `BenchError` if the stream failed."""
        self._is_stopping = True
        self._call.cancel()
        self.join()
        if self._fault:
            raise BenchError(self._fault)

    def untold(self, began: float) -> float:
        """Return for how many seconds the next replacement has been due."""
        return time.time() - self._due(began, self._last + 1)

    def longest(self, began: float, since: float, until: float) -> float:
        """Return the longest time from a replacement until it was sent, in seconds.

        ``began`` is when the source was first observed; ``since`` and ``until`` are when
        measuring began and ended. What is not told by then, even that a session has ended,
        has waited until then.
        """
        steps = [step for step in self._steps if since <= step.told <= until]
        if not steps:
            raise BenchError(f"no change was sent in {until - since:.0f} seconds")
        delays = [step.told - self._due(began, step.first) for step in steps]
        return max(*delays, until - self._due(began, self._last + 1), until - self._whole)

    def _due(self, began: float, number: int) -> float:
        return began + number / self._source.churn

    def _take(self, message: WatchSessionsResponse) -> None:
        for upserts in (message.snapshot.sessions, message.changes.upserts):
            for session in upserts:
                number = int(session.native_id) - self._source.sessions
                if session.id not in self._copy:  # else it has changed, and came long ago
                    self._news.append(number)
                self._copy[session.id] = number
        for removal in message.changes.removals:
            self._copy.pop(removal.id, None)
        if not message.HasField("as_of"):
            return
        # A large observation is sent in several steps.
        if len(self._copy) == self._source.sessions:
            self._whole = time.time()
        if self._news:
            self._last = max(self._last, max(self._news))
            self._steps.append(_Step(time.time(), min(self._news)))
            self._news.clear()
        self.synced.set()


def first_observation(channel: grpc.Channel, source: Churning) -> float:
    """Return when a source was first observed, in seconds since the epoch."""
    listed = ListSessionsRequest(
        filter=SessionFilter(sources=[source.name]), order_by="id desc", page_size=1
    )
    sessions, sources = SessionServiceStub(channel), SourceServiceStub(channel)

    def report() -> Source:
        reports: Sequence[Source] = sources.ListSources(ListSourcesRequest(), timeout=LONG).sources
        return next(each for each in reports if each.name == source.name)

    found: dict[int, float] = {}
    end = time.monotonic() + LONG
    while len(found) < _SAMPLES and time.monotonic() < end:
        before = report()
        newest = sessions.ListSessions(listed, timeout=LONG).sessions
        if not newest:
            raise BenchError("the source's sessions are gone")
        if report().last_success_time == before.last_success_time:  # of the same observation
            took = before.observation_duration.ToNanoseconds()
            requested = (before.last_success_time.ToNanoseconds() - took) / 1e9
            replaced = int(newest[0].native_id) - source.sessions + 1
            found[replaced] = requested - replaced / source.churn
        time.sleep(0.1)
    if not found:
        raise BenchError("no observation can be distinguished from the next")
    # The newest session may be of the next observation already, but of no earlier one.
    return max(found.values())
