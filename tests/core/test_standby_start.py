"""The start that a core reserves while it stands by, and the ids that it finds in the ledger."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

from sessiongate.core.fleet.member import MemberEntry
from sessiongate.core.fleet.membership import Membership
from sessiongate.core.fleet.standby_start import StandbyStart
from sessiongate.core.ledger.lock import LedgerHeldError
from sessiongate.core.ledger.past import Opening
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.starts import (
    INSTANCE_BITS,
    LOST_STARTS,
    SPREAD,
    ReservedStart,
    reserve_start,
)
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine
from tests.program import PATIENCE

KEYS = ["\0 \x01", "é", *map(str, range(6_000))]  # more than are asked for at once


async def next_revision(url: str, reserved: ReservedStart | None = None, core: str = "") -> int:
    """Return where the revisions begin of a core that has just become active."""

    def opening(ledger: PostgresqlLedger) -> None:
        ledger.pen.reserved = reserved

    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                ledger = await PostgresqlLedger.open(
                    url, now=time.time_ns, core=core, opening=opening
                )
                break
            except LedgerHeldError:  # the server notices a little later that another has left
                await asyncio.sleep(0.01)
    try:
        return await ledger.ceiling()
    finally:
        await ledger.close()


def test_a_core_that_stands_by_reserves_its_next_start(engine: Engine) -> None:
    async def main(url: str) -> None:
        ledger = await PostgresqlLedger.open(url, now=time.time_ns)
        openings = [Opening(key, 5, session=Session(service="x")) for key in KEYS[:-1000]]
        await ledger.record("a", opened=openings, closed=[], incarnation=None)
        first, held = await ledger.ceiling(), await ledger.held()
        other = Membership(url, MemberEntry("core-c", "default"), 5.0)
        await other.join()  # who asks for the pen is known to the fleet
        await other.close()
        membership = Membership(url, MemberEntry("core-b", "default"), 5.0)
        try:
            await membership.join()
            start = await StandbyStart.next(membership, None)
            assert start.revision > first
            assert start.is_reserved(start.revision + 1)
            assert not start.is_reserved(start.revision + (1 << 40))
            assert await StandbyStart.next(membership, start) is start
            assert await start.places("a", KEYS) == held["a"]
            assert await start.places("b", KEYS) == {}
            await ledger.close()
            used = start.reserved
            assert await next_revision(url, used) == start.revision
            # A core that has reserved its number later may become active before.
            early, late = [await StandbyStart.next(membership, None) for _ in range(2)]
            assert await next_revision(url, late.reserved, "core-c") == late.revision
            again = await StandbyStart.next(membership, early)
            assert again.revision > late.revision
            assert await StandbyStart.next(membership, again) is again
            for each in early, late:  # nor may a number be used twice
                assert await next_revision(url, each.reserved, "core-b") > again.revision
            start, used = again, again.reserved
            # Another server, such as one that has restarted, may not know of it any longer.
            newer = replace(used.server, timeline=used.server.timeline + 1)
            lost = StandbyStart(membership, replace(used, server=newer))
            following = await StandbyStart.next(membership, lost)
            later = [await next_revision(url), await next_revision(url, lost.reserved)]
            unknown = replace(used, instance=used.instance + 1000)  # as after a backup
            later.append(await next_revision(url, unknown))
            assert [start.revision, following.revision, *later] == sorted(
                {start.revision, following.revision, *later}
            )
            assert later[-1] < unknown.revision
        finally:
            await membership.close()

    asyncio.run(main(engine.url(engine.database())))


def after_loss(last: ReservedStart) -> range:
    """Return the numbers among which one is drawn if those after the last may be lost."""
    first = last.instance + LOST_STARTS + 1
    return range(first, first + SPREAD)


def test_a_core_that_meets_another_server_skips_the_numbers_that_may_be_lost(
    engine: Engine,
) -> None:
    async def main(url: str) -> None:
        first = await next_revision(url)
        place = LedgerPlace.parse(url)
        connection = LedgerConnection(place, "test")
        try:
            here = connection.server
            one = reserve_start(connection)
            assert (one.instance - 1, one.server) == (first >> INSTANCE_BITS, here)
            for other in (
                replace(here, system=here.system + 1),
                replace(here, timeline=here.timeline + 1),
                replace(here, started=here.started + timedelta(seconds=1)),
            ):
                connection.server = other
                another = reserve_start(connection)
                assert another.server == other
                assert another.instance in after_loss(one)
                one = another
            connection.server = here
            connection.execute("UPDATE engine SET tables = tables + 1")  # as if they were dropped
            another = reserve_start(connection)
            assert another.server == here
            assert another.instance in after_loss(one)
        finally:
            connection.close()

    asyncio.run(main(engine.url(engine.database())))
