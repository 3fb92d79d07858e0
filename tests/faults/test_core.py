"""The core killed and stopped under load: the truth, an honest refusal, or a visible cut."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.faults.documents import write_document
from tests.faults.load import Load
from tests.faults.scale import figure, times
from tests.polling import eventually
from tests.program import PATIENCE, Forked, Serving

SESSIONS = times(1100, 3000)  # so that a list is more than one gRPC page


def is_one(found: Mapping[str, Any]) -> None:
    assert found["data"]["id"] == "7"
    assert found["data"]["attributes"]["user"] == "user-7"


def is_all(found: Mapping[str, Any]) -> None:
    ids = [int(session["id"]) for session in found["data"]]
    assert ids == list(range(1, SESSIONS + 1))


PATHS = {"/v1/sessions/7": is_one, "/v1/sessions": is_all, "/v1/sessions/7?pretty=true": is_one}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("core")
    write_document(folder / "sessions.json", SESSIONS)
    with Forked(
        *("--source", f"document:{folder}/sessions.json"),
        *("--ledger", f"sqlite:///{folder}/ledger.db"),
        *("--core-timeout", "1", "--workers", "2"),
    ) as running:
        yield running


def test_a_core_killed_again_and_again_costs_no_wrong_answer(serving: Serving) -> None:
    recoveries = []
    with Load(serving.http, PATHS) as load:
        for _ in range(times(2, 20)):
            load.wait_for("right", 20)
            serving.core().kill()
            recoveries.append(recovery(serving))
    assert load.wrong == []
    assert load.outcomes["refused"] == 0, "the gateway itself never went away"
    figure("core killed: times", len(recoveries))
    figure("core killed: answers", dict(load.outcomes))
    figure("core killed: slowest recovery, s", round(max(recoveries), 2))


def recovery(serving: Serving) -> float:
    """Return the seconds from the killed core's successor listening to the first right answer."""
    serving.expect("the core was killed")
    serving.expect(r"the core listens on \S+ again")
    began = time.monotonic()
    with httpx.Client(base_url=f"http://{serving.http}", timeout=PATIENCE) as client:
        eventually(lambda: client.get("/v1/sessions/7").status_code, lambda code: code == 200)
    return time.monotonic() - began


def test_a_stopped_core_makes_nothing_hang_and_no_memory_grow(serving: Serving) -> None:
    with Load(serving.http, PATHS) as load:
        load.wait_for("right", 20)
        core = serving.core()
        gateway = [child for child in serving.children() if child.pid != core.pid]
        before = sum(process.memory_info().rss for process in gateway)
        core.suspend()
        try:
            load.wait_for("504", times(5, 40))
        finally:
            core.resume()
        load.wait_for("right", 20)
        after = sum(process.memory_info().rss for process in gateway)
    assert load.wrong == []
    assert after < before + 64 * 1024 * 1024
    figure("core stopped: answers", dict(load.outcomes))
    figure("core stopped: slowest answer, s (deadline 1 s)", round(load.slowest, 2))


def test_a_worker_killed_under_load_is_replaced(serving: Serving) -> None:
    with Load(serving.http, PATHS) as load:
        load.wait_for("right", 20)
        old = serving.workers()
        assert len(old) == 2
        old[0].kill()
        load.wait_for("right", 50)
        eventually(serving.workers, lambda now: len(now) == 2 and old[0] not in now)
        load.wait_for("right", 50)
    assert load.wrong == []
    figure("worker killed: answers", dict(load.outcomes))
