"""The gRPC contract, over a real channel to a real core."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sessiongate.core import server
from sessiongate.core.errors import CoreError
from sessiongate.core.grpc.status import STATUS_MAPPINGS
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.core.table.query import SessionQuery
from sessiongate.runtime.auth.identity import Refusal
from sessiongate.v1 import session_service_pb2
from sessiongate.v1.errors import STATUS_TRAILER
from sessiongate.v1.service_names import SESSION_SERVICE
from sessiongate.v1.session_pb2 import SessionState
from sessiongate.v1.session_service_pb2 import (
    CountSessionsRequest,
    GetSessionRequest,
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from sessiongate.v1.source_service_pb2 import ListSourcesRequest, SourceState
from sessiongate.v1.source_service_pb2_grpc import SourceServiceStub
from tests.core.sources import ScriptedSource
from tests.servers import PATIENCE

DOCUMENT = Path(__file__).parent.parent / "data" / "sessions.json"


class Client:
    """A channel to a separate core, and the stubs on it."""

    def __init__(self, core: Core, channel: grpc.aio.Channel) -> None:
        self.core = core
        self.stub = SessionServiceStub(channel)
        self.sources = SourceServiceStub(channel)
        self.health: Any = HealthStub(channel)  # its methods have no types


def run(
    test: Callable[[Client], Awaitable[None]],
    source: str = f"document:{DOCUMENT}",
    *,
    ledger: str = "sqlite://",
    ready: bool = True,
) -> None:
    async def main() -> None:
        config = CoreConfig(
            sources=(SourceConfig.parse(source),), grpc="127.0.0.1:0", ledger=ledger, grace=0.5
        )
        async with Core(config) as core, grpc.aio.insecure_channel(core.address) as channel:
            if ready:
                await core.table.ready.wait()
            await test(Client(core, channel))

    asyncio.run(main())


async def failing(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, ErrorInfo, BadRequest]:
    """Return the error that a call ends with: code, text, and both details."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailers[STATUS_TRAILER])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "sessiongate"
    return error.code(), status.message, info, bad


def test_list_and_get_answer_with_the_sessions_of_the_document() -> None:
    async def test(client: Client) -> None:
        listed = await client.stub.ListSessions(ListSessionsRequest())
        assert [session.id for session in listed.sessions] == [1, 2, 3]
        assert [session.service for session in listed.sessions] == [
            "RW-Split-Router",
            "Read-Connection-Router",
            "CLI",
        ]
        assert {session.state for session in listed.sessions} == {
            SessionState.SESSION_STATE_LISTENER
        }
        assert listed.total_size == 3
        assert listed.next_page_token == ""
        assert listed.unreachable == []
        assert listed.revision >= max(session.revision for session in listed.sessions)
        assert listed.update_time.seconds > 0
        for session in listed.sessions:
            got = await client.stub.GetSession(GetSessionRequest(id=session.id))
            assert got.session == session
            assert got.session.connect_time.ToJsonString() == "2017-05-17T10:06:35Z"

    run(test)


def test_pages_filter_order_skip_and_mask() -> None:
    async def test(client: Client) -> None:
        request = ListSessionsRequest(
            page_size=1,
            order_by="id desc",
            filter=SessionFilter(services=["CLI", "RW-Split-Router"]),
            read_mask=FieldMask(paths=["id"]),
        )
        first = await client.stub.ListSessions(request)
        request.page_token = first.next_page_token
        second = await client.stub.ListSessions(request)
        assert [s.id for page in (first, second) for s in page.sessions] == [3, 1]
        assert (first.total_size, second.next_page_token) == (2, "")
        assert first.sessions[0].service == ""
        request = ListSessionsRequest(skip=2)
        assert [s.id for s in (await client.stub.ListSessions(request)).sessions] == [3]

    run(test)


BAD = [
    (ListSessionsRequest(page_size=-1), ["page_size"]),
    (ListSessionsRequest(skip=-1), ["skip"]),
    (ListSessionsRequest(order_by="name"), ["order_by"]),
    (ListSessionsRequest(order_by="id asc"), ["order_by"]),
    (ListSessionsRequest(order_by="id, connect_time"), ["order_by"]),
    (ListSessionsRequest(page_token="zzz"), ["page_token"]),
    (ListSessionsRequest(page_token="\u00e9"), ["page_token"]),
    (ListSessionsRequest(read_mask=FieldMask(paths=["id", "nonsense"])), ["read_mask"]),
    (
        ListSessionsRequest(filter=SessionFilter(remotes=["10.0.0.1", "10.0.0.1/8", "host"])),
        ["filter.remotes[1]", "filter.remotes[2]"],
    ),
    (
        ListSessionsRequest(filter=SessionFilter(states=[99])),  # type: ignore[list-item] # open enum
        ["filter.states[0]"],
    ),
    (
        ListSessionsRequest(filter=SessionFilter(activities=[1, 0, 7])),  # type: ignore[list-item] # open enum
        ["filter.activities[1]", "filter.activities[2]"],
    ),
    (
        ListSessionsRequest(
            filter=SessionFilter(
                min_idle=Duration(seconds=-1), min_activity_duration=Duration(nanos=2**31 - 1)
            )
        ),
        ["filter.min_idle", "filter.min_activity_duration"],
    ),
    (ListSessionsRequest(page_size=-1, skip=-1, order_by="x"), ["order_by", "page_size", "skip"]),
]


@pytest.mark.parametrize(("request_", "fields"), BAD)
def test_each_bad_field_is_named(request_: ListSessionsRequest, fields: list[str]) -> None:
    async def test(client: Client) -> None:
        code, _, info, bad = await failing(client.stub.ListSessions(request_))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert info.reason == "INVALID_REQUEST"
        assert [violation.field for violation in bad.field_violations] == fields
        assert all(violation.description for violation in bad.field_violations)

    run(test)


def test_a_filter_of_a_later_contract_is_not_ignored() -> None:
    later = SessionFilter.FromString(b"\xaa\x06\x01x")  # field 101

    async def test(client: Client) -> None:
        for call in (
            client.stub.ListSessions(ListSessionsRequest(filter=later)),
            client.stub.CountSessions(CountSessionsRequest(filter=later, by=[USER])),
            client.stub.WatchSessions(WatchSessionsRequest(filter=later)).read(),
        ):
            code, text, info, bad = await failing(call)
            assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert [v.field for v in bad.field_violations] == ["filter"]
            assert "101" in text

    run(test)


def test_a_timestamp_out_of_range_is_named() -> None:
    async def test(client: Client) -> None:
        request = ListSessionsRequest()
        request.filter.connected_before.seconds = 2**62
        code, _, _, bad = await failing(client.stub.ListSessions(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert [v.field for v in bad.field_violations] == ["filter.connected_before"]

    run(test)


def test_what_depends_on_the_clock_is_listed_and_not_watched() -> None:
    async def test(client: Client) -> None:
        old = SessionFilter(min_idle=Duration(seconds=60))
        listed = await client.stub.ListSessions(ListSessionsRequest(filter=old))
        assert listed.total_size == 0  # a document states no idle time
        for filter_, field in (
            (old, "filter.min_idle"),
            (SessionFilter(min_activity_duration=Duration()), "filter.min_activity_duration"),
        ):
            stream = client.stub.WatchSessions(WatchSessionsRequest(filter=filter_))
            code, _, _, bad = await failing(stream.read())
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert [v.field for v in bad.field_violations] == [field]

    run(test)


def test_a_token_is_bound_to_the_request_it_came_from() -> None:
    async def test(client: Client) -> None:
        first = await client.stub.ListSessions(ListSessionsRequest(page_size=1))
        other = ListSessionsRequest(page_token=first.next_page_token, order_by="id desc")
        code, _, _, bad = await failing(client.stub.ListSessions(other))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert [v.field for v in bad.field_violations] == ["page_token"]
        same = ListSessionsRequest(page_token=first.next_page_token, page_size=7)
        assert [s.id for s in (await client.stub.ListSessions(same)).sessions] == [2, 3]

    run(test)


BY = STATE, SERVICE, USER = (
    session_service_pb2.COUNT_BY_STATE,
    session_service_pb2.COUNT_BY_SERVICE,
    session_service_pb2.COUNT_BY_USER,
)
STRANGE: Any = [0, 99]


def test_sessions_are_counted_in_pages() -> None:
    async def test(client: Client) -> None:
        listed = await client.stub.ListSessions(ListSessionsRequest())
        request = CountSessionsRequest(by=[STATE, USER, SERVICE], page_size=2)
        first = await client.stub.CountSessions(request)
        assert [group.count for group in first.groups] == [1, 1]
        assert [group.values[2].text for group in first.groups] == ["CLI", "RW-Split-Router"]
        for group in first.groups:
            state, user, _ = group.values
            assert state.state == SessionState.SESSION_STATE_LISTENER
            assert user.WhichOneof("value") is None  # the document has no users
        assert (first.total_groups, first.total_size) == (3, 3)
        assert (first.revision, first.update_time) == (listed.revision, listed.update_time)
        assert first.read_time.seconds >= first.update_time.seconds
        assert first.unreachable == first.partial == []
        request.page_token = first.next_page_token
        last = await client.stub.CountSessions(request)
        assert [group.values[2].text for group in last.groups] == ["Read-Connection-Router"]
        assert last.next_page_token == ""
        request.skip = 1
        beyond = await client.stub.CountSessions(request)
        assert (len(beyond.groups), beyond.total_groups) == (0, 3)
        old = SessionFilter(min_idle=Duration(seconds=1))
        by_state = CountSessionsRequest(by=[STATE], filter=old)
        assert (await client.stub.CountSessions(by_state)).total_size == 0

    run(test)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (CountSessionsRequest(), ["by"]),
        (CountSessionsRequest(by=[*BY, session_service_pb2.COUNT_BY_SOURCE]), ["by"]),
        (CountSessionsRequest(by=[STATE, USER, STATE]), ["by[2]"]),
        (CountSessionsRequest(by=STRANGE), ["by[0]", "by[1]"]),
        (
            CountSessionsRequest(
                by=[USER], filter=SessionFilter(remotes=["here"]), page_size=-1, skip=-1
            ),
            ["page_size", "skip", "filter.remotes[0]"],
        ),
        (CountSessionsRequest(by=[USER], page_token="made up"), ["page_token"]),
    ],
)
def test_each_bad_field_of_a_count_is_named(
    request_: CountSessionsRequest, fields: list[str]
) -> None:
    async def test(client: Client) -> None:
        code, _, info, bad = await failing(client.stub.CountSessions(request_))
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert [violation.field for violation in bad.field_violations] == fields

    run(test)


def test_a_token_of_a_count_is_bound_to_its_request() -> None:
    async def test(client: Client) -> None:
        request = CountSessionsRequest(by=[SERVICE], page_size=1)
        token = (await client.stub.CountSessions(request)).next_page_token
        for other in (
            CountSessionsRequest(by=[SERVICE, USER], page_token=token),
            CountSessionsRequest(by=[SERVICE], filter={"users": ["u"]}, page_token=token),
        ):
            code, _, _, bad = await failing(client.stub.CountSessions(other))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert [violation.field for violation in bad.field_violations] == ["page_token"]
        listing = ListSessionsRequest(page_token=token)
        code, _, _, bad = await failing(client.stub.ListSessions(listing))
        assert [violation.field for violation in bad.field_violations] == ["page_token"]

    run(test)


def test_an_unknown_id_is_not_found_and_zero_is_invalid() -> None:
    async def test(client: Client) -> None:
        code, text, info, _ = await failing(client.stub.GetSession(GetSessionRequest(id=99)))
        assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
        assert text == "no session with id 99"
        assert dict(info.metadata) == {"id": "99"}
        code, _, info, bad = await failing(client.stub.GetSession(GetSessionRequest()))
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert [violation.field for violation in bad.field_violations] == ["id"]

    run(test)


def test_a_failing_source_is_named_in_both_answers(tmp_path: Path) -> None:
    document = tmp_path / "sessions.json"
    document.write_bytes(DOCUMENT.read_bytes())

    async def test(client: Client) -> None:
        document.write_text("{")
        listed = await client.stub.ListSessions(ListSessionsRequest())
        while not listed.unreachable:
            listed = await client.stub.ListSessions(ListSessionsRequest())
        got = await client.stub.GetSession(GetSessionRequest(id=1))
        assert list(listed.unreachable) == list(got.unreachable) == ["sessions.json"]
        assert len(listed.sessions) == 3

    run(test, f"document:{document}?interval=0.01")


def test_an_id_that_the_ledger_holds_is_unavailable_while_its_source_never_answered(
    tmp_path: Path,
) -> None:
    document = tmp_path / "sessions.json"
    document.write_bytes(DOCUMENT.read_bytes())
    ledger = f"sqlite:///{tmp_path}/ledger.db"

    async def nothing(client: Client) -> None:
        assert len(client.core.table) == 3

    async def test(client: Client) -> None:
        code, _, info, _ = await failing(client.stub.GetSession(GetSessionRequest(id=2)))
        assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "SOURCE_UNREACHABLE")
        assert dict(info.metadata) == {"id": "2", "source": "sessions.json"}
        code, _, _, _ = await failing(client.stub.GetSession(GetSessionRequest(id=4)))
        assert code is grpc.StatusCode.NOT_FOUND

    run(nothing, f"document:{document}", ledger=ledger)
    document.unlink()
    run(test, f"document:{document}", ledger=ledger)


def test_a_core_is_not_ready_until_its_source_answered_or_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ScriptedSource()
    monkeypatch.setattr(server, "open_source", lambda _: source)

    async def test(client: Client) -> None:
        for name in ("", SESSION_SERVICE):
            checked = await client.health.Check(HealthCheckRequest(service=name))
            assert checked.status == HealthCheckResponse.NOT_SERVING
        for call in (
            client.stub.ListSessions(ListSessionsRequest()),
            client.stub.GetSession(GetSessionRequest(id=1)),
        ):
            code, _, info, _ = await failing(call)
            assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
        listed = await client.sources.ListSources(ListSourcesRequest())
        assert [report.state for report in listed.sources] == [SourceState.SOURCE_STATE_PENDING]
        source.failing = "not today"
        await source.step()
        async for checked in client.health.Watch(HealthCheckRequest(service=SESSION_SERVICE)):
            if checked.status == HealthCheckResponse.SERVING:
                break
        answer = await client.stub.ListSessions(ListSessionsRequest())
        assert list(answer.unreachable) == ["scripted"]
        (report,) = (await client.sources.ListSources(ListSourcesRequest())).sources
        assert (report.name, report.last_error) == ("scripted", "not today")

    run(test, "scripted:", ready=False)


def test_every_error_has_one_status_and_one_reason() -> None:
    kinds = {*CoreError.__subclasses__(), *Refusal.__subclasses__()}
    assert kinds == STATUS_MAPPINGS.keys()
    reasons = [answer.reason for answer in STATUS_MAPPINGS.values()]
    assert len(set(reasons)) == len(reasons)


def test_what_fails_unexpectedly_is_internal_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(SessionQuery, "parse", explode)

    async def test(client: Client) -> None:
        code, text, info, _ = await failing(client.stub.ListSessions(ListSessionsRequest()))
        assert (code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "swordfish" not in text

    run(test)
    assert "swordfish" in caplog.text


def test_a_second_core_cannot_take_the_same_port() -> None:
    async def main() -> None:
        config = CoreConfig(
            sources=(SourceConfig.parse(f"document:{DOCUMENT}"),), grpc="127.0.0.1:0"
        )
        async with Core(config) as core:
            taken = CoreConfig(sources=config.sources, grpc=core.address)
            with pytest.raises(Exception, match=r"cannot listen on 127\.0\.0\.1:"):
                async with Core(taken):
                    pass

    asyncio.run(main())


def test_a_failed_call_leaves_nothing_to_the_search_for_garbage() -> None:
    def aborted() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, grpc.aio.AbortError)]

    async def test(client: Client) -> None:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await failing(client.stub.GetSession(GetSessionRequest(id=99)))
                await failing(client.stub.ListSessions(ListSessionsRequest(page_size=-1)))
            async with asyncio.timeout(PATIENCE):
                while aborted():  # noqa: ASYNC110 - the last call may end a little later
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()

    run(test)
