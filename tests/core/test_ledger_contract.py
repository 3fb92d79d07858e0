"""The contract of a ledger; each test runs with each kind."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sessiongate.core.ledger.base import Ledger, PageSize
from sessiongate.core.ledger.coverage import CoreRun, Coverage, Interval
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of, place_of, time_of
from sessiongate.v1.history_service_pb2 import EndReason, GapReason, PastSession
from sessiongate.v1.session_pb2 import Session
from tests.core.engines import Engine
from tests.faults.scale import times

SECOND = 10**9
NOON = 1_700_000_000 * SECOND
ALL = PageSize(10**6, 10**9)


@dataclass
class Keeper:
    """Opens one ledger, again and again, and shows it a clock."""

    kind: str
    url: str
    now: int = NOON
    policy: HistoryPolicy = field(default_factory=HistoryPolicy)

    async def open(self) -> Ledger:
        if self.url.startswith("postgresql:"):
            return await PostgresqlLedger.open(self.url, policy=self.policy, now=lambda: self.now)
        return await SqliteLedger.open(self.url, policy=self.policy, now=lambda: self.now)


KINDS = ("file", "memory", "postgresql")
LASTING = ("file", "postgresql")  # outlive a core: they are the same when they are opened again
# Histories, each in a new ledger. A server takes ten times as long for each.
EXAMPLES = {"file": times(10, 200), "memory": times(5, 200), "postgresql": times(2, 40)}
LIVES = {"file": 100, "memory": 60, "postgresql": 40}
STATED = ("file", "memory")  # use an id that a document states, if it is free


Open: TypeAlias = Callable[[str], Keeper]


@pytest.fixture
def new(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return what makes a ledger of a kind."""
    folders = ExitStack()

    def make(kind: str) -> Keeper:
        if kind == "memory":
            return Keeper(kind, "sqlite://")
        if kind == "file":
            folder = folders.enter_context(tempfile.TemporaryDirectory())
            return Keeper(kind, f"sqlite:///{folder}/ledger.db")
        engine: Engine = request.getfixturevalue("engine")
        return Keeper(kind, engine.url(engine.database()))

    with folders:
        yield make


@pytest.fixture(params=KINDS)
def keeper(request: pytest.FixtureRequest, new: Open) -> Keeper:
    """Return what opens a ledger of each kind."""
    return new(request.param)


@pytest.fixture(params=LASTING)
def lasting(request: pytest.FixtureRequest, new: Open) -> Keeper:
    """Return what opens a ledger of each kind that outlives a core."""
    return new(request.param)


Work: TypeAlias = Callable[[Ledger], Coroutine[Any, Any, None]]


def run(keeper: Keeper, *parts: Work) -> None:
    """Do each part of the work on a ledger that is opened for it."""

    async def main() -> None:
        for part in parts:
            ledger = await keeper.open()
            try:
                await part(ledger)
            finally:
                await ledger.close()

    asyncio.run(main())


async def opened(ledger: Ledger, *keys: str, start: int = NOON) -> list[int]:
    """Open sessions of the source "a" and user "u"."""
    openings = [Opening(key, start, session=Session(service="x", user="u")) for key in keys]
    return await ledger.record("a", opened=openings, closed=[], incarnation=None)


async def closed(ledger: Ledger, *closings: Closing, at: int | None = None) -> None:
    await ledger.record("a", opened=[], closed=closings, incarnation=None, observed=at)


async def at(ledger: Ledger, moment: int) -> list[PastSession]:
    """Return who was connected at a moment."""
    selector = PastSelector(moment, moment + 1, as_of=1 << 62)
    page = await ledger.page(selector, None, ALL, (moment, moment), nobody)
    return page.sessions


def nobody(ident: int) -> None:
    """Return an open session as it is now: none is known better than by the ledger."""


def ids_of(sessions: Iterable[PastSession]) -> list[int]:
    return [past.session.id for past in sessions]


class Numbering(RuleBasedStateMachine):
    """A ledger through openings, endings and restarts, beside a simple model of it."""

    kind: str
    new: Open

    def __init__(self) -> None:
        super().__init__()
        self.keeper = type(self).new(self.kind)
        self.runner = asyncio.Runner()
        self.ledger = self.runner.run(self.keeper.open())
        self.live: dict[str, dict[str, int]] = {"a": {}, "b": {}}
        self.given: set[int] = set()
        self.following = 1  # the counter's number, at least
        self.revision = 0

    def teardown(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()

    @rule(
        source=st.sampled_from("ab"),
        keys=st.dictionaries(st.text(max_size=3), st.none() | st.integers(1, 30), max_size=6),
    )
    def observe(self, source: str, keys: dict[str, int | None]) -> None:
        """Observe sessions by key, each with the id that it states, if any."""
        held = self.live[source]
        new = sorted(keys.keys() - held.keys())
        stated = [keys[key] for key in new]
        gone = sorted(held.keys() - keys.keys())
        self.revision += len(new) + len(gone)
        places = [held.pop(key) for key in gone]
        ids = self.runner.run(
            self.ledger.record(
                source,
                opened=[Opening(key, len(key), keys[key]) for key in new],
                closed=[Closing(id_of(place), time_of(place)) for place in places],
                incarnation=None,
            )
        )
        self.runner.run(self.ledger.reserve(self.revision))
        assert self.ledger.is_reserved(self.revision)
        assert not self.given & set(ids), "an id is never given twice"
        assert len(set(ids)) == len(ids)
        for index, (ident, wish) in enumerate(zip(ids, stated, strict=True)):
            if wish is not None and ident != wish and self.kind in STATED:
                free = wish >= self.following and wish not in self.given
                assert not free or wish in stated[:index], "a stated id is kept if it can be"
        for ident, wish in zip(ids, stated, strict=True):
            if ident != wish:
                taken = self.given | set(ids)
                assert taken >= set(range(self.following, ident)), "the counter does not jump"
                self.following = ident + 1
        self.given |= set(ids)
        held.update({key: place_of(len(key), i) for key, i in zip(new, ids, strict=True)})

    @precondition(lambda self: self.kind in LASTING)
    @rule()
    def restart(self) -> None:
        self.runner.run(self.ledger.close())
        self.ledger = self.runner.run(self.keeper.open())
        ceiling = self.runner.run(self.ledger.ceiling())
        assert ceiling >= self.revision, "the ceiling is above every revision used"
        self.revision = ceiling

    @invariant()
    def holds_what_is_open(self) -> None:
        for source, held in self.live.items():
            assert self.runner.run(self.ledger.held())[source] == held


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_revisions_are_never_used_twice(kind: str, new: Open) -> None:
    class Of(Numbering):
        pass

    Of.kind, Of.new = kind, staticmethod(new)
    run_state_machine_as_test(
        Of, settings=settings(max_examples=EXAMPLES[kind], stateful_step_count=12)
    )


@pytest.mark.parametrize("lasting", {*LASTING} & {*STATED}, indirect=True)
def test_stated_ids_are_taken_before_numbers_are_given(lasting: Keeper) -> None:
    async def give(ledger: Ledger, *stated: int | None) -> list[int]:
        openings = [Opening(f"{index}", 0, ident) for index, ident in enumerate(stated)]
        ids = await ledger.record("a", opened=openings, closed=[], incarnation=None)
        await closed(ledger, *(Closing(ident, 0) for ident in ids))
        return ids

    async def first(ledger: Ledger) -> None:
        assert await give(ledger, None, 57, 2, 57) == [1, 57, 2, 3]
        expected = [4, 6, 5, 2**53 - 1]
        assert await give(ledger, 57, 3, 5, 2**53 - 1) == expected, "all were given but 5"

    async def then(ledger: Ledger) -> None:
        assert await give(ledger, *[None] * 51) == [*range(7, 57), 58]
        assert await give(ledger, 57, None) == [59, 60]

    run(lasting, first, then)


def test_an_observation_is_written_whole_or_not_at_all(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        (ident,) = await opened(ledger, "one")
        before = await ledger.held()
        with pytest.raises((LedgerError, UnicodeError)):
            await ledger.record(
                "a",
                opened=[Opening("two", NOON), Opening("\ud800", NOON)],
                closed=[Closing(ident, NOON)],
                incarnation=1.0,
                place="elsewhere",
            )
        assert await ledger.held() == before
        assert (await ledger.incarnation("a"), await ledger.places()) == (None, {})
        assert ids_of(await at(ledger, NOON)) == [ident]
        assert await opened(ledger, "three") == [ident + 1], "no id is lost either"

    run(keeper, work)


def test_what_is_known_of_a_source_is_kept(lasting: Keeper) -> None:
    async def first(ledger: Ledger) -> None:
        (ident, _) = await opened(ledger, "one", "two")
        await ledger.record(
            *("a",),
            opened=[],
            closed=[],
            incarnation=12.5,
            rekeyed={"other": ident},
            place="here",
        )
        await ledger.record("b", opened=[], closed=[], incarnation=None, place="there")

    async def then(ledger: Ledger) -> None:
        held = await ledger.held()
        assert held["a"] == {"other": place_of(NOON, 1), "two": place_of(NOON, 2)}
        assert await ledger.incarnation("a") == 12.5
        assert await ledger.incarnation("b") is None
        assert await ledger.places() == {"a": "here", "b": "there"}

    run(lasting, first, then)


def test_a_session_is_open_or_past_and_keeps_what_describes_it(lasting: Keeper) -> None:
    described = Session(
        service="orders",
        user="u",
        remote="192.0.2.1",
        port=4711,
        database="d",
        application="psql",
        native_id="n",
        tls_cipher="TLS",
        upstream_ids=[7, 8],
    )

    async def first(ledger: Ledger) -> None:
        (ident,) = await ledger.record(
            "a", opened=[Opening("k", NOON, session=described)], closed=[], incarnation=None
        )
        found = await ledger.one(ident)
        assert found is not None
        assert not found.HasField("end_time")
        later = Session()
        later.CopyFrom(described)
        later.database = "e"
        await closed(
            ledger,
            Closing(
                *(ident, NOON, later, EndReason.END_REASON_NOT_SEEN),
                last_seen=NOON + SECOND,
                longest_transaction=3 * SECOND,
            ),
            at=NOON + 9 * SECOND,
        )
        assert (await ledger.held())["a"] == {}

    async def then(ledger: Ledger) -> None:
        found = await ledger.one(1)
        assert found is not None
        assert await ledger.one(2) is None
        assert await ledger.one((1 << 64) - 1) is None
        expected = Session(id=1, source="a")
        expected.MergeFrom(described)
        expected.database = "e"
        expected.connect_time.FromNanoseconds(NOON)
        assert found.session == expected
        assert found.end_time.ToNanoseconds() == NOON + 9 * SECOND
        assert found.last_seen_time.ToNanoseconds() == NOON + SECOND
        assert found.longest_transaction.ToNanoseconds() == 3 * SECOND
        assert found.end_reason == EndReason.END_REASON_NOT_SEEN

    run(lasting, first, then)


def test_an_end_is_never_before_its_start(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        (ident,) = await opened(ledger, "k")
        await closed(ledger, Closing(ident, NOON, last_seen=1), at=NOON - 100 * SECOND)
        found = await ledger.one(ident)
        assert found is not None
        assert found.end_time.ToNanoseconds() == NOON

    run(keeper, work)


@dataclass(frozen=True)
class Life:
    """A session of the truth."""

    id: int
    user: str
    start: int
    end: int | None


async def lived(ledger: Ledger, number: int) -> list[Life]:
    """Let sessions of all durations begin and end; return the truth about them."""
    chance = random.Random(number)
    users = [chance.choice("uvw") for _ in range(number)]
    starts = [NOON + chance.randrange(1000) * SECOND for _ in users]
    ids = await ledger.record(
        "a",
        opened=[
            Opening(f"{index}", start, session=Session(service="x", user=user))
            for index, (user, start) in enumerate(zip(users, starts, strict=True))
        ],
        closed=[],
        incarnation=None,
    )
    lives = []
    for ident, user, start in zip(ids, users, starts, strict=True):
        end = start + int(2 ** chance.uniform(0, 40)) if chance.random() < 0.9 else None
        lives.append(Life(ident, user, start, end))
    for life in sorted(lives, key=lambda life: life.end or 0):
        if life.end is not None:
            session = Session(service="x", user=life.user)
            await closed(ledger, Closing(life.id, life.start, session), at=life.end)
    return lives


def test_who_was_connected_is_found_in_each_order_page_by_page(keeper: Keeper) -> None:
    chance = random.Random(1)
    questions = {"file": 50, "memory": 12, "postgresql": 12}[keeper.kind]

    async def work(ledger: Ledger) -> None:
        lives = await lived(ledger, LIVES[keeper.kind])
        for _ in range(questions):
            start = NOON + chance.randrange(1200) * SECOND
            end = start + chance.choice([1, SECOND, 60 * SECOND, 5000 * SECOND])
            by_end, descending = chance.random() < 0.5, chance.random() < 0.5
            users = chance.choice([[], ["u"], ["u", "w"]])
            names = {"user": users} if users else {}
            as_of = NOON + chance.choice([600, 10_000]) * SECOND
            selector = PastSelector(start, end, as_of, by_end, descending, names)
            found, place = [], None
            while True:
                page = await ledger.page(selector, place, PageSize(7, 10**9), (start, end), nobody)
                found += ids_of(page.sessions)
                place = page.following
                if place is None:
                    break
                assert len(page.sessions) == 7
            # The ledger yields the open ones whatever they are: `current` has the last word.
            assert found == expected(lives, selector, users), selector

    def expected(lives: list[Life], selector: PastSelector, users: list[str]) -> list[int]:
        forever = 1 << 63

        def key(life: Life) -> tuple[int, int]:
            end = forever if life.end is None or life.end > selector.as_of else life.end
            return (end if selector.by_end else life.start), life.id

        kept = [
            life
            for life in lives
            if life.start < selector.end
            and (life.end is None or life.end > selector.start)
            and (not users or life.user in users)
        ]
        return [life.id for life in sorted(kept, key=key, reverse=selector.descending)]

    run(keeper, work)


def test_an_open_session_is_what_it_is_now(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        (ident,) = await opened(ledger, "k")
        now = Session(id=ident, source="a", service="x", user="new")
        for user, expected in (("u", []), ("new", [ident])):
            selector = PastSelector(NOON, NOON + 1, 1 << 62, names={"user": [user]})
            page = await ledger.page(selector, None, ALL, (NOON, NOON), lambda _: now)
            assert ids_of(page.sessions) == expected

    run(keeper, work)


def test_a_page_is_bounded_in_bytes_and_has_at_least_one_session(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        ids = await opened(ledger, *map(str, range(5)))
        found, place = [], PastPlace(0, 0)
        for _ in ids:
            selector = PastSelector(NOON, NOON + 1, 1 << 62)
            page = await ledger.page(selector, place, PageSize(100, 1), (NOON, NOON), nobody)
            found.append(ids_of(page.sessions))
            if page.following is not None:
                place = page.following
        assert found == [[ident] for ident in ids]

    run(keeper, work)


def test_counts_are_those_of_the_lists(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        await lived(ledger, LIVES[keeper.kind])
        moments = Moments(NOON, 37 * SECOND, 40)
        counts = [dict[str | None, int]() for _ in range(moments.number)]

        def add(counted: Counted) -> None:
            for index in range(counted.first, counted.stop):
                of = counts[index]
                of[counted.value] = of.get(counted.value, 0) + counted.sessions

        time = (moments.start, moments.last)
        selector = PastSelector(*time, as_of=1 << 62)
        await ledger.count(selector, moments, "user", time, nobody, add)
        for index, found in enumerate(counts):
            users = [past.session.user for past in await at(ledger, moments[index])]
            assert found == {user: users.count(user) for user in users}

    run(keeper, work)


async def coverage(ledger: Ledger, start: int, end: int) -> Coverage:
    page = await ledger.page(PastSelector(start, end, end), None, ALL, (start, end), nobody)
    return page.coverage


def test_coverage_is_kept_and_never_shrinks(keeper: Keeper) -> None:
    async def work(ledger: Ledger) -> None:
        assert await ledger.covered_until("a") is None
        keeper.now = NOON + 60 * SECOND
        whole, part = Interval("a", NOON, NOON + 30 * SECOND), NOON + 40 * SECOND
        await ledger.note([whole, Interval("a", part, part + SECOND, is_partial=True)])
        await ledger.note([whole._replace(end=NOON + 20 * SECOND)])
        assert await ledger.covered_until("a") == part + SECOND
        assert await ledger.covered_until("b") is None
        known = await coverage(ledger, NOON - SECOND, NOON + 50 * SECOND)
        assert {each._replace(is_partial=bool(each.is_partial)) for each in known.intervals} == {
            whole,
            Interval("a", part, part + SECOND, is_partial=True),
        }
        assert known.runs == [CoreRun(NOON, NOON + 60 * SECOND)]
        assert known.observed == {"a": (NOON, part + SECOND)}
        reasons = [gap.reason for gap in known.gaps(["a"], NOON - SECOND, NOON + 50 * SECOND)]
        assert reasons == [
            GapReason.GAP_REASON_BEFORE_HISTORY,
            GapReason.GAP_REASON_UNREACHABLE,
            GapReason.GAP_REASON_PARTIAL,
            GapReason.GAP_REASON_UNREACHABLE,
        ]

    run(keeper, work)


async def trimmed(ledger: Ledger) -> None:
    while await ledger.trim():
        pass


def test_what_ended_too_long_ago_is_dropped_and_its_time_a_gap(keeper: Keeper) -> None:
    keeper.policy = HistoryPolicy(age=100 * SECOND)

    async def work(ledger: Ledger) -> None:
        old, young, alive = await opened(ledger, "old", "young", "alive")
        await closed(ledger, Closing(old, NOON), at=NOON + 10 * SECOND)
        await closed(ledger, Closing(young, NOON), at=NOON + 50 * SECOND)
        keeper.now = NOON + 120 * SECOND
        await ledger.note([Interval("a", NOON, keeper.now)])
        await trimmed(ledger)
        assert await ledger.one(old) is None
        assert ids_of(await at(ledger, NOON + 30 * SECOND)) == [young, alive]
        known = await coverage(ledger, NOON, keeper.now)
        gaps = [*known.gaps(["a"], NOON + 5 * SECOND, keeper.now)]
        assert [gap.reason for gap in gaps] == [GapReason.GAP_REASON_RETENTION]
        assert gaps[0].end >= NOON + 10 * SECOND
        assert (await ledger.held())["a"] == {"alive": place_of(NOON, alive)}

    run(keeper, work)


def test_a_time_before_all_that_is_kept_is_a_gap_of_retention(keeper: Keeper) -> None:
    keeper.policy = HistoryPolicy(age=100 * SECOND)

    async def work(ledger: Ledger) -> None:
        await ledger.note([Interval("a", NOON - 1000 * SECOND, NOON)])
        keeper.now = NOON + 50 * SECOND
        await ledger.note([Interval("a", NOON - 1000 * SECOND, keeper.now)])
        known = await coverage(ledger, NOON - 2000 * SECOND, keeper.now)
        gaps = [*known.gaps(["a"], NOON - 2000 * SECOND, keeper.now)]
        assert [(gap.start, gap.end, gap.reason) for gap in gaps] == [
            (NOON - 2000 * SECOND, NOON - 1000 * SECOND, GapReason.GAP_REASON_BEFORE_HISTORY),
            (NOON - 1000 * SECOND, NOON - 50 * SECOND, GapReason.GAP_REASON_RETENTION),
        ], "also if no session has been dropped"

    run(keeper, work)


def test_coverage_that_is_old_is_dropped_and_when_it_began_is_known(keeper: Keeper) -> None:
    keeper.policy = HistoryPolicy(age=100 * SECOND)
    count = 1000

    async def work(ledger: Ledger) -> None:
        times = [NOON + index * SECOND for index in range(count)]
        await ledger.note(
            [Interval("a", time, time + 1, index % 2 == 0) for index, time in enumerate(times)]
        )
        keeper.now = NOON + count * SECOND
        await ledger.note([])
        await trimmed(ledger)
        known = await coverage(ledger, NOON, keeper.now)
        assert len(known.intervals) == 100
        assert known.observed["a"].first == NOON
        assert await ledger.covered_until("a") == times[-1] + 1

    run(keeper, work)


def test_a_clock_that_is_suddenly_far_ahead_drops_nothing(lasting: Keeper) -> None:
    async def first(ledger: Ledger) -> None:
        await ledger.note([Interval("a", NOON, NOON + SECOND)])
        (ident,) = await opened(ledger, "k")
        await closed(ledger, Closing(ident, NOON), at=NOON + SECOND)
        lasting.now = NOON + 20 * 365 * 24 * 3600 * SECOND
        await ledger.note([])
        await trimmed(ledger)
        assert await ledger.one(1) is not None

    run(lasting, first, first)


def test_how_much_is_kept_is_known(lasting: Keeper) -> None:
    async def first(ledger: Ledger) -> None:
        await ledger.note([])
        assert (ledger.size.rows, ledger.size.oldest_end) == (0, None)
        ids = await opened(ledger, *map(str, range(9)))
        for ident in ids[:7]:
            await closed(ledger, Closing(ident, NOON), at=NOON + ident * SECOND)
        await ledger.note([])
        assert (ledger.size.rows, ledger.size.oldest_end) == (7, NOON + SECOND)
        assert ledger.size.size > 0

    async def then(ledger: Ledger) -> None:
        assert (ledger.size.rows, ledger.size.oldest_end) == (7, NOON + SECOND)
        lasting.now += 4 * SECOND
        await trimmed(ledger)
        assert (ledger.size.rows, ledger.size.oldest_end) == (4, NOON + 4 * SECOND)

    run(lasting, first)
    lasting.policy = HistoryPolicy(age=0)
    run(lasting, then)


@pytest.mark.parametrize("policy", [HistoryPolicy(shortest=2 * SECOND), HistoryPolicy(age=None)])
def test_short_sessions_are_not_kept_and_with_history_off_none(
    keeper: Keeper, policy: HistoryPolicy
) -> None:
    keeper.policy = policy

    async def work(ledger: Ledger) -> None:
        short, long = await opened(ledger, "short", "long")
        await closed(ledger, Closing(short, NOON), at=NOON + SECOND)
        await closed(ledger, Closing(long, NOON), at=NOON + 3 * SECOND)
        await trimmed(ledger)
        assert await ledger.one(short) is None
        assert (await ledger.one(long) is None) == (policy.age is None)
        await ledger.note([Interval("a", NOON, NOON + 9 * SECOND)])
        known = await coverage(ledger, NOON, NOON + 9 * SECOND)
        least = policy.least_duration
        assert [run.least_duration for run in known.runs] == [least or 0]

    run(keeper, work)


def reasons(known: Coverage, moment: int) -> list[GapReason]:
    return [gap.reason for gap in known.gaps(["a"], moment, moment)]


@pytest.mark.parametrize("policy", [HistoryPolicy(shortest=60 * SECOND), HistoryPolicy(age=None)])
def test_what_is_not_kept_is_a_gap_of_the_run_before_or_after_too(
    lasting: Keeper, policy: HistoryPolicy
) -> None:
    """A session may begin before a setting changes, or be asked for after that."""
    usual = lasting.policy
    idents: list[int] = []

    async def begin(ledger: Ledger) -> None:
        idents.extend(await opened(ledger, "short"))
        lasting.now = NOON + 5 * SECOND
        await ledger.note([Interval("a", NOON - 90 * SECOND, NOON + 5 * SECOND)])
        lasting.policy = policy

    async def end(ledger: Ledger) -> None:
        await closed(ledger, Closing(idents[0], NOON), at=NOON + 9 * SECOND)
        lasting.now = NOON + 20 * SECOND
        await ledger.note([Interval("a", NOON + 5 * SECOND, NOON + 20 * SECOND)])
        lasting.policy = usual

    async def ask(ledger: Ledger) -> None:
        begun = NOON + 2 * SECOND
        assert await at(ledger, begun) == []
        unknown = (
            GapReason.GAP_REASON_RETENTION
            if policy.age is None
            else GapReason.GAP_REASON_BELOW_MINIMUM
        )
        assert reasons(await coverage(ledger, begun, begun), begun) == [unknown]
        before = NOON - 80 * SECOND
        found = reasons(await coverage(ledger, before, before), before)
        assert found == ([unknown] if policy.age is None else [])

    run(lasting, begin, end, ask)


def test_a_run_lasts_while_the_clock_is_set_back(keeper: Keeper) -> None:
    keeper.policy = HistoryPolicy(shortest=SECOND)

    async def work(ledger: Ledger) -> None:
        keeper.now = NOON - 90 * SECOND
        seen = Interval("a", NOON - 90 * SECOND, NOON - 80 * SECOND)
        await ledger.note([seen])
        keeper.now = NOON - 60 * SECOND
        await ledger.note([seen])
        known = await coverage(ledger, NOON - 90 * SECOND, NOON)
        assert reasons(known, NOON - 85 * SECOND) == [GapReason.GAP_REASON_BELOW_MINIMUM]
        assert reasons(known, NOON - 70 * SECOND) == [GapReason.GAP_REASON_UNREACHABLE]

    run(keeper, work)
