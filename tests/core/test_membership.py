"""What a core does with its shard's lock when it was stopped for a while."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from sessiongate.core.fleet import membership as memberships
from sessiongate.core.fleet.member import Member, MemberEntry
from sessiongate.core.fleet.membership import Membership
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.runtime.elapsed import elapsed
from tests.core.engines import Engine
from tests.polling import eventually
from tests.servers import PATIENCE

AFTER = 60.0  # seconds: more than a loaded machine may take for a look


def test_a_stop_is_one_loss_of_the_pen_even_if_a_look_was_under_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that began before the stop, and is answered after it, does not take the pen up."""
    is_asked, may_answer, stopped = threading.Event(), threading.Event(), [0.0]
    is_delayed, look = threading.Event(), Member.look

    def delayed(self: Member, **how: Any) -> Any:
        answer = look(self, **how)
        if is_delayed.is_set() and not is_asked.is_set():
            is_asked.set()
            may_answer.wait(PATIENCE)
        return answer

    monkeypatch.setattr(Member, "look", delayed)
    monkeypatch.setattr(memberships, "elapsed", lambda: elapsed() + stopped[0])

    async def main(url: str) -> None:
        core = Membership(url, MemberEntry("core-a", "default"), AFTER)
        try:
            await core.join()
            ledger = await PostgresqlLedger.open(url, now=time.time_ns, core="core-a")
            core.use(ledger)
            await asyncio.to_thread(eventually, lambda: core.is_active)
            is_delayed.set()
            await asyncio.to_thread(is_asked.wait, PATIENCE)
            stopped[0] = 2 * AFTER
            await asyncio.to_thread(eventually, lambda: core.pens_lost)
            assert ledger.pen.is_down
            may_answer.set()
            # Until it has shown that it runs, and has the lock again.
            await asyncio.to_thread(
                eventually, lambda: core.beat_late < AFTER and not ledger.pen.was_put_down
            )
            assert core.pens_lost == 1
            await ledger.close()
        finally:
            await core.close()

    asyncio.run(main(engine.url(engine.database())))
