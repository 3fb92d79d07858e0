"""How far a core's clock is off its ledger's server's, whatever an answer takes."""

from __future__ import annotations

import pytest

from sessiongate.core.fleet.clock import ClockWatch


@pytest.mark.parametrize(
    ("asked", "server", "received", "off"),
    [
        (100.0, 100.5, 101.0, 0.0),
        (100.0, 103.0, 140.0, 0.0),  # the answer took long, and nothing is known
        (100.0, 99.5, 101.0, 0.5),
        (100.0, 97.0, 101.0, 3.0),
        (100.0, 101.5, 101.0, -0.5),
        (100.0, 104.0, 101.0, -3.0),
        (100.0, 100.0, 97.0, -3.0),  # the clock was set back meanwhile
    ],
)
def test_only_what_the_time_of_the_answer_cannot_explain_counts(
    asked: float, server: float, received: float, off: float
) -> None:
    watch = ClockWatch()
    watch.compare(asked, server, received)
    assert watch.off == pytest.approx(off)
    assert bool(watch.trouble) == (abs(off) > 1)
    assert ("behind" in watch.trouble) == (off < -1)


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = ClockWatch()
    for server in (100.0, 90.0, 90.0, 100.0, 100.0):
        watch.compare(100.0, server, 100.0)
    first, second = (record.message for record in caplog.records)
    assert "10.0 s ahead of that of the ledger's server" in first
    assert second.endswith("agrees with that of the ledger's server again")
