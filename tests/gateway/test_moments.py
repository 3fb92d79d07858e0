"""Moments as the API and the command read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sessiongate.gateway.moments import (
    MomentError,
    read_local_moment,
    read_moment,
    write_moment,
)

NOW = datetime(2026, 11, 26, 14, 30, 5, tzinfo=UTC)
BERLIN = NOW.astimezone(ZoneInfo("Europe/Berlin"))  # 15:30:05


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0s", "2026-11-26T14:30:05Z"),
        ("-15m", "2026-11-26T14:15:05Z"),
        ("-36h", "2026-11-25T02:30:05Z"),
        ("-30d", "2026-10-27T14:30:05Z"),
        ("2026-11-26T14:05:00Z", "2026-11-26T14:05:00Z"),
        ("2026-11-26t15:05:00.25+01:00", "2026-11-26T14:05:00.250000Z"),
    ],
)
def test_moments_are_absolute_or_relative(text: str, expected: str) -> None:
    for read in (read_moment, read_local_moment):
        found = read(text, NOW)
        assert write_moment(found) == expected
        assert read_moment(expected, NOW + timedelta(days=1)) == found, "it is absolute now"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14:05", "2026-11-26T13:05:00Z"),
        ("9:05", "2026-11-26T08:05:00Z"),
        ("15:30:05", "2026-11-26T14:30:05Z"),
        ("15:30:06", "2026-11-25T14:30:06Z"),  # is still to come today
        ("2026-11-20 14:05", "2026-11-20T13:05:00Z"),
        ("2026-07-20T14:05:01", "2026-07-20T12:05:01Z"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),  # is shown twice
    ],
)
def test_the_command_reads_local_times(text: str, expected: str) -> None:
    assert write_moment(read_local_moment(text, BERLIN)) == expected
    with pytest.raises(MomentError, match="must be a date and time with its offset"):
        read_moment(text, BERLIN)
    with in_zone("Europe/Berlin"):  # the zone of the machine, by the rules of each date
        found = read_local_moment(text, NOW.astimezone().replace(tzinfo=None))
    assert write_moment(found) == expected


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Set this machine's time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


def test_to_the_command_an_age_needs_no_sign() -> None:
    assert write_moment(read_local_moment("15m", BERLIN)) == "2026-11-26T14:15:05Z"
    with pytest.raises(MomentError, match="such as -15m"):
        read_moment("15m", BERLIN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "-15",
        "-15w",
        "-1.5h",
        "-999999999d",
        "2026-11-26",
        "24:05",
        "-١m",
        "2026-13-01T00:00:00Z",
        "2026-11-26T14:05Z",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_other_texts_are_errors_that_say_what_is_allowed(text: str) -> None:
    with pytest.raises(MomentError, match=r"^must be a date and time .* or how long ago, "):
        read_moment(text, NOW)
    with pytest.raises(MomentError, match=r"^must be a local time, such as 14:05"):
        read_local_moment(text, NOW)


@pytest.mark.parametrize("text", ["1677-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "-200000d"])
def test_a_time_that_the_core_cannot_hold_is_an_error(text: str) -> None:
    for read in (read_moment, read_local_moment):
        with pytest.raises(MomentError, match="must be a time of the years 1678 to 2261; got"):
            read(text, NOW)
