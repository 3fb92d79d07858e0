"""Remembered responses: equal to those of a gateway that remembers nothing, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from sessiongate.gateway.api.document_cache import DocumentCache
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.app import create_app
from sessiongate.gateway.http import response_cache
from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.body_response import BodyResponse
from sessiongate.gateway.http.in_flight import Body
from sessiongate.gateway.http.response_cache import PASSED_ON, ResponseCache, Validity
from sessiongate.gateway.http.response_tracker import ResponseTracker
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.views import DirectView, ReplicaView
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.telemetry.correlation import current
from sessiongate.runtime.telemetry.logs import LogSettings
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import SourceStatus, WatchChanges, WatchSessionsResponse
from tests.credentials import CredentialFiles, basic, bearer
from tests.gateway.asgi import Exchange
from tests.gateway.programs import LONG, Gateway, one_view
from tests.gateway.test_document_cache import replica_of

ANY_LENGTH = 1 << 30
NOON = 1_800_000_000.25  # a time of day, in seconds since the epoch


def cache_of(app: Starlette) -> ResponseCache:
    """Find the middleware in a built application."""
    found: Any = app.middleware_stack
    while not isinstance(found, ResponseCache):
        found = getattr(found, "_app", None) or found.app
    return found


class Clock:
    """The time of day, for the whole process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr("time.time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def session(ident: int, revision: int, *, at: float = NOON - 100, user: str = "a") -> Session:
    found = Session(id=ident, service="s", source="one", user=user, revision=revision)
    found.update_time.FromSeconds(int(at))
    if ident % 2:
        found.last_active_time.FromSeconds(int(NOON) - 1000)
    return found


Told: TypeAlias = tuple[int, dict[str, str], bytes]


def fast_path(app: Starlette, *args: Any, **options: Any) -> Told | None:
    """Return what a caller is told before a task is started; None if nothing.

    Whoever sent the same head before on a connection must be told the same.
    """
    scope = Exchange(*args, **options).asked()
    given = {**scope}
    answers = vars(app).setdefault("answers", {})
    again = answers.setdefault(repr(scope), app.state.fast_path(scope))
    found = [
        _told_by_fast_path(answer(ANY_LENGTH)) for answer in (app.state.fast_path(scope), again)
    ]
    assert scope == given  # which takes its usual way next
    assert found[0] == found[1]
    return found[0]


def _told_by_fast_path(message: Message | None) -> Told | None:
    if message is None:
        return None
    lines = message["head"].decode().removesuffix("\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    del headers["x-request-id"]
    return message["status"], headers, message["body"]


class Pair:
    """A gateway, and one that remembers nothing, over the same copy of the core's sessions."""

    def __init__(self, app: Starlette, forgetful: Starlette) -> None:
        self.replica = replica_of(*(session(ident, ident) for ident in range(1, 6)))
        self.revision = 10
        self.view = ReplicaView(self.replica, DirectView(cast(CoreClient, None)))
        self.app = app
        self._forgetful = forgetful
        self.prompt: Told | None = None  # what the last caller was told before a task was started
        for each in (app, forgetful):
            each.state.view = self.view

    async def ask(self, *args: Any, **options: Any) -> Exchange:
        """Ask both; return the answer, which must be the same."""
        self._forgetful.state.documents = DocumentCache(self._forgetful.state.in_flight)
        cache_of(self._forgetful)._let_go()
        self.prompt = fast_path(self.app, *args, **options)
        answers = [await Exchange(*args, **options).run(app) for app in (self.app, self._forgetful)]
        assert told(answers[0]) == told(answers[1])
        assert self.prompt is None or self.prompt == told(answers[1])
        return answers[0]

    def change(self, at: float, *upserts: Session, gap: bool | None = None) -> None:
        """Take over a step of the table."""
        self.revision += 1
        message = WatchSessionsResponse(revision=self.revision)
        message.update_time.FromSeconds(int(at))
        changes = WatchChanges(upserts=upserts)
        if gap is not None:
            changes.sources.append(SourceStatus(name="one", reachable=not gap))
        message.changes.CopyFrom(changes)
        self.replica.store.apply([message])


def told(answer: Exchange) -> Told:
    """Return what a caller is told, except for the request's id."""
    headers = {name: value for name, value in answer.answered.items() if name != "x-request-id"}
    return answer.status, headers, b"".join(each.get("body", b"") for each in answer.sent)


def run(test: Callable[[Pair], Any], **settings: object) -> None:
    async def main() -> None:
        config = GatewayConfig(core=("127.0.0.1:1",), replica_staleness=0.0, **settings)  # type: ignore[arg-type]
        apps = [create_app(config) for _ in range(2)]
        async with (
            apps[0].router.lifespan_context(apps[0]),
            apps[1].router.lifespan_context(apps[1]),
        ):
            await test(Pair(*apps))

    asyncio.run(main())


PATHS = ("/v1/sessions", "/sessions", "/v1/sessions/1", "/v1/sessions/2", "/v1/sessions/x")
MORE_PATHS = (
    "/v1/services",
    "/v1/services/s",
    "/v1/services/s/sessions",
    "/v1/sessions/1/services",
)
QUERIES = (b"", b"pretty", b"page[size]=2", b"page[size]=3", b"page%5Bsize%5D=2", b"pretty=false")
HEADERS: dict[bytes, Sequence[bytes]] = {
    b"accept": (b"application/json", b"*/*", b"text/html", b"application/json;q=0.5"),
    b"accept-encoding": (b"gzip", b"identity", b"identity;q=0, gzip;q=0"),
    b"content-type": (b"application/json", b'application/vnd.api+json;ext="x"'),
    b"if-none-match": (b"ETAG", b"*", b'"x"'),
    b"if-match": (b"ETAG", b'"x"'),
    b"if-modified-since": (b"Fri, 15 Jan 2027 08:00:00 GMT", b"Fri, 15 Jan 2027 07:00:00 GMT"),
    b"if-unmodified-since": (b"Fri, 15 Jan 2027 08:00:00 GMT", b"Fri, 15 Jan 2027 07:00:00 GMT"),
    b"host": (b"localhost:8989", b"127.0.0.1", b"evil.example"),
    b"origin": (b"http://localhost", b"http://evil.example"),
    b"authorization": (b"", bearer(sub="bob").encode(), bearer(exp=1).encode()),
}
PLAIN: dict[bytes, bytes] = {b"host": b"localhost", b"authorization": basic().encode()}
ASKS = st.tuples(
    st.sampled_from(("GET", "GET", "HEAD")),
    st.sampled_from((*PATHS, *MORE_PATHS)),
    st.sampled_from(QUERIES),
    st.dictionaries(st.sampled_from(list(HEADERS)), st.integers(0, 2), max_size=2),
)
# What happens between a request and the next, which may differ from it in one thing.
EVENTS = st.one_of(
    st.just(("again",)),
    st.tuples(st.just("method"), st.sampled_from(("GET", "HEAD"))),
    st.tuples(st.just("path"), st.sampled_from((*PATHS, *MORE_PATHS))),
    st.tuples(st.just("query"), st.sampled_from(QUERIES)),
    st.tuples(st.just("header"), st.sampled_from(list(HEADERS)), st.integers(-1, 2)),
    st.tuples(st.just("second"), st.sampled_from((1, 2, -1))),
    st.tuples(st.just("change"), st.integers(1, 6), st.sampled_from("ab")),
    st.tuples(st.just("gap"), st.booleans()),
    st.just(("lag",)),
)


@given(first=ASKS, events=st.lists(EVENTS, min_size=1, max_size=8))
def test_nothing_else_is_answered_than_by_a_gateway_that_remembers_nothing(
    first: Any, events: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = CredentialFiles(tmp_path_factory.mktemp("users"))

    async def test(pair: Pair) -> None:
        method, path, query, chosen = first
        headers = dict(PLAIN)
        tag = b'"none"'
        for name, index in chosen.items():
            headers[name] = HEADERS[name][index % len(HEADERS[name])]
        for event in [("again",), ("again",), ("again",), *events]:
            match event:
                case ("method", method):
                    pass
                case ("path", path):
                    pass
                case ("query", query):
                    pass
                case ("header", name, -1):
                    headers.pop(name, None)
                case ("header", name, index):
                    headers[name] = HEADERS[name][index % len(HEADERS[name])]
                case ("second", seconds):
                    time_of_day.now += seconds
                case ("change", ident, user):
                    changed = session(ident, pair.revision + 1, at=time_of_day.now, user=user)
                    pair.change(time_of_day.now, changed)
                case ("gap", gap):
                    pair.change(time_of_day.now, gap=gap)
                case ("lag",):
                    pair.replica.store.state = object()
            sent = {key: value.replace(b"ETAG", tag) for key, value in headers.items()}
            answer = await ask_with(pair, path, sent, method, query)
            tag = answer.answered.get("etag", "").encode() or tag

    with pytest.MonkeyPatch.context() as patching:
        time_of_day = Clock(patching)
        run(test, protection=Protection(**files.settings))


def test_what_differs_in_one_header_is_answered_by_itself(clock: Clock, tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path)

    async def test(pair: Pair) -> None:
        for path in ("/v1/sessions/1", "/v1/sessions"):
            for _ in range(3):
                await ask_with(pair, path, PLAIN)
            for name, values in HEADERS.items():
                for value in values:
                    await ask_with(pair, path, {**PLAIN, name: value})

    run(test, protection=Protection(**files.settings))


async def ask_with(
    pair: Pair, path: str, headers: dict[bytes, bytes], method: str = "GET", query: bytes = b""
) -> Exchange:
    """Ask both gateways with these headers, one of which is Host."""
    others = [pair for pair in headers.items() if pair[0] != b"host"]
    return await pair.ask(path, method, query, others, host=headers.get(b"host", b""))


class Made:
    """Counts the responses that the two gateways make."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        read = Operation.__call__

        async def counted(*args: Any) -> None:
            self._count += 1
            await read(*args)

        monkeypatch.setattr(Operation, "__call__", counted)

    async def was_remembered(self, pair: Pair, *args: Any, **options: Any) -> bool:
        """Ask, and return whether only the gateway that remembers nothing made a response."""
        before = self._count
        await pair.ask(*args, **options)
        return self._count == before + 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


REMEMBERED = (
    ("/v1/sessions/1", b""),
    ("/v1/sessions/2", b"pretty"),
    ("/v1/sessions", b""),
    ("/v1/sessions", b"page[size]=2"),
    ("/v1/sessions", b'filter=/attributes/user="a"'),
    ("/v1/services", b""),
    ("/v1/services/s", b""),
    ("/v1/services/s/sessions", b""),
    ("/v1/sessions/1/services", b""),
    ("/v1/sessions/1/relationships/services", b""),
    ("/v1/maxscale", b""),
)


@pytest.mark.parametrize(("path", "query"), REMEMBERED)
def test_what_has_a_validator_is_made_twice_in_a_second(
    path: str, query: bytes, clock: Clock, made: Made
) -> None:
    async def test(pair: Pair) -> None:
        assert not await made.was_remembered(pair, path, "HEAD", query)
        assert not await made.was_remembered(pair, path, "GET", query)
        assert not await made.was_remembered(pair, path, "GET", query)
        assert pair.prompt is None
        assert await made.was_remembered(pair, path, "GET", query)
        assert pair.prompt is not None
        assert await made.was_remembered(pair, path, "HEAD", query)
        assert pair.prompt is None
        assert not await made.was_remembered(pair, path, "OPTIONS", query)
        same = [(b"if-none-match", b"*")]
        for _ in range(2):
            assert not await made.was_remembered(pair, path, "GET", query, same)
        assert await made.was_remembered(pair, path, "GET", query, same)
        assert pair.prompt is not None
        assert pair.prompt[0] == 304
        clock.now += 1
        assert not await made.was_remembered(pair, path, "GET", query)

    run(test)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/sessions", b"sort=idle"),
        ("/v1/sessions", b"filter=/attributes/idle=1"),
        ("/v1/sessions/1", b"rdns=true"),
        ("/v1/sessions/1", b"include=services"),
        ("/v1/sessions/x", b""),
        ("/v1/sessions", b"page[size]=x"),
        ("/v1/openapi.json", b""),
        ("/healthz", b""),
        ("/v1/", b""),
    ],
)
def test_nothing_else_is_remembered(path: str, query: bytes, clock: Clock, made: Made) -> None:
    async def test(pair: Pair) -> None:
        for _ in range(3):
            assert not await made.was_remembered(pair, path, "GET", query)
            assert not cache_of(pair.app)._entries

    run(test)


def test_a_change_elsewhere_leaves_a_session_remembered(clock: Clock, made: Made) -> None:
    async def test(pair: Pair) -> None:
        for path in ("/v1/sessions/1", "/v1/sessions") * 2:
            await pair.ask(path)
        pair.change(NOON - 50, session(2, 11, at=NOON - 50))
        assert await made.was_remembered(pair, "/v1/sessions/1")
        assert not await made.was_remembered(pair, "/v1/sessions")
        pair.change(NOON - 40, session(1, 12, at=NOON - 40))
        assert not await made.was_remembered(pair, "/v1/sessions/1")
        pair.change(NOON - 30, gap=True)
        assert not await made.was_remembered(pair, "/v1/sessions/1")

    run(test)


def test_a_copy_that_is_not_provably_current_is_not_answered_from(clock: Clock, made: Made) -> None:
    async def test(pair: Pair) -> None:
        for _ in range(2):
            await pair.ask("/v1/sessions/1")
        pair.replica._staleness = -1.0
        with pytest.raises(AttributeError):  # there is no core to ask
            await pair.view.get(1)
        answer = await Exchange("/v1/sessions/1").run(pair.app)
        assert answer.status == 500
        pair.replica._staleness = 2.0
        assert await made.was_remembered(pair, "/v1/sessions/1")

    run(test)


def test_what_was_read_before_a_change_is_not_remembered(clock: Clock) -> None:
    """A table may change while a response is made from it."""

    async def test(pair: Pair) -> None:
        find = pair.view.held

        def held(ident: int) -> Any:
            found = find(ident)
            pair.view.held = find  # type: ignore[method-assign]
            pair.change(NOON - 50, session(2, 11, at=NOON - 50))
            return found

        await Exchange("/v1/sessions/1").run(pair.app)
        pair.view.held = held  # type: ignore[method-assign]
        await Exchange("/v1/sessions/1").run(pair.app)
        assert not cache_of(pair.app)._entries
        await Exchange("/v1/sessions/1").run(pair.app)
        assert cache_of(pair.app)._entries

    run(test)


def test_who_would_be_refused_is_not_answered_at_once(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = CredentialFiles(tmp_path)
    path, good = "/v1/sessions/1", (b"authorization", basic().encode())

    async def test(pair: Pair) -> None:
        def prompt(*headers: tuple[bytes, bytes], **options: Any) -> Told | None:
            return fast_path(pair.app, path, headers=headers, **options)

        for _ in range(2):
            await pair.ask(path, headers=[good])
        assert prompt(good)
        assert not prompt()
        assert not prompt((b"authorization", basic(password="wrong").encode()))
        assert not prompt(good, good)
        assert not prompt(good, host=b"evil.example")
        assert not prompt(good, (b"host", b"localhost"))
        assert not prompt(good, (b"accept", b"text/event-stream"))
        assert not prompt(good, (b"x", bytes(20_000)))
        assert not prompt(good, (b"transfer-encoding", b"chunked"))
        admission = cast(Admission, pair.app.middleware_stack)
        for _ in range(config.limits.max_requests):  # others', in progress
            admission._running[ResponseTracker(Exchange()._send, "", head=False)] = None
        assert prompt(good)
        admission._of["127.0.0.1"] = 1
        assert not prompt(good)
        admission._running.clear()
        assert prompt(good)
        clock.now += 1
        assert not prompt(good)

    config = GatewayConfig(protection=Protection(**files.settings))
    run(test, protection=config.protection)


def test_who_is_behind_a_trusted_proxy_is_answered_at_once_as_its_proxy_says(clock: Clock) -> None:
    async def test(pair: Pair) -> None:
        def prompt(host: bytes, client: str = "127.0.0.1") -> Told | None:
            headers = [(b"x-forwarded-host", host), (b"x-forwarded-for", b"192.0.2.1")]
            return fast_path(pair.app, "/v1/sessions/1", headers=headers, client=(client, 1))

        for host in (b"localhost:1", b"localhost:2") * 2:
            headers = [(b"x-forwarded-host", host), (b"x-forwarded-for", b"192.0.2.1")]
            await pair.ask("/v1/sessions/1", headers=headers)
        for host in (b"localhost:1", b"localhost:2"):
            found = prompt(host)
            assert found is not None
            assert json.loads(found[2])["links"]["self"] == f"http://{host.decode()}/v1/sessions/1"
        assert prompt(b"localhost:3") is None
        assert prompt(b"evil.example") is None
        assert prompt(b"localhost:1", client="192.0.2.7") is None  # believed by nobody

    run(test, trusted_proxies=(IPv4Network("127.0.0.0/8"),))


def test_the_application_sees_no_header_beside_those_of_the_key() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def main() -> None:
        names = [*PASSED_ON, b"host", b"cookie", b"authorization", b"user-agent", b"range"]
        given = [(name, b"x") for name in names]
        await Exchange(headers=given, state={"base_url": ""}).run(ResponseCache(app))
        assert {name for name, _ in seen[0]["headers"]} == PASSED_ON

    asyncio.run(main())


def test_a_request_whose_response_is_not_remembered_refers_to_nothing_of_itself() -> None:
    offered: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        offered.append("remember" in scope["state"])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})

    async def main() -> None:
        cache = ResponseCache(app)
        for _ in range(20):  # some of them in the second of the one before
            exchange = await Exchange(state={"base_url": ""}).run(cache)
            assert "remember" not in exchange.state
        assert any(offered)

    asyncio.run(main())


def test_each_header_of_the_key_separates_responses(clock: Clock, made: Made) -> None:
    async def test(pair: Pair) -> None:
        for _ in range(2):
            await pair.ask("/v1/sessions/1")
        for name in PASSED_ON:
            headers = [(name, b"*/*" if name == b"accept" else b"1")]
            assert not await made.was_remembered(pair, "/v1/sessions/1", headers=headers), name
        assert await made.was_remembered(pair, "/v1/sessions/1", headers=[(b"cookie", b"1")])

    run(test)


def test_what_is_asked_for_once_is_not_remembered(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_cache, "_SEEN", 100)

    async def test(pair: Pair) -> None:
        cache = cache_of(pair.app)
        for size in range(1, 201):
            query = b"page[size]=%d" % size
            await Exchange("/v1/sessions/x", query=query).run(pair.app)
            assert len(cache._seen) <= 100  # fewer if a second ends
        await Exchange("/v1/sessions").run(pair.app)
        clock.now += 1
        cache._let_go()
        await Exchange("/v1/sessions").run(pair.app)
        assert not cache._entries

    run(test)


def offer(cache: ResponseCache, number: int, size: int = 0) -> None:
    """Offer a response of this size, counted in bytes, to a cache."""
    state = object()
    validity = Validity(lambda: state, state, lambda: 1, 1, int(time.time()))
    response = BodyResponse(200, [], Body((bytes(size),)))
    scope = {"raw_path": b"", "query_string": b"", "headers": []}
    cache._offer((number,), scope, response, validity)


def test_bytes_and_responses_are_bounded_and_let_go_after_the_second() -> None:
    async def unused(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    async def main() -> None:
        cache = ResponseCache(unused)
        for number in range(2 * response_cache._RESPONSES):
            offer(cache, number)
            cache._entries[0,].is_used = True  # all the time
        assert len(cache._entries) == response_cache._RESPONSES
        assert (0,) in cache._entries
        for number in range(100):
            for _ in range(2):
                offer(cache, number, 1024 * 1024)
                assert cache._bytes <= response_cache._BYTES
                assert cache._bytes == sum(entry.size for entry in cache._entries.values())
        offer(cache, -1, response_cache._BYTES)
        assert (-1,) not in cache._entries
        cache._let_go()
        assert (cache._bytes, len(cache._entries)) == (0, 0)

    asyncio.run(main())


@one_view
def test_a_remembered_answer_leaves_the_connection_as_it_was_asked(
    fleet_gateway: Gateway,
) -> None:
    """All but the first two of these requests in a row are answered from memory."""
    kinds = [(b"GET", b"1.1", b""), (b"GET", b"1.1", b""), (b"HEAD", b"1.1", b"")]
    kinds += [(b"GET", b"1.0", b"keep-alive"), (b"GET", b"1.1", b"close")]
    row = b"".join(
        b"%b /v1/sessions/7 HTTP/%b\r\nHost: localhost\r\nConnection: %b\r\n\r\n" % kind
        for kind in kinds
    )
    with socket.create_connection(("127.0.0.1", fleet_gateway.port), LONG) as connection:
        connection.sendall(row)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    heads, bodies, ids = [], [], []
    for method, _, _ in kinds:
        head, _, received = received.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = 0 if method == b"HEAD" else int(fields[b"content-length"])
        heads.append(fields)
        bodies.append(received[:length])
        received = received[length:]
        ids.append(fields.pop(b"x-request-id"))
        del fields[b"date"]
    connections = [fields.pop(b"connection", None) for fields in heads]
    assert connections == [None, None, None, b"keep-alive", b"close"]
    assert all(fields == heads[0] for fields in heads)
    assert len({*ids}) == len(ids)
    assert (received, bodies[2]) == (b"", b"")
    assert all(json.loads(body)["data"]["id"] == "7" for body in bodies if body)


def test_what_is_remembered_is_counted_and_logged_like_the_rest(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.access")
    logged: list[str] = []

    class Note(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            request = current.get()
            logged.append(request.request_id if request else "")
            return True

    caplog.handler.addFilter(Note())
    asked = ("GET", "GET", "GET", "HEAD")

    async def test(pair: Pair) -> None:
        for method in asked:
            await Exchange("/v1/sessions/1", method).run(pair.app)
        asked_again = Exchange("/v1/sessions/1").asked()
        answer = pair.app.state.fast_path(asked_again)
        message = answer(ANY_LENGTH)
        assert f"x-request-id: {logged[-1]}\r\n" in message["head"].decode()
        # What is too long to be sent at once is logged and counted on its usual way.
        assert answer(len(message["body"]) - 1) is None
        assert len({*logged}) == len(asked) + 1
        metrics = cast(Admission, pair.app.middleware_stack)._metrics
        assert metrics is not None
        registries.append(metrics.registry)

    registries: list[CollectorRegistry] = []
    run(test, metrics="127.0.0.1:0", logs=LogSettings(access_log=True))
    labels = {"route": "/sessions/{id}", "status": "200"}
    name = "sessiongate_http_request_duration_seconds_count"
    # What was counted last is written when the worker ends.
    counts = [
        registries[0].get_sample_value(name, {**labels, "method": each}) for each in ("GET", "HEAD")
    ]
    assert counts == [4, 1]
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.access"]
    assert lines == [f"{method} /v1/sessions/1 200" for method in (*asked, "GET")]
