"""Prometheus metrics of one process, and of many that are one program.

The process that counts makes a metric. If a parent answers for many worker processes,
each of them first calls `share`: what it counts from then on is kept in files, which
the parent adds up (`WorkerCollector`), including those of workers that have gone.
Gauges must have a ``live…`` mode, so that a worker's go with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, disable_created_metrics, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

# A worker's files by the kinds of its metrics, and bytes of each: more than all its series take.
_FILES = ("histogram", "gauge_livemin", "gauge_livesum")
_ROOM = 512 * 1024


def share(folder: Path) -> None:
    """Keep this process's metrics in files of ``folder``; call this before any is made."""
    paths = [folder / f"{kind}_{os.getpid()}.db" for kind in _FILES]
    try:
        for path in paths:
            _reserve(path)
    except OSError as error:
        log.error("this worker's metrics are not shown: %s: %s", folder, error.strerror)
        for path in paths:
            path.unlink(missing_ok=True)
        return
    # The library reads the variable when it is imported. That is too early: set in the
    # parent, it would also reach the core, and workers whose files have no room.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    pid = os.getpid()  # else it would be asked for at each change
    values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]


def _reserve(path: Path) -> None:
    """Make a file of values, and take its disk space. Raises `OSError`.

    The library writes through memory: if the disk were full, the kernel would kill the process.
    """
    new = path.with_suffix(".new")  # which nobody reads
    try:
        with new.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)


class WorkerCollector(Collector):
    """The metrics of all processes that share a folder, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        for pid in {path.stem.rpartition("_")[2] for path in self._folder.glob("gauge_live*.db")}:
            if not psutil.pid_exists(int(pid)):
                mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        metrics: Iterable[Metric] = self._files.collect()  # type: ignore[no-untyped-call]
        return sorted(metrics, key=lambda metric: metric.name)


class ProcessCollector(Collector):
    """The resources that processes use, under the names that Prometheus has for them.

    ``pids`` returns each process's name, the label ``process``, and its id.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        label = ("process",)
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "User and system CPU time spent, in seconds.", labels=label
        )
        memory = GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory size in bytes.", labels=label
        )
        files = GaugeMetricFamily(
            "process_open_fds", "Number of open file descriptors.", labels=label
        )
        start = GaugeMetricFamily(
            "process_start_time_seconds", "Start of the process, since the epoch.", labels=label
        )
        for name, pid in self._pids().items():
            with suppress(psutil.Error):  # it has gone
                process = psutil.Process(pid)
                with process.oneshot():
                    times = process.cpu_times()
                    cpu.add_metric([name], times.user + times.system)
                    memory.add_metric([name], process.memory_info().rss)
                    start.add_metric([name], process.create_time())
                files.add_metric([name], process.num_fds())
        return [cpu, memory, files, start]


def registry(*collectors: Collector) -> CollectorRegistry:
    """Make a registry of these collectors."""
    # When each series began is no use to anyone, and would add a third more series.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    made = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        made.register(collector)
    return made
