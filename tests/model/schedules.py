"""Draws what befalls the simulated fleet, and when."""

from __future__ import annotations

import sys
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.model.fleet import LAYOUTS, LOOKS, NAMES, STALL, Fleet
from tests.model.program import Program

cores = st.sampled_from(NAMES)
sources = st.sampled_from(["orders", "billing", "stock"])
keys = st.lists(st.sampled_from("klmn"), min_size=1, max_size=3, unique=True)
times = st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.5, 6.0, 12.0])  # seconds until the next fault
moments = st.floats(0, 0.006)  # seconds: a statement takes about 0.003
statements = st.sampled_from(["COMMIT", "COPY", "UPDATE shards", "BEGIN", "SELECT", "UPDATE cores"])


class FleetSchedule(RuleBasedStateMachine):
    """One schedule: faults of programs, links, clocks and the server; then peace."""

    fleet: Fleet

    @initialize(
        layout=st.sampled_from(LAYOUTS),
        rates=st.lists(st.sampled_from([1.0, 0.99, 1.01]), min_size=3, max_size=3),
        seed=st.integers(0, 2**32),
        look_every=st.sampled_from(LOOKS),
        begins=st.booleans(),
    )
    def begin(
        self,
        layout: dict[str, int],
        rates: list[float],
        seed: int,
        look_every: float,
        begins: bool,
    ) -> None:
        self.fleet = Fleet(layout, rates, Random(seed), look_every)
        if begins:
            self.fleet.connect("orders", "kl")
            self.fleet.find_peace()
            self.fleet.is_calm = True

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            try:
                if sys.exc_info()[0] is None:  # else the fault would be hidden by what follows it
                    self.fleet.make_peace()
            finally:
                self.fleet.close()

    def program(self, name: str) -> Program:
        programs = {each.name: each for each in self.fleet.programs}
        return programs.get(name) or self.fleet.programs[0]

    def then(self, seconds: float, *, is_fault: bool = True) -> None:
        if is_fault:
            self.fleet.is_calm = False
        self.fleet.run(seconds)
        self.fleet.save()

    @rule(source=sources, began=keys, ended=keys, after=times)
    def change(self, source: str, began: list[str], ended: list[str], after: float) -> None:
        source = source if source in self.fleet.truth else "orders"
        self.fleet.disconnect(source, ended)
        self.fleet.connect(source, began)
        self.then(after, is_fault=False)

    @rule(name=cores, after=times, again=st.booleans())
    def kill(self, name: str, after: float, again: bool) -> None:
        self.program(name).kill()
        self.then(after)
        if again:
            self.program(name).start()

    @rule(name=cores, after=times, again=st.booleans())
    def terminate(self, name: str, after: float, again: bool) -> None:
        self.program(name).terminate()
        self.then(after)
        if again:
            self.program(name).start()

    @rule(name=cores, after=times)
    def stop_or_go_on(self, name: str, after: float) -> None:
        program = self.program(name)
        if program.is_running:
            program.machine.is_paused = not program.machine.is_paused
        self.then(after)

    @rule(name=cores, statement=statements, after=times)
    def stop_at(self, name: str, statement: str, after: float) -> None:
        program = self.program(name)

        def stop() -> None:
            program.machine.is_paused = True

        program.trap = statement, stop
        self.fleet.connect("orders", "m")
        self.then(after)

    @rule(name=cores, statement=statements, moment=moments, after=times, kills=st.booleans())
    def fail_at(self, name: str, statement: str, moment: float, after: float, kills: bool) -> None:
        """Kill a program, or cut it off, a moment after it has sent a statement."""
        program = self.program(name)
        healed = program.healed

        def fail() -> None:
            if program.healed != healed:
                return  # nothing is to fail any longer
            if kills:
                program.kill()
            else:
                program.link.cut()

        def spring() -> None:
            self.fleet.server.machine.call_later(moment, fail)

        program.trap = statement, spring
        self.fleet.connect("orders", "n")
        self.then(after)

    @rule(name=cores, how=st.sampled_from(["cut", "silent", "slow", "heal"]), after=times)
    def link(self, name: str, how: str, after: float) -> None:
        link = self.program(name).link
        if how == "cut":
            link.cut()
        elif how == "silent":
            link.is_silent = True
        elif how == "slow":
            link.delay = 0.2
        else:
            link.heal()
        self.then(after)

    @rule(name=cores, seconds=st.sampled_from([-3.0, -0.9, 0.9, 3.0]), after=times)
    def shift(self, name: str, seconds: float, after: float) -> None:
        self.program(name).wall = seconds
        self.then(after, is_fault=False)

    @rule(down=st.sampled_from([0.0, 0.5, 4.0]), after=times)
    def kill_server(self, down: float, after: float) -> None:
        self.fleet.server.kill()
        self.then(down)
        self.fleet.server.start()
        self.then(after)

    @rule(how=st.sampled_from(["paused", "disk", "standby"]), seconds=st.floats(1, STALL))
    def stall(self, how: str, seconds: float) -> None:
        server = self.fleet.server

        def hang() -> None:
            if how == "paused":
                server.machine.is_paused = True
            elif how == "disk":
                server.is_writable = False
            else:
                server.attach_standby(is_in_sync=True)
                server.hear_standby(is_heard=False)

        self.fleet.connect("orders", "k")
        self.fleet.stalled(hang, seconds)

    @rule(
        is_in_sync=st.booleans(),
        is_heard=st.booleans(),
        follows=times,
        down=st.sampled_from([0.0, 0.5, 4.0]),
        after=times,
    )
    def promote(
        self, is_in_sync: bool, is_heard: bool, follows: float, down: float, after: float
    ) -> None:
        server = self.fleet.server
        if not is_in_sync:
            self.fleet.lose()
        server.attach_standby(is_in_sync=is_in_sync)
        self.then(follows)
        if not is_heard:
            server.hear_standby(is_heard=False)
            self.then(2.0)
        server.kill()
        self.then(down)
        server.promote()
        self.then(after)

    @rule(back=st.integers(1, 5), after=times)
    def restore(self, back: int, after: float) -> None:
        snapshot = self.fleet.backup(back)
        self.fleet.lose()
        self.fleet.server.restore(snapshot)
        self.then(after)

    @rule(after=times)
    def drop(self, after: float) -> None:
        self.fleet.lose()
        server = self.fleet.server
        server.machine.call_soon(server.drop)
        self.then(after)

    @rule(stays=st.booleans())
    def peace(self, stays: bool) -> None:
        if stays:
            self.fleet.make_peace()
        else:
            self.fleet.find_peace()

    @rule(name=cores)
    def manage(self, name: str) -> None:
        """Let one core do without the others."""
        self.fleet.manage_with(self.program(name))

    @rule(name=cores)
    def take_over(self, name: str) -> None:
        """Let another core take over sessions that do not change."""
        self.fleet.find_peace()
        self.program(name).kill()
        self.fleet.find_peace()
