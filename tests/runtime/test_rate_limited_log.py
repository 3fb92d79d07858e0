from __future__ import annotations

import logging

import pytest

from sessiongate.runtime.rate_limited_log import LOG_INTERVAL, RateLimitedLog
from tests.runtime.clock import Clock


def test_a_kind_is_said_once_a_minute_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    limited_log = RateLimitedLog(logging.getLogger("any"), clock)
    for _ in range(3):
        limited_log.warn("one")
        limited_log.warn("other")
    clock.now += LOG_INTERVAL
    limited_log.warn("one")
    clock.now += LOG_INTERVAL
    limited_log.warn("one")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["one", "other", "one; 2 more times since this was last logged", "one"]
