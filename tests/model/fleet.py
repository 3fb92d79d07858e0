"""A fleet of simulated machines, what befalls it, and what must hold of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from random import Random

from sessiongate.core.fleet.membership import LOOK_EVERY
from tests.model import (  # noqa: F401 - what the server understands
    member_statements,
    pen_statements,
    row_statements,
    table_statements,
)
from tests.model.meanings import meaning, reading
from tests.model.program import Known, Life, Program
from tests.model.server import Server, Session
from tests.model.simulated import simulated
from tests.model.tables import Tables, Transaction
from tests.model.virtual import Machine, VirtualTime

# Programs by shard, and sources.
LAYOUTS: Sequence[Mapping[str, int]] = ({"east": 2}, {"east": 3}, {"east": 2, "west": 1})
SOURCES = {"east": ("orders", "billing"), "west": ("stock",)}
NAMES = ("a", "b", "c")
# Seconds between two looks, which take most of the CPU; the first are those of real cores.
LOOKS = (LOOK_EVERY, 1.0, 1.0, 1.0)
CALM = 90.0  # seconds in which all must be at peace when nothing fails any longer
LOOK = 0.2  # seconds between two looks at whether there is peace
REST = 6.0  # seconds for which nobody takes over then
_CLAIMED = {"open_sessions", "past_sessions", "shard_sources"}  # what only an active core writes
STALL = 20.0  # seconds for which a server may hang without a take-over


class Fleet:
    """Cores over one server; the truth about their sources; all ids that were ever told."""

    def __init__(
        self,
        layout: Mapping[str, int],
        rates: Sequence[float],
        chance: Random,
        look_every: float = LOOKS[0],
    ) -> None:
        self._closing = ExitStack()
        self._closing.enter_context(simulated(chance, look_every))
        self.time = VirtualTime(chance)
        self.server = Server(self.time, chance, meaning, reading)
        self.server.committed.append(self._check)
        self.truth: dict[str, dict[str, int]] = {
            name: {} for shard in layout for name in SOURCES[shard]
        }
        self.programs: list[Program] = []
        supervisor = self._supervisor = Machine(self.time)
        for shard, cores in layout.items():
            for _ in range(cores):
                name = NAMES[len(self.programs)]
                program = Program(name, shard, SOURCES[shard], self.time, self.server)
                program.rate = rates[len(self.programs)]
                program.watching, program.supervisor = self, supervisor
                program.start()
                self.programs.append(program)
        self._snapshots: list[tuple[int, Tables]] = []  # with the losses of all before each
        self.save()
        self._births = 0
        self._told: dict[int, tuple[str, str, int]] = {}  # what each id is of
        # Whose each start is, by its number: a pen's by which something was shown, or a life's.
        self._starts: dict[int, object] = {}
        self._ids: dict[int, int] = {}  # the id of what was shown, by its start
        self._may_rename = False  # the server has lost something
        # How often it had lost all its tables when a core that had seen no id gave the first again.
        self._forgotten = 0
        self.is_calm = False  # nothing has failed since there was peace
        self.longest = 0.0  # seconds until there was peace

    def close(self) -> None:
        """Forget it."""
        self.server.committed.clear()
        for machine in [*self._machines()]:
            machine.end()
        self._closing.close()

    # What happens.

    def connect(self, source: str, keys: Sequence[str]) -> None:
        """Let sessions begin in place of those with the same keys."""
        for key in keys:
            self._births += 1
            self.truth[source][key] = self._births

    def disconnect(self, source: str, keys: Sequence[str]) -> None:
        """Let sessions end."""
        for key in keys:
            self.truth[source].pop(key, None)

    def lose(self) -> None:
        """Note that the server may lose what was written."""
        self._may_rename, self.is_calm = True, False

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.time.run(seconds)
        self._check_machines()

    def stalled(self, hang: Callable[[], None], seconds: float) -> None:
        """Let the server hang and go on; nobody takes over if nothing else has failed."""
        before = self._activities()
        hang()
        self.run(min(seconds, STALL))
        self.heal_server()
        if self.is_calm:
            self.run(REST)
            assert self._activities() == before, "a server that hangs makes nobody take over"

    def heal_server(self) -> None:
        """Let the server work."""
        server = self.server
        server.machine.is_paused = False
        server.is_writable = True
        if not server.hears_standby:
            server.hear_standby(is_heard=True)
        if not server.is_up:
            server.start()

    def save(self) -> None:
        """Make a backup of the server."""
        self._snapshots.append((self.server.forgotten, self.server.snapshot()))

    def backup(self, back: int) -> Tables:
        """Return the backup of so many steps ago, if all tables have not been lost since."""
        since = [each for forgotten, each in self._snapshots if forgotten == self.server.forgotten]
        return (since or [self.server.snapshot()])[-back:][0]

    def heal(self) -> None:
        """Let nothing fail any longer."""
        self.heal_server()
        for program in self.programs:
            program.heal()

    # What must hold.

    def show(self, program: Program) -> None:
        """Note what a core shows: an id is of one session for ever, a session keeps its id."""
        if (pen := program.machine.pen) is not None:
            self._starts[pen.instance] = pen
        for (source, key), (begun, ident) in program.machine.memory.items():
            self._tell(ident, (source, key, begun))
            known = self._ids.setdefault(begun, ident)
            if known != ident:
                assert self._may_rename, f"{program.name}: {known} has become {ident}"
                self._ids[begun] = ident

    def _tell(self, ident: int, session: tuple[str, str, int]) -> None:
        before = self._told.setdefault(ident, session)
        assert before == session, f"the id {ident} was of {before}, and is of {session}"

    def _check(self, session: Session, transaction: Transaction) -> None:
        """Check what is being committed, before it is seen."""
        life = session.owner
        assert isinstance(life, Life)
        if self._forgotten < self.server.forgotten and ("counters", "id") in transaction.changed:
            counter = transaction.row("counters", "id")
            if counter is not None and counter["value"]:
                self._forgotten = self.server.forgotten
                if life.knows_no_id:
                    self._told.clear()
        for number in transaction.reserved_starts:
            assert number not in self._starts, f"{life.program.name} reserves {number} again"
            self._starts[number] = life
        for number in transaction.told_starts:
            owner = self._starts.get(number, life)
            assert owner in (life, life.pen), f"{life.program.name} starts as {number} again"
            self._starts.setdefault(number, life)
        changed = {table for table, _ in transaction.changed}
        is_claimed = transaction.claim is not None
        assert is_claimed or changed.isdisjoint(_CLAIMED), f"{life.program.name} has no claim"
        if "open_sessions" not in changed:
            return
        rows: Known = {}
        for _, row in transaction.rows("open_sessions"):
            where = row["source"], row["key"]
            assert where not in rows, f"{where} is open twice"
            rows[where] = row["connect_time"], row["id"]
            self._tell(row["id"], (*where, row["connect_time"]))
        past = {key[1] for key, _ in transaction.rows("past_sessions") if isinstance(key, tuple)}
        ended = past & {ident for _, ident in rows.values()}
        assert not ended, f"open and ended: {ended}"
        mine = {at: each for at, each in rows.items() if at[0] in life.program.sources}
        known = (life.memory, life.expected, *life.in_doubt)
        assert any(_agree(mine, each) for each in known), (
            f"{life.program.name} knows {life.memory}, writes {life.expected}; there is {mine}"
        )

    def _check_machines(self) -> None:
        for machine in self._machines():
            if machine.failed:
                raise machine.failed.pop(0)

    def _machines(self) -> Iterator[Machine]:
        yield from (self.server.machine, self._supervisor)
        for program in self.programs:
            yield from program.lives

    def _activities(self) -> list[int]:
        return [program.takeovers for program in self.programs]

    def is_at_peace(self) -> bool:
        """Return whether one core a shard shows what there is, and the ledger has that."""
        if self.server._is_to_drop:
            return False
        for shard in {program.shard for program in self.programs}:
            cores = [each for each in self.programs if each.shard == shard]
            active = [each for each in cores if each.is_showing]
            if len(active) != 1 or not all(each.is_running for each in cores):
                return False
            if any(each.is_ending for each in cores):
                return False  # it will take over again once it has started again
            if not (active[0].has_pen and self._shows_truth(active[0])):
                return False
        return True

    def _shows_truth(self, core: Program) -> bool:
        """Return whether a core shows what there is, and the ledger has just that."""
        truth = {
            (source, key): begun
            for source in core.sources
            for key, begun in self.truth[source].items()
        }
        memory = core.machine.memory
        if {at: begun for at, (begun, _) in memory.items()} != truth:
            return False
        opened = self.server.tables["open_sessions"].values()
        rows = {(row["source"], row["key"]): row["id"] for row in opened}
        mine = {at: ident for at, ident in rows.items() if at[0] in core.sources}
        return mine == {at: ident for at, (_, ident) in memory.items()}

    def find_peace(self) -> None:
        """Mend all; the fleet is at peace in bounded time."""
        self.heal()
        began = self.time.now
        found = False
        while not found and self.time.now - began < CALM:
            self.run(LOOK)
            found = self.is_at_peace()
        assert found, f"no peace within {CALM:g} s:\n{self.described()}"
        self.longest = max(self.longest, self.time.now - began)
        if self._may_rename:
            self._may_rename = False
            self._ids = {
                begun: ident
                for program in self.programs
                if program.is_showing
                for begun, ident in program.machine.memory.values()
            }

    def make_peace(self) -> None:
        """Mend all; the fleet is at peace in bounded time, and stays as it is."""
        self.find_peace()
        self.run(REST / 2)  # who was active before a disturbance may still be looking
        before = self._activities()
        self.run(REST)
        assert self._activities() == before, "take-overs come to rest"
        assert self.is_at_peace(), self.described()
        self.is_calm = True

    def manage_with(self, program: Program) -> None:
        """Mend the server and one core: its shard is served in bounded time, however others are."""
        self.is_calm = False
        self.heal_server()
        program.heal()
        self.connect(program.sources[0], "k")
        began = self.time.now
        while not self._is_served(program.shard):
            assert self.time.now - began < CALM, f"not served in {CALM:g} s:\n{self.described()}"
            self.run(LOOK)

    def _is_served(self, shard: str) -> bool:
        """Return whether a core that can read and write shows what there is."""
        cores = [each for each in self.programs if each.shard == shard and each.is_showing]
        return any(self._shows_truth(each) for each in cores if each.is_able)

    def described(self) -> str:
        """Return what each core knows, and what is true."""
        lines = [
            f"{each.name} ({each.shard}): runs {each.is_running}, shows {each.is_showing}:"
            f" {each.machine.memory}"
            for each in self.programs
        ]
        return "\n".join([*lines, f"truth: {self.truth}"])


def _agree(rows: Known, known: Known) -> bool:
    return rows.keys() == known.keys() and all(
        rows[at][0] == begun and ident in (0, rows[at][1]) for at, (begun, ident) in known.items()
    )
