"""How much the fault suite and random tests do: little in every test run, or the full form.

``make faults`` and ``make soak`` run the full one and write its figures to
docs/reliability.md. Every short run draws the same, and every full one something new:
its figures name the seed that draws it again.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import TypeVar

FULL = os.environ.get("FAULTS") == "full"
FIGURES = Path(os.environ.get("FAULTS_FIGURES", os.devnull))
SEED = int(os.environ.get("FAULTS_SEED") or (random.getrandbits(32) if FULL else 0))


_N = TypeVar("_N", int, float)


def times(short: _N, full: _N) -> _N:
    """Return how often, or for how many seconds."""
    return full if FULL else short


def figure(name: str, value: object) -> None:
    """Note a figure of this run as one line of JSON."""
    with FIGURES.open("a", encoding="utf-8") as file:
        file.write(json.dumps([name, value]) + "\n")
