"""History over gRPC when a source is gone from the configuration, or the ledger is damaged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.client import CallError, Client, Reason
from sessiongate.v1.history_service_pb2 import (
    EndReason,
    GapReason,
    HistoryGap,
    ListPastSessionsRequest,
)
from tests.gateway.programs import LONG, running_core
from tests.polling import eventually

CONNECTED = time.asctime(time.gmtime())
_FIRST_PAGES = 4 * 4096  # bytes, by which a core recognizes its file


def write(file: Path, *idents: int) -> str:
    """Write a document with these sessions; return the URL of its source."""
    data = [
        {
            "id": str(ident),
            "type": "sessions",
            "attributes": {"state": "x" * 500, "connected": CONNECTED},
        }
        for ident in idents
    ]
    file.write_text(json.dumps({"data": data}))
    return f"document:{file}?interval=0.1&name={file.stem}"


def gaps(client: Client, moment: int, *sources: str) -> list[HistoryGap]:
    """Return the gaps of a moment, in ns since the epoch."""
    request = ListPastSessionsRequest()
    request.filter.at_time.FromNanoseconds(moment)
    request.filter.sessions.sources.extend(sources)
    return [*client.list_past_sessions(request).gaps]


def last_success(client: Client) -> int:
    """Return when all sources had been observed, in ns since the epoch."""
    return min(source.last_success_time.ToNanoseconds() for source in client.list_sources())


def test_a_source_that_is_not_configured_any_longer_ends_with_its_last_observation(
    tmp_path: Path,
) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    kept, removed = write(tmp_path / "kept.json", 1), write(tmp_path / "removed.json", 2)
    with (
        running_core(kept, removed, ledger=ledger) as core,
        Client(core, timeout=LONG) as client,
    ):
        seen = time.time_ns()
        eventually(lambda: last_success(client), lambda time: time > seen)
    stopped = time.time_ns()
    with running_core(kept, ledger=ledger) as core, Client(core, timeout=LONG) as client:
        past = client.get_past_session(2)
        assert past.end_reason == EndReason.END_REASON_NOT_SEEN
        assert seen - 10**9 <= past.last_seen_time.ToNanoseconds() <= stopped
        assert past.end_time.ToNanoseconds() >= stopped
        assert not client.get_past_session(1).HasField("end_time")
        now = time.time_ns()
        eventually(lambda: gaps(client, now), lambda found: not found)
        unreachable = [(gap.source, gap.reason) for gap in gaps(client, now, "removed")]
        assert unreachable == [("removed", GapReason.GAP_REASON_UNREACHABLE)]
        assert gaps(client, seen) == []


def test_a_damaged_ledger_is_told_of_without_its_path(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    source = write(tmp_path / "many.json", *range(1, 200))
    with running_core(source, ledger=f"sqlite:///{path}"):
        pass
    with (
        running_core(source, ledger=f"sqlite:///{path}") as core,
        Client(core, timeout=LONG) as client,
    ):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(_FIRST_PAGES)
            file.write(b"\xff" * (size - _FIRST_PAGES))
        request = ListPastSessionsRequest()
        request.filter.at_time.CopyFrom(Timestamp(seconds=int(time.time())))
        with pytest.raises(CallError) as caught:
            client.list_past_sessions(request)
        assert caught.value.reason == Reason.LEDGER_UNAVAILABLE
        assert "its log has the cause" in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
