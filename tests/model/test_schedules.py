"""Some schedules of the model in every run of the tests; ``make model`` runs many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings

from sessiongate.core.fleet.membership import Membership
from sessiongate.core.ledger.postgresql.pen import Pen
from tests.model.fleet import Fleet
from tests.model.program import Program
from tests.model.schedules import FleetSchedule
from tests.model.server import Server

FleetSchedule.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=10,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to look for a shorter one takes minutes
    derandomize=True,  # each run is the same: what others draw is looked for by ``make model``
    suppress_health_check=[*HealthCheck],
)
_EAST = 2  # the shard's number
TestFleetSchedule = FleetSchedule.TestCase


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Return two cores of one shard, and one of another, at peace."""
    with closing(Fleet({"east": 2, "west": 1}, (1.0, 1.0, 1.0), Random(1))) as fleet:
        fleet.connect("orders", "k")
        fleet.connect("stock", "k")
        fleet.make_peace()
        yield fleet


def test_a_core_that_has_nothing_to_write_notices_that_the_tables_are_gone(fleet: Fleet) -> None:
    fleet.lose()
    fleet.server.machine.call_soon(fleet.server.drop)

    fleet.make_peace()  # the rows are there again


def test_a_core_notices_that_another_has_claimed_and_written_as_often() -> None:
    with closing(Fleet({"east": 2}, (1.0, 1.0), Random(1))) as fleet:
        while _EAST not in (empty := fleet.server.snapshot())["shards"]:
            fleet.run(0.001)
        fleet.connect("orders", "kl")
        fleet.make_peace()
        (former,) = (each for each in fleet.programs if each.is_showing)
        (other,) = (each for each in fleet.programs if not each.is_showing)
        shards = fleet.server.tables["shards"]
        counts = shards[_EAST]["claim"], shards[_EAST]["writes"]

        former.link.cut()
        fleet.lose()
        fleet.server.restore(empty)
        fleet.disconnect("orders", "l")
        fleet.connect("orders", "m")
        while not other.is_showing or ("orders", "m") not in other.machine.memory:
            fleet.run(0.05)
        row = fleet.server.tables["shards"][_EAST]
        assert (row["claim"], row["writes"]) == counts
        other.kill()
        former.link.heal()
        fleet.run(4)

        rows = fleet.server.tables["open_sessions"].values()
        shown = {ident for _, ident in former.machine.memory.values()}
        assert shown == {row["id"] for row in rows}


def test_no_id_is_given_again_after_the_server_was_restored(fleet: Fleet) -> None:
    (lone,) = (each for each in fleet.programs if each.shard == "west")
    before = fleet.server.snapshot()
    fleet.connect("stock", "lmn")
    fleet.run(2)
    lone.kill()  # only it knows which ids the server has lost
    fleet.lose()
    fleet.server.restore(before)
    fleet.run(10)  # the other shard goes on
    fleet.connect("stock", "lmn")
    lone.start()

    fleet.make_peace()


def test_no_id_is_given_again_that_a_stand_by_gave_and_the_server_has_lost() -> None:
    with closing(Fleet({"east": 2}, (1.0, 1.0), Random(1))) as fleet:
        fleet.connect("orders", "k")
        fleet.make_peace()
        (former,) = (each for each in fleet.programs if each.is_showing)
        (other,) = (each for each in fleet.programs if not each.is_showing)
        before = fleet.server.snapshot()
        former.machine.is_paused = True
        fleet.connect("orders", "lmn")
        while not other.is_showing or ("orders", "n") not in other.machine.memory:
            fleet.run(0.05)
        other.kill()  # only it knows which ids it has given
        fleet.lose()
        fleet.server.restore(before)  # just as the former core has left it
        fleet.connect("orders", "lmn")

        fleet.make_peace()


def test_no_number_of_a_start_is_given_again_after_two_servers_have_lost_it(fleet: Fleet) -> None:
    before = fleet.server.snapshot()
    for _ in range(2):
        fleet.lose()
        fleet.server.restore(before)
        fleet.make_peace()  # whoever starts has a number of its own


def test_a_core_that_is_stopped_as_it_makes_the_tables_holds_up_no_other() -> None:
    for moment in range(40):  # each time a little later
        with closing(Fleet({"east": 1, "west": 1}, (1.0, 1.0), Random(1))) as fleet:
            first, other = fleet.programs
            fleet.run(0.0005 * moment)
            first.machine.is_paused = True
            fleet.manage_with(other)


def test_a_core_whose_first_claim_was_not_committed_starts_as_no_other_does() -> None:
    with closing(Fleet({"east": 2}, (1.0, 1.0), Random(1))) as fleet:
        first, other = _first_to_fail(fleet, "INSERT INTO actives", lambda each: each.link.cut())
        other.kill()
        first.link.heal()

        while not first.is_showing:  # as another start, or the model objects
            fleet.run(0.1)


def test_no_id_is_given_again_that_was_seen_while_the_pen_was_asked_for() -> None:
    def stop(program: Program) -> None:
        program.machine.is_paused = True

    with closing(Fleet({"east": 2}, (1.0, 1.0), Random(1))) as fleet:
        first, other = _first_to_fail(fleet, "UPDATE shards SET claim", stop)
        fleet.connect("orders", "klm")
        while len(other.machine.memory) < 3:
            fleet.run(0.1)
        other.kill()
        first.machine.is_paused = False
        while first.machine.knows_no_id:
            fleet.run(0.01)
        fleet.lose()
        fleet.server.machine.call_soon(fleet.server.drop)
        fleet.connect("orders", "klm")

        while not first.is_showing or len(first.machine.memory) < 3:
            fleet.run(0.1)


def test_a_core_that_hangs_after_it_has_made_the_tables_anew_is_ended() -> None:
    for moment in range(20):  # its pen is there before its entry in the fleet, or after
        with closing(Fleet({"east": 2}, (1.0, 1.0), Random(1))) as fleet:
            cut = "UPDATE shards SET claim"
            first, other = _first_to_fail(fleet, cut, lambda program: program.link.cut())
            other.kill()
            fleet.run(0.1 * moment)
            fleet.lose()
            fleet.server.machine.call_soon(fleet.server.drop)
            first.link.heal()
            while not first.is_showing:
                fleet.run(0.01)
            first.machine.is_paused = True

            fleet.manage_with(other)


@pytest.mark.parametrize("made", ["shards", "cores"])
def test_a_core_that_was_stopped_as_it_made_a_row_joins_if_that_is_lost(made: str) -> None:
    with closing(Fleet({"east": 1, "west": 1}, (1.0, 1.0), Random(1))) as fleet:
        _, west = fleet.programs

        def stop() -> None:
            west.machine.is_paused = True

        def stop_at_commit() -> None:
            west.trap = "COMMIT", stop

        west.trap = f"INSERT INTO {made}", stop_at_commit
        while not west.machine.is_paused:
            fleet.run(0.01)
        fleet.run(2.0)
        fleet.lose()
        fleet.connect("orders", "k")
        fleet.server.machine.call_soon(fleet.server.drop)
        fleet.run(3.0)

        fleet.make_peace()


@pytest.mark.parametrize("layout", [{"east": 2}, {"east": 1, "west": 1}])
def test_ids_go_on_from_the_last_one_after_a_core_has_stopped_in_order(
    layout: dict[str, int],
) -> None:
    with closing(Fleet(layout, (1.0, 1.0), Random(1))) as fleet:
        fleet.connect("orders", "k")
        fleet.make_peace()
        first = next(each for each in fleet.programs if each.is_showing and each.shard == "east")
        (other,) = (each for each in fleet.programs if each is not first)
        assert first.machine.pen is not None
        for key in "lmn":
            fleet.connect("orders", key)
            fleet.run(2.0)
            if first.machine.pen._ids:  # they are reserved, and not given
                break
        first.terminate()
        fleet.run(5.0)
        other.link.cut()
        fleet.run(1.0)
        other.link.heal()
        fleet.connect(other.sources[0], "o")
        while not (other.is_showing and fleet._shows_truth(other)):
            fleet.run(0.1)
        assert max(ident for _, ident in other.machine.memory.values()) < 20, "no time"


def test_sessions_keep_their_ids_from_the_first_peace_after_a_loss_on(fleet: Fleet) -> None:
    fleet.lose()
    fleet.find_peace()
    core = fleet.programs[0] if fleet.programs[0].is_showing else fleet.programs[1]
    core.machine.memory = {at: (begun, 1000) for at, (begun, _) in core.machine.memory.items()}
    with pytest.raises(AssertionError, match="has become 1000"):
        fleet.show(core)


@pytest.mark.parametrize("where", [(Server, "read"), (Membership, "_look"), (Pen, "waits_for")])
def test_an_error_that_nobody_foresaw_is_no_trouble_that_a_core_lives_with(
    monkeypatch: pytest.MonkeyPatch, fleet: Fleet, where: tuple[type, str]
) -> None:
    monkeypatch.setattr(*where, None)  # so that nobody can use it
    with pytest.raises(TypeError):
        fleet.run(3.0)


def _first_to_fail(
    fleet: Fleet, statement: str, fail: Callable[[Program], None]
) -> tuple[Program, Program]:
    """Let a core fail that sends a statement; return it, and the one that is active instead."""
    failed: list[Program] = []

    def spring(program: Program) -> None:
        if not failed:
            failed.append(program)
            fail(program)

    for each in fleet.programs:
        each.trap = statement, partial(spring, each)
    while not any(each.is_showing for each in fleet.programs):
        fleet.run(0.1)
    (first,) = failed
    (other,) = (each for each in fleet.programs if each.is_showing)
    assert other is not first
    return first, other
