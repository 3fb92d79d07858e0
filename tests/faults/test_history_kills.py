"""History of a core that is killed again and again while sessions come and go."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sessiongate.client import CallError, Client
from sessiongate.v1.history_service_pb2 import (
    EndReason,
    GapReason,
    ListPastSessionsRequest,
    PastSession,
)
from tests.faults.scale import SEED, figure, times
from tests.polling import eventually
from tests.program import PATIENCE, ForkedProgram

_CONNECTED = time.asctime(time.gmtime())
_ALIVE = 40  # sessions at a time
# Seconds that a core may not have written when it observed its sources, when it is killed: what
# is promised, and as much for a machine that is busy with other things.
_DOUBT = 10 + 10


@dataclass
class Clients:
    """The sessions of a document, which come and go; the truth about them."""

    file: Path
    alive: list[int] = field(default_factory=list)
    # When each was taken out of the document: right before, and right after, in ns.
    gone: dict[int, tuple[int, int]] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    _last: int = 0

    def turn(self) -> None:
        """Let some sessions end and as many begin."""
        self.chance.shuffle(self.alive)
        ending = self.alive[: self.chance.randrange(1, 15)] if self.alive else []
        fresh = range(self._last + 1, self._last + 1 + _ALIVE - len(self.alive) + len(ending))
        self._last += len(fresh)
        self.alive = [*self.alive[len(ending) :], *fresh]
        data = [
            {
                "id": str(ident),
                "type": "sessions",
                "attributes": {
                    "state": "Session started",
                    "connected": _CONNECTED,
                    "user": str(ident),
                },
                "relationships": {"services": {"data": [{"id": "orders", "type": "services"}]}},
            }
            for ident in self.alive
        ]
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"data": data}))
        before = time.time_ns()
        os.replace(beside, self.file)
        after = time.time_ns()
        self.gone.update(dict.fromkeys(ending, (before, after)))


@contextmanager
def running(source: str, ledger: Path) -> Iterator[tuple[Client, Callable[[], None]]]:
    """Run a core until it is killed, at the latest at the end; yield its client and the kill."""
    arguments = "--source", source, "--ledger", f"sqlite:///{ledger}", "--grpc", "127.0.0.1:0"
    with ForkedProgram("core", *arguments) as core:
        try:
            address = core.expect(r"^listening on (\S+)$")[1]
            with Client(address, timeout=PATIENCE) as client:
                yield client, core.process.kill
        finally:
            core.process.kill()


def await_read(client: Client) -> None:
    """Wait until the core has read its source: before, it lists nothing."""
    eventually(client.list_sources, lambda found: found[0].HasField("last_success_time"))


@contextmanager
def churning(clients: Clients, client: Client, told: set[int]) -> Iterator[None]:
    """Let sessions come and go, and list them, until the context ends."""
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.wait(0.03):
            clients.turn()

    def ask() -> None:
        while not stop.wait(0.02):
            with suppress(CallError):
                told.update(session.id for session in client.sessions())

    threads = [threading.Thread(target=work) for work in (come_and_go, ask)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check(client: Client, clients: Clients, told: set[int]) -> None:
    """Check that all that was told of is known, once, and ended as it did."""
    await_read(client)
    live = eventually(
        lambda: {session.id: int(session.user) for session in client.sessions()},
        lambda found: {*found.values()} == {*clients.alive},
    )
    past = {each.session.id: each for each in client.past_sessions()}
    assert told <= past.keys(), "what was acknowledged is in history"
    is_open = {ident for ident, each in past.items() if not each.HasField("end_time")}
    assert is_open == live.keys(), "no session is both live and ended, and none is neither"
    for ident in past.keys() - is_open:
        ended_as_it_did(past[ident], clients)


def ended_as_it_did(past: PastSession, clients: Clients) -> None:
    before, after = clients.gone[int(past.session.user)]
    end, reasons = past.end_time.ToNanoseconds(), EndReason
    assert end >= before, "it does not end before it did"
    if past.end_reason == reasons.END_REASON_NOT_SEEN:
        assert past.last_seen_time.ToNanoseconds() <= after
    else:
        assert past.end_reason == reasons.END_REASON_CLOSED


def core_down(client: Client, since: int) -> list[tuple[int, int]]:
    """Return the times since a moment in which no core ran, as history tells of them."""
    request = ListPastSessionsRequest()
    request.filter.start_time.FromNanoseconds(since)
    return [
        (gap.start_time.ToNanoseconds(), gap.end_time.ToNanoseconds())
        for gap in client.list_past_sessions(request).gaps
        if gap.reason == GapReason.GAP_REASON_CORE_DOWN
    ]


def covered_until(ledger: Path) -> int:
    """Return until when the ledger knows that the source was observed, in ns."""
    with closing(sqlite3.connect(ledger)) as connection:
        ((end,),) = connection.execute("select max(end_time) from coverage")
    return end or 0


@pytest.mark.long
def test_a_core_that_is_killed_forgets_nothing_that_it_told(tmp_path: Path) -> None:
    clients, ledger, told = Clients(tmp_path / "clients.json"), tmp_path / "ledger.db", set[int]()
    source = f"document:{clients.file}?interval=0.05"
    clients.turn()
    lives = [clients.chance.uniform(0.3, times(0.6, 1.5)) for _ in range(times(3, 60))]
    for life in lives:
        with running(source, ledger) as (client, kill), churning(clients, client, told):
            await_read(client)
            time.sleep(life)
            kill()
        with running(source, ledger) as (client, _):
            check(client, clients, told)
    began = time.time_ns()
    with running(source, ledger) as (client, kill), churning(clients, client, told):
        known = eventually(lambda: covered_until(ledger), lambda end: end > began)
        killed = time.time_ns()
        kill()
    with running(source, ledger) as (client, _):
        check(client, clients, told)
        again = time.time_ns()
        gaps = eventually(
            lambda: core_down(client, known), lambda gaps: gaps and gaps[-1][1] < again
        )
        assert gaps[-1][0] >= max(known, killed - _DOUBT * 10**9), "the doubt is bounded"
    figure("core killed while sessions come and go: times", 2 * len(lives) + 2)
    figure("core killed while sessions come and go: sessions told", len(told))
