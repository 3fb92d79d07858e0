"""Acting on sessions over REST: what is done, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from sessiongate.core.sources.base import Action, Observed, TcpLink
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.runtime.auth.protection import Protection
from sessiongate.runtime.limits import CoreLimits
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_ACTIVE, ACTIVITY_STATE_IDLE
from tests.doing import Shown, showing, stated
from tests.gateway.programs import VIEWS, Gateway, client_of, in_process, one_view, running_gateway
from tests.gateway.scripted import ScriptedCore, listening
from tests.gateway.test_maxscale import HEADERS, REQUESTS
from tests.polling import eventually

SENT = {"Content-Type": MEDIA_TYPE}
OPEN = Protection(insecure_actions=True)


class Acting:
    """A gateway of a core whose callers may all act."""

    def __init__(self, shown: Shown, http: httpx.Client, gateway: Gateway, audit: Path) -> None:
        self.shown = shown
        self.http = http
        self.gateway = gateway
        self._audit = audit

    def end(self, ident: int, query: str = "", **headers: str) -> httpx.Response:
        """Ask to end a session."""
        return self.http.delete(f"/v1/sessions/{ident}{query}", headers=_named(headers))

    def cancel(self, ident: int, **headers: str) -> httpx.Response:
        """Ask to cancel a session's statement."""
        return self.http.post(f"/v1/sessions/{ident}/cancel", headers=SENT | _named(headers))

    def etag(self, ident: int, query: str = "") -> str:
        """Return a session's ETag."""
        return self.http.get(f"/v1/sessions/{ident}{query}").raise_for_status().headers["etag"]

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log."""
        return [json.loads(line) for line in self._audit.read_text().splitlines()]


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def sessions() -> list[Observed]:
    return [
        stated("1", ACTIVITY_STATE_ACTIVE, user="ann", remote="10.0.0.1"),
        stated("2", ACTIVITY_STATE_ACTIVE, user="ann", remote="10.0.0.1"),
        stated("3", ACTIVITY_STATE_IDLE, user="bob", remote="10.0.0.2"),
    ]


@contextmanager
def acting(
    folder: Path, view: str, core: Mapping[str, Any] = MappingProxyType({}), **settings: object
) -> Iterator[Acting]:
    """Run both, with ``core`` and ``settings`` of theirs."""
    audit = folder / "audit.log"
    core = {"protection": OPEN, "audit_log": str(audit), **core}
    with (
        showing({"db": sessions()}, {"db": "cancel,terminate"}, **core) as shown,
        running_gateway(shown.address, protection=OPEN, **VIEWS[view], **settings) as gateway,
        client_of(gateway) as http,
    ):
        yield Acting(shown, http, gateway, audit)


@pytest.fixture
def db(tmp_path: Path, view: str) -> Iterator[Acting]:
    with acting(tmp_path, view) as running:
        yield running


def test_the_session_that_is_named_ends_and_is_not_found_from_then_on(db: Acting) -> None:
    answer = db.end(2)
    assert (answer.status_code, answer.content) == (204, b"")
    assert db.http.get("/v1/sessions/2").status_code == 404
    assert db.shown.acts == [(Action.TERMINATE, "2")]
    assert {each["id"] for each in db.http.get("/v1/sessions").json()["data"]} == {"1", "3"}
    past = db.http.get("/v1/history/sessions/2").json()["data"]["attributes"]
    assert past["end_reason"] == "terminated"
    again = db.end(2)
    assert again.status_code == 404
    (error,) = again.json()["errors"]
    assert error["code"] == "SESSION_NOT_FOUND"
    assert error["links"]["about"] == "http://localhost:8989/v1/history/sessions/2"


def test_a_worker_whose_copy_is_behind_waits_until_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Replica._apply

    async def late(self: Replica, messages: Any, store: Any) -> None:
        await asyncio.sleep(1)
        await apply(self, messages, store)

    async def main(address: str) -> None:
        async with in_process(address, protection=OPEN, **VIEWS["replica"]) as http:
            view = http._transport.app.state.view  # type: ignore[attr-defined]
            while view.version() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            monkeypatch.setattr(Replica, "_apply", late)
            assert (await http.delete("/v1/sessions/2")).status_code == 204
            assert (await http.get("/v1/sessions/2")).status_code == 404

    with showing(
        {"db": sessions()}, {"db": "terminate"}, protection=OPEN, audit_log=str(tmp_path / "log")
    ) as shown:
        asyncio.run(main(shown.address))


def test_a_statement_is_cancelled_and_its_session_stays(db: Acting) -> None:
    answer = db.cancel(1)
    assert (answer.status_code, answer.content) == (204, b"")
    assert db.shown.acts == [(Action.CANCEL, "1")]
    attributes = db.http.get("/v1/sessions/1").json()["data"]["attributes"]
    assert attributes["activity"]["state"] == "idle"


def test_what_is_not_known_to_have_ended_is_202_with_its_location(
    tmp_path: Path, view: str
) -> None:
    with (
        acting(tmp_path, view, limits=Limits(request_timeout=5.0)) as db,  # it waits for half
        ThreadPoolExecutor() as pool,
    ):
        db.shown.stubborn = True
        acts = ((1, pool.submit(db.end, 1)), (2, pool.submit(db.cancel, 2)))
        for ident, act in acts:
            answer = act.result()
            assert (answer.status_code, answer.content) == (202, b"")
            assert answer.headers["location"] == f"http://localhost:8989/v1/sessions/{ident}"
            assert db.http.get(f"/v1/sessions/{ident}").status_code == 200
        assert sorted(key for _, key in db.shown.acts) == ["1", "2"]


def test_only_the_session_that_was_seen_is_ended(db: Acting) -> None:
    seen = db.etag(1)
    db.shown.sources["db"] = [
        stated("1", ACTIVITY_STATE_IDLE, user="ann", remote="10.0.0.1"),
        stated("2", ACTIVITY_STATE_ACTIVE, user="ann", remote="10.0.0.1", database="other"),
    ]
    eventually(lambda: db.etag(1) != seen)
    other = db.etag(2)
    for tag in (other, '"x"', f'"x", {other}', 'W/"1-1-0123456789abcdef"'):
        answer = db.end(1, If_Match=tag)
        assert answer.status_code == 412
        (error,) = answer.json()["errors"]
        assert (error["code"], error["source"]) == ("SESSION_CHANGED", {"header": "If-Match"})
        assert db.audit()[-1]["outcome"] == "session_changed"
    assert db.shown.acts == []
    # It does something else than when it was seen, but it is who it was.
    assert db.end(1, If_Match=f'"x", {seen}, {other}').status_code == 204
    assert db.end(2, If_Match="*").status_code == 204


def test_the_tag_of_another_document_of_the_session_will_do_to_end_it(db: Acting) -> None:
    tag = db.etag(1, "?include=services&pretty=true")
    assert db.end(1, If_Match=tag).status_code == 204


def test_only_the_statement_that_was_seen_is_cancelled(db: Acting) -> None:
    seen = db.etag(1)
    db.shown.sources["db"] = [
        stated("1", ACTIVITY_STATE_ACTIVE, since=5, user="ann", remote="10.0.0.1"), *sessions()[1:]
    ]  # fmt: skip
    eventually(lambda: db.etag(1) != seen)
    answer = db.cancel(1, If_Match=seen)
    assert answer.status_code == 412
    assert answer.json()["errors"][0]["code"] == "SESSION_CHANGED"
    assert db.shown.acts == []
    assert db.cancel(1, If_Match=db.etag(1, "?pretty=true")).status_code == 204


@one_view
def test_a_session_without_a_statement_is_a_conflict(db: Acting) -> None:
    answer = db.cancel(3)
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["code"] == "NO_STATEMENT"


@pytest.mark.long
@one_view
def test_ttl_is_the_grace(db: Acting) -> None:
    began = time.monotonic()
    assert db.end(1, "?ttl=1").status_code == 204
    assert time.monotonic() - began >= 1
    assert db.end(2, "?ttl=0").status_code == 204
    # Longer than anybody waits: it is ended later.
    answer = db.end(3, "?ttl=3600")
    assert (answer.status_code, answer.headers["location"][-2:]) == (202, "/3")
    assert db.http.get("/v1/sessions/3").status_code == 200
    for wrong in ("-1", "3601", "none", "", "1.5", "1e3", "nan", "0x1", "\u0661"):
        answer = db.end(3, f"?ttl={wrong}")
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert error["source"] == {"parameter": "ttl"}
        assert "from 0 to 3600" in error["detail"]


def test_the_answer_names_the_other_ends(tmp_path: Path, view: str) -> None:
    accepted = TcpLink(("10.0.0.9", 1), ("10.0.0.8", 2))
    proxy = stated("1", ACTIVITY_STATE_ACTIVE, opened=[accepted])
    server = stated("2", ACTIVITY_STATE_ACTIVE, accepted=accepted)
    with (
        showing({"proxy": [proxy], "db": [server]}, dict.fromkeys(("proxy", "db"), "terminate"),
                protection=OPEN, audit_log=str(tmp_path / "audit.log")) as shown,
        running_gateway(shown.address, protection=OPEN, **VIEWS[view]) as gateway,
        client_of(gateway) as http,
    ):  # fmt: skip
        url = "/v1/sessions/1"
        eventually(lambda: "upstream" in http.get(url).json()["data"]["relationships"])
        answer = http.delete(url)
        link = '<http://localhost:8989/v1/sessions/2>; rel="related"; title="upstream"'
        assert (answer.status_code, answer.headers["link"]) == (204, link)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8988"},
        {"Origin": "https://localhost:8989"},
        {"Origin": "http://localhost:8989.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:8989", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://dashboard.example"},  # which may read, not act
    ],
)
def test_pages_of_others_cannot_act(cross: Acting, headers: dict[str, str]) -> None:
    for answer in (cross.end(1, **headers), cross.cancel(1, **headers)):
        assert answer.status_code == 403
        assert answer.json()["errors"][0]["code"] == "OTHER_ORIGIN"
    assert cross.shown.acts == []


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acting]:
    folder, allowed = tmp_path_factory.mktemp("cross"), ("https://dashboard.example",)
    with acting(folder, "replica", allowed_origin=allowed) as running:
        yield running


def test_a_page_of_another_origin_may_not_even_ask_to_act(cross: Acting) -> None:
    asked = {
        "Origin": "https://dashboard.example",
        "Access-Control-Request-Method": "DELETE",
    }
    answer = cross.http.options("/v1/sessions/1", headers=asked)
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD"


def test_its_own_page_can_act(tmp_path: Path) -> None:
    with acting(tmp_path, "direct", public_url="https://sessions.example/tools") as running:
        own = {"Sec-Fetch-Site": "same-origin"}
        assert running.end(1, Origin="https://sessions.example", **own).status_code == 204
        assert running.end(2, Origin="http://localhost:8989", **own).status_code == 204
        assert running.end(3, Origin="https://evil.example", **own).status_code == 403


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"", 415),
        ({"Content-Type": "application/json"}, b"", 415),
        ({"Content-Type": "text/plain"}, b"", 415),
        ({"Content-Type": f"text/plain; {MEDIA_TYPE}"}, b"", 415),
        ({"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"}, b"", 415),
        (SENT, b"{}", 413),
        (SENT | {"If-None-Match": '"x"'}, b"", 400),
        (SENT | {"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, b"", 400),
        (SENT | {"Accept": "text/html"}, b"", 406),
    ],
)
def test_a_request_that_may_not_be_meant_does_nothing(
    cross: Acting, headers: dict[str, str], content: bytes, status: int
) -> None:
    url = "/v1/sessions/1/cancel"
    assert cross.http.post(url, headers=headers, content=content).status_code == status
    assert cross.http.post(f"{url}?none=1", headers=SENT).status_code == 400
    assert cross.shown.acts == []


@one_view
def test_a_source_that_cannot_be_reached_is_503_and_nothing_is_done(db: Acting) -> None:
    db.shown.sources["db"] = "out of order"
    answer = db.end(1)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["errors"][0]["code"] == "SOURCE_UNREACHABLE"
    assert db.shown.acts == []


@one_view
def test_what_is_not_a_session_is_not_found(db: Acting) -> None:
    for ident in ("99", "0", "-1", "x", "1x", "%31%00", "99999999999999999999"):
        assert db.http.delete(f"/v1/sessions/{ident}").status_code == 404, ident
        url = f"/v1/sessions/{ident}/cancel"
        assert db.http.post(url, headers=SENT).status_code == 404, ident
    assert db.shown.acts == []


def test_too_many_actions_are_429_and_say_when_to_come_back(tmp_path: Path) -> None:
    limits = CoreLimits(max_actions=2)
    with acting(tmp_path, "replica", core={"limits": limits}) as running:
        assert [running.end(9).status_code for _ in range(2)] == [404, 404]
        answer = running.end(1)
        assert answer.status_code == 429
        assert answer.json()["errors"][0]["code"] == "TOO_MANY_ACTIONS"
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert running.shown.acts == []


def test_a_core_without_actions_is_501(core: str) -> None:
    with running_gateway(core, protection=OPEN) as gateway, client_of(gateway) as http:
        for answer in (http.delete("/v1/sessions/1"),
                       http.post("/v1/sessions/1/cancel", headers=SENT)):  # fmt: skip
            assert answer.status_code == 501
            assert answer.json()["errors"][0]["code"] == "UNIMPLEMENTED"


def test_what_may_have_been_done_is_said(tmp_path: Path) -> None:
    """Another server than a core: what it did, nobody knows."""
    with listening(ScriptedCore()) as address:
        pass
    with (
        running_gateway(address, protection=OPEN) as gateway,
        client_of(gateway) as http,
    ):
        (error,) = http.delete("/v1/sessions/1").json()["errors"]
        assert error["code"] == "UNAVAILABLE"
        assert "it may have been done or not" in error["detail"]


@one_view
def test_each_attempt_is_told_with_its_request(db: Acting) -> None:
    answer = db.end(2, X_Request_ID="of-mine")
    begun, done = db.audit()
    assert (begun["outcome"], done["outcome"]) == ("begun", "done")
    assert answer.headers["x-request-id"] == "of-mine"
    for line in (begun, done):
        assert line["request_id"] == "of-mine"
        assert line["session"]["user"] == "ann"
    db.end(99)
    assert db.audit()[-1]["outcome"] == "session_not_found"


@one_view
def test_the_client_of_a_maxscale_ends_a_session_as_it_is(db: Acting) -> None:
    """As maxctrl does, by the requests that were recorded."""
    commands = {"2": "destroy session 2", "1": "destroy session 2 --ttl 5"}
    for ident, command in commands.items():
        ((method, path),) = REQUESTS[command]
        path = path.replace("sessions/2", f"sessions/{ident}").replace("ttl=5", "ttl=1")
        assert db.http.request(method, path, headers=HEADERS).status_code == 204
        assert db.http.get(f"/v1/sessions/{ident}").status_code == 404
    assert db.shown.acts == [(Action.TERMINATE, "2"), (Action.TERMINATE, "1")]
