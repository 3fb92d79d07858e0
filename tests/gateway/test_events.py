"""Sessions as server-sent events, over the real server and a real core."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.gateway.programs import DATA, LONG, Gateway, running_core, running_gateway, worker_of
from tests.gateway.reading import EVENTS, Event, Reading, reading

HOST = {"Host": "localhost:8989"}
DOCUMENT = json.loads((DATA / "sessions.json").read_text())


class Table:
    """The sessions that a core shows, which a test can replace: users by number.

    Each test numbers its own from 1, in the order that it first shows them.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = self.last = 0  # ids given before the test, and in all
        self.show({})

    def show(self, users: dict[int, str]) -> None:
        """Show these sessions, each on the service that its user is named after."""
        data = []
        for number, user in users.items():
            session = json.loads(json.dumps(DOCUMENT["data"][0]))
            session["id"] = str(self.before + number)
            session["attributes"]["user"] = user
            session["relationships"]["services"]["data"][0]["id"] = f"for-{user}"
            data.append(session)
            self.last = max(self.last, self.before + number)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({**DOCUMENT, "data": data}))
        new.replace(self.file)

    def told(self, events: Sequence[Event]) -> list[tuple[str, int]]:
        """Return what events say of sessions, by their numbers."""
        return [
            (event.name, int(event.data["id"]) - self.before)
            for event in events
            if event.name in ("upsert", "remove")
        ]


class Scene:
    """A table, and the gateway that shows it."""

    def __init__(self, table: Table, gateway: Gateway) -> None:
        self.table = table
        self.url = gateway.url
        self.show = table.show
        self.told = table.told

    def settle(self, users: dict[int, str]) -> None:
        """Replace the sessions, and wait until the core has them."""
        self.table.show(users)
        expected = {str(self.table.before + number): user for number, user in users.items()}
        with httpx.Client(base_url=self.url, timeout=LONG) as client:
            found = None
            while found != expected:
                data = client.get("/v1/sessions").json()["data"]
                found = {one["id"]: one["attributes"]["user"] for one in data}

    def synced(self, stream: Reading, *numbers: int) -> list[Event]:
        """Read a snapshot that must be of just these sessions."""
        events = stream.until("sync")
        assert self.told(events) == [("upsert", number) for number in numbers]
        return events


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    table = Table(tmp_path_factory.mktemp("core") / "sessions.json")
    source = f"document:{table.file}?interval=0.1&name=shown"
    with running_core(source) as core, running_gateway(core) as gateway:
        yield Scene(table, gateway)


@pytest.fixture
def scene(shown: Scene) -> Scene:
    shown.table.before = shown.table.last
    return shown


def names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]


def test_the_reference_text_s_sessions_as_a_snapshot(gateway: Gateway) -> None:
    with reading(gateway.url, headers=HOST) as stream:
        headers = stream.response.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers
        events = stream.until("sync")
    assert names(events) == ["snapshot", "upsert", "upsert", "upsert", "sources", "sync"]
    assert [event.data for event in events[1:4]] == DOCUMENT["data"]
    assert events[4].data == [
        {
            "id": "sessions.json",
            "type": "sources",
            "attributes": {"state": "reachable", "partial": ""},
        }
    ]
    assert [event.ident for event in events[:4]] == [""] * 4, "a cut snapshot is not resumed"
    assert events[5].data == {"revision": events[5].ident}


def test_changes_are_told_as_they_happen_with_ids_to_resume_from(scene: Scene) -> None:
    scene.settle({1: "ann", 2: "bob"})
    with reading(scene.url) as stream:
        start = scene.synced(stream, 1, 2)[-1]
        scene.show({2: "bea", 3: "cid"})
        changes = [stream.next() for _ in range(3)]
    assert sorted(scene.told(changes)) == [("remove", 1), ("upsert", 2), ("upsert", 3)]
    [removed] = [event for event in changes if event.name == "remove"]
    assert removed.data == {"id": str(scene.table.before + 1), "type": "sessions"}
    revisions = [int(event.ident) for event in (start, *changes)]
    assert revisions == sorted(set(revisions)), "ids only grow"
    for seen, event in enumerate([start, *changes]):
        with reading(scene.url, headers={"Last-Event-ID": event.ident}) as stream:
            missed = stream.until("sync")
        assert "snapshot" not in names(missed)
        assert scene.told(missed) == scene.told(changes[seen:])
        assert missed[-1].ident == changes[-1].ident


def test_a_revision_that_is_not_held_begins_with_a_snapshot(scene: Scene) -> None:
    scene.settle({1: "ann"})
    for ident in ("1", str(2**63)):
        with reading(scene.url, headers={"Last-Event-ID": ident}) as stream:
            assert names(scene.synced(stream, 1))[0] == "snapshot"


@pytest.mark.parametrize("ident", ["0", "-1", "abc", "1.5", "٣", str(2**64), "9" * 5000])
def test_an_id_that_is_none_is_refused(scene: Scene, ident: str) -> None:
    answer = httpx.get(
        f"{scene.url}/v1/sessions",
        headers=[(b"Accept", b"text/event-stream"), (b"Last-Event-ID", ident.encode())],
    )
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["source"] == {"header": "Last-Event-ID"}


@pytest.mark.parametrize(
    "filter",
    ['/attributes/user="ann"', '/attributes/user=ne("bob")'],
    ids=["by the core", "by the gateway"],
)
def test_entering_a_filter_is_an_upsert_and_leaving_it_a_removal(scene: Scene, filter: str) -> None:
    scene.settle({1: "ann", 2: "bob"})
    with reading(scene.url, filter=filter) as stream:
        scene.synced(stream, 1)
        scene.show({1: "bob", 2: "bob"})
        assert scene.told([stream.next()]) == [("remove", 1)]
        scene.show({2: "ann"})  # 1 goes too: the stream does not hold it
        entered = stream.next()
        assert scene.told([entered]) == [("upsert", 2)]
        assert entered.data["attributes"]["user"] == "ann"
        scene.show({})
        assert scene.told([stream.next()]) == [("remove", 2)]


def test_who_resumes_with_a_filter_is_told_of_all_that_may_have_left(scene: Scene) -> None:
    scene.settle({1: "ann", 2: "ann"})
    with reading(scene.url, filter='/attributes/user=ne("bob")') as stream:
        start = scene.synced(stream, 1, 2)[-1]
    scene.settle({1: "bob", 2: "cid"})
    headers = {"Last-Event-ID": start.ident}
    with reading(scene.url, headers=headers, filter='/attributes/user=ne("bob")') as stream:
        assert sorted(scene.told(stream.until("sync"))) == [("remove", 1), ("upsert", 2)]
        scene.show({1: "ann"})
        assert sorted(scene.told([stream.next(), stream.next()])) == [("remove", 2), ("upsert", 1)]


def test_a_service_is_watched_also_before_its_first_session(scene: Scene) -> None:
    scene.settle({1: "ann"})
    with reading(scene.url, "/v1/services/for-bob/sessions") as stream:
        scene.synced(stream)
        scene.show({1: "ann", 2: "bob"})
        assert scene.told([stream.next()]) == [("upsert", 2)]


def test_fields_and_links_are_those_of_the_documents(scene: Scene) -> None:
    scene.settle({1: "ann"})
    parameters = {"fields[sessions]": "user"}
    document = httpx.get(f"{scene.url}/v1/sessions", params=parameters, headers=HOST).json()
    with reading(scene.url, headers=HOST, **parameters) as stream:
        upsert = stream.until("sync")[1]
    assert [upsert.data] == document["data"]
    assert upsert.data["links"]["self"].startswith("http://localhost:8989/v1/sessions/")


@pytest.mark.parametrize(
    ("parameters", "blamed"),
    [
        ({"sort": "id"}, ["sort"]),
        ({"include": "services"}, ["include"]),
        ({"page[size]": "10", "page[number]": "1"}, ["page[size]", "page[number]"]),
        ({"filter": "/attributes/idle=gt(5)", "sort": "user"}, ["filter", "sort"]),
        ({"filter[$.attributes.idle]": "gt(5)"}, ["filter[$.attributes.idle]"]),
        ({"filter[$.attributes.*]": "gt(5)"}, ["filter[$.attributes.*]"]),
        ({"min_idle": "5", "min_activity_duration": "1"}, ["min_idle", "min_activity_duration"]),
        ({"filter": "nonsense"}, ["filter"]),
    ],
)
def test_what_means_nothing_to_a_stream_is_refused(
    scene: Scene, parameters: dict[str, str], blamed: list[str]
) -> None:
    answer = httpx.get(f"{scene.url}/v1/sessions", params=parameters, headers=EVENTS)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert [error["source"]["parameter"] for error in answer.json()["errors"]] == blamed


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json;q=0.5", "text/event-stream"),
        ("text/event-stream;q=0.5, application/json", "application/json"),
        ("*/*", "application/vnd.api+json"),
        ("text/html, */*;q=0.1", "application/vnd.api+json"),
    ],
)
def test_a_stream_is_one_of_three_forms(scene: Scene, accept: str, media_type: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    head = httpx.head(f"{scene.url}/v1/sessions", headers=headers)
    assert head.headers["content-type"] == media_type
    assert "accept" in head.headers["vary"].lower()
    assert httpx.get(f"{scene.url}/v1/sessions/1", headers=EVENTS).status_code == 406


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream", "text/*;q=0.1"])
def test_streams_have_paths_of_their_own(scene: Scene, accept: str) -> None:
    scene.settle({1: "ann", 2: "bob"})
    headers = {"Accept": accept}
    query = {"filter": '/attributes/user="ann"', "fields[sessions]": "user"}
    for path in ("/v1/events/sessions", "/v1/events/services/for-ann/sessions"):
        with reading(scene.url, path, headers=headers, **query) as stream:
            assert stream.response.headers["content-type"] == "text/event-stream"
            upserts = [event for event in stream.until("sync") if event.name == "upsert"]
        assert [event.data["attributes"] for event in upserts] == [{"user": "ann"}]
    refused = httpx.get(f"{scene.url}/v1/events/sessions", headers={"Accept": "application/json"})
    assert refused.status_code == 406
    for parameter in ("sort", "page[size]", "include", "min_idle", "rdns"):
        answer = httpx.get(f"{scene.url}/v1/events/sessions", params={parameter: "1"})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["source"] == {"parameter": parameter}


def test_head_is_the_headers_alone(scene: Scene) -> None:
    head = httpx.head(f"{scene.url}/v1/sessions", headers=EVENTS)
    assert (head.status_code, head.content) == (200, b"")
    with reading(scene.url) as stream:
        get = {*stream.response.headers} - {"transfer-encoding"}
    assert {*head.headers} == get
    assert httpx.head(f"{scene.url}/v1/sessions?sort=id", headers=EVENTS).status_code == 400


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_gateway_that_stops_or_reloads_ends_its_streams(core: str, sign: signal.Signals) -> None:
    with running_gateway(core) as gateway, reading(gateway.url) as stream:
        worker = worker_of(gateway)
        stream.until("sync")
        assert gateway.process.pid
        os.kill(gateway.process.pid, sign)
        [end] = stream.rest()  # and the transfer is complete
        assert end.name == "end"
        assert [error["code"] for error in end.data["errors"]] == ["SHUTTING_DOWN"]
        if sign is signal.SIGHUP:
            worker.wait(LONG)
            with reading(gateway.url, headers={"Last-Event-ID": end.ident}) as again:
                assert names([again.next()]) == ["sync"], "the next worker resumes"


def test_a_worker_that_is_killed_cuts_its_streams(core: str) -> None:
    with running_gateway(core) as gateway, reading(gateway.url) as stream:
        stream.until("sync")
        worker_of(gateway).kill()
        with pytest.raises(httpx.RemoteProtocolError):
            stream.rest()
        assert httpx.get(gateway.url, timeout=LONG).status_code == 200, "another has begun"
