"""Which of several cores is called: the order, and what counts as lost."""

from __future__ import annotations

from multiprocessing.sharedctypes import RawValue

import grpc
import pytest

import sessiongate.client.cores
from sessiongate.client import CallError, Reason
from sessiongate.client.cores import SILENCE, Cores

UNAVAILABLE, LATE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
UNREACHED = CallError(UNAVAILABLE, None, "connection refused")


def test_the_order_is_drawn() -> None:
    orders = {Cores.drawn(["a", "b", "c"]).addresses for _ in range(200)}
    assert len(orders) == 6
    assert Cores.drawn("a").addresses == ("a",)
    assert Cores(["a", "b", "a"]).addresses == ("a", "b")
    with pytest.raises(ValueError, match="at least one address"):
        Cores([])


def test_the_next_core_is_called_however_many_calls_fail_at_once() -> None:
    cores = Cores(["a", "b", "c"])
    first = cores.position
    assert cores.address == "a"
    assert [cores.failed(first, UNREACHED) for _ in range(3)] == [True] * 3
    assert cores.address == "b", "each of them failed at a"
    cores.failed(cores.position, UNREACHED)
    assert cores.address == "c", "nobody goes back before all were tried"
    cores.failed(cores.position, UNREACHED)
    assert cores.address == "a"


@pytest.mark.parametrize(
    ("code", "reason", "is_lost"),
    [
        (UNAVAILABLE, None, True),
        (UNAVAILABLE, Reason.NOT_READY, True),
        (UNAVAILABLE, Reason.SHUTTING_DOWN, True),
        (UNAVAILABLE, "CORE_STANDBY", True),
        (UNAVAILABLE, "A_REASON_OF_A_LATER_VERSION", True),
        # Another core has the same source, ledger and disk, and would answer no better.
        (UNAVAILABLE, Reason.SOURCE_UNREACHABLE, False),
        (UNAVAILABLE, Reason.LEDGER_UNAVAILABLE, False),
        (UNAVAILABLE, Reason.AUDIT_UNAVAILABLE, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_WATCHERS, False),
        (grpc.StatusCode.OUT_OF_RANGE, Reason.REVISION_NOT_HELD, False),
        (grpc.StatusCode.NOT_FOUND, Reason.SESSION_NOT_FOUND, False),
    ],
)
def test_an_error_says_whether_the_core_is_lost(
    code: grpc.StatusCode, reason: str | None, is_lost: bool
) -> None:
    for addresses in (["a", "b"], ["a"]):
        cores = Cores(addresses)
        expected = is_lost and len(addresses) == 2
        assert cores.failed(0, CallError(code, reason, "")) == expected
        assert cores.address == ("b" if expected else "a")


def test_a_late_answer_is_no_hang_while_anything_else_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(sessiongate.client.cores, "elapsed", lambda: now)
    late = CallError(LATE, None, "Deadline Exceeded")
    cores = Cores(["a", "b"])
    cores.asked()
    now = SILENCE - 1
    cores.heard(0)  # as a message of a stream
    cores.asked()
    now = SILENCE
    assert not cores.failed(0, late)
    assert cores.address == "a", "one call takes long"
    now = 2 * SILENCE
    assert not cores.failed(0, late), "no time is left for another try"
    assert cores.address == "b", "but others go on there"


def test_what_acts_is_tried_elsewhere_only_if_nothing_was_done() -> None:
    for reason, is_safe in ((None, False), (Reason.SHUTTING_DOWN, False), (Reason.NOT_READY, True)):
        cores = Cores(["a", "b"])
        assert cores.repeats(0, CallError(UNAVAILABLE, reason, ""), 1, acts=True) == is_safe
        assert cores.address == "b"


def test_a_call_pauses_after_each_round_and_ends_after_three() -> None:
    cores = Cores(["a", "b"])
    tries = [
        cores.repeats(cores.position, UNREACHED, attempt, acts=False) for attempt in range(1, 7)
    ]
    assert tries == [True] * 5 + [False]
    pauses = [cores.pause(attempt) for attempt in range(1, 6)]
    assert [pause > 0 for pause in pauses] == [False, True, False, True, False]
    assert max(pauses) <= 0.2


def test_processes_that_share_a_position_call_the_same_core() -> None:
    shared = RawValue("Q", 0)
    one, other = Cores(["a", "b"], shared), Cores(["a", "b"], shared)
    changes: list[str] = []
    other.on_change(lambda: changes.append(other.address))
    assert one.lose(one.position)
    assert (one.address, other.address, changes) == ("b", "b", ["b"])
    assert other.lose(0), "it is lost already"
    assert (one.address, changes) == ("b", ["b"])
