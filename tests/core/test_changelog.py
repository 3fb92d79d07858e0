"""The change log by itself: its bound, what it keeps ready, and whom it wakes."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.errors import RevisionNotHeldError, ShuttingDownError
from sessiongate.core.table.changelog import ChangeLog
from sessiongate.core.table.row import Group, Row, Values
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ServiceStatus, SourceStatus, WatchChanges
from tests.servers import PATIENCE

FAR = 3600.0  # seconds that no test waits


def append(log: ChangeLog, ident: int = 1, size: int = 0) -> None:
    """Append the removal of a session with a piece of this size."""
    row = Row(ident, 0, None, Group(Values.of(Session())), b"x" * size, Timestamp())
    log.append(Timestamp(), [row], [None])


def test_the_oldest_steps_go_and_the_newest_stays_whatever_its_size() -> None:
    log = ChangeLog(10, limit=5000)
    for _ in range(5):
        append(log, size=500)
    assert log.revision == 15
    held = [revision for revision in range(10, 15) if log_holds(log, revision)]
    assert held == [12, 13, 14]
    append(log, size=5000)
    assert [revision for revision in range(10, 16) if log_holds(log, revision)] == [15]
    assert log.after(16) is None


def test_what_a_source_says_of_services_counts_as_memory() -> None:
    log = ChangeLog(0, limit=8000)
    told = SourceStatus(name="fake", services=[ServiceStatus(name="x" * 3000)])
    for _ in range(10):
        log.append(Timestamp(), source=WatchChanges(sources=[told]))
    assert [revision for revision in range(10) if log_holds(log, revision)] == [8, 9]


def test_a_source_that_comes_and_goes_fills_no_memory() -> None:
    log = ChangeLog(0, limit=10_000)
    for _ in range(1000):
        log.append(Timestamp(), source=WatchChanges(sources=[SourceStatus(name="fake")]))
    assert log.revision == 1000
    assert len(log._steps) < 100
    assert log_holds(log, 999)


def log_holds(log: ChangeLog, revision: int) -> bool:
    try:
        step = log.after(revision)
    except RevisionNotHeldError:
        return False
    assert step is not None
    assert step.first == revision + 1
    return True


def test_only_fresh_steps_keep_encoded_parts() -> None:
    log = ChangeLog(0)
    for ident in range(1, 20):
        append(log, ident)
    first, last = log.after(0), log.after(18)
    assert first is not None
    assert last is not None
    assert (first.shared, last.shared) == (None, {})


def test_what_the_table_holds_as_well_does_not_count() -> None:
    log = ChangeLog(0, limit=10_000)
    row = Row(1, 0, None, Group(Values.of(Session())), b"x" * 5000, Timestamp())
    for _ in range(3):
        log.append(Timestamp(), [None], [row])
    assert log_holds(log, 0)


def test_the_steps_between_two_revisions_are_all_that_led_from_one_to_the_other() -> None:
    log = ChangeLog(10)
    for _ in range(4):
        append(log)
    assert [step.last for step in log.between(11, 13)] == [12, 13]
    assert [step.last for step in log.between(10, 14)] == [11, 12, 13, 14]
    assert not log.between(14, 14)


@pytest.mark.parametrize("close", [False, True])
def test_a_change_or_the_end_wakes_all_who_wait(close: bool) -> None:
    async def main() -> None:
        log = ChangeLog(0)
        waits = [asyncio.create_task(log.wait(0, FAR)) for _ in range(120)]
        await asyncio.sleep(0)
        assert len(log._waiting) == len(waits)
        if close:
            log.close()
        else:
            append(log)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*waits, log.wait(0, FAR))
        assert not log._waiting

    asyncio.run(main())


def test_waiting_ends_after_its_time_and_leaves_nothing() -> None:
    async def main() -> None:
        log = ChangeLog(0)
        await log.wait(0, 0.001)
        assert log.after(0) is None
        gone = asyncio.create_task(log.wait(0, FAR))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert not log._waiting

    asyncio.run(main())


def test_a_closed_log_tells_nothing_more() -> None:
    log = ChangeLog(0)
    append(log)
    log.close()
    with pytest.raises(ShuttingDownError):
        log.after(0)
