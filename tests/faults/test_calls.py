"""The most expensive calls, some of them not allowed: others are answered beside them."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.faults.beside import Beside
from tests.faults.dear_calls import LATEST, SESSIONS, attack, lists, queries
from tests.faults.loop_lags import ARGUMENTS, LoopLags
from tests.faults.processes import grown, usage
from tests.faults.scale import FULL, figure
from tests.forked import FORKING
from tests.program import Forked

BOUND = 256  # MiB that the calls may add to a process


@pytest.mark.parametrize("replica", ["on", "off"])
def test_dear_calls_keep_no_other_waiting(replica: str) -> None:
    spans: dict[str, tuple[float, float]] = {}  # when each kind of attack ran
    answers: Counter[str] = Counter()
    # Calls of the core are the same without a replica.
    kinds = queries() if replica == "off" and not FULL else {**lists(), **queries()}
    # A worker takes long to start with them: once is enough, unless their figures are wanted.
    measured = ARGUMENTS if replica == "on" or FULL else ()
    with (
        Forked(
            *("--source", f"synthetic:?sessions={SESSIONS}", *measured),
            *("--workers", "1", "--replica", replica, "--request-timeout", str(LATEST)),
        ) as serving,
        LoopLags(serving) as lags,
        # Behind all others for a CPU: else others would wait for that, not for their answers.
        ProcessPoolExecutor(1, FORKING, initializer=os.nice, initargs=(19,)) as attacker,
        Beside(f"http://{serving.http}", serving.grpc) as beside,
    ):
        before = usage(serving)
        for kind in kinds:
            began = time.monotonic()
            answers += attacker.submit(attack, kind, serving.http, serving.grpc).result()
            spans[kind] = began, time.monotonic()
        growth = grown(before, usage(serving))
        assert "Traceback" not in serving.output
    beside_each = [beside.p99(*span) for span in spans.values()]
    waited = {caller: max(each[caller] for each in beside_each) for caller in beside_each[0]}
    figure(f"dear calls, replica {replica}: answers", answers)
    figure(f"dear calls, replica {replica}: ms that others waited, p99, at worst", waited)
    figure(
        f"dear calls, replica {replica}: longest turn of a loop, ms of CPU, at most", lags.longest()
    )
    figure(f"dear calls, replica {replica}: growth, MiB", growth)
    assert max(growth.values()) < BOUND, growth
