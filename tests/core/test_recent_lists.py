"""Lists that are remembered: always what a core that remembers nothing would answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.grpc import recent_lists
from sessiongate.core.grpc.in_flight import SMALL_LIST
from sessiongate.core.grpc.recent_lists import RecentLists
from sessiongate.core.grpc.service import SessionService
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
)
from tests.core.test_table import make, table_of

REQUESTS = [
    ListSessionsRequest(),
    ListSessionsRequest(page_size=1),
    ListSessionsRequest(page_size=1, skip=1),
    ListSessionsRequest(order_by="id desc", page_size=2),
    ListSessionsRequest(filter=SessionFilter(users=["a"])),
    ListSessionsRequest(filter=SessionFilter(users=["b"])),
]
NOBODY: Any = None  # a short list does not depend on the call


class Stepping:
    """A table under change, and its clock."""

    def __init__(self) -> None:
        self.now = 1
        self.table = SessionTable(["fake", "other"], 1, lambda: Timestamp(seconds=self.now))
        for name in ("fake", "other"):
            self.table.set_source(name, reachable=True)
        self.service = self.fresh()

    def fresh(self) -> SessionService:
        """Make a service that has answered nothing yet."""
        return SessionService(self.table, StreamQuota(1))

    def step(self, number: int) -> None:
        match number:
            case 0:
                self.now += 1
            case 1 | 2 | 3:
                user = "ab"[self.now % 2]
                self.table.apply([make(number, 5, user=user)], [])
            case 4 | 5 | 6:
                self.table.apply([], [number - 3])
            case 7 | 8:
                self.table.set_source("other", reachable=number == 7, partial="x" * (self.now % 2))

    def lists(self, service: SessionService) -> list[ListSessionsResponse]:
        async def ask() -> list[bytes]:
            return [await service.ListSessions(request, NOBODY) for request in REQUESTS]

        return [*map(ListSessionsResponse.FromString, asyncio.run(ask()))]


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(st.integers(0, 8), max_size=12))
def test_what_is_remembered_is_what_would_be_made(steps: list[int]) -> None:
    stepping = Stepping()
    for number in steps:
        stepping.step(number)
        assert stepping.lists(stepping.service) == stepping.lists(stepping.fresh())


def test_the_same_list_is_made_once_and_read_at_another_time() -> None:
    stepping = Stepping()
    stepping.step(1)
    first = stepping.lists(stepping.service)
    made = vars(stepping.service)["_recent"].get(REQUESTS[1].SerializeToString())
    stepping.step(0)
    later = stepping.lists(stepping.service)
    assert vars(stepping.service)["_recent"].get(REQUESTS[1].SerializeToString()) is made
    assert made is not None
    for one, other in zip(first, later, strict=True):
        assert other.read_time.seconds == one.read_time.seconds + 1
        one.read_time.CopyFrom(other.read_time)
        assert one == other


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_lists, "_MOST", 3)
    table = table_of(make(1))
    lists = RecentLists(table)
    for number in range(4):
        lists.put(b"%d" % number, b"answer")
    assert [lists.get(b"%d" % number) for number in range(4)] == [None, None, None, b"answer"]
    lists.put(b"large", bytes(SMALL_LIST + 1))
    assert lists.get(b"large") is None
    table.apply([make(2)], [])
    assert lists.get(b"3") is None
