"""A fleet under faults: its server, its programs, its sources, and what must hold of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from sessiongate.client import CallError, Reason
from sessiongate.v1.session_service_pb2 import ListSessionsResponse
from tests.clocks import OwnClock
from tests.faults.engines import LedgerEngine, ledger_engine
from tests.faults.fleet_answers import Answers, Questioner
from tests.faults.fleet_programs import FleetProgram
from tests.faults.links import Links
from tests.faults.live_documents import LiveDocument, LiveDocuments
from tests.faults.scale import times

# The sources of each shard.
SHARDS = {"east": ("orders", "billing"), "west": ("stock",)}
CORES = {"core-a": "east", "core-b": "east", "core-c": "west", "core-d": "west"}
FRONT = "front-1"
_LINES = 12  # of each program, to be shown
_LOOK = times(0.25, 0.1)  # seconds between two looks at whether all is at peace
_OPEN_TWICE = """
SELECT source, key FROM sessiongate.open_sessions GROUP BY source, key HAVING count(*) > 1
"""
_OPEN_AND_ENDED = """
SELECT id FROM sessiongate.open_sessions JOIN sessiongate.past_sessions USING (id)
"""


class World:
    """Two shards with two cores each, and a front; all their sources are documents."""

    def __init__(
        self, engine: LedgerEngine, links: Links, documents: LiveDocuments, folder: Path
    ) -> None:
        """Prepare them; their clocks are in a folder."""
        self.engine, self.links, self.documents = engine, links, documents
        self.answers = Answers()
        self.programs: dict[str, FleetProgram] = {}
        for name, shard in {**CORES, FRONT: ""}.items():
            program = FleetProgram(name, shard, links.add(), OwnClock(folder / f"{name}.clock"))
            sources = [f"--source={each.url}" for each in self.sources(shard)] if shard else ()
            program.prepare(engine.url(program.link.port), *sources)
            self.programs[name] = program

    def sources(self, shard: str) -> list[LiveDocument]:
        """Return the sources of a shard; of all if it has no name, as a front has none."""
        names = SHARDS.get(shard) or [name for each in SHARDS.values() for name in each]
        return [each for each in self.documents.documents if each.name in names]

    def active(self, shard: str) -> FleetProgram | None:
        """Return the core that answers for a shard, if exactly one does."""
        active = [each for each in self._cores(shard) if _answer(each) is not None]
        return active[0] if len(active) == 1 else None

    def drawn(self, chance: Random) -> FleetProgram:
        """Return a program: an active core, more often than not."""
        found = self.active(chance.choice([*SHARDS])) if chance.random() < 0.6 else None
        return found or self.programs[chance.choice([*self.programs])]

    def trouble(self) -> str | None:
        """Return what keeps the fleet from being at peace; None if it is."""
        shown: dict[int, str] = {}
        for shard in SHARDS:
            answers = [(each, _answer(each)) for each in self._cores(shard)]
            active = [(core, page) for core, page in answers if page is not None]
            if len(active) != 1:
                return f"{len(active)} cores answer for {shard}"
            if waiting := [
                each.name for each, page in answers if page is None and not _waits(each)
            ]:
                return f"{waiting} do not stand by"
            ((core, page),) = active
            if page.unreachable:
                return f"{core.name} names {[*page.unreachable]}"
            users = {each.user for each in page.sessions}
            if users != (truth := {user for each in self.sources(shard) for user in each.users}):
                return f"{core.name} has {len(users - truth)} too many, lacks {len(truth - users)}"
            shown |= {each.id: each.user for each in page.sessions}
        seen = _answer(self.programs[FRONT])
        if seen is None:
            return "the front does not answer"
        if seen.unreachable:
            return f"the front names {[*seen.unreachable]}"
        if {each.id: each.user for each in seen.sessions} != shown:
            return "the front does not show what the cores do"
        return None

    def until_peace(self, seconds: float) -> float:
        """Let nothing change until the fleet is at peace; return how long that took."""
        began = time.monotonic()
        with self.documents.resting():
            while trouble := self.trouble():
                if time.monotonic() - began > seconds:
                    raise AssertionError(f"no peace after {seconds:g} s: {trouble}\n{self.said()}")
                time.sleep(_LOOK)
        took = time.monotonic() - began
        for look in (_OPEN_TWICE, _OPEN_AND_ENDED):
            assert self.engine.execute(look) == [], look
        return took

    def said(self) -> str:
        """Return the last lines that each program has printed."""
        lines = []
        for name, program in self.programs.items():
            lines += [name, *(f"  {line}" for line in program.said.splitlines()[-_LINES:])]
        return "\n".join(lines)

    def _cores(self, shard: str) -> list[FleetProgram]:
        return [self.programs[name] for name, of in CORES.items() if of == shard]

    @contextmanager
    def running(self, note: Callable[[str], None]) -> Iterator[None]:
        """Run everything until the block ends, and ask all programs; note any that ends."""
        over = threading.Event()

        def revive() -> None:
            while not over.wait(0.5):
                for program in self.programs.values():
                    if ended := program.revive():
                        note(ended)

        with ExitStack() as stack:
            for program in self.programs.values():
                stack.callback(program.close)
                program.start()
            reviving = threading.Thread(target=revive)
            reviving.start()
            stack.callback(reviving.join)
            stack.callback(over.set)
            for program in self.programs.values():
                asked = Questioner(
                    program.name, program.ask, self.sources(program.shard), self.answers
                )
                stack.callback(asked.end)
            with self.documents.changing():
                yield


@contextmanager
def world(folder: Path, seed: int) -> Iterator[World]:
    """Make a fleet, with documents in a folder."""
    names: Collection[str] = [name for each in SHARDS.values() for name in each]
    documents = LiveDocuments(folder, names, seed)
    with ledger_engine() as engine, Links(engine.node.port) as links:
        yield World(engine, links, documents, folder)


def _answer(program: FleetProgram) -> ListSessionsResponse | None:
    if program.is_stopped:
        return None
    try:
        return program.ask()
    except CallError:
        return None


def _waits(program: FleetProgram) -> bool:
    """Return whether a core answers that it stands by."""
    try:
        program.ask()
    except CallError as error:
        return error.reason == Reason.CORE_STANDBY
    return False
