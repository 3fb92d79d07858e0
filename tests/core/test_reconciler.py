"""Changes between preparing an observation and showing it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessiongate.core.collect import plan, reconciler
from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.difference import Difference, difference
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.preparation import MAX_BLOCKERS
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of
from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceConfig,
    TcpLink,
    Unreadable,
)
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import FreeMemory
from sessiongate.v1.session_pb2 import ActivityState, Session
from tests.core.sources import seen

WIRES = [TcpLink(("10.0.0.5", 40000 + n), ("10.0.0.7", 5432), 77 + n) for n in range(3)]


class Scene:
    """Two sources, and what others do between one's preparation and its shown_source."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger
        self.table = SessionTable(["proxy", "server"], 1, lambda: Timestamp(seconds=1_700_000_000))
        context = CollectorContext(
            self.table, ledger, Links(), FreeMemory(), 30, 65_536, time.time_ns
        )
        self.terminations = context.terminations
        self.proxy, self.server = (
            Reconciler(SourceConfig.parse(f"synthetic:?name={name}"), context)
            for name in ("proxy", "server")
        )
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def take(
        self,
        source: Reconciler,
        sessions: Sequence[Observed],
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.meanwhile = meanwhile
        await source.take(Observation(sessions), elapsed())
        if self.meanwhile is not None:  # there was nothing to show
            later, self.meanwhile = self.meanwhile, None
            await later()

    def session(self, native_id: str) -> Session | None:
        shown = [row.session for row in self.table.following(0, len(self.table))]
        found = [session for session in shown if session.native_id == native_id]
        assert len(found) <= 1
        return found[0] if found else None


def run(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
        scene = Scene(ledger)

        class Interrupted(Pace):
            rests = 0

            async def rest(self) -> None:
                self.rests += 1
                if scene.meanwhile is not None and self.rests > 1:  # the first is before all
                    meanwhile, scene.meanwhile = scene.meanwhile, None
                    await meanwhile()
                await super().rest()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconciler, "Pace", Interrupted)
            patch.setattr(plan, "_AT_ONCE", 2)  # so that an observation is taken over in parts
            await test(scene)
        await ledger.close()

    asyncio.run(main())


def item(side: str, number: int, user: str = "") -> Observed:
    wire = WIRES[number]
    session = seen("", native_id=f"{side}{number}", user=user).session
    if side == "proxy":
        return Observed(f"{number}", session, opened=(wire,))
    return Observed(f"{number}", session, accepted=wire)


def test_sessions_that_are_let_go_of_before_they_are_shown_are_shown_again() -> None:
    async def test(scene: Scene) -> None:
        items = [item("proxy", number) for number in range(3)]
        await scene.take(scene.server, [item("server", 0)])
        await scene.take(scene.proxy, items[:2])
        first = scene.session("proxy0")

        async def expire() -> None:
            scene.proxy.expire()
            assert scene.session("proxy0") is None
            assert first is not None
            assert scene.table.unseen == dict.fromkeys((2, 3), "proxy")

        await scene.take(scene.proxy, [*items[:2], item("proxy", 2)], expire)
        again = scene.session("proxy0")
        assert first is not None
        assert again is not None
        assert (again.id, [*again.upstream_ids]) == (first.id, [1])
        assert all(scene.session(f"proxy{number}") for number in range(3))
        assert scene.table.unseen == {}

    run(test)


def waiting(key: str, *blockers: str) -> Observed:
    session = seen(key, native_id=key).session
    session.activity.state = ActivityState.ACTIVITY_STATE_WAITING
    return Observed(key, session, blocked_by=blockers)


def test_who_blocks_whom_is_known_by_id_also_of_those_first_seen_after_the_blocked() -> None:
    async def test(scene: Scene) -> None:
        def blockers(native_id: str) -> list[int]:
            session = scene.session(native_id)
            assert session is not None
            return [*session.activity.blocked_by_ids]

        a, b = waiting("a", "c", "b" * 100, "elsewhere"), seen("b" * 100, native_id="b")
        await scene.take(scene.server, [a, b, waiting("c", "a")])
        assert [blockers(one) for one in "abc"] == [[2, 3], [], [1]]
        revision = scene.table.revision
        await scene.take(scene.server, [waiting("a", "c", "b" * 100), b, waiting("c", "a")])
        assert scene.table.revision == revision  # other objects, and the same sessions
        await scene.take(scene.server, [waiting("a", "d"), b, waiting("d")])
        assert blockers("a") == [4]
        await scene.take(scene.server, [waiting("a"), b])
        assert blockers("a") == []
        many = [waiting(f"m{number}") for number in range(2 * MAX_BLOCKERS)]
        await scene.take(scene.server, [waiting("a", *(one.key for one in many)), *many])
        assert blockers("a") == [*range(5, 5 + MAX_BLOCKERS)]

    run(test)


@pytest.mark.parametrize("is_partial", [False, True])
def test_sessions_that_become_stale_during_the_comparison_keep_their_ids(
    monkeypatch: pytest.MonkeyPatch, is_partial: bool
) -> None:
    async def test(scene: Scene) -> None:
        async def expiring(*arguments: Any) -> Difference:
            found = await difference(*arguments)
            monkeypatch.setattr(reconciler, "difference", difference)
            scene.server.expire()
            return found

        items = [seen(key, native_id=key) for key in "abc"]
        await scene.take(scene.server, items)
        monkeypatch.setattr(reconciler, "difference", expiring)
        lost = (Unreadable("a row"),) if is_partial else ()
        await scene.server.take(Observation(items[:1], unreadable=lost), elapsed())
        shown = [row.session for row in scene.table.following(0, 9)]
        assert [(one.id, one.native_id) for one in shown] == [(1, "a")]
        assert len(scene.table.unseen) == (2 if is_partial else 0)

    run(test)


async def blockers_of_a(scene: Scene, *sessions: Observed, unreadable: str = "") -> list[int]:
    """Take an observation, of which one row may be unreadable; return who blocks session a."""
    parts = (Unreadable(unreadable),) if unreadable else ()
    await scene.server.take(Observation([*sessions], unreadable=parts), elapsed())
    session = scene.session("a")
    assert session is not None
    return [*session.activity.blocked_by_ids]


def test_only_listed_sessions_block_others_whatever_else_becomes_of_them() -> None:
    async def test(scene: Scene) -> None:
        blockers = partial(blockers_of_a, scene)
        await scene.server.restore(None, {"away": 7})
        # It may still exist, but is not listed; the next one is, while its row is unreadable.
        assert await blockers(waiting("a", "away", "b"), seen("b"), unreadable="a row") == [2]
        assert await blockers(waiting("a", "away", "b"), unreadable="a row") == [2]
        renamed = Observed("c", seen("c").session, former="b")
        assert await blockers(waiting("a", "c"), renamed) == [2]
        assert await blockers(waiting("a", "c")) == []  # it has ended meanwhile

    run(test)


def test_who_blocks_an_unchanged_session_follows_the_others() -> None:
    async def test(scene: Scene) -> None:
        a, b, c = waiting("a", "b"), seen("b"), waiting("c", "a")

        blockers = partial(blockers_of_a, scene)
        assert await blockers(a, c) == []
        assert await blockers(a, b, c) == [3]
        revision = scene.table.revision
        assert await blockers(a, b, c, seen("d")) == [3]
        assert scene.table.revision == revision + 1
        assert await blockers(a, c) == []
        assert await blockers(c, b, unreadable="a row") == []  # it is not stated now
        assert await blockers(a, b, c) == [5]
        scene.server.expire()
        assert await blockers(a, b, c) == [5]
        assert scene.server.session_count == 3
        await scene.take(scene.server, [c])
        assert scene.server.session_count == 1

    run(test)


keys = st.sampled_from("abcd")
fates = st.dictionaries(
    keys, st.none() | st.tuples(st.lists(keys, max_size=2), st.just("") | keys), max_size=4
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(fates, st.sampled_from(["", "", "restart", "partial", "expire"]))))
# One that others wait for, and one that waits, get another key.
@example([({"a": (["b"], ""), "b": ([], "")}, ""), ({"a": None, "c": ([], "b")}, "")])
@example([({"a": (["b"], "")}, ""), ({"b": ([], ""), "c": ([], "a")}, "")])
def test_who_blocks_whom_is_as_a_plain_reading_says(
    steps: list[tuple[dict[str, tuple[list[str], str] | None], str]],
) -> None:
    async def test(scene: Scene) -> None:
        known: dict[str, Observed] = {}
        incarnation = 0.0
        for fate, event in steps:
            for key, change in fate.items():
                if change is not None or key not in known:  # else it is the same object
                    blockers, former = change or ((), "")
                    session = waiting(key).session
                    known[key] = Observed(key, session, former=former, blocked_by=tuple(blockers))
            incarnation += 10 if event == "restart" else 0
            if event == "expire":
                scene.server.expire()
            parts = (Unreadable("a row"),) if event == "partial" else ()
            items = [known[key] for key in fate]
            observation = Observation(items, incarnation=incarnation, unreadable=parts)
            await scene.server.take(observation, elapsed())
            for item in items:
                shown = scene.session(item.session.native_id)
                assert shown is not None
                listed = filter(None, map(scene.session, item.blocked_by))
                assert {*shown.activity.blocked_by_ids} == {other.id for other in listed}

    run(test)


def refuse_second_record(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    """Let the ledger fail at the second call of ``record``, and only there."""
    record, calls = scene.ledger.record, count(1)

    async def fail_second(source: str, **changes: Any) -> Sequence[int]:
        if next(calls) == 2:
            raise LedgerError("the disk is full")
        return await record(source, **changes)

    monkeypatch.setattr(scene.ledger, "record", fail_second)


def test_an_observation_that_was_written_in_part_is_taken_over_later_with_the_same_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        items = [waiting("a", "e"), *map(seen, "bcd"), waiting("e", "a")]
        refuse_second_record(monkeypatch, scene)
        with pytest.raises(LedgerError):
            await scene.take(scene.server, items)
        shown = scene.table.following(0, 9)
        assert [row.id for row in shown] == [1, 2]
        assert not shown[0].is_blocked
        await scene.take(scene.server, items)
        assert [row.id for row in scene.table.following(0, 9)] == [1, 2, 3, 4, 5]
        held = (await scene.ledger.held())["server"]
        assert {key: id_of(place) for key, place in held.items()} == {
            key: number for number, key in enumerate("abcde", 1)
        }
        for native_id, blocker in (("a", 5), ("e", 1)):
            session = scene.session(native_id)
            assert session is not None
            assert [*session.activity.blocked_by_ids] == [blocker]

    run(test)


def test_the_earlier_observation_ends_the_sessions_of_one_that_was_written_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        before = Observation([seen("a")])
        await scene.server.take(before, elapsed())
        refuse_second_record(monkeypatch, scene)
        with pytest.raises(LedgerError):
            await scene.server.take(Observation([*before.sessions, *map(seen, "bcde")]), elapsed())
        assert [row.id for row in scene.table.following(0, 9)] == [1, 2, 3]
        await scene.server.take(before, elapsed())
        assert [row.id for row in scene.table.following(0, 9)] == [1]
        assert [*(await scene.ledger.held())["server"]] == ["a"]

    run(test)


def test_sessions_are_replaced_in_parts_whatever_else_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        await scene.take(scene.server, [*map(seen, "abcdef")])
        sizes, show = [], scene.table.show

        def watched(*changes: Any) -> Any:
            sizes.append(len(scene.table))
            return show(*changes)

        monkeypatch.setattr(scene.table, "show", watched)
        changed = [Observed(key, seen(key, user="u").session) for key in "abc"]
        await scene.take(scene.server, [*changed, *map(seen, "xyz")])
        assert len(sizes) == 5, "9 changes in parts of 2"
        assert {*sizes} <= {6, 7}, "as many end as begin, and none before"
        assert [row.id for row in scene.table.following(0, 9)] == [1, 2, 3, 7, 8, 9]

    run(test)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_was_replaced_in_part_is_found_by_the_next_observation(
    monkeypatch: pytest.MonkeyPatch, *, is_restarted: bool
) -> None:
    async def test(scene: Scene) -> None:
        await scene.take(scene.proxy, [item("proxy", 0), item("proxy", 1)])
        await scene.take(scene.server, [item("server", 0), item("server", 1), *map(seen, "ab")])
        renamed = Observed("c", seen("c").session, former="b")
        after = [seen("x"), renamed, *map(seen, "yz")]
        with monkeypatch.context() as patch:
            refuse_second_record(patch, scene)
            with pytest.raises(LedgerError):
                await scene.take(scene.server, after)
        held = (await scene.ledger.held())["server"]
        ids = {*map(id_of, held.values())}
        assert (len(ids), {6, 7} & ids) == (4, {6, 7}), "one has ended, and one begun"
        assert {row.id for row in scene.table.following(0, 9)} == {1, 2} | ids
        if is_restarted:
            scene = Scene(scene.ledger)
            await scene.server.restore(None, held)
        await scene.take(scene.server, after)
        shown = [row.id for row in scene.table.following(0, 9) if row.id > 2]
        assert shown == [6, 7, 8, 9]
        held = (await scene.ledger.held())["server"]
        found = {key: id_of(place) for key, place in held.items()}
        assert found == {"c": 6, "x": 7, "y": 8, "z": 9}
        for ended, proxy in ((3, [1]), (4, [2]), (5, [])):
            past = await scene.ledger.one(ended)
            assert past is not None
            assert past.HasField("end_time")
            is_known = ended not in ids or not is_restarted
            assert [*past.session.downstream_ids] == (proxy if is_known else [])

    run(test)


def test_how_a_session_ended_is_written_also_if_that_failed_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        refuse_second_record(monkeypatch, scene)
        first, set_back = 20 * 10**9, 10 * 10**9
        await scene.server.take(Observation([seen("a", connected=1)]), elapsed(), first)
        await scene.server.take(Observation([seen("a", connected=1)]), elapsed(), set_back)
        scene.terminations.note(1, "an operator")
        with pytest.raises(LedgerError):
            await scene.server.take(Observation(()), elapsed(), set_back)
        await scene.server.take(Observation(()), elapsed(), set_back)
        past = await scene.ledger.one(1)
        assert past is not None
        assert past.ended_by == "an operator"
        assert past.end_time.ToNanoseconds() == first, "it was seen then"

    run(test)


def test_what_a_restart_of_the_server_ended_is_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        items = [*map(seen, "abcdef")]
        await scene.server.take(Observation(items, incarnation=1000.0), elapsed())
        refuse_second_record(monkeypatch, scene)
        after = [Observed(each.key, seen(each.key).session) for each in items[3:]]
        await scene.server.take(Observation(after, incarnation=2000.0), elapsed())
        held = (await scene.ledger.held())["server"]
        assert {key: id_of(place) for key, place in held.items()} == {"d": 7, "e": 8, "f": 9}

    run(test)


def test_all_ends_at_another_place_of_the_same_server_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(scene: Scene) -> None:
        items = [*map(seen, "abcdef")]
        await scene.server.take(Observation(items, incarnation=1000.0), elapsed())
        scene = Scene(scene.ledger)
        held = (await scene.ledger.held())["server"]
        await scene.server.restore("another place", held)
        await scene.server.take(Observation(items[:1], incarnation=1000.0), elapsed())
        (text,) = [record.getMessage() for record in caplog.records]
        assert "ended 5 sessions of another place" in text

    run(test)


def test_an_id_that_is_requested_is_given_whatever_comes_before() -> None:
    async def test(scene: Scene) -> None:
        wanted = Observed("c", seen("c", native_id="3").session, stated_id=1)
        await scene.take(scene.server, [*map(seen, "ab"), wanted])
        held = (await scene.ledger.held())["server"]
        assert {key: id_of(place) for key, place in held.items()} == {"c": 1, "a": 2, "b": 3}

    run(test)


def test_blockers_that_are_no_keys_are_refused_before_anything_is_written() -> None:
    async def test(scene: Scene) -> None:
        with pytest.raises(TypeError):
            await scene.take(scene.server, [waiting("a", 5)])  # type: ignore[arg-type]
        assert await scene.ledger.held() == {}

    run(test)


# For each wire, how each end is stated: not at all, by the same object, or by a new one.
stated = st.lists(st.sampled_from(["gone", "again", "anew"]), min_size=3, max_size=3)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(stated, stated, st.booleans()), min_size=1, max_size=5))
def test_links_are_right_whatever_is_shown_between_the_preparation_and_the_showing(
    steps: list[tuple[list[str], list[str], bool]],
) -> None:
    async def test(scene: Scene) -> None:
        fixed = {side: [item(side, n) for n in range(3)] for side in ("proxy", "server")}

        def some(side: str, how: list[str], user: str) -> list[Observed]:
            return [
                fixed[side][n] if way == "again" else item(side, n, user)
                for n, way in enumerate(how)
                if way != "gone"
            ]

        for number, (proxied, served, proxy_first) in enumerate(steps):
            sides = [
                (scene.proxy, some("proxy", proxied, f"user {number}")),
                (scene.server, some("server", served, f"user {number}")),
            ]
            (outer, outers), (inner, inners) = sides if proxy_first else sides[::-1]

            other = Observation(inners)
            await scene.take(outer, outers, partial(inner.take, other, elapsed()))
            for n in range(3):
                above, below = scene.session(f"proxy{n}"), scene.session(f"server{n}")
                assert (above is not None) == (proxied[n] != "gone")
                assert (below is not None) == (served[n] != "gone")
                if above is not None:
                    assert [*above.upstream_ids] == ([below.id] if below else [])
                if below is not None:
                    assert [*below.downstream_ids] == ([above.id] if above else [])

    run(test)


@pytest.mark.parametrize("proxy_first", [True, False])
def test_a_session_that_ended_keeps_its_links_whichever_end_was_found_to_end_first(
    *, proxy_first: bool
) -> None:
    async def test(scene: Scene) -> None:
        await scene.take(scene.server, [item("server", 0)])
        await scene.take(scene.proxy, [item("proxy", 0)])
        proxy, server = scene.session("proxy0"), scene.session("server0")
        assert proxy is not None
        assert server is not None
        for source in (scene.proxy, scene.server)[:: 1 if proxy_first else -1]:
            await scene.take(source, [])
        for session, links in ((proxy, [[server.id], []]), (server, [[], [proxy.id]])):
            past = await scene.ledger.one(session.id)
            assert past is not None
            assert past.HasField("end_time")
            assert [[*past.session.upstream_ids], [*past.session.downstream_ids]] == links
            assert past.session.native_id == session.native_id

    run(test)
