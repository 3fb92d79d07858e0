"""Runs many schedules of the model: ``python -m tests.model SCHEDULES [SEED [FIRST]]``.

They are drawn in parts, each from the seed and its number, so that a run goes on where another one
has ended, and a part that fails is repeated by itself.
"""

from __future__ import annotations

import gc
import logging
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from traceback import format_exc

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.schedules import FleetSchedule

PART = 100  # schedules
_PROCESSES = 2
_GARBAGE = 50_000  # objects: what schedules leave is looked for more rarely than usual
_STEPS = 12  # faults of a schedule, at most


def run(drawn: int, number: int) -> str:
    """Run one part; return what has failed."""
    logging.disable(logging.CRITICAL)
    gc.collect()  # what the part before has left
    gc.freeze()
    gc.set_threshold(_GARBAGE)

    @seed(f"{drawn} {number}")
    class Part(FleetSchedule):
        pass

    options = settings(
        max_examples=PART,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        print_blob=False,
    )
    try:
        run_state_machine_as_test(Part, settings=options)
    except Exception:
        return format_exc()
    return ""


def main(schedules: int, drawn: int, first: int) -> int:
    """Run schedules; return the exit code."""
    parts = range(first, first + -(-schedules // PART))
    print(f"seed {drawn}: go on with a part by python -m tests.model SCHEDULES {drawn} PART")
    failed, began = [], time.monotonic()
    with ProcessPoolExecutor(_PROCESSES) as pool:
        tried = pool.map(run, [drawn] * len(parts), parts)
        for number, fault in zip(parts, tried, strict=True):
            done = (number - first + 1) * PART
            print(f"part {number}: {done} schedules, {time.monotonic() - began:.0f} s", flush=True)
            if fault:
                print(fault, flush=True)
                failed.append(number)
    print(f"{len(parts) * PART} schedules; parts that failed: {failed or 'none'}")
    return bool(failed)


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    drawn = given[1] if len(given) > 1 else secrets.randbits(32)
    sys.exit(main(given[0] if given else 100_000, drawn, given[2] if len(given) > 2 else 0))
