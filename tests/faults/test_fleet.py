"""A fleet of real programs, whose programs, server, links and clocks fail at random."""

from __future__ import annotations

import os
import random
import re
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.faults import fleet_faults
from tests.faults.fleet_faults import OF_PROGRAMS, OF_SERVER, Fault
from tests.faults.fleet_world import SHARDS, World, world
from tests.faults.scale import FULL, SEED, figure, times
from tests.program import PATIENCE

# In every run of the tests; ``make faults`` draws others.
_SHORT = (fleet_faults.killed, fleet_faults.stopped_within_copy, fleet_faults.promoted_out_of_sync)
# FAULTS_FIRST=N with the seed of a run goes on with its fault N.
_FIRST = int(os.environ.get("FAULTS_FIRST") or 0)
_LAST = times(len(_SHORT), 150)
# What a core says if the ledger has lost ids, or all that it had.
_NAMED = re.compile("which continue from|made the ledger's tables")
_PEACE = times(PATIENCE, 10.0)  # seconds after a fault until all must be at peace
_LASTS = times(0.3, 12.0)  # seconds: how long a fault lasts, at most


def faults(number: int) -> tuple[list[Fault], Random]:
    """Return what is to be done at once, and the chance that it draws from."""
    chance = random.Random(f"{SEED} {number}")
    if not FULL:
        return [_SHORT[number]], chance
    kinds = [OF_PROGRAMS, OF_SERVER]
    if chance.random() < 0.8:  # one at a time, most of the time
        kinds = [chance.choices(kinds, (5, 3))[0]]
    return [chance.choices([*each], [*each.values()])[0] for each in kinds], chance


@pytest.mark.long
def test_no_fault_makes_a_fleet_say_what_is_not_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble: list[str] = []
    longest: dict[str, float] = {}

    def say(text: str) -> None:
        if FULL:
            with capsys.disabled():
                print(text, flush=True)

    def note(text: str) -> None:
        say(f"  FAULT: {text}")
        trouble.append(text)

    say(f"\nFAULTS_SEED={SEED}: repeat it, or go on with FAULTS_FIRST=N")
    with world(tmp_path, SEED) as fleet, fleet.running(note):
        fleet.until_peace(PATIENCE)
        fleet.answers.faults.clear()  # a front that starts first knows of no shards
        for number in range(_FIRST, _LAST):
            began = time.monotonic()
            what, took = suffer(fleet, number)
            if took > _PEACE:
                note(f"{number}: no peace within {_PEACE:g} s")
            say(f"{number}: {what}; at peace after {took:.1f} s; {time.monotonic() - began:.0f} s")
            for fault in fleet.answers.faults:
                note(f"{number}: {fault}")
            fleet.answers.faults.clear()
            kind = "+".join(each.__name__ for each in faults(number)[0])
            longest[kind] = max(took, longest.get(kind, 0.0))
    figure("fleet at random: faults", _LAST - _FIRST)
    figure("fleet at random: seed", SEED)
    figure("fleet at random: answers checked", fleet.answers.asked)
    figure("fleet at random: longest until peace, s", round(max(longest.values()), 1))
    figure("fleet at random: sessions with new ids after a loss", len(fleet.answers.renamed))
    assert trouble == []


def suffer(fleet: World, number: int) -> tuple[str, float]:
    """Let something happen; return what, and after how many seconds all was at peace."""
    kinds, chance = faults(number)
    said = {name: len(each.said) for name, each in fleet.programs.items()}
    renamed = len(fleet.answers.renamed)
    before = {shard: fleet.active(shard) for shard in SHARDS}
    with ExitStack() as stack:
        happened = [stack.enter_context(each(fleet, chance)) for each in kinds]
        time.sleep(chance.uniform(0.1, _LASTS))
    took = fleet.until_peace(PATIENCE)
    fleet.answers.forbid_new_ids()
    if kinds == [fleet_faults.server_paused]:
        assert before == {shard: fleet.active(shard) for shard in SHARDS}, "nobody takes over"
    if len(fleet.answers.renamed) > renamed:
        told = "".join(each.said[said[name] :] for name, each in fleet.programs.items())
        assert _NAMED.search(told), f"new ids are not named:\n{told}"
    return " and ".join(happened), took
