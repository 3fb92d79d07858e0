"""What goes on in the background, whatever fails."""

from __future__ import annotations

import asyncio

import pytest

from sessiongate.runtime import background
from sessiongate.runtime.background import in_background


def test_work_that_fails_is_logged_and_begins_again_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_AGAIN", 0.0)
    results = iter((ValueError("odd"), KeyError("even"), None))

    async def work() -> None:
        await asyncio.sleep(0)
        if error := next(results):
            raise error

    async def main() -> None:
        await in_background(work, "counting")

    asyncio.run(main())
    assert [record.message for record in caplog.records] == ["counting failed; beginning again"] * 2
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        ValueError,
        KeyError,
    ]


def test_work_is_cancelled_while_it_runs_and_while_it_waits() -> None:
    async def main(fails: bool) -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            if fails:
                raise ValueError
            await asyncio.Event().wait()

        task = in_background(work, "waiting")
        await begun.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

    asyncio.run(main(fails=False))
    asyncio.run(main(fails=True))
