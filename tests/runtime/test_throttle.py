"""How many failures an address is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.auth import throttle
from sessiongate.runtime.auth.identity import TooManyAttemptsError
from sessiongate.runtime.auth.throttle import BURST, REFILL, Throttle
from tests.runtime.clock import Clock


def use_up(limit: Throttle, address: str) -> None:
    for _ in range(BURST):
        limit.take(address)


def test_after_a_burst_an_address_waits_and_others_do_not() -> None:
    clock = Clock()
    limit = Throttle(clock)
    use_up(limit, "192.0.2.1")
    with pytest.raises(TooManyAttemptsError) as refused:
        limit.take("192.0.2.1")
    assert refused.value.retry_after == REFILL
    use_up(limit, "192.0.2.2")
    clock.now += refused.value.retry_after
    limit.take("192.0.2.1")
    with pytest.raises(TooManyAttemptsError):
        limit.take("192.0.2.1")


def test_an_attempt_given_back_costs_nothing() -> None:
    limit = Throttle(Clock())
    for _ in range(5 * BURST):
        limit.take("192.0.2.1")
        limit.give_back("192.0.2.1")
    use_up(limit, "192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "is_one_place"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("unix", "unix", True),
        ("unix", "192.0.2.1", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, is_one_place: bool) -> None:
    limit = Throttle(Clock())
    use_up(limit, one)
    if is_one_place:
        with pytest.raises(TooManyAttemptsError):
            limit.take(other)
    else:
        limit.take(other)


def test_only_so_many_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_ADDRESSES", 3)
    limit = Throttle(Clock())
    for last in range(1, 4):
        use_up(limit, f"192.0.2.{last}")
    limit.take("192.0.2.4")
    assert len(limit._full) == 3
    limit.take("192.0.2.1")  # forgotten
    with pytest.raises(TooManyAttemptsError):
        limit.take("192.0.2.3")


def test_an_address_that_waited_long_enough_is_not_kept() -> None:
    clock = Clock()
    limit = Throttle(clock)
    use_up(limit, "192.0.2.1")
    limit.take("192.0.2.2")
    clock.now += BURST * REFILL
    limit.take("192.0.2.3")
    assert [*limit._full] == ["192.0.2.3"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 20)), max_size=80))
def test_failures_in_any_time_are_bounded_by_its_length(
    attempts: list[tuple[str, bool, int]],
) -> None:
    clock = Clock()
    limit = Throttle(clock)
    failures = {"a": 0, "b": 0}
    for address, succeeds, pause in attempts:
        clock.now += pause
        try:
            limit.take(address)
        except TooManyAttemptsError as refusal:
            refused = refusal.retry_after
        else:
            refused = 0
        if refused:
            assert refused <= REFILL
            assert failures[address] >= BURST
        elif succeeds:
            limit.give_back(address)
        else:
            failures[address] += 1
    allowed = BURST + (clock.now - Clock.now) / REFILL
    assert all(count <= allowed for count in failures.values())
