"""Sources of real servers, opened as a core opens them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceConfig,
    SourceError,
    open_source,
)
from sessiongate.v1.session_pb2 import Session
from tests.closing import Closing
from tests.servers import PATIENCE

_MOMENT = 0.2  # seconds; what has not answered by then will not
_T = TypeVar("_T")


class Watched(Closing):
    """The source of a URL, named ``here``, with its own event loop."""

    def __init__(self, url: str, **options: str) -> None:
        self.source = open_source(SourceConfig.parse(url, {"name": "here", **options}))
        self._runner = asyncio.Runner()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the source's event loop."""
        return self._runner.run(coroutine)

    def observe(self) -> Observation:
        """Observe once."""
        return self.run(self.source.observe())

    def items(self) -> list[Observed]:
        """Return what one observation shows."""
        return list(self.observe().sessions)

    def sessions(self) -> list[Session]:
        """Return the sessions that one observation shows."""
        return [item.session for item in self.items()]

    def until(self, holds: Callable[[list[Session]], bool]) -> list[Session]:
        """Observe until the condition ``holds``: servers need a moment to notice things."""

        async def observe() -> list[Session]:
            found: list[Session] = []
            try:
                async with asyncio.timeout(PATIENCE):
                    while True:
                        items = (await self.source.observe()).sessions
                        found = [item.session for item in items]
                        if holds(found):
                            return found
            except TimeoutError:
                raise AssertionError(f"still {found!r}") from None

        return self.run(observe())

    def failure(self) -> str:
        """Return the error text of a failing observation."""
        with pytest.raises(SourceError) as caught:
            self.observe()
        return str(caught.value)

    def give_up(self) -> None:
        """Begin an observation of a server that does not answer, and cancel it."""

        async def observe() -> None:
            observing = asyncio.ensure_future(self.source.observe())
            done, _ = await asyncio.wait({observing}, timeout=_MOMENT)
            assert not done, "it answered"
            observing.cancel()
            # The caller sets the bound, as a core does: cancelling must not wait for the server.
            done, _ = await asyncio.wait({observing}, timeout=PATIENCE)
            assert observing.cancelled()

        self.run(observe())

    def close(self) -> None:
        """Close the source, and its event loop."""
        self.run(self.source.close())
        self._runner.close()
