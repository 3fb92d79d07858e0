"""What is garbage is found, and nobody waits for that, however much is held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import gc
from runtime import memory
memory.collect_in_short_steps()
class Knot:
    living = 0
    def __init__(self):
        self.self = self
        Knot.living += 1
    def __del__(self):
        Knot.living -= 1
held = []
for number in range(600_000):
    held.append([number])
    if number % 10 == 0:
        Knot()
young = max(len(gc.get_objects(generation)) for generation in range(3))
print(Knot.living < 10_000, gc.get_freeze_count() > 500_000, young < 100_000)
"""


def _run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.split()


def test_garbage_goes_and_what_stays_is_not_looked_at_again() -> None:
    assert _run(PROGRAM) == ["True", "True", "True"]


LONG_LIVED = """
import gc
from runtime import memory
memory.collect_in_short_steps()
memory._LOOK_AGAIN = 1e9
class Knot:
    living = 0
    def __init__(self):
        self.self = self
        Knot.living += 1
    def __del__(self):
        Knot.living -= 1
old = [Knot() for _ in range(1000)]
gc.collect()
old.clear()
gc.collect()
print(Knot.living)
memory._LOOK_AGAIN = 0.0
gc.collect()
print(Knot.living)
"""


def test_what_becomes_garbage_late_goes_when_all_is_looked_at() -> None:
    assert _run(LONG_LIVED) == ["1000", "0"]
