"""The bounds of a call's memory and cost: each with a reason, and other calls are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.core.errors import (
    MAX_VIOLATIONS,
    InvalidRequestError,
    SessionNotFoundError,
    TooManyWatchersError,
    Violation,
)
from sessiongate.core.grpc import service
from sessiongate.core.grpc.decoding import MAX_REQUEST_BYTES
from sessiongate.core.grpc.status import MAX_DETAILS, MAX_TEXT, status_of
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.table.query import MAX_FILTER_BYTES, MAX_FILTER_VALUES, MAX_MASK_PATHS
from sessiongate.runtime.turns import Steps
from sessiongate.v1.errors import STATUS_TRAILER
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from tests.core.test_service import Client, run

_TEXTS = ["x%d", "😀" * 3000 + "%d", "\x00\u202e" * 2000 + "%d"]


async def refused(call: Any) -> tuple[grpc.StatusCode, str, ErrorInfo, list[str]]:
    """Return how a call ended, with the fields at fault."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = Status.FromString(dict(caught.value.trailing_metadata())[STATUS_TRAILER])
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    fields = [violation.field for violation in bad.field_violations]
    return caught.value.code(), caught.value.details() or "", info, fields


def masked(paths: Sequence[str]) -> ListSessionsRequest:
    return ListSessionsRequest(read_mask=FieldMask(paths=paths))


def filtered(**fields: Sequence[str]) -> ListSessionsRequest:
    return ListSessionsRequest(filter=SessionFilter(**fields))  # type: ignore[arg-type] # str fields only


TOO_MUCH = [
    (masked(["id"] * (MAX_MASK_PATHS + 1)), "read_mask"),
    (masked([f"x{n}" for n in range(1000)]), "read_mask"),
    (masked([f"x{n}" for n in range(MAX_MASK_PATHS)]), "read_mask"),
    (masked(["😀" * 160] * MAX_MASK_PATHS), "read_mask"),
    (masked(["x." * 30_000]), "read_mask"),
    (filtered(remotes=[f"x{n}" for n in range(300)]), "filter.remotes[0]"),
    (filtered(remotes=["\0" * 100] * 300), "filter.remotes[0]"),
    (filtered(users=[str(n) for n in range(MAX_FILTER_VALUES + 1)]), "filter"),
    (filtered(users=["x" * MAX_FILTER_BYTES]), "filter"),
    (ListSessionsRequest(order_by="x" * 60_000), "order_by"),
    (ListSessionsRequest(order_by="x" * 1_000_000), "request"),
    (ListSessionsRequest(page_token="x" * 60_000), "page_token"),
    (filtered(users=["x" * (MAX_REQUEST_BYTES + 1)]), "request"),
]


@pytest.mark.parametrize(("request_", "field"), TOO_MUCH)
def test_what_is_too_much_is_told_with_its_reason(
    request_: ListSessionsRequest, field: str
) -> None:
    async def test(client: Client) -> None:
        code, text, info, fields = await refused(client.stub.ListSessions(request_))
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert fields[0] == field
        assert len(fields) <= MAX_VIOLATIONS
        assert text.startswith(f"{field}: ")
        if request_.HasField("filter"):
            watch = client.stub.WatchSessions(WatchSessionsRequest(filter=request_.filter))
            code, _, info, fields = await refused(watch.read())
            assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert fields[0] == field

    run(test)


def test_what_is_just_not_too_much_is_answered() -> None:
    async def test(client: Client) -> None:
        for request in (
            masked(["id"] * MAX_MASK_PATHS),
            filtered(remotes=["0.0.0.0/0", *(f"10.0.{n}.0/24" for n in range(99))] * 10),
            filtered(services=[str(n) for n in range(MAX_FILTER_VALUES)]),
        ):
            await client.stub.ListSessions(request)

    run(test)


@pytest.mark.parametrize("text", _TEXTS)
@pytest.mark.parametrize("count", [1, 30, 1000])
def test_an_error_is_cut_such_that_grpc_carries_it(text: str, count: int) -> None:
    many = InvalidRequestError(*(Violation(text % n, text % n) for n in range(count)))
    for error in (many, SessionNotFoundError(text % 1, id=text % 1)):
        status = status_of(error)
        assert len(status.message.encode()) <= MAX_TEXT
        # Percent-encoding takes three bytes for one, Base64 four for three.
        assert 3 * MAX_TEXT + status.ByteSize() * 4 / 3 < 8192
    (_, details) = status_of(many).details
    bad = BadRequest()
    assert details.Unpack(bad)
    assert bad.ByteSize() <= MAX_DETAILS + 1024
    assert 0 < len(bad.field_violations) <= min(count, MAX_VIOLATIONS)


class Endless:
    """Endless work that notes whether it is given up."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.moved = asyncio.Event()

    def steps(self, *_: object) -> Steps[bytes]:
        self.begun += 1
        self.moved.set()
        try:
            while True:
                yield
        finally:
            self.ended += 1
            self.moved.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until work that begins or ends makes ``reached`` true."""
        while not reached():
            self.moved.clear()
            await self.moved.wait()


# Never short enough to be answered without turns.
LONG = ListSessionsRequest(page_size=service._SHORT_PAGE + 1)


def test_work_ends_with_its_caller_and_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endless = Endless()
    monkeypatch.setattr(service, "_listed", endless.steps)

    async def test(client: Client) -> None:
        late = [client.stub.ListSessions(LONG, timeout=0.5) for _ in range(4)]
        gone = [client.stub.ListSessions(LONG) for _ in range(4)]
        await endless.until(lambda: endless.begun > 0)
        assert (await client.stub.GetSession(GetSessionRequest(id=1))).session.id == 1
        await client.stub.WatchSessions(WatchSessionsRequest()).read()
        for call in late:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for call in gone:
            call.cancel()
        await endless.until(lambda: endless.ended == endless.begun)
        monkeypatch.undo()
        assert (await client.stub.ListSessions(ListSessionsRequest())).sessions

    run(test)


def test_what_one_caller_has_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_UNDER_WAY", 4)
    endless = Endless()
    monkeypatch.setattr(service, "_listed", endless.steps)

    async def test(client: Client) -> None:
        calls = [client.stub.ListSessions(LONG) for _ in range(5)]
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(refused(call)) for call in calls],
            return_when=asyncio.FIRST_COMPLETED,
        )
        code, _, info, _ = await done.pop()
        assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        for call in calls:
            call.cancel()

    run(test)


def test_the_filters_of_one_callers_streams_are_bounded_together() -> None:
    watchers = StreamQuota(4)
    with watchers.admitted("a", 10_000):
        with pytest.raises(TooManyWatchersError), watchers.admitted("a", 10_000):
            raise AssertionError
        with watchers.admitted("b", 10_000), watchers.admitted("a", 6_000):
            pass
    with watchers.admitted("a", 10_000), watchers.admitted("a", 0):
        pass
