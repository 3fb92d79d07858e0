"""Streams that begin at the same time get their snapshots one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing

import pytest

from sessiongate.client import AsyncClient
from sessiongate.core.grpc import service, snapshot_queue
from sessiongate.core.grpc.snapshot_queue import SnapshotQueue, SnapshotSlot
from sessiongate.core.table import changelog as logs
from tests.core.copies import Copy
from tests.core.test_watch import Scene, Watch, make, run
from tests.gateway.programs import running_core

# More than a stream's reader has room for: whoever does not read stalls.
FAT = make(*range(1, 101), application="x" * 40_000)
NEVER = 3600.0


@pytest.fixture(autouse=True)
def timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PROGRESS_INTERVAL", 0.01)
    monkeypatch.setattr(snapshot_queue, "_STALLED", NEVER)


def queued(test: Callable[[SnapshotQueue, ExitStack], Awaitable[None]]) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            await test(SnapshotQueue(), stack)

    asyncio.run(main())


async def granted(*slots: SnapshotSlot) -> list[bool]:
    return [await slot.is_granted(0) for slot in slots]


def test_a_caller_waits_for_its_own_snapshot_and_others_have_a_slot() -> None:
    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        first, second, other, third = (
            stack.enter_context(queue.slot(caller)) for caller in ("a", "a", "b", "c")
        )
        assert await granted(first, second, other, third) == [True, False, True, False]
        other.leave()
        assert await granted(second, third) == [False, True]
        first.leave()
        assert await granted(second) == [True]

    queued(test)


def test_slots_are_given_in_order_of_arrival() -> None:
    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        slots = [stack.enter_context(queue.slot(caller)) for caller in "abcdef"]
        for index, slot in enumerate(slots):
            assert await granted(*slots) == [other <= index + 1 for other in range(6)]
            slot.leave()
            slot.leave()  # leaves once

    queued(test)


def test_who_leaves_while_waiting_takes_no_slot() -> None:
    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        first, last = (stack.enter_context(queue.slot("a")) for _ in range(2))
        with queue.slot("a") as gone:
            assert await granted(gone) == [False]
        first.leave()
        assert await granted(last) == [True]

    queued(test)


def test_a_slot_whose_reader_stalls_is_lent_and_taken_again_before_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_queue, "_STALLED", 0.0)

    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        stalled, second, third = (stack.enter_context(queue.slot("a")) for _ in range(3))
        with stalled.sending():
            assert await second.is_granted(NEVER)
            assert await granted(stalled, second, third) == [False, True, False]
        assert await granted(stalled, second, third) == [False, True, False]
        second.leave()
        assert await granted(stalled, third) == [True, False]
        stalled.leave()
        assert await granted(third) == [True]

    queued(test)


def test_who_ends_while_its_slot_is_lent_frees_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_queue, "_STALLED", 0.0)

    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        second, third = (stack.enter_context(queue.slot("a")) for _ in range(2))
        second.leave()
        with queue.slot("a") as stalled:
            assert await granted(third) == [True]
            third.leave()
            second, third = (stack.enter_context(queue.slot("a")) for _ in range(2))
            with stalled.sending():
                assert await second.is_granted(NEVER)
        assert await granted(second, third) == [True, False]

    queued(test)


def test_a_snapshot_that_takes_very_long_is_no_longer_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(queue: SnapshotQueue, stack: ExitStack) -> None:
        first, second = (stack.enter_context(queue.slot("a")) for _ in range(2))
        assert first.is_held
        monkeypatch.setattr(snapshot_queue, "elapsed", lambda: float("inf"))
        assert not first.is_held
        assert await granted(second) == [True]

    queued(test)


async def waits(watch: Watch) -> None:
    """Check that a stream is told that it waits, and nothing else, for some time."""
    for _ in range(3):
        message = await watch.next()
        assert message.WhichOneof("event") == "snapshot"
        assert not message.snapshot.sessions


def test_a_stream_that_waits_is_not_silent_and_comes_next() -> None:
    async def test(scene: Scene) -> None:
        first = scene.watch()
        assert (await first.next()).snapshot.sessions
        second = scene.watch()
        await waits(second)
        third = scene.watch()
        await waits(third)
        await first.until("sync")
        await waits(third)
        sync = await second.until("sync")
        assert sync.as_of.ToNanoseconds() > 20_000_000, "counted from when it was requested"
        await third.until("sync")
        assert first.ids == second.ids == third.ids == list(range(1, 101))

    run(test, FAT)


def test_a_stream_that_resumes_waits_for_no_snapshot() -> None:
    async def test(scene: Scene) -> None:
        first = scene.watch()
        assert (await first.next()).snapshot.sessions
        copy = Copy()
        copy.revision = scene.table.revision
        resumed = scene.watch(copy, resume_revision=copy.revision)
        assert (await resumed.next()).WhichOneof("event") == "progress"

    run(test, FAT)


def test_what_the_log_drops_while_a_stream_waits_is_not_missed() -> None:
    async def test(scene: Scene) -> None:
        scene.table.log = logs.ChangeLog(scene.table.revision, 1)
        first = scene.watch()
        assert (await first.next()).snapshot.sessions
        second = scene.watch()
        await waits(second)
        for ident in (1, 101):
            scene.table.apply(make(ident, application="y"), [])
        first.call.cancel()
        await second.until("sync")
        assert second.ids == list(range(1, 102))
        assert second.copy.sessions[1].application == "y"

    run(test, FAT)


def test_a_reader_that_stalls_keeps_others_waiting_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_queue, "_STALLED", 0.05)

    async def test(scene: Scene) -> None:
        stalled = scene.watch()
        assert (await stalled.next()).snapshot.sessions
        brisk = scene.watch()
        await brisk.until("sync")
        await stalled.until("sync")
        assert stalled.ids == brisk.ids == list(range(1, 101))

    run(test, FAT)


def test_clients_that_come_at_once_all_get_all_sessions() -> None:
    async def copied(address: str) -> int:
        async with AsyncClient(address) as client, aclosing(client.follow()) as updates:
            copy, _, lost = await anext(updates)
            assert lost is None
            return len(copy.sessions)

    async def main(address: str) -> list[int]:
        return await asyncio.gather(*(copied(address) for _ in range(4)))

    with running_core("synthetic:?sessions=3000") as address:
        assert asyncio.run(main(address)) == [3000] * 4
