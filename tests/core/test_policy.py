"""The clock by which past sessions grow old."""

from __future__ import annotations

import pytest

from sessiongate.core.ledger.policy import CONFIRMING, ConfirmedClock

SECOND, DAY = 10**9, 24 * 3600 * 10**9


def test_a_clock_that_goes_on_is_followed() -> None:
    clock = ConfirmedClock(None)
    assert [clock.read(n * SECOND, float(n)) for n in range(3)] == [0, SECOND, 2 * SECOND]
    assert clock.read(5 * SECOND - DAY, 5.0) == 5 * SECOND - DAY, "a clock may be set back"
    assert ConfirmedClock(3 * SECOND).read(DAY, 7.0) == DAY, "a day without a core is no doubt"


def test_a_clock_far_ahead_counts_once_it_has_gone_on_for_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ConfirmedClock(DAY)
    ahead = 400 * DAY
    assert clock.read(ahead, 100.0) == DAY
    assert clock.read(ahead + 60 * SECOND, 160.0) == DAY + 60 * SECOND, "time passes"
    last = 100.0 + CONFIRMING
    assert clock.read(ahead + 3600 * SECOND, last) == ahead + 3600 * SECOND
    assert caplog.text.count("days ahead") == 1


def test_a_clock_that_is_set_right_in_time_has_changed_nothing() -> None:
    clock = ConfirmedClock(DAY)
    assert clock.read(400 * DAY, 100.0) == DAY
    assert clock.read(DAY + 5 * SECOND, 105.0) == DAY + 5 * SECOND
    assert clock.read(400 * DAY, 200.0 + CONFIRMING) == DAY + int((100 + CONFIRMING) * SECOND)
