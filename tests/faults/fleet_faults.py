"""Faults in a fleet: each lasts until its block ends, and is mended then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from random import Random
from threading import Event

from tests.faults.fleet_programs import FleetProgram
from tests.faults.fleet_world import SHARDS, World
from tests.faults.scale import times

Fault = Callable[[World, Random], AbstractContextManager[str]]
"""Yields what it does, in words."""

_LARGE = times(400, 4_000)  # sessions that begin at once
_COPY_WITHIN = 15.0  # seconds in which a core must have begun to write them


@contextmanager
def killed(world: World, chance: Random) -> Iterator[str]:
    """Kill a program, and start it again."""
    program = world.drawn(chance)
    program.kill()
    yield f"killed {program.name}"
    program.start()


@contextmanager
def ended(world: World, chance: Random) -> Iterator[str]:
    """End a program in order, and start it again."""
    program = world.drawn(chance)
    program.terminate()
    yield f"ended {program.name}"
    program.start()


@contextmanager
def stopped(world: World, chance: Random) -> Iterator[str]:
    """Stop a program, and let it go on."""
    program = world.drawn(chance)
    program.stop()
    yield f"stopped {program.name}"
    program.go_on()


@contextmanager
def stopped_within_copy(world: World, chance: Random) -> Iterator[str]:
    """Stop an active core when its server waits for the rows that it has begun to send."""
    shard = chance.choice([*SHARDS])
    program, document = _active(world, shard), world.sources(shard)[0]
    seen = Event()

    def stop(sent: bytes) -> None:
        if b"COPY" in sent and not seen.is_set():
            program.stop()
            seen.set()

    program.link.when_sent(stop)
    with world.documents.resting():
        document.fill(_LARGE)
    is_seen = seen.wait(_COPY_WITHIN)
    program.link.when_sent(None)
    yield f"stopped {program.name} within COPY" if is_seen else f"{program.name} did not COPY"
    if is_seen:
        program.go_on()
    with world.documents.resting():
        document.fill(30)


@contextmanager
def server_killed(world: World, _chance: Random) -> Iterator[str]:
    """Kill the ledger's server, and start it again."""
    world.engine.node.server.kill()
    yield "killed the server"
    world.engine.node.restart()


@contextmanager
def server_paused(world: World, _chance: Random) -> Iterator[str]:
    """Stop all processes of the ledger's server, and let them go on."""
    world.engine.node.server.suspend()
    yield "paused the server"
    world.engine.node.server.resume()


@contextmanager
def promoted_in_sync(world: World, _chance: Random) -> Iterator[str]:
    """Replace the server by a standby that has everything."""
    standby = world.engine.standby(is_in_sync=True)
    time.sleep(1)  # for writes
    world.engine.node.server.kill()
    yield "killed the server, which a standby in sync replaces"
    world.engine.promote(standby)
    world.links.redirect(standby.port)


@contextmanager
def promoted_out_of_sync(world: World, chance: Random) -> Iterator[str]:
    """Replace the server by a standby that lacks the last writes."""
    standby = world.engine.standby(is_in_sync=False)
    standby.server.kill()
    time.sleep(chance.uniform(0.5, 2))
    world.answers.allow_new_ids()
    world.engine.node.server.kill()
    yield "killed the server, which a standby that lags behind replaces"
    world.engine.promote(standby)
    world.links.redirect(standby.port)


@contextmanager
def restored(world: World, chance: Random) -> Iterator[str]:
    """Replace the server by what it was a while before."""
    data = world.engine.snapshot()
    time.sleep(chance.uniform(0.5, 4))
    world.answers.allow_new_ids()
    world.engine.node.server.kill()
    yield "restored the server from a snapshot"
    world.engine.restore(data)
    world.links.redirect(world.engine.node.port)


@contextmanager
def dropped(world: World, _chance: Random) -> Iterator[str]:
    """Drop the schema, and make an empty one."""
    world.answers.allow_new_ids()
    world.engine.drop_schema()
    yield "dropped the schema"
    world.engine.make_schema()


@contextmanager
def cut(world: World, chance: Random) -> Iterator[str]:
    """Cut a program off the ledger's server."""
    program = world.drawn(chance)
    program.link.cut()
    yield f"cut {program.name} off"
    program.link.heal()


@contextmanager
def silent(world: World, chance: Random) -> Iterator[str]:
    """Let nothing pass between a program and the ledger's server; then, what was sent."""
    program = world.drawn(chance)
    program.link.silence()
    yield f"cut {program.name} off in silence"
    program.link.heal()


@contextmanager
def slow(world: World, chance: Random) -> Iterator[str]:
    """Delay all that passes between a program and the ledger's server."""
    program, delay = world.drawn(chance), chance.uniform(0.02, 0.3)
    program.link.slow_down(delay)
    yield f"slowed {program.name} down by {delay:.2f} s"
    program.link.heal()


@contextmanager
def shifted(world: World, chance: Random) -> Iterator[str]:
    """Set the clock of a program 3 s ahead or back."""
    program, seconds = world.drawn(chance), chance.choice((-3, 3))
    program.clock.set(seconds)
    yield f"set the clock of {program.name} to {seconds:+d} s"
    program.clock.set(0)


OF_PROGRAMS: Mapping[Fault, int] = {  # with how often each is drawn
    killed: 3,
    ended: 1,
    stopped: 3,
    stopped_within_copy: 2,
    cut: 2,
    silent: 2,
    slow: 2,
    shifted: 2,
}
OF_SERVER: Mapping[Fault, int] = {
    server_killed: 2,
    server_paused: 2,
    promoted_in_sync: 2,
    promoted_out_of_sync: 1,
    restored: 1,
    dropped: 1,
}


def _active(world: World, shard: str) -> FleetProgram:
    """Wait until one core answers for a shard; return it."""
    until = time.monotonic() + 30
    while (found := world.active(shard)) is None:
        assert time.monotonic() < until, f"no core answers for {shard}"
        time.sleep(0.1)
    return found
