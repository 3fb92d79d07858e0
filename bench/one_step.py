"""The cost of one removal and one upsert in a large table, and in a gateway's store.

``python -m bench.one_step table|store SESSIONS`` prints the median of many, in CPU seconds;
each runs in a process of its own, which collects garbage as the core and a worker do.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bench.measures import LONG, Found, Measure, Sizes
from bench.programs import BIN, ROOT, BenchError
from sessiongate.core.sources.synthetic import SyntheticSource
from sessiongate.core.table.table import SessionTable
from sessiongate.gateway.upstream.store import Store
from sessiongate.runtime.memory import collect_rarely
from sessiongate.runtime.turns import finished
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    SessionRemoval,
    WatchChanges,
    WatchSessionsResponse,
    WatchSnapshot,
    WatchSync,
)

TABLE = Measure(
    "CPU of `SessionTable.apply`, one removal and one upsert, {table:,} sessions", "ms", 0.3
)
STORE = Measure("CPU of `Store.apply`, likewise", "ms", 0.3)

_STEPS = 200
_SECONDS = 3.0  # of steps at most
_PART = 1000  # sessions in a message of a snapshot

# Applies the upsert of one session and the removal of another.
_Apply = Callable[[Session, int], None]


def measure(sizes: Sizes) -> Found:
    """Measure the table and the store."""
    for name, taken in (("table", TABLE), ("store", STORE)):
        command = [str(BIN / "python"), "-m", __name__, name, str(sizes.table)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False
        )
        if done.returncode:
            raise BenchError(f"{' '.join(command[1:])}: {done.stderr[-500:]}")
        yield taken, float(done.stdout) * 1000


class _Sessions:
    """Makes sessions with any id, as synthetic ones are."""

    def __init__(self) -> None:
        made = asyncio.run(SyntheticSource(1000, 0, 1).observe())
        self._models = [each.session for each in made.sessions]

    def make(self, ident: int) -> Session:
        session = Session()
        session.CopyFrom(self._models[ident % len(self._models)])
        session.id, session.native_id, session.source = ident, str(ident), "synthetic"
        session.connect_time.seconds += ident
        return session


def _table(make: Callable[[int], Session], count: int) -> _Apply:
    table = SessionTable(["synthetic"], 1, _now)
    table.apply(map(make, range(1, count + 1)), ())
    return lambda upsert, removal: table.apply([upsert], [removal])


def _store(make: Callable[[int], Session], count: int) -> _Apply:
    store = Store()
    ids = range(1, count + 1)
    for start in range(0, count, _PART):
        part = WatchSnapshot(sessions=map(make, ids[start : start + _PART]))
        store.apply([WatchSessionsResponse(snapshot=part)])
    mark = Duration()
    store.apply([WatchSessionsResponse(sync=WatchSync(), revision=count, as_of=mark)])
    finished(store.indexing())  # as after the first request with a filter
    revision = count

    def apply(upsert: Session, removal: int) -> None:
        nonlocal revision
        revision += 2
        removals = [SessionRemoval(id=removal, revision=revision - 1)]
        changes = WatchChanges(upserts=[upsert], removals=removals)
        message = WatchSessionsResponse(changes=changes, revision=revision, as_of=mark)
        store.apply([message])

    return apply


_OF: Mapping[str, Callable[[Callable[[int], Session], int], _Apply]] = {
    "table": _table,
    "store": _store,
}


def _now() -> Timestamp:
    now = Timestamp()
    now.FromNanoseconds(time.time_ns())
    return now


def main(name: str, count: int) -> None:
    """Print the median."""
    collect_rarely()
    make = _Sessions().make
    apply = _OF[name](make, count)
    removals = random.Random(1).sample(range(1, count + 1), _STEPS)
    took: list[float] = []
    for upsert, removal in zip(map(make, range(count + 1, count + _STEPS)), removals, strict=False):
        began = time.process_time()
        apply(upsert, removal)
        took.append(time.process_time() - began)
        if sum(took) > _SECONDS:
            break
    print(median(took))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
