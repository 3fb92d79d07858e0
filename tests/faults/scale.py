"""How much the fault suite does: a short form for every test run, or the full one.

The full one is run by ``make faults`` and ``make soak``, and its figures are written to
docs/reliability.md. What is drawn is the same in every short run, and new in every full one:
its figures name the seed that draws it again.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

FULL = os.environ.get("FAULTS") == "full"
FIGURES = Path(os.environ.get("FAULTS_FIGURES", os.devnull))
SEED = int(os.environ.get("FAULTS_SEED") or (random.getrandbits(32) if FULL else 0))


def times(short: int, full: int) -> int:
    """How often, or for how many seconds."""
    return full if FULL else short


def figure(name: str, value: object) -> None:
    """Note a figure of this run: one line of JSON."""
    with FIGURES.open("a", encoding="utf-8") as file:
        file.write(json.dumps([name, value]) + "\n")
