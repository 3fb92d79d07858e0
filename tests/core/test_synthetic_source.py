"""The synthetic source: the same seed gives the same sessions, whatever the clock does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.base import Observation, SourceConfig, SourceConfigError, open_source
from sessiongate.core.sources.support import pacing
from sessiongate.core.sources.synthetic import SyntheticSource
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import ACTIVITY_WORDS
from tests.core.observing import values


def observe(
    times: Iterable[float], seed: int = 7, churn: float = 10, sessions: int = 20
) -> list[Observation]:
    """Observe at these times, the first of which is the beginning."""
    clock = iter(times)
    source = SyntheticSource(sessions, churn, seed, lambda: next(clock))

    async def observations() -> list[Observation]:
        return [await source.observe() for _ in times]

    return asyncio.run(observations())


def keys(observation: Observation) -> list[str]:
    return [item.key for item in observation.sessions]


@given(st.lists(st.floats(0, 9), max_size=5))
def test_how_often_it_is_observed_changes_nothing(times: list[float]) -> None:
    often, once = observe([0.0, *sorted(times), 9.0]), observe([0.0, 9.0])
    assert values(often[-1]) == values(once[-1])


def test_another_seed_makes_other_sessions_and_another_order() -> None:
    (first, after), (other, other_after) = observe([0, 9]), observe([0, 9], seed=8)
    assert values(first) != values(other)
    assert keys(after) != keys(other_after)


def test_churn_replaces_so_many_sessions_a_second() -> None:
    first, second, third = observe([100, 100.5, 102])
    assert keys(first) == [str(number) for number in range(20)]
    assert keys(second)[-5:] == [str(number) for number in range(20, 25)], "new ones come last"
    assert keys(third)[-1] == str(20 + 20 - 1)
    assert len(second.sessions) == len(third.sessions) == 20
    kept = {item.key: item for item in first.sessions}
    assert all(item is kept[item.key] for item in second.sessions if item.key in kept)


def test_sessions_do_all_that_sessions_do() -> None:
    (found,) = observe([0], sessions=1000)
    shown = [item.session.activity for item in found.sessions if item.session.HasField("activity")]
    assert {activity.state for activity in shown} == {*ACTIVITY_WORDS}
    assert len(shown) == 400
    for item in found.sessions:
        activity = item.session.activity
        if activity.state == session_pb2.ACTIVITY_STATE_WAITING:
            assert activity.wait
            assert item.blocked_by == (str(int(item.key) - 1),)
        else:
            assert item.blocked_by == ()
        if activity.HasField("transaction_start_time"):
            started = activity.transaction_start_time.seconds
            connected, began = item.session.connect_time.seconds, activity.since_time.seconds
            assert connected <= started <= began


@given(st.integers(0, 30))
def test_who_blocks_another_exists(seed: int) -> None:
    for found in observe([0, 1, 2, 5, 9], seed=seed, churn=50, sessions=50):
        exist = set(keys(found))
        for item in found.sessions:
            assert exist.issuperset(item.blocked_by)
            is_waiting = item.session.activity.state == session_pb2.ACTIVITY_STATE_WAITING
            assert is_waiting == bool(item.blocked_by)


def test_it_says_that_nothing_changed() -> None:
    first, early, late = observe([0, 0.05, 0.1])
    assert early is first
    assert late is not first
    still, later = observe([0, 1e6], churn=0)
    assert later is still


def test_its_sessions_have_what_those_of_real_sources_have() -> None:
    for item in observe([0])[0].sessions:
        session = item.session
        for name in ("native_id", "service", "user", "remote", "port", "database", "application"):
            assert getattr(session, name), name
        assert session.connect_time.seconds <= session.last_active_time.seconds
        assert len(session.connections) == 1
        assert not session.id


def test_so_many_users_share_them() -> None:
    async def users(options: str) -> set[str]:
        source = open_source(SourceConfig.parse(f"synthetic:?sessions=1000{options}"))
        return {item.session.user for item in (await source.observe()).sessions}

    assert len(asyncio.run(users(""))) == 50
    assert asyncio.run(users("&users=3")) == {"app_0", "app_1", "app_2"}


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("synthetic:?sessions=many", "must be integers"),
        ("synthetic:?sessions=-1", "must be integers"),
        ("synthetic:?churn=inf", "sessions per second"),
        ("synthetic:?churn=-1", "sessions per second"),
        ("synthetic:?seed=x", "must be integers"),
        ("synthetic:?users=0", "users one of at least 1"),
        ("synthetic:?speed=9", "unknown option 'speed'"),
        ("synthetic:here", "no location"),
    ],
)
def test_a_wrong_configuration_is_named(url: str, text: str) -> None:
    with pytest.raises(SourceConfigError, match=text):
        open_source(SourceConfig.parse(url))


def test_the_kind_is_found_by_its_name() -> None:
    async def first() -> Observation:
        config = SourceConfig.parse("synthetic:?sessions=3&churn=0.5&seed=2")
        assert config.name == "synthetic"
        return await open_source(config).observe()

    assert len(asyncio.run(first()).sessions) == 3


def test_an_observation_that_was_cancelled_lacks_nothing_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "STEP", -1.0)  # a pause is always due

    async def main() -> None:
        were_cancelled = set()
        for rounds in range(30):
            source = SyntheticSource(50, 0.0, 1)
            first = asyncio.create_task(source.observe())
            for _ in range(rounds):
                await asyncio.sleep(0)
            were_cancelled.add(first.cancel())
            await asyncio.wait([first])
            assert len((await source.observe()).sessions) == 50
        assert were_cancelled == {True, False}, "at every point until it has ended"

    asyncio.run(main())
