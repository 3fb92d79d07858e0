"""The client's calls: pages, deadlines, retries, and errors by reason."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from sessiongate.client import AsyncClient, CallError, Client, Reason
from sessiongate.gateway.errors import HTTP_MAPPINGS
from sessiongate.v1.history_service_pb2 import ListPastSessionsRequest
from sessiongate.v1.session_service_pb2 import (
    COUNT_BY_REMOTE,
    COUNT_BY_USER,
    CountSessionsRequest,
    GetSessionRequest,
    GetSessionResponse,
    ListSessionsRequest,
    SessionFilter,
)
from tests.client.both import Waiting
from tests.gateway.programs import LONG, running_core
from tests.gateway.scripted import ScriptedCore, listening
from tests.relay import Relay

SESSIONS = 2500

both = pytest.mark.parametrize("client_of", [Client, Waiting], ids=["synchronous", "asyncio"])


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    with running_core(f"synthetic:?sessions={SESSIONS}&name=made") as address:
        yield address


@both
def test_pages_follow_one_another_to_the_end(core: str, client_of: Any) -> None:
    request = ListSessionsRequest(page_size=1000, skip=10)
    with client_of(core, timeout=LONG) as client:
        pages = [*client.pages(request)]
        assert [len(page.sessions) for page in pages] == [1000, 1000, SESSIONS - 2010]
        listed = [session.id for page in pages for session in page.sessions]
        assert listed == [session.id for session in client.sessions()][10:]
        assert request == ListSessionsRequest(page_size=1000, skip=10), "it is the caller's"
        newest = next(iter(client.sessions(order_by="id desc")))
        assert newest.id == listed[-1]
        assert client.get_session(newest.id).session.id == newest.id
        assert [*client.sessions(SessionFilter(sources=["other"]))] == []
        assert [source.name for source in client.list_sources()] == ["made"]


@both
def test_pages_of_the_past_follow_one_another_to_the_end(core: str, client_of: Any) -> None:
    request = ListPastSessionsRequest(page_size=1000)
    with client_of(core, timeout=LONG) as client:
        pages = [*client.past_pages(request)]
        assert request == ListPastSessionsRequest(page_size=1000), "it is the caller's"
        listed = [past.session.id for page in pages for past in page.sessions]
        assert len(pages) >= 3
        assert listed == [past.session.id for past in client.past_sessions()]
        assert {*listed} == {session.id for session in client.sessions()}
        assert all(page.gaps == pages[0].gaps for page in pages)
        assert {gap.source for gap in pages[0].gaps} == {"made"}


@both
def test_counts_follow_one_another_to_the_end(core: str, client_of: Any) -> None:
    by = [COUNT_BY_REMOTE, COUNT_BY_USER]
    with client_of(core, timeout=LONG) as client:
        listed = Counter((one.remote, one.user) for one in client.sessions())
        assert len(listed) > 1000, "they take more than one page"
        groups = [*client.counts(by)]
        counted = {(one.values[0].text, one.values[1].text): one.count for one in groups}
        assert (counted, len(groups)) == (listed, len(listed))
        first = client.count_sessions(CountSessionsRequest(by=by, page_size=1))
        assert [*first.groups] == groups[:1]
        assert first.total_size == SESSIONS
        assert [*client.counts(by, SessionFilter(sources=["other"]))] == []


@both
def test_errors_have_the_core_s_reason(core: str, client_of: Any) -> None:
    with client_of(core, timeout=LONG) as client:
        with pytest.raises(CallError) as missing:
            client.get_session(10**9)
        assert (missing.value.code, missing.value.reason, missing.value.is_transient) == (
            grpc.StatusCode.NOT_FOUND,
            Reason.SESSION_NOT_FOUND,
            False,
        )
        with pytest.raises(CallError, match="page_size") as wrong:
            client.list_sessions(ListSessionsRequest(page_size=-1))
        assert wrong.value.reason == Reason.INVALID_REQUEST


@both
def test_where_no_core_is_the_error_has_no_reason(client_of: Any) -> None:
    with client_of("127.0.0.1:1", timeout=LONG) as client:
        with pytest.raises(CallError) as failed:
            client.list_sources()
        assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.UNAVAILABLE, None)
        assert failed.value.is_transient


def test_a_core_may_be_far_away(core: str) -> None:
    async def main() -> None:
        async with Relay(int(core.rpartition(":")[2])) as relay:
            relay.delay = relay.hold = lambda _passed: 0.2
            far = f"127.0.0.1:{relay.port}"
            async with AsyncClient(far, timeout=LONG) as client:
                assert await client.list_sources()
            with Client(far, timeout=LONG) as blocking:
                assert await asyncio.to_thread(blocking.list_sources)

    asyncio.run(main())


@both
def test_a_call_ends_at_its_deadline(client_of: Any) -> None:
    silent = ScriptedCore()
    silent.silent = True
    with listening(silent) as address, client_of(address, timeout=LONG) as client:
        for timeout in (0.2, 2, 20):  # on a busy machine, the first may pass before it is sent
            with pytest.raises(CallError) as late:
                client.get_session(1, timeout=timeout)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            if silent.abandoned.wait(timeout):
                break
        assert silent.abandoned.is_set(), "the core learns the deadline"


class Stumbling(ScriptedCore):
    """Is unavailable for some calls."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def GetSession(
        self, request: GetSessionRequest, context: grpc.ServicerContext
    ) -> GetSessionResponse:
        self.failures -= 1
        if self.failures >= 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return super().GetSession(request, context)


def check_closed(error: CallError) -> None:
    assert (error.code, error.reason, str(error)) == (
        grpc.StatusCode.CANCELLED,
        None,
        "the client is closed",
    )
    assert not error.is_transient


def test_a_closed_client_says_so_to_threads() -> None:
    silent = ScriptedCore()
    silent.silent = True
    with listening(silent) as address, Client(address, timeout=LONG) as client:

        def close() -> None:
            assert silent.asked.wait(LONG)
            client.close()

        closing = threading.Thread(target=close)
        closing.start()
        for call in (lambda: client.get_session(1), client.list_sources):  # amid it, and after
            with pytest.raises(CallError) as ended:
                call()
            check_closed(ended.value)
        closing.join()
        with pytest.raises(CallError) as ended:
            next(client.watch_sessions())
        check_closed(ended.value)
        assert [*client.follow()] == []


def test_a_closed_client_says_so_to_tasks() -> None:
    silent = ScriptedCore()
    silent.silent = True

    async def main(address: str) -> None:
        async with AsyncClient(address, timeout=LONG) as client:
            amid = asyncio.create_task(client.get_session(1))
            assert await asyncio.to_thread(silent.asked.wait, LONG)
            await client.close()
            for call in (amid, client.list_sources(), anext(client.watch_sessions())):
                with pytest.raises(CallError) as ended:
                    await call
                check_closed(ended.value)
            assert [update async for update in client.follow()] == []

    with listening(silent) as address:
        asyncio.run(main(address))


@both
@pytest.mark.parametrize("failures", [2, 3])
def test_a_call_is_tried_three_times(client_of: Any, failures: int) -> None:
    with listening(Stumbling(failures)) as address, client_of(address, timeout=LONG) as client:
        if failures < 3:
            assert client.get_session(1).session.id == 1
        else:
            with pytest.raises(CallError, match="not now"):
                client.get_session(1)


@both
def test_each_call_sends_the_token_and_metadata_of_its_moment(client_of: Any) -> None:
    seen: list[dict[str, str | bytes]] = []

    class Noting(ScriptedCore):
        def GetSession(
            self, request: GetSessionRequest, context: grpc.ServicerContext
        ) -> GetSessionResponse:
            seen.append(dict(context.invocation_metadata()))
            return super().GetSession(request, context)

    tokens = iter(["first", "second"])
    with (
        listening(Noting()) as address,
        client_of(
            address, timeout=LONG, token=lambda: next(tokens), metadata=lambda: [("x-by", "me")]
        ) as client,
    ):
        client.get_session(1)
        client.get_session(1)
    assert [sent["authorization"] for sent in seen] == ["Bearer first", "Bearer second"]
    assert [sent["x-by"] for sent in seen] == ["me", "me"]


@both
@pytest.mark.parametrize("token", ["secret\n", "sécret"])
def test_a_token_that_cannot_be_sent_is_refused(core: str, client_of: Any, token: str) -> None:
    with client_of(core, timeout=LONG, token=lambda: token) as client:
        for call in (client.list_sources, lambda: next(client.follow())):
            with pytest.raises(ValueError, match="token") as refused:
                call()
            assert token.strip() not in str(refused.value), "it is a secret"


def test_what_is_transient_is_what_rest_says_to_ask_again() -> None:
    for code, mapping in HTTP_MAPPINGS.items():
        assert CallError(code, None, "").is_transient == (mapping.status in (503, 504)), code
