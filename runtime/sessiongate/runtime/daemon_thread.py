"""Work that may hang, such as file access, in a thread that nobody has to wait for.

For each subject, at most one run is in progress, however often it is requested. Its
thread is a daemon, so it delays no exit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")

_lock = threading.Lock()
_under_way: set[Hashable] = set()


class HangsError(Exception):
    """The work takes too long, or an earlier run has not ended."""


def within(seconds: float, of: Hashable, work: Callable[[], _T]) -> _T:
    """Return or raise what ``work`` does; `HangsError` if it takes longer than ``seconds``.

    ``of`` is the subject of the work. If a run about it is in progress, this does not wait.
    """
    future = _start(of, work)
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise  # ``work`` raised it
        raise HangsError from None


async def in_daemon_thread(of: Hashable, work: Callable[[], _T]) -> _T:
    """Return or raise what ``work`` does, without blocking the event loop.

    ``of`` is the subject of the work. Raises `HangsError` if a run about it is in progress.
    """
    import asyncio  # commands that use only `within` run no event loop

    return await asyncio.wrap_future(_start(of, work))


def is_under_way(of: Hashable) -> bool:
    """Return whether a run about a subject is in progress."""
    return of in _under_way


def _start(of: Hashable, work: Callable[[], _T]) -> Future[_T]:
    with _lock:
        if of in _under_way:
            raise HangsError
        _under_way.add(of)
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    try:
        threading.Thread(target=_run, args=(of, work, future), name="apart", daemon=True).start()
    except RuntimeError:  # no thread can be started
        _under_way.discard(of)
        raise HangsError from None
    return future


def _run(of: Hashable, work: Callable[[], _T], future: Future[_T]) -> None:
    try:
        result = work()
    except BaseException as error:
        _under_way.discard(of)
        future.set_exception(error)
    else:
        _under_way.discard(of)
        future.set_result(result)
