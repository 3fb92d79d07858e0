"""Sessions of many MiB beside ordinary ones: all are listed, watched and rendered, bounded."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.scale import FULL, figure, times
from tests.gateway.programs import running_core
from tests.gateway.reading import reading
from tests.program import DATA, DOCUMENT, PATIENCE, Forked, Serving, channel

pytestmark = pytest.mark.long

REFERENCE: dict[str, Any] = json.loads((DATA / "sessions.json").read_text())["data"][0]
MIB = 1 << 20
LARGE = times(2, 5) * MIB
LISTS = times(1, 2) * MIB  # the size of the other large texts: a document has 64 MiB at most
# A source takes as long to read a short text as a long one: in a short run, few that are long
# make a session too large.
LONG = "x" * times(40, 0)
# 32 bytes; written in JSON, 39. With more escapes, or more values than in the lists below,
# the source cuts the session itself: `core.sources.support.excerpt`.
TEXT = 'ü\\"\x01' + "x" * 26


def text(size: int) -> str:
    return TEXT * (size // 32)


ATTRIBUTES = {f"{LONG}{n:06}": "x" for n in range(times(2_500, 30_000))}
CONNECTIONS = [{"server": f"db{LONG}", "connection_id": n} for n in range(times(2_000, 14_000))]
FILTERS = [{"id": f"{n}{LONG}", "type": "filters"} for n in range(times(2_000, 12_000))]

# What is too large in a session, and what of it is cut.
KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "application": ({"application": text(LARGE)}, {"application"}),
    "statements": ({"queries": [{"statement": text(16_000)}] * (LARGE // 16_000)}, {"queries"}),
    "attribute": (
        {"client": {"connection_attributes": {"_os": "x", "big": text(LISTS)}}},
        {"connection_attributes"},
    ),
    "attributes": (
        {"client": {"connection_attributes": ATTRIBUTES}},
        {"connection_attributes"},
    ),
    "connections": (
        {"connections": CONNECTIONS},
        {"connections"},
    ),
    "connection": ({"connections": [{"server": text(LISTS)}]}, {"connections"}),
    "user": ({"user": text(LISTS), "database": text(LISTS)}, {"user", "database"}),
    "remote": ({"remote": text(LISTS)}, {"remote"}),
    "cipher": ({"client": {"cipher": text(LISTS)}}, {"tls_cipher"}),
}


def large(user: str) -> Iterator[dict[str, Any]]:
    for number, (attributes, _) in enumerate(KINDS.values()):
        session = copy.deepcopy(REFERENCE)
        session["id"] = str(1000 + number)
        session["attributes"] |= {"user": user, "state": "Session started"} | attributes
        yield session
    for place in ("id", "service", "filters"):
        session = copy.deepcopy(REFERENCE)
        session["id"] = place
        session["attributes"] |= {"user": user, "state": "Session started"}
        if place == "id":
            session["id"] = "9" * LISTS
        elif place == "service":
            session["relationships"]["services"]["data"][0]["id"] = text(LISTS)
        else:
            session["relationships"]["filters"] = {"data": FILTERS}
        yield session


ALL = len(KINDS) + 3
CUT = [*(names for _, names in KINDS.values()), {"native_id"}, {"service"}, {"filters"}]


def write(path: Path, user: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"data": [*large(user)]}, ensure_ascii=False))
    os.replace(beside, path)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bounds") / "large.json"
    write(path, "ann")
    return path


@pytest.fixture(scope="module", params=["on", "off"])
def serving(path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    with Forked(
        *("--source", DOCUMENT),
        *("--source", f"document:{path}?statements=true&timeout=300"),
        *("--source", f"document:{DATA}/session_1.json", "--ledger", f"sqlite:///{path}.db"),
        *("--replica", request.param),
    ) as running:
        yield running
        assert "Traceback" not in running.output


@pytest.fixture
def stub(serving: Serving) -> Iterator[SessionServiceStub]:
    with channel(serving.grpc) as opened:  # with gRPC's default limit of 4 MiB
        yield SessionServiceStub(opened)


def judge(sessions: list[Session]) -> None:
    """Check that all are there; what was too large fits, is cut where necessary, and says so."""
    assert len(sessions) == ALL + 4
    too_large = [session for session in sessions if session.source == "large.json"]
    too_large.sort(key=lambda session: (session.HasField("native_id"), session.id))
    for session, names in zip(too_large, CUT, strict=True):
        assert session.ByteSize() <= MAX_SESSION
        assert {*session.truncated} == names
    for session in sessions:
        if session.source != "large.json":
            assert not session.truncated
            assert session.service in ("RW-Split-Router", "Read-Connection-Router", "CLI")


def test_lists_single_sessions_and_snapshots_are_whole(stub: SessionServiceStub) -> None:
    listed = stub.ListSessions(ListSessionsRequest(page_size=10_000), timeout=PATIENCE)
    assert (listed.total_size, [*listed.unreachable], [*listed.partial]) == (ALL + 4, [], [])
    judge([*listed.sessions])
    for session in listed.sessions:
        assert stub.GetSession(GetSessionRequest(id=session.id)).session == session
    told: list[Session] = []
    for message in stub.WatchSessions(WatchSessionsRequest(), timeout=PATIENCE):
        told += message.snapshot.sessions
        if message.HasField("sync"):
            assert all(state.reachable for state in message.sync.sources)
            break
    assert told == [*listed.sessions]


def largest(sessions: list[Session]) -> int:
    return max(session.ByteSize() for session in sessions)


def test_rest_and_events_are_whole(serving: Serving) -> None:
    with httpx.Client(
        base_url=f"http://{serving.http}", timeout=PATIENCE, trust_env=False
    ) as client:
        assert client.get("/readyz").is_success
        listed = client.get("/v1/sessions").raise_for_status().json()
        assert "meta" not in listed
        assert len(listed["data"]) == ALL + 4
        marked = [item for item in listed["data"] if "truncated" in item["attributes"]]
        told = [{*item["attributes"]["truncated"]} for item in marked]
        assert sorted(map(sorted, told)) == sorted(map(sorted, CUT))
        for item in listed["data"]:
            found = client.get(item["links"]["self"]).raise_for_status().json()["data"]
            for one in (item, found):
                one["attributes"].pop("idle", None)
            assert found == item
        assert len(client.get("/v1/services").raise_for_status().json()["data"]) == 4
        paged = client.get("/v1/sessions?page[size]=3&page[number]=1").json()
        assert [item["id"] for item in paged["data"]] == [
            item["id"] for item in listed["data"][3:6]
        ]
        states = [item["attributes"] for item in client.get("/v1/sources").json()["data"]]
        assert {(state["state"], state["partial"]) for state in states} == {("reachable", "")}
    with reading(f"http://{serving.http}") as stream:
        ids = [event.data["id"] for event in stream.until("sync") if event.name == "upsert"]
    assert ids == [item["id"] for item in listed["data"]]


def test_changes_are_told_and_fit(serving: Serving, stub: SessionServiceStub, path: Path) -> None:
    # It is a lot of work, for which a loaded machine has little CPU.
    stream = stub.WatchSessions(WatchSessionsRequest(), timeout=5 * PATIENCE)
    try:
        for message in stream:
            if message.HasField("sync"):
                break
        user = f"user of {serving.grpc}"
        write(path, user)
        changed: set[int] = set()
        for message in stream:
            changed.update(session.id for session in message.changes.upserts)
            assert not message.changes.removals
            if len(changed) == ALL - 1:  # all but the one whose cut text is the user
                break
    finally:
        stream.cancel()
    listed = stub.ListSessions(ListSessionsRequest(page_size=10_000), timeout=PATIENCE)
    judge([*listed.sessions])
    assert sum(session.user == user for session in listed.sessions) == ALL - 1


def test_a_long_key_stays_the_same_over_a_restart(path: Path, tmp_path: Path) -> None:
    source, ledger = f"document:{path}?timeout=300", f"sqlite:///{tmp_path}/ledger.db"
    ids = []
    for _ in range(2):
        with running_core(source, ledger=ledger) as core, channel(core) as opened:
            listed = SessionServiceStub(opened).ListSessions(ListSessionsRequest())
            ids.append([session.id for session in listed.sessions])
    assert ids[0] == ids[1]
    assert len(ids[0]) == ALL
    assert (tmp_path / "ledger.db").stat().st_size < MIB
    what = f"{ALL} sessions of {LISTS // MIB} to {LARGE // MIB} MiB"
    figure(f"{what}: bytes of the largest, as it is listed", largest([*listed.sessions]))
    if FULL:  # a forked core also has what else the process had imported
        with Serving("--source", source, "--ledger", ledger) as running:
            memory = running.core().memory_info().rss
        figure(f"{what}: resident memory of the core, MiB", memory >> 20)


def test_another_sessiongate_says_what_was_cut_too(serving: Serving) -> None:
    source = f"maxscale+http://{serving.http}?name=far&statements=true&timeout=300"
    with running_core(source) as core, channel(core) as opened:
        sessions = list_all(SessionServiceStub(opened))
    told = sorted(sorted(session.truncated) for session in sessions if session.truncated)
    assert told == sorted(map(sorted, CUT))
    assert len(sessions) == ALL + 4


def test_what_max_session_allows_is_not_cut(path: Path) -> None:
    source = f"document:{path}?timeout=300"
    with running_core(source, max_session=MIB) as core, channel(core) as opened:
        sessions = list_all(SessionServiceStub(opened))
    assert largest(sessions) <= MIB
    assert largest(sessions) > MAX_SESSION


def list_all(stub: SessionServiceStub) -> list[Session]:
    """List all pages: fewer sessions fit into one message."""
    request = ListSessionsRequest(page_size=10_000)
    found: list[Session] = []
    while True:
        page = stub.ListSessions(request, timeout=PATIENCE)
        found += page.sessions
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
