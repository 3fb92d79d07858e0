from __future__ import annotations

import logging

import pytest

from sessiongate.runtime.rarely import LOG_INTERVAL, Rarely
from tests.runtime.clock import Clock


def test_a_kind_is_said_once_a_minute_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    rarely = Rarely(logging.getLogger("any"), clock)
    for _ in range(3):
        rarely.warn("one")
        rarely.warn("other")
    clock.now += LOG_INTERVAL
    rarely.warn("one")
    clock.now += LOG_INTERVAL
    rarely.warn("one")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["one", "other", "one; 2 more times since this was last logged", "one"]
