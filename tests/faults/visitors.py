"""Clients of every kind that come, ask or watch for a while, and go: again and again."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode

import grpc

from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.credentials import basic
from tests.faults.crowd import Crowd
from tests.faults.scale import times
from tests.program import PATIENCE

STAY = times(1, 10)  # seconds that a watcher stays, at most
_METADATA = (("authorization", basic()),)
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


class Visitor:
    """Visits a program, with valid credentials unless otherwise stated.

    Each public method is one visit, and raises if an answer is wrong. ``metrics`` are
    the URLs that Prometheus reads.
    """

    def __init__(self, http: str, rpc: str, metrics: Sequence[str], dice: random.Random) -> None:
        self._http = http
        self._rpc = rpc
        self._metrics = metrics
        self._dice = dice

    def browse(self) -> None:
        """Request lists, pages and filters, a session and the same again, on one connection."""
        with self._connection() as opened:
            _ask(opened, f"/v1/sessions?{self._question()}", self._headers())
            tag, document = _ask(opened, f"/v1/sessions?{self._page()}", self._headers())
            _ask(opened, f"/v1/sessions?{self._page()}", {"If-None-Match": tag}, 200, 304)
            for session in document["data"][:3]:
                path = f"/v1/sessions/{session['id']}"
                tag, found = _ask(opened, path, self._headers(), 200, 404)
                if tag:
                    assert found["data"]["id"] == session["id"]
                    _ask(opened, path, {"If-None-Match": tag}, 200, 304, 404)
            _ask(opened, self._dice.choice(("/v1/services", "/v1/sources", "/v1/", "/readyz")), {})

    def ask(self) -> None:
        """Make one request."""
        with self._connection() as opened:
            _ask(opened, f"/v1/sessions?{self._question()}", self._headers())

    def fetch(self) -> None:
        """Fetch every session at once."""
        with self._connection() as opened:
            _, document = _ask(opened, "/v1/sessions", {})
            ids = [int(session["id"]) for session in document["data"]]
            assert ids == sorted(set(ids))
            assert ids

    def stray(self) -> None:
        """Make requests that are refused, each for its own reason."""
        dice = self._dice
        number = dice.randrange(10**12, 10**15)
        for path, headers, status in (
            (f"/v1/sessions/{number}", {}, 404),
            (f"/v1/sessions/no-{number}", {}, 404),
            (f"/nowhere/{number}", {}, 404),
            (f"/v1/sessions?page[size]=no-{number}", {}, 400),
            (f"/v1/sessions?filter=no-{number}", {}, 400),
            (f"/v1/sessions?{quote('n' * dice.randrange(9000, 12000))}", {}, 414),
            ("/v1/sessions", {"Accept": f"application/x-{number}"}, 406),
            ("/v1/sessions", {"Host": f"no-{number}.example"}, 421),
        ):
            with self._connection() as opened:
                _ask(opened, path, headers, status)
        with self._connection(f"127.{dice.randrange(1, 255)}.{dice.randrange(256)}.1") as opened:
            wrong = {"Authorization": basic(f"no-{number}", "tuna")}
            _ask(opened, "/v1/sessions", wrong, 401, 429)

    def follow(self) -> None:
        """Follow events of all sessions or some; leave whatever is just arriving."""
        question = self._dice.choice(("", self._user(), f"filter={quote('/id=ge(1)')}"))
        headers = {"Authorization": basic(), "Accept": "text/event-stream"}
        until = time.monotonic() + self._dice.uniform(0, STAY)
        with self._connection() as opened:
            opened.request("GET", f"/v1/sessions?{question}", headers=headers)
            answer = opened.getresponse()
            assert answer.status == 200
            while time.monotonic() < until:
                assert answer.read1(65536), "a stream of events was cut"

    def call(self) -> None:
        """Request pages, a filter, sessions, and what is refused, by gRPC."""
        dice = self._dice
        with self._channel() as stub:
            request = ListSessionsRequest(page_size=dice.randrange(1, 500), order_by="connect_time")
            page = stub.ListSessions(request, metadata=_METADATA, timeout=PATIENCE)
            request.page_token = page.next_page_token
            stub.ListSessions(request, metadata=_METADATA, timeout=PATIENCE)
            wanted = SessionFilter(remotes=[f"10.{dice.randrange(4)}.{dice.randrange(256)}.0/24"])
            request = ListSessionsRequest(filter=wanted, page_size=dice.randrange(1, 500))
            found = stub.ListSessions(request, metadata=_METADATA, timeout=PATIENCE)
            assert found.total_size < page.total_size
            for session in page.sessions[:3]:
                _refused(stub, session.id, grpc.StatusCode.NOT_FOUND, None)
            _refused(stub, 0, grpc.StatusCode.INVALID_ARGUMENT)
            _refused(stub, dice.randrange(10**12, 10**15), grpc.StatusCode.NOT_FOUND)

    def watch(self) -> None:
        """Watch a stream of messages, of all sessions or some."""
        dice = self._dice
        wanted = SessionFilter(users=dice.sample([f"app_{each}" for each in range(50)], k=9))
        request = WatchSessionsRequest(filter=dice.choice((None, wanted)))
        until = time.monotonic() + dice.uniform(0, STAY)
        with self._channel() as stub:
            for _ in stub.WatchSessions(request, metadata=_METADATA):
                if time.monotonic() > until:
                    break

    def scrape(self) -> None:
        """Read the metrics as Prometheus does."""
        for url in self._metrics:
            _, _, address, path = url.split("/")
            host, _, port = address.rpartition(":")
            opened = HTTPConnection(host, int(port), timeout=PATIENCE)
            opened.request("GET", f"/{path}", headers={"Authorization": basic()})
            answer = opened.getresponse()
            assert (answer.status, b"process_open_fds" in answer.read()) == (200, True)
            opened.close()

    @contextmanager
    def _connection(self, source: str = "127.0.0.1") -> Iterator[HTTPConnection]:
        host, _, port = self._http.rpartition(":")
        opened = HTTPConnection(host, int(port), timeout=PATIENCE, source_address=(source, 0))
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def _channel(self) -> Iterator[SessionServiceStub]:
        with grpc.insecure_channel(self._rpc, _OWN_CONNECTION) as opened:
            yield SessionServiceStub(opened)

    def _headers(self) -> Mapping[str, str]:
        """Draw headers that no two requests share."""
        dice = self._dice
        return {
            "Accept": f"application/json;q=0.{dice.randrange(1, 1000)}, */*;q=0",
            "Accept-Encoding": f"gzip;q=0.{dice.randrange(1000)}",
            "Host": f"localhost:{dice.randrange(1, 65536)}",
            "X-Request-ID": f"request-{dice.randrange(10**9)}",
        }

    def _page(self) -> str:
        size, number = self._dice.randrange(1, 50), self._dice.randrange(20)
        return urlencode({"page[size]": size, "page[number]": number})

    def _user(self) -> str:
        return urlencode({"filter[attributes.user]": f'eq("app_{self._dice.randrange(50)}")'})

    def _question(self) -> str:
        dice = self._dice
        more = (
            {"filter": f"/id=ge({dice.randrange(10**6)})"},
            {"filter": f"/attributes/port=lt({dice.randrange(2**16)})", "sort": "-connected"},
            {"fields[sessions]": "state,user", "sort": "idle"},
            {"include": "services", "pretty": "true"},
        )
        size = {"page[size]": str(dice.randrange(1, 50))}
        return dice.choice((self._user(), *(urlencode(size | each) for each in more)))


class Visitors(Crowd):
    """Threads that visit without end.

    Each repeats one visit, and waits the given seconds before each time.
    ``visits`` counts successful ones, by name; failed ones are in ``wrong``.
    """

    def __init__(self, visits: Sequence[tuple[Callable[[], None], float]]) -> None:
        super().__init__(partial(self._visit, *each) for each in visits)
        self._names = {visit.__name__ for visit, _ in visits}
        self.visits: Counter[str] = Counter()
        self.wrong: list[str] = []

    def wait_for_each(self) -> None:
        """Wait until every kind of visit has been made."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._names <= self.visits.keys(), PATIENCE)
        assert done, (self.visits, self.wrong[:3])

    def _visit(self, visit: Callable[[], None], pause: float) -> None:
        name = visit.__name__
        while True:
            try:
                visit()
            except Exception as error:
                self.wrong.append(f"{name}: {error!r}")
            else:
                with self._changed:
                    self.visits[name] += 1
                    self._changed.notify_all()
            if self._stop.wait(pause):
                return


def _ask(
    opened: HTTPConnection, path: str, headers: Mapping[str, str], *expected: int
) -> tuple[str, Any]:
    """Return the answer's tag, if it has one, and its document."""
    opened.request("GET", path, headers={"Authorization": basic(), **headers})
    answer = opened.getresponse()
    body = answer.read()
    assert answer.status in (expected or (200,)), (path, answer.status, body[:300])
    if answer.headers["Content-Encoding"] == "gzip":
        body = zlib.decompress(body, wbits=16 + zlib.MAX_WBITS)
    document: Any = json.loads(body) if body else None
    assert answer.status in (200, 304) or document["errors"]
    return answer.headers["ETag"] if answer.status == 200 else "", document


def _refused(stub: SessionServiceStub, ident: int, *codes: grpc.StatusCode | None) -> None:
    """Ask for one session; the call must end with one of these, None for OK."""
    code = None
    try:
        stub.GetSession(GetSessionRequest(id=ident), metadata=_METADATA, timeout=PATIENCE)
    except grpc.RpcError as error:
        code = error.code()
    assert code in codes
