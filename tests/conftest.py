"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

from tests.faults.scale import times

# How long an example takes says more about the machine than about the program. With
# FAULTS=full there are many more examples, unless a test says how many it needs.
settings.register_profile("untimed", deadline=None, max_examples=times(50, 1000))
settings.load_profile("untimed")
