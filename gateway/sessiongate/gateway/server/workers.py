"""The gateway's worker processes: started, replaced when they exit, and renewed on request."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from types import FrameType

from sessiongate.gateway.cli.left_behind import KILLED, LeftBehindError, report_left_behind
from sessiongate.gateway.server.worker import REQUEST_GRACE

log = logging.getLogger(__name__)

_SLACK = 1.0  # seconds for a worker to exit after its grace period
_START = 60.0  # seconds for a worker to be ready
_TRIES = 3  # workers in a row that may fail to start
# Seconds before another is started then, times their number; and the longest pause.
_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
# Messages about workers that are not ready in time, of their number and the seconds.
_KEEPING = "new worker %d was not ready within %g seconds; keeping the old one"
_STARTING = "worker %d was not ready within %g seconds; starting another"
_CHECK_INTERVAL = 1.0  # seconds between two checks whether workers can be started
# The function that a worker runs until SIGTERM; it sends a message once it is ready.
WorkerTarget = Callable[[Connection], None]


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    ready: Connection
    deadline: float  # when it is killed, on the monotonic clock
    is_ready: bool = False
    is_killed: bool = False  # if so, it is abandoned at the deadline


@dataclass(slots=True)
class _Slot:
    """The place of one worker and its successor."""

    number: int
    current: _Worker | None = None
    following: _Worker | None = None
    start_at: float = 0.0  # when a missing worker is started

    def succeed(self) -> None:
        """Let the successor, if there is one, take the place."""
        self.current, self.following = self.following, None


@dataclass(slots=True)
class WorkerPool:
    """Runs ``count`` processes that do the same work. Use it in the main thread."""

    work: WorkerTarget
    count: int
    check: Callable[[], str | None]  # returns why new workers cannot start; None if they can
    _slots: list[_Slot] = field(default_factory=list)
    _leaving: list[_Worker] = field(default_factory=list)
    _left_behind: list[_Worker] = field(default_factory=list)
    _failures: int = 0
    _fault: str | None = None  # the result of the last check
    _has_served: bool = False  # a worker was ready: later faults may be temporary
    _is_stopping: bool = False
    _is_renewing: bool = False
    _wakeup: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)

    def processes(self) -> Mapping[str, int]:
        """Return the process ids of this process and its workers, by name."""
        found = {f"worker {slot.number}": slot.current for slot in self._slots}
        pids = {name: worker.process.pid for name, worker in found.items() if worker is not None}
        return {"gateway": os.getpid(), **{name: pid for name, pid in pids.items() if pid}}

    def renew(self) -> None:
        """Replace the current workers with new ones; may be called from any thread."""
        self._is_renewing = True
        self._wake()

    def run(self, on_start: Callable[[], None]) -> None:
        """Run the workers until SIGINT or SIGTERM; SIGHUP renews them.

        ``on_start`` is called once signals are handled. Raises `SystemExit` with 1 if
        workers keep failing to start before any was ready, and `LeftBehindError` at the end if
        one does not exit.
        """
        with self._handling_signals():
            self._slots = [_Slot(number + 1) for number in range(self.count)]
            self._start_missing()
            on_start()
            try:
                while not self._is_stopping:
                    self._wait()
                    for slot in self._slots:
                        self._look_at(slot)
                    # A worker that is starting may have read the files before their last change.
                    if self._is_renewing and not any(slot.following for slot in self._slots):
                        self._begin_renewal()
                    self._end_leaving()
                    self._start_missing()
            finally:
                self._stop()

    def _start(self) -> _Worker:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=self.work, args=(theirs,))
        # Ctrl-C reaches the whole group of a terminal: a starting worker would print a trace.
        # The resource tracker, if started with the first worker, would unblock the signal.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process, ours, monotonic() + _START)

    def _start_missing(self) -> None:
        for slot in self._slots:
            if slot.current is None and slot.start_at <= monotonic():
                if self._may_start():
                    slot.current = self._start()
                else:
                    slot.start_at = monotonic() + _CHECK_INTERVAL

    def _may_start(self) -> bool:
        """Return whether a worker can start; if a worker must be replaced, log why it cannot."""
        fault = self.check() if self._has_served else None
        if fault is not None and fault != self._fault:
            log.error("%s; starting no worker until this is fixed", fault)
        self._fault = fault
        return fault is None

    def _wait(self) -> None:
        """Wait for something to do."""
        workers = [*self._leaving]
        for slot in self._slots:
            workers += filter(None, (slot.current, slot.following))
        moments = [worker.deadline for worker in workers]
        moments += [slot.start_at for slot in self._slots if slot.current is None]
        timeout = max(0.0, min(moments, default=float("inf")) - monotonic())
        sentinels = [worker.process.sentinel for worker in workers]
        pipes = [worker.ready for worker in workers if not worker.is_ready]
        wait([self._wakeup[0], *sentinels, *pipes], None if timeout == float("inf") else timeout)
        with suppress(BlockingIOError):
            while self._wakeup[0].recv(4096):
                pass

    def _begin_renewal(self) -> None:
        self._is_renewing = False
        if (fault := self.check()) is not None:
            log.error("%s; not reloading", fault)
            return
        for slot in self._slots:
            if slot.current is not None:
                slot.following = self._start()

    def _look_at(self, slot: _Slot) -> None:
        """Handle changes of a slot's workers."""
        current, following = slot.current, slot.following
        if following is not None:
            if self._becomes_ready(following):
                if current is not None:
                    self._leave(current)
                slot.succeed()
                return
            if not following.process.is_alive():
                slot.following = None
                log.error("new worker %d did not start; keeping the old one", slot.number)
            elif self._gives_up(following, _KEEPING, slot.number):
                slot.following = None  # it would keep each later renewal waiting
        if current is None:
            return
        if self._becomes_ready(current):
            self._failures = 0
            self._has_served = True
        if not current.process.is_alive():
            current.ready.close()
            self._replace(slot, current, f"exited with {current.process.exitcode}")
        elif self._gives_up(current, _STARTING, slot.number):
            self._replace(slot, current, "was not ready in time")

    def _becomes_ready(self, worker: _Worker) -> bool:
        if not worker.is_ready and worker.ready.poll():
            with suppress(EOFError):  # it has exited without a message
                worker.ready.recv()
                worker.is_ready, worker.deadline = True, float("inf")
                return True
        return False

    def _gives_up(self, worker: _Worker, message: str, number: int) -> bool:
        """Return whether a worker took too long to be ready; if so, end it and log a message."""
        if worker.deadline > monotonic():
            return False
        log.error(message, number, _START)
        self._kill(worker)
        self._leaving.append(worker)
        return True

    def _replace(self, slot: _Slot, lost: _Worker, what: str) -> None:
        """Give the place of a worker, which ``what``, to its successor or to a new one."""
        slot.succeed()
        if lost.is_ready:
            log.error("worker %d %s; starting another", slot.number, what)
            return
        self._failures += 1
        if self._failures == _TRIES * self.count:
            log.error("workers keep failing to start; the last one %s", what)
            if not self._has_served:
                raise SystemExit(1)
        slot.start_at = monotonic() + min(_LONGEST_PAUSE, _PAUSE * self._failures)

    def _leave(self, worker: _Worker) -> None:
        worker.deadline = monotonic() + REQUEST_GRACE + _SLACK
        worker.process.terminate()
        self._leaving.append(worker)

    def _end_leaving(self) -> None:
        for worker in [*self._leaving]:
            is_over = worker.deadline <= monotonic()
            if not worker.process.is_alive():
                worker.process.join()
                worker.ready.close()
                self._leaving.remove(worker)
            elif is_over and worker.is_killed:
                report_left_behind("a worker", worker.process.pid)
                self._leaving.remove(worker)
                self._left_behind.append(worker)
            elif is_over:
                self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.is_killed, worker.deadline = True, monotonic() + KILLED

    def _stop(self) -> None:
        for slot in self._slots:
            for worker in filter(None, (slot.current, slot.following)):
                self._leave(worker)
        self._slots = []
        while self._leaving:
            nearest = min(worker.deadline for worker in self._leaving)
            sentinels = [worker.process.sentinel for worker in self._leaving]
            wait(sentinels, max(0.0, nearest - monotonic()))
            self._end_leaving()
        if any(worker.process.is_alive() for worker in self._left_behind):
            raise LeftBehindError

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._is_renewing = True
            else:
                self._is_stopping = True

        for end in self._wakeup:
            end.setblocking(False)
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in handled}
        descriptor = signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in self._wakeup:
                end.close()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup[1].send(b"\0")
