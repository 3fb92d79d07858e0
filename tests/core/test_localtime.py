"""Local times, checked against their zone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from sessiongate.core.sources.support.localtime import LocalTime

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def read(text: str, zone: ZoneInfo | None = None) -> float:
    return LocalTime(zone).read(text).ToNanoseconds() / 1e9


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run this process in New York's time zone."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert os.environ.get("TZ") != "America/New_York"


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-23 20:30:00 CET", BERLIN, "2026-11-23 19:30:00"),
        ("2026-06-01 20:30:00 CEST", BERLIN, "2026-06-01 18:30:00"),
        # The hour that occurs twice.
        ("2026-10-25 02:30:00 CEST", BERLIN, "2026-10-25 00:30:00"),
        ("2026-10-25 02:30:00 CET", BERLIN, "2026-10-25 01:30:00"),
        # One abbreviation, three countries.
        ("2026-06-01 12:00:00 IST", ZoneInfo("Asia/Kolkata"), "2026-06-01 06:30:00"),
        ("2026-06-01 12:00:00 IST", ZoneInfo("Europe/Dublin"), "2026-06-01 11:00:00"),
        ("2026-01-01 12:00:00 IST", ZoneInfo("Asia/Jerusalem"), "2026-01-01 10:00:00"),
        # Zones without an abbreviation.
        ("2026-11-23 19:30:00 -03", None, "2026-11-23 22:30:00"),
        ("2026-11-23 19:30:00 +0545", BERLIN, "2026-11-23 13:45:00"),
        # UTC in any zone.
        ("2026-11-23 19:30:00 UTC", BERLIN, "2026-11-23 19:30:00"),
        ("2026-11-23 19:30:00 GMT", BERLIN, "2026-11-23 19:30:00"),
        # No zone.
        ("2026-06-01 20:30:00", BERLIN, "2026-06-01 18:30:00"),
    ],
)
def test_a_time_is_read(text: str, zone: ZoneInfo | None, expected: str) -> None:
    assert read(text, zone) == utc(expected)


@pytest.mark.usefixtures("in_new_york")
def test_without_a_zone_it_is_this_machines() -> None:
    assert read("2026-07-01 08:00:00 EDT") == utc("2026-07-01 12:00:00")
    assert read("2026-01-01 08:00:00 EST") == utc("2026-01-01 13:00:00")
    with pytest.raises(ValueError, match="expected a local time of this machine"):
        read("2026-01-01 08:00:00 CET")


@pytest.mark.parametrize("zone", [BERLIN, None])
@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01 12:00:00 CET",  # it was summer
        "2026-11-23 12:00:00 EST",
        "2026-11-23 12:00:00 +1",
        "2026-11-23 12:00:00 +9900",
        "2026-11-23 12:00:00 UTC UTC",
        "2026-02-30 12:00:00 UTC",
        "0001-01-01 00:00:00 +1400",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59 -1400",
        "2026-W48-1T12:00:00 UTC",
        "yesterday",
        "",
    ],
)
def test_what_does_not_fit_is_refused_and_not_repeated(text: str, zone: ZoneInfo | None) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read(text, zone)
    assert str(caught.value) == f"expected a local time of {zone or 'this machine'}"
