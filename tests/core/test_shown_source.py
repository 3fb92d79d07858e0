"""Large observations become visible in steps, each of which the table may be seen in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import Observation, Observed, SourceConfig, TcpLink
from sessiongate.core.table.changelog import Step
from sessiongate.core.table.draft import STEP_BYTES, STEP_CHANGES
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import FreeMemory
from sessiongate.v1.session_pb2 import Session
from tests.core.sources import seen
from tests.garbage import searched, visited

MANY = 2 * STEP_CHANGES


@asynccontextmanager
async def reconcilers(
    *names: str,
) -> AsyncIterator[tuple[SessionTable, list[Reconciler], SqliteLedger]]:
    """Provide a reconciler for each source, over one table and ledger."""
    ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
    table = SessionTable(names, 1, lambda: Timestamp(seconds=1_700_000_000))
    context = CollectorContext(table, ledger, Links(), FreeMemory(), 30.0, 65_536, time.time_ns)
    configs = [SourceConfig.parse(f"synthetic:?name={name}") for name in names]
    sources = [Reconciler(config, context) for config in configs]
    for source in sources:
        await source.restore(None, {})
    yield table, sources, ledger
    for source in sources:
        source.close()
    await ledger.close()


def items(first: int, count: int = MANY, text: str = "") -> list[Observed]:
    return [seen(f"{n}", native_id=f"{n}", application=text) for n in range(first, first + count)]


def ids(table: SessionTable) -> dict[str, int]:
    """Return the ids of the sessions in the table, by native id."""
    found = filter(None, map(table.get, range(1, 4 * STEP_CHANGES + 1)))
    return {session.native_id: session.id for session in found}


def steps(table: SessionTable, revision: int) -> Iterator[Step]:
    while (step := table.log.after(revision)) is not None:
        revision = step.last
        yield step


def sizes(found: Sequence[Step]) -> list[int]:
    """Return the number of sessions that each step adds."""
    return [step.old.count(None) - step.new.count(None) for step in found]


def test_few_changes_are_one_step_and_many_are_several_that_keep_the_count() -> None:
    async def main() -> None:
        async with reconcilers("s") as (table, [source], _):
            few, many = items(0, STEP_CHANGES), items(10_000)
            await source.take(Observation(few), elapsed())
            assert [len(step.new) for step in steps(table, 1)] == [STEP_CHANGES]
            await source.take(Observation(many), elapsed())
            began = table.revision
            await source.take(Observation(items(20_000)), elapsed())
            found = [*steps(table, began)]
            assert [len(step.new) for step in found] == [STEP_CHANGES] * 4
            assert sizes(found) == [0] * 4, "as many go as come"
            assert source.session_count == len(table) == MANY

    asyncio.run(main())


def test_a_step_is_bounded_in_bytes_whatever_else_is_shown_first() -> None:
    async def main() -> None:
        async with reconcilers("s") as (table, [source], _):
            large = items(0, 200, "x" * 60_000)
            await source.take(Observation(large), elapsed())
            for step in steps(table, 1):
                assert step.size < STEP_BYTES + 200_000
            began = table.revision
            source.expire()
            while len(table):
                await table.log.wait(table.revision, 1)
            for step in steps(table, began):
                assert step.size < STEP_BYTES + 200_000

    asyncio.run(main())


def test_sources_that_become_stale_together_hide_no_more_at_once_than_one() -> None:
    async def main() -> None:
        few = STEP_CHANGES - 10
        async with reconcilers("s", "t", "u") as (table, sources, _):
            for number, source in enumerate(sources):
                stated = items(number * few, few)
                await source.take(Observation(stated), elapsed())
            began = table.revision
            for source in sources:
                source.expire()
            assert len(table) == 3 * few - STEP_CHANGES
            while len(table):
                await table.log.wait(table.revision, 1)
            assert max(len(step.old) for step in steps(table, began)) <= STEP_CHANGES
            assert len(table.unseen) == 3 * few

    asyncio.run(main())


def test_what_is_shown_late_does_not_go_at_once() -> None:
    async def main() -> None:
        async with reconcilers("s") as (_, [source], _):
            await source.take(Observation(items(0)), elapsed() - 10_000)
            assert source.stale_at > elapsed()

    asyncio.run(main())


def test_many_stale_sessions_go_in_steps_and_come_back_as_they_were() -> None:
    async def main() -> None:
        async with reconcilers("s") as (table, [source], _):
            many = Observation(items(0))
            await source.take(many, elapsed())
            before = ids(table)
            source.expire()
            assert len(table) == source.session_count == MANY - STEP_CHANGES, "the first at once"
            assert len(table.unseen) == STEP_CHANGES
            # They are observed again before the rest is hidden.
            await source.take(many, elapsed())
            assert ids(table) == before
            assert table.unseen == {}
            source.expire()
            while source.session_count:
                await table.log.wait(table.revision, 1)
            assert len(table) == 0
            assert len(table.unseen) == MANY

    asyncio.run(main())


def test_links_agree_after_each_step() -> None:
    wires = [TcpLink(("10.0.0.5", n), ("10.0.0.7", 5432), n) for n in range(MANY)]

    async def main() -> None:
        async with reconcilers("proxy", "server") as (table, [proxy, server], _):
            above = [Observed(f"{n}", Session(), opened=(w,)) for n, w in enumerate(wires)]
            below = [Observed(f"{n}", Session(), accepted=w) for n, w in enumerate(wires)]
            await proxy.take(Observation(above), elapsed())
            for kept in (below, below[::2], below[1::2], []):
                began = table.revision
                taking = asyncio.create_task(server.take(Observation(kept), elapsed()))
                while not taking.done():
                    await table.log.wait(table.revision, 0.05)
                    linked = [table.get(ident) for ident in range(1, MANY + 1, 97)]
                    for session in filter(None, linked):
                        for other in session.upstream_ids:
                            assert (found := table.get(other)) is not None
                            assert [*found.downstream_ids] == [session.id]
                assert len([*steps(table, began)]) > 1 or kept is not below

    asyncio.run(main())


def test_what_could_not_be_shown_is_shown_with_the_ids_it_has() -> None:
    async def main() -> None:
        async with reconcilers("s") as (table, [source], ledger):
            await ledger.reserve(1)
            many = Observation(items(0, 4 * STEP_CHANGES))
            taking = asyncio.create_task(source.take(many, elapsed()))
            await table.log.wait(1, 60)
            ledger._store.database.connection.execute("PRAGMA query_only=1")
            ledger._store.ceiling = 0  # a reservation is due
            with pytest.raises(LedgerError):
                await taking
            shown = len(table)
            assert 0 < shown < 4 * STEP_CHANGES
            ledger._store.database.connection.execute("PRAGMA query_only=0")
            await source.take(many, elapsed())
            assert len(table) == 4 * STEP_CHANGES
            held = {key: id_of(place) for key, place in (await ledger.held())["s"].items()}
            assert sorted(held.values()) == [*range(1, 4 * STEP_CHANGES + 1)]
            assert ids(table) == held

    asyncio.run(main())


def test_sessions_stated_again_are_compared_by_object_and_not_looked_at() -> None:
    class Unread(Observed):
        """Fails if anything but its identity is looked at."""

        def __getattribute__(self, name: str) -> object:
            assert not frozen, name
            return super().__getattribute__(name)

    frozen = False

    async def main() -> None:
        nonlocal frozen
        async with reconcilers("s") as (table, [source], _):
            kept = [Unread(f"{n}", Session()) for n in range(MANY)]
            await source.take(Observation(kept), elapsed())
            top = table.revision
            frozen = True
            await source.take(Observation([*kept, seen("new")]), elapsed())
            assert table.revision == top + 1
            await source.take(Observation(kept), elapsed())
            assert (table.revision, len(table)) == (top + 2, MANY)

    asyncio.run(main())


@pytest.mark.parametrize("is_linked", [False, True], ids=["alone", "linked"])
def test_no_search_for_garbage_visits_each_session_or_change(*, is_linked: bool) -> None:
    count = 4000

    def item(side: str, number: int) -> Observed:
        remote = number if is_linked else 10 * number + len(side)
        wire = TcpLink(client=("10.0.0.1", remote), server=("10.0.0.2", 5432))
        session = Session(user=f"u{number}", remote=f"10.1.{number >> 8}.{number & 255}")
        if side == "proxy":
            return Observed(f"{number}", session, opened=(wire,))
        return Observed(f"{number}", session, accepted=wire)

    async def main() -> None:
        async with reconcilers("proxy", "server") as (table, sources, _):
            before, objects = visited(), searched()
            for numbers in (range(count), range(count // 2, 2 * count)):
                for side, source in zip(("proxy", "server"), sources, strict=True):
                    stated = [item(side, number) for number in numbers]
                    await source.take(Observation(stated), elapsed())
            assert len(table) == 2 * 3 * count // 2
            linked = [row for row in table.following(0, len(table)) if row.session.upstream_ids]
            assert len(linked) == (3 * count // 2 if is_linked else 0)
            del linked
            for _ in range(1000):  # what is no longer needed is freed in steps
                await asyncio.sleep(0)
            assert visited() - before < count / 2
            assert searched() - objects < count / 10

    asyncio.run(main())
