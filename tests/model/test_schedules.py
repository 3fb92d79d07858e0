"""Some schedules of the model in every run of the tests; ``make model`` runs many."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.model.schedules import FleetSchedule

FleetSchedule.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,  # each run is the same: what others draw is looked for by ``make model``
    suppress_health_check=[*HealthCheck],
)
TestFleetSchedule = FleetSchedule.TestCase
