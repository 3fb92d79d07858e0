"""Sessions and clients that come and go for ten minutes: memory and descriptors do not grow."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from threading import Event

import psutil
import pytest

from tests.credentials import CredentialFiles
from tests.faults.documents import write_users
from tests.faults.processes import MIB, Usage, processes, usage
from tests.faults.scale import FULL, figure, times
from tests.faults.visitors import Visitor, Visitors
from tests.program import PATIENCE, Forked, Serving

SECONDS = times(1, 600)
PERIOD = times(1, 30)  # seconds from one progress line to the next
GROWTH = 2.0  # per cent that a process's resident memory may grow after minute 5

# A session lives for three seconds. So many come and go that the core's log of changes,
# which is bounded, reaches its limit before the first five minutes are over. Some of
# this machine's connections are enough.
MADE = times(300, 3000)
SOURCES = (f"synthetic:?sessions={MADE}&churn={MADE // 3}", "host:?max_sessions=100")


class Document:
    """A file of sessions, which each edit replaces by others."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self._dice = dice
        self.edit()

    def edit(self) -> None:
        idents = self._dice.sample(range(1, 101), 50)
        write_users(self.path, {ident: self._dice.randrange(1000) for ident in idents})


def visits(visitor: Visitor, document: Document) -> Sequence[tuple[Callable[[], None], float]]:
    """Return each visit, and after how many seconds it is repeated."""
    return (
        *[(visitor.browse, 0.1)] * times(1, 3),
        *[(visitor.ask, 0.02)] * times(1, 2),
        (visitor.fetch, 0.5),
        (visitor.stray, 0.2),
        *[(visitor.follow, 0.05)] * times(2, 4),
        *[(visitor.call, 0.05)] * times(1, 2),
        *[(visitor.watch, 0.1)] * times(1, 3),
        (visitor.scrape, 5.0),
        (document.edit, 2.0),
    )


@pytest.mark.long
def test_nothing_grows_while_sessions_and_clients_come_and_go(tmp_path: Path) -> None:
    dice = random.Random(1)
    document = Document(tmp_path / "sessions.json", dice)
    # What a forked program has in memory is not all its own.
    with (Serving if FULL else Forked)(
        *(f"--source={source}" for source in (*SOURCES, f"document:{document.path}")),
        *("--ledger", f"sqlite:///{tmp_path}/ledger.db", "--workers", "2"),
        *("--metrics", "127.0.0.1:0", "--core-metrics", "127.0.0.1:0"),
        *CredentialFiles(tmp_path).flags,
    ) as serving:
        metrics = re.findall(r"metrics at (\S+/metrics)", serving.output)
        assert len(metrics) == 2
        plan = visits(Visitor(serving.http, serving.grpc, metrics, dice), document)
        with Visitors(plan) as first:
            first.wait_for_each()  # what is made on first use exists now
            wait_for_each_worker(serving)
        running, before = processes(serving), quiet(serving)
        with Visitors(plan) as crowd:
            samples = observe(serving, crowd)
            crowd.wait_for_each()
        assert first.wrong + crowd.wrong == []
        after = quiet(serving, before)
        assert processes(serving) == running, "a process has died"
        assert "Traceback" not in serving.output
    figure("visits", dict(crowd.visits))
    figure("descriptors before they came", before)
    figure("descriptors after they left", after)
    if FULL:
        judge(samples)


def wait_for_each_worker(serving: Serving) -> None:
    """Wait until the workers have the same connections to the core.

    A worker makes the one for event streams when the first one comes to it.
    """
    deadline, clock = time.monotonic() + PATIENCE, Event()  # which is never set
    while True:
        found = {
            name: len(process.net_connections("unix"))
            for name, process in processes(serving).items()
            if name.startswith("worker")
        }
        if len({*found.values()}) == 1:
            return
        assert time.monotonic() < deadline, f"the workers have {found} Unix sockets"
        clock.wait(0.1)


def quiet(serving: Serving, most: Mapping[str, int] | None = None) -> Mapping[str, int]:
    """Return each process's descriptors, once it has no connections, and at most ``most``."""
    deadline, clock = time.monotonic() + PATIENCE, Event()  # which is never set
    while True:
        connected = any(
            connection.status != psutil.CONN_LISTEN
            for process in processes(serving).values()
            for connection in process.net_connections("tcp")
        )
        found = {name: each.descriptors for name, each in usage(serving).items()}
        if not connected and all(found[name] <= (most or found)[name] for name in found):
            return found
        assert time.monotonic() < deadline, (
            f"open are {found}; before, {most or 'fewer'} were:"
            f" {[files(process.pid) for process in processes(serving).values()]}"
        )
        clock.wait(0.1)


def files(pid: int) -> Mapping[int, str]:
    """Return what a process has open, by descriptor."""
    found = {}
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found[int(each.name)] = str(each.readlink())
    return found


def observe(serving: Serving, crowd: Visitors) -> Sequence[Mapping[str, Usage]]:
    """Return what each process uses, once a second; print it for whoever runs this by hand."""
    samples: list[Mapping[str, Usage]] = []
    began = time.monotonic()
    clock = Event()  # never set: a wait for it ends when its time is over
    while len(samples) < SECONDS:
        clock.wait(max(0.0, began + len(samples) + 1 - time.monotonic()))
        samples.append(usage(serving))
        if len(samples) % PERIOD == 0:
            taken = "; ".join(
                f"{name} {each.resident / MIB:.1f} MiB, {each.descriptors} open"
                for name, each in samples[-1].items()
            )
            print(f"{len(samples)} s: {taken}; {crowd.visits.total():,} visits", flush=True)
    return samples


def judge(samples: Sequence[Mapping[str, Usage]]) -> None:
    """Compare the sixth minute with the last, each by the median of its samples."""
    growth = {}
    for name in samples[0]:
        resident = [each[name].resident for each in samples]
        sixth, last = (median(part) for part in (resident[300:360], resident[-60:]))
        figure(
            f"{name}: MiB in the sixth minute and in the last",
            f"{sixth / MIB:.1f}, {last / MIB:.1f}",
        )
        growth[name] = round((last / sixth - 1) * 100, 2)
    figure("growth from the sixth minute to the last, %", growth)
    assert max(growth.values()) < GROWTH, growth
