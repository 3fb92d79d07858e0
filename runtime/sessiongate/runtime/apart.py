"""What may hang, such as a file system: done apart, in a thread that nobody has to wait for.

Of one thing at most one run is under way, however often it is asked for. Its thread is a
daemon: it holds up no exit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")

_lock = threading.Lock()
_under_way: set[Hashable] = set()


class HangsError(Exception):
    """It takes too long, or still does since it was asked for before."""


def within(seconds: float, of: Hashable, work: Callable[[], _T]) -> _T:
    """What ``work`` gives or raises; `HangsError` where it takes longer than ``seconds``.

    ``of`` is what it is about. Where a run of that is under way, there is no waiting.
    """
    future = _start(of, work)
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise  # it is what ``work`` raises
        raise HangsError from None


async def apart(of: Hashable, work: Callable[[], _T]) -> _T:
    """What ``work`` gives or raises, for a loop, which goes on meanwhile.

    ``of`` is what it is about. Raises `HangsError` where a run of that is under way.
    """
    return await asyncio.wrap_future(_start(of, work))


def is_under_way(of: Hashable) -> bool:
    """Whether a run of this has not ended."""
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
    except RuntimeError:  # there is no room for a thread
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
