"""A core on a machine of its own: its real membership, pen and store; it observes the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sessiongate.core import shard_core
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.place import id_of, time_of
from sessiongate.core.server import LEDGER_INTERVAL
from sessiongate.core.settings import CoreConfig
from tests.model.connection import Link
from tests.model.server import Server
from tests.model.virtual import Machine, VirtualTime, here

_OBSERVE_EVERY = 0.7  # seconds
URL = "postgresql://u@server/ledger?tls=off"
Known = dict[tuple[str, str], tuple[int, int]]
"""Sessions by source and key: when each began, and its id."""


class Watching(Protocol):
    """The model's notes on its programs."""

    truth: dict[str, dict[str, int]]  # when each session began, by source and key

    def show(self, program: Program) -> None:
        """Note that a program shows what it knows now."""


class Life(Machine):
    """One life of a program."""

    def __init__(self, time: VirtualTime, rate: float, program: Program) -> None:
        super().__init__(time, rate)
        self.program = program
        self.core: shard_core.ShardCore | None = None
        self.memory: Known = {}  # what it knows while it is active
        self.expected: Known = {}  # what it will know if what it writes is written
        self.in_doubt: list[Known] = []  # so too, of writes that failed: they may be written yet

    @property
    def knows_no_id(self) -> bool:
        """Whether it has seen in no ledger that an id was given."""
        return self.core is None or self.core._membership._last_id == 0

    @property
    def pen(self) -> Pen | None:
        """The pen that it has, or asks for."""
        ledger = None if self.core is None else self.core._membership.ledger
        return None if ledger is None else ledger.pen


class Program:
    """A core, in all its lives."""

    def __init__(
        self, name: str, shard: str, sources: Sequence[str], time: VirtualTime, server: Server
    ) -> None:
        self.name, self.shard, self.sources = name, shard, sources
        self.link = Link(server)
        self.watching: Watching
        self.rate, self.wall = 1.0, 0.0  # of its clocks; how far the second is off, in seconds
        self.is_showing = False
        self.takeovers = 0
        self.supervisor: Machine  # starts it again
        self.refused: list[str] = []  # why it has ended before it was up
        self.healed = 0  # how often it was
        self.trap: tuple[str, Callable[[], None]] | None = None  # at a statement
        self._time = time
        self.machine: Life
        self._stop: asyncio.Event | None = None
        self.is_running = self.is_wanted = self.is_ending = False
        self.lives: list[Life] = []  # whatever was going on stays as it is

    def start(self) -> None:
        """Start it, unless it runs; if it is about to end, as soon as it has ended."""
        self.is_wanted = True
        if self.is_running:
            return
        machine = self.machine = Life(self._time, self.rate, self)
        self.lives.append(machine)
        self.is_running, self.is_showing = True, False
        self._stop = asyncio.Event()
        machine.create_task(self._run(self._stop))

    async def _run(self, stop: asyncio.Event) -> None:
        config = CoreConfig(sources=(), ledger=URL, shard=self.shard, name=self.name)
        core = shard_core.ShardCore(config, stop, _started, lambda address: None)
        self.machine.core = core
        try:
            await core.run()
        except LedgerError as error:
            if core._membership._has_served:
                raise
            self.refused.append(str(error))  # as by a ledger that is being dropped
            self.is_wanted = True
        self._end()
        if self.is_wanted:
            self.supervisor.call_later(1.0, self.start)

    def _end(self) -> None:
        """Let the process end, which closes its connections."""
        for each in [*self.link.connections]:
            each.end_at_server()
        self.is_running = self.is_showing = self.is_ending = False
        self.machine.die()

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.is_wanted = False
        if self.is_running:
            self._end()

    def terminate(self) -> None:
        """Let it end in order (SIGTERM)."""
        self.is_wanted = False
        if self.is_running and self._stop is not None:
            self.is_ending = True
            self.machine.call_soon(self._stop.set)

    def heal(self) -> None:
        """Let nothing fail any longer."""
        self.healed += 1
        self.trap = None
        if abs(self.wall) > 1:  # else its clock agrees with the server's
            self.wall = 0.0
        self.link.heal()
        if self.is_running:
            self.machine.is_paused = False
        self.start()

    @property
    def is_able(self) -> bool:
        """Whether it runs, and reaches the server."""
        is_connected = not (self.link.is_cut or self.link.is_silent)
        return self.is_running and not self.machine.is_paused and is_connected

    @property
    def has_pen(self) -> bool:
        """Whether it can write, as far as it knows."""
        pen = self.machine.pen
        return pen is not None and pen.is_connected

    def asks(self, text: str) -> None:
        """Note that a statement is sent."""
        if self.trap is not None and text.startswith(self.trap[0]):
            (_, spring), self.trap = self.trap, None
            spring()

    def now(self) -> int:
        """Return what its clock shows, in ns since the epoch."""
        return int((self._time.now + self.wall) * 1e9)


async def _started(core: Any, stop: asyncio.Event) -> bool:
    await core.start()
    return True


class Observing:
    """An active core: it observes its sources, and has a ledger record it."""

    def __init__(self, config: CoreConfig, written: PostgresqlLedger, *_: object) -> None:
        self.address = "core:1"
        self.ledger_lost = asyncio.Event()
        life = here()
        assert isinstance(life, Life)
        self._life, self._program = life, life.program
        self._ledger = written
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start. Raises `LedgerError`; then nothing is left running."""
        program = self._program
        try:
            await self._ledger.own(program.sources)
            held = await self._ledger.held()
        except BaseException:
            await self._ledger.close()
            raise
        self._life.in_doubt.clear()
        self._life.memory = self._life.expected = {
            (source, key): (time_of(place), id_of(place))
            for source, keys in held.items()
            for key, place in keys.items()
        }
        program.is_showing = True
        program.takeovers += 1
        program.watching.show(program)
        work = (self._observe(), self._watch())
        self._tasks = [asyncio.create_task(each) for each in work]
        for task in self._tasks:
            task.add_done_callback(self._note)

    def _note(self, task: asyncio.Task[None]) -> None:
        """Note that some of this has failed, which never may."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._life.failed.append(error)

    async def _observe(self) -> None:
        while True:
            for source in self._program.sources:
                try:
                    await self._read(source)
                except LedgerError:
                    continue
            await asyncio.sleep(_OBSERVE_EVERY)

    async def _read(self, source: str) -> None:
        program, life = self._program, self._life
        truth = program.watching.truth[source]
        known = {key: each for (of, key), each in life.memory.items() if of == source}
        gone = [key for key, (begun, _) in known.items() if truth.get(key) != begun]
        new = [key for key, begun in truth.items() if known.get(key, (0, 0))[0] != begun]
        if not gone and not new:
            return
        openings = [Opening(key, truth[key]) for key in new]
        closings = [Closing(known[key][1], known[key][0]) for key in gone]
        life.expected = {
            at: each for at, each in life.memory.items() if at[0] != source or at[1] not in gone
        } | {(source, each.key): (each.connect_time, 0) for each in openings}
        try:
            ids = await self._ledger.record(
                source, opened=openings, closed=closings, incarnation=None
            )
        except LedgerError:
            life.in_doubt.append(life.expected)
            raise
        life.in_doubt.clear()  # each is undone before anything else is written
        for each, ident in zip(openings, ids, strict=True):
            life.expected[source, each.key] = each.connect_time, ident
        life.memory = life.expected
        program.watching.show(program)

    async def _watch(self) -> None:
        while not self.ledger_lost.is_set():
            await asyncio.sleep(LEDGER_INTERVAL)
            if not await self._ledger.is_in_place():
                self.ledger_lost.set()

    async def stop(self) -> None:
        """Stop, and give the ledger back."""
        self._program.is_showing = False
        for each in self._tasks:
            each.cancel()
        await asyncio.wait(self._tasks)
        await self._ledger.close()
