"""A simulated engine, a core that is active and one that stands by, whose clocks are drawn.

The core that stands by must give up one that hangs, and never one that is only not heard of.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.fleet.heartbeats import HeartbeatWatch, Look
from sessiongate.core.ledger.postgresql.connection import Backend
from tests.faults.scale import times

Interval: TypeAlias = tuple[float, float]

AFTER, BEAT_EVERY, LOOK_EVERY, DOUBT = 5.0, 0.5, 0.25, 1.0
LATENCY = 0.01
END = 60.0
PEN = Backend(7, datetime(2026, 1, 1, tzinfo=UTC))


def beyond(moment: float, pauses: list[Interval]) -> float:
    """Return the first moment from then on that is in no pause."""
    while inside := [end for start, end in pauses if start <= moment < end]:
        moment = max(inside)
    return moment


def outside(window: Interval, pauses: list[Interval]) -> float:
    """Return how much of a window is in no pause."""
    moment, total = window[0], 0.0
    while (moment := beyond(moment, pauses)) < window[1]:
        following = min([start for start, _ in pauses if start > moment] + [window[1]])
        total += following - moment
        moment = following
    return total


@dataclass
class World:
    """The events in real time; the stand-by's clock runs at a rate, from an offset."""

    active: list[Interval] = field(default_factory=list)  # it is stopped, or cut off
    standing_by: list[Interval] = field(default_factory=list)
    engine: list[Interval] = field(default_factory=list)  # it answers nothing
    disk: list[Interval] = field(default_factory=list)  # it commits nothing durably
    lost: list[Interval] = field(default_factory=list)  # the stand-by has no connection
    rate: float = 1.0
    offset: float = 0.0

    @property
    def silent(self) -> list[Interval]:
        """When the active core does not beat: also while its pen waits for the disk for long."""
        return self.active + [(start + AFTER, end) for start, end in self.disk]

    def beats(self) -> list[float]:
        """Return when the engine counted the active core's beats."""
        found, moment = [], 0.0
        while (asked := beyond(moment, self.silent)) < END:
            counted = beyond(asked + LATENCY, self.engine)
            found.append(counted)
            moment = beyond(counted + LATENCY, self.active) + BEAT_EVERY
        return found

    def clock(self, moment: float) -> float:
        return self.offset + self.rate * moment

    def run(self) -> tuple[float, Interval] | None:
        """Return when the active core was given up, and the time that counted for it."""
        watch, beats = HeartbeatWatch(AFTER), self.beats()
        moment, own = 0.0, 0
        while (asked := beyond(moment, self.standing_by)) < END:
            is_durable = watch.stands_still_for > DOUBT
            written = beyond(asked + LATENCY, self.engine)
            if is_durable:
                written = beyond(written, self.disk)
            read = beyond(written + LATENCY, self.engine)
            received = beyond(read + LATENCY, self.standing_by)
            moment = received + LOOK_EVERY
            if beyond(asked, self.lost) != asked or received - asked > AFTER:
                watch.miss()
                continue
            own += 1
            beat = bisect_right(beats, read)
            times = self.clock(asked), self.clock(received)
            if watch.take(Look(*times, own, is_durable, PEN, beat)):
                return received, (asked - watch.stands_still_for / self.rate, asked)
        return None


def pauses(longest: float) -> st.SearchStrategy[list[Interval]]:
    starts, lengths = st.floats(0, END), st.floats(0.01, longest)
    return st.lists(st.builds(lambda start, length: (start, start + length), starts, lengths))


clocks = {"rate": st.floats(0.999, 1.001), "offset": st.floats(0, 1e7)}


@settings(max_examples=times(50, 1000), deadline=None)
@given(
    st.builds(
        World,
        active=pauses(20),
        standing_by=pauses(20),
        engine=pauses(20),
        disk=pauses(20),
        lost=pauses(5),
        **clocks,
    ),
    pauses(20),
)
def test_only_a_core_that_could_not_beat_is_given_up(world: World, both: list[Interval]) -> None:
    world.active += both  # as when all machines are suspended
    world.standing_by += both
    if (found := world.run()) is not None:
        _, window = found
        assert window[1] - window[0] >= AFTER * 0.999
        assert outside(window, world.silent + world.engine) < 2 * BEAT_EVERY


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        World,
        standing_by=pauses(20),
        engine=pauses(30),
        disk=pauses(30),
        lost=pauses(5),
        **clocks,
    )
)
def test_no_core_is_given_up_for_what_the_engine_does(world: World) -> None:
    assert world.run() is None


@pytest.mark.parametrize(
    "world",
    [
        World(disk=[(10, 40)]),
        World(engine=[(10, 40)]),
        World(engine=[(start, start + 4) for start in range(10, 40, 5)]),
        World(engine=[(start, start + 1.5) for start in range(10, 40, 2)], disk=[(10, 40)]),
        World(engine=[(10, 14)], active=[(14, 16)]),
        # Both machines were suspended.
        *(
            World(standing_by=[(start, 40)], active=[(start, 41)])
            for start in (10.0, 10.1, 10.2, 10.3, 10.4)
        ),
        World(active=[(10, 14)]),
    ],
)
def test_what_passes_ends_nobody(world: World) -> None:
    assert world.run() is None


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 40), st.builds(World, lost=pauses(1), **clocks))
def test_a_core_that_hangs_is_given_up_in_time(stopped: float, world: World) -> None:
    world.active = [(stopped, 2 * END)]
    world.lost = [(start, end) for start, end in world.lost if end < stopped]
    found = world.run()
    assert found is not None
    assert AFTER - BEAT_EVERY < found[0] - stopped < AFTER + 2.0


@pytest.mark.parametrize("holder", [None, PEN])
def test_who_has_not_stated_the_pen_is_never_ended(holder: Backend | None) -> None:
    """Such as a core of an earlier release, or an operator."""
    watch = HeartbeatWatch(AFTER)
    for number in range(100):
        look = Look(number * LOOK_EVERY, number * LOOK_EVERY, number, True, holder, None)
        assert watch.take(look) is None
