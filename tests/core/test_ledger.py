"""The ledger's file: who holds it, what it does when it cannot work, and earlier versions."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sessiongate.core.collect.keys import KEY_BYTES, short
from sessiongate.core.ledger import database
from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.place import id_of, place_of
from tests.core.old_ledgers import become_0_1


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


async def opened(url: str, now: int = 0) -> SqliteLedger:
    return await SqliteLedger.open(url, now=lambda: now or time.time_ns())


def test_a_second_core_is_told_who_holds_the_ledger(tmp_path: Path) -> None:
    async def main() -> None:
        first = await opened(url_of(tmp_path))
        with pytest.raises(
            LedgerHeldError, match=f"in use by the core with process id {os.getpid()}"
        ):
            await opened(url_of(tmp_path))
        await first.close()
        await (await opened(url_of(tmp_path))).close()

    asyncio.run(main())


def test_a_ledger_by_another_name_is_held_too(tmp_path: Path) -> None:
    async def main() -> None:
        first = await opened(url_of(tmp_path))
        os.symlink(tmp_path / "ledger.db", tmp_path / "other.db")
        with pytest.raises(LedgerHeldError):
            await opened(f"sqlite:///{tmp_path}/other.db")
        await first.close()

    asyncio.run(main())


def test_a_killed_core_leaves_no_lock(tmp_path: Path) -> None:
    hold = (
        "import asyncio, sys\nfrom sessiongate.core.ledger.sqlite import SqliteLedger\n"
        "async def main():\n"
        "    ledger = await SqliteLedger.open(sys.argv[1], now=lambda: 1)\n"
        "    print('held', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, url_of(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(LedgerHeldError, match=str(process.pid)):
                asyncio.run(opened(url_of(tmp_path)))
        finally:
            process.kill()
    asyncio.run(_open_and_close(url_of(tmp_path)))


async def _open_and_close(url: str) -> None:
    await (await opened(url)).close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nonsense", "the ledger must be sqlite:///PATH"),
        ("mysql://u:secret@h/d", "cannot be stored in mysql"),
        ("sqlite:////proc/nowhere/ledger.db", "cannot be locked"),
    ],
)
def test_a_ledger_that_cannot_be_is_named(url: str, text: str) -> None:
    with pytest.raises(LedgerError, match=text) as caught:
        asyncio.run(opened(url))
    assert "secret" not in str(caught.value)


GARBAGE = b"not a database, but long enough to be read as one" * 99


@pytest.mark.parametrize("damage", ["garbage", "empty", "one byte", "a page in the middle"])
def test_a_corrupt_ledger_is_set_aside_and_no_id_given_twice(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"

    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        keys = [f"{number:0200}" for number in range(500)]
        given = await record(ledger, keys)
        await ledger.close()
        content = path.read_bytes()
        page = len(content) // 2 // 4096 * 4096
        path.write_bytes(
            {
                "garbage": GARBAGE,
                "empty": b"",
                "one byte": b"S",
                "a page in the middle": content[:page] + GARBAGE[:4096] + content[page + 4096 :],
            }[damage]
        )
        damaged = path.read_bytes()
        before = time.time_ns() // 1000
        ledger = await opened(url_of(tmp_path))
        assert (await ledger.held())["a"] == {}
        again = await record(ledger, keys)
        assert min(again) >= before > max(given)
        (aside,) = _named(tmp_path, "ledger.db.corrupt-*[0-9]")
        assert aside.read_bytes() == damaged, "nothing is deleted"
        await ledger.close()
        ledger = await opened(url_of(tmp_path))
        assert {*map(id_of, (await ledger.held())["a"].values())} == set(again)
        await ledger.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_found", [False, True])
def test_past_sessions_of_a_large_file_are_checked_once_they_were_found_corrupt(
    tmp_path: Path, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LARGE_BYTES", 0)
    path = tmp_path / "ledger.db"

    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        ids = await record(ledger, [f"{number:0200}" for number in range(500)])
        closed = [Closing(ident, 1) for ident in ids]
        await ledger.record("a", opened=[], closed=closed, incarnation=None)
        ((page,),) = ledger._store.database.connection.execute(
            "select max(pageno) from dbstat where name = 'past_by_id'"
        )
        await ledger.close()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(GARBAGE[:4096])
        ledger = await opened(url_of(tmp_path))
        assert not _named(tmp_path, "*corrupt-*")
        if is_found:
            found = await asyncio.gather(*map(ledger.one, ids), return_exceptions=True)
            assert any(isinstance(each, LedgerError) for each in found)
        await ledger.close()
        await (await opened(url_of(tmp_path))).close()
        assert bool(_named(tmp_path, "*corrupt-*[0-9]")) == is_found
        assert not _named(tmp_path, "*.suspect")

    asyncio.run(main())


def _named(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


async def record(ledger: SqliteLedger, keys: list[str]) -> list[int]:
    openings = [Opening(key, 1) for key in keys]
    return await ledger.record("a", opened=openings, closed=[], incarnation=None)


def test_a_full_or_read_only_disk_is_named_and_nothing_is_set_aside(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        ((pages,),) = ledger._store.database.connection.execute("PRAGMA page_count")
        ledger._store.database.connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LedgerError, match="database or disk is full"):
            await record(ledger, [f"{number:0200}" for number in range(1000)])
        assert (await ledger.held())["a"] == {}, "all of an observation or nothing"
        ledger._store.database.connection.execute("PRAGMA max_page_count=1000000")
        assert await record(ledger, ["k"]) == [1]
        await ledger.close()
        assert not _named(tmp_path, "*corrupt*")

    asyncio.run(main())


def test_a_ledger_from_before_stated_ids_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        first = await ledger.record("a", opened=[Opening("k", 0)], closed=[], incarnation=None)
        become_0_1(ledger._store.database.connection)
        await ledger.close()
        ledger = await opened(url_of(tmp_path))
        assert (await ledger.held())["a"] == {"k": place_of(0, 1)}
        opened_now = [Opening("l", 0, 1), Opening("m", 0, 9)]
        closed = [Closing(first[0], 0)]
        ids = await ledger.record("a", opened=opened_now, closed=closed, incarnation=None)
        assert ids == [2, 9]
        await ledger.close()

    asyncio.run(main())


def test_long_keys_that_an_older_core_wrote_are_hashed_and_keep_their_ids(tmp_path: Path) -> None:
    long = "ü" * 2_500_000

    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        await record(ledger, ["k" * KEY_BYTES, long])
        await ledger.close()
        ledger = await opened(url_of(tmp_path))
        assert (await ledger.held())["a"] == {
            "k" * KEY_BYTES: place_of(1, 1),
            short(long): place_of(1, 2),
        }
        await ledger.close()

    asyncio.run(main())


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(url_of(tmp_path))
        ledger._store.database.connection.execute(
            "update counters set value=99 where name='schema'"
        )
        await ledger.close()
        with pytest.raises(LedgerError, match="version 99"):
            await opened(url_of(tmp_path))

    asyncio.run(main())
