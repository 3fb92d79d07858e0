"""Local times, held against their zone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from core.sources.localtime import LocalTime

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process runs in New York."""
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
        # The hour that there is twice.
        ("2026-10-25 02:30:00 CEST", BERLIN, "2026-10-25 00:30:00"),
        ("2026-10-25 02:30:00 CET", BERLIN, "2026-10-25 01:30:00"),
        # One abbreviation, three countries.
        ("2026-06-01 12:00:00 IST", ZoneInfo("Asia/Kolkata"), "2026-06-01 06:30:00"),
        ("2026-06-01 12:00:00 IST", ZoneInfo("Europe/Dublin"), "2026-06-01 11:00:00"),
        ("2026-01-01 12:00:00 IST", ZoneInfo("Asia/Jerusalem"), "2026-01-01 10:00:00"),
        # Zones without an abbreviation.
        ("2026-11-23 19:30:00 -03", None, "2026-11-23 22:30:00"),
        ("2026-11-23 19:30:00 +0545", BERLIN, "2026-11-23 13:45:00"),
        # UTC whatever the zone.
        ("2026-11-23 19:30:00 UTC", BERLIN, "2026-11-23 19:30:00"),
        ("2026-11-23 19:30:00 GMT", BERLIN, "2026-11-23 19:30:00"),
        # No zone named.
        ("2026-06-01 20:30:00", BERLIN, "2026-06-01 18:30:00"),
    ],
)
def test_a_time_is_read(text: str, zone: ZoneInfo | None, expected: str) -> None:
    assert LocalTime(zone).read(text) == utc(expected)


@pytest.mark.usefixtures("in_new_york")
def test_without_a_zone_it_is_this_machines() -> None:
    assert LocalTime().read("2026-07-01 08:00:00 EDT") == utc("2026-07-01 12:00:00")
    assert LocalTime().read("2026-01-01 08:00:00 EST") == utc("2026-01-01 13:00:00")
    with pytest.raises(ValueError, match="'CET' is no time of this machine"):
        LocalTime().read("2026-01-01 08:00:00 CET")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-06-01 12:00:00 CET", "'CET' is no time of Europe/Berlin"),  # it was summer
        ("2026-11-23 12:00:00 EST", "'EST' is no time of Europe/Berlin"),
        ("2026-11-23 12:00:00 +1", r"'\+1' is no time of Europe/Berlin"),
        ("yesterday", "yesterday"),
        ("", "isoformat"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LocalTime(BERLIN).read(text)
