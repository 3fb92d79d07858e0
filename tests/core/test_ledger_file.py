"""No id is given twice, whatever happens to the ledger's file."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from sessiongate.core.ledger.file import mark_path, read_mark
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.numbering import CLOCK
from sessiongate.core.ledger.past import Opening
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.sqlite import MEMORY_BYTES, SqliteLedger
from sessiongate.core.ledger.tools import back_up, forget_mark
from sessiongate.core.place import place_of
from tests.core.old_ledgers import become_0_1
from tests.faults.scale import times


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.db"


async def opened(folder: Path) -> SqliteLedger:
    return await SqliteLedger.open(url_of(folder), now=time.time_ns)


async def give(ledger: SqliteLedger, *stated: int | None) -> list[int]:
    """Give ids to new sessions."""
    openings = [Opening(f"{time.monotonic_ns()}-{i}", 1, each) for i, each in enumerate(stated)]
    return await ledger.record("a", opened=openings, closed=[], incarnation=None)


class Restored(RuleBasedStateMachine):
    """A ledger whose file is put back to an earlier state, killed, copied and lost."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.folders = 0
        self.folder = self._new_folder()
        self.ledger = self.runner.run(opened(self.folder))
        self.given: set[int] = set()
        self.copies: list[Path] = []

    def _new_folder(self) -> Path:
        self.folders += 1
        folder = Path(self.root.name) / str(self.folders)
        folder.mkdir()
        return folder

    def teardown(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()
        self.root.cleanup()

    @rule(stated=st.lists(st.none() | st.integers(1, 40), max_size=4))
    def observe(self, stated: list[int | None]) -> None:
        ids = self.runner.run(give(self.ledger, *stated))
        assert not self.given & set(ids), "an id is given twice"
        assert len(set(ids)) == len(ids)
        self.given |= set(ids)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.ledger.close())
        self.ledger = self.runner.run(opened(self.folder))

    @rule()
    def be_killed(self) -> None:
        """Continue in another folder with what a kill would leave in this one."""
        folder = self._new_folder()
        for file in self.folder.iterdir():
            if not file.name.endswith((".lock", "-shm")):
                shutil.copy(file, folder)
        self._move_to(folder)

    @rule()
    def copy_the_file_alone(self) -> None:
        self.copies.append(self._new_folder() / "ledger.db")
        shutil.copy(self.folder / "ledger.db", self.copies[-1])

    @rule()
    def back_up(self) -> None:
        self.copies.append(self._new_folder() / "ledger.db")
        back_up(url_of(self.folder), self.copies[-1])

    @precondition(lambda self: self.copies)
    @rule(data=st.data(), with_mark=st.booleans())
    def put_a_copy_back(self, data: st.DataObject, with_mark: bool) -> None:
        copy = data.draw(st.sampled_from(self.copies))
        self.runner.run(self.ledger.close())
        folder = self._new_folder()
        shutil.copy(copy, folder)
        if with_mark:
            shutil.copy(mark_path(self.folder / "ledger.db"), folder)
        self.folder = folder
        self.ledger = self.runner.run(opened(folder))

    @rule()
    def lose_the_file(self) -> None:
        self.runner.run(self.ledger.close())
        (self.folder / "ledger.db").unlink()
        self.ledger = self.runner.run(opened(self.folder))

    def _move_to(self, folder: Path) -> None:
        self.runner.run(self.ledger.close())
        self.folder = folder
        self.ledger = self.runner.run(opened(folder))


Restored.TestCase.settings = settings(max_examples=times(10, 200), stateful_step_count=15)
TestRestored = Restored.TestCase


def _lose_mark(folder: Path) -> None:
    mark_path(folder / "ledger.db").unlink()


def _break_mark(folder: Path) -> None:
    mark_path(folder / "ledger.db").write_text('{"generation": "x"}')


def _take_the_mark_of_another(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()

    async def make() -> None:
        await (await opened(other)).close()

    asyncio.run(make())
    shutil.copy(mark_path(other / "ledger.db"), folder)


def _become_0_1(folder: Path) -> None:
    _lose_mark(folder)
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        become_0_1(connection)
        connection.execute("delete from counters where name = 'generation'")
        connection.commit()


def _put_the_whole_folder_back(folder: Path) -> None:
    for file in [*folder.iterdir()]:
        copy = folder / "copy"
        shutil.copy2(file, copy)
        copy.rename(file)


def _exceed_the_mark(folder: Path) -> None:
    path = mark_path(folder / "ledger.db")
    path.write_text(json.dumps({**json.loads(path.read_text()), "following": 10**30}))


def _say_that_it_was_restored(folder: Path) -> None:
    forget_mark(url_of(folder))


@pytest.mark.parametrize(
    "change",
    [
        _lose_mark,
        _break_mark,
        _take_the_mark_of_another,
        _become_0_1,
        _put_the_whole_folder_back,
        _exceed_the_mark,
        _say_that_it_was_restored,
    ],
)
def test_in_doubt_sessions_keep_their_ids_and_others_go_on_from_the_clock(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    async def first() -> list[int]:
        ledger = await opened(tmp_path)
        ids = await ledger.record("a", opened=[Opening("k", 1)], closed=[], incarnation=None)
        await ledger.close()
        return ids

    async def then() -> None:
        before = time.time_ns() // 1000
        ledger = await opened(tmp_path)
        assert (await ledger.held())["a"] == {"k": place_of(1, 1)}
        (following,) = await give(ledger, None)
        assert following >= before
        assert await give(ledger, 2**53 - 1) == [following + 1], "it may have been given"
        await ledger.close()
        ledger = await opened(tmp_path)
        assert await give(ledger, None) == [following + 2], "the doubt is over"
        await ledger.close()

    assert asyncio.run(first()) == [1]
    change(tmp_path)
    asyncio.run(then())


def test_a_file_of_two_names_is_in_doubt(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "other").mkdir()
        ledger = await opened(tmp_path)
        given = await give(ledger, None)
        await ledger.close()
        (tmp_path / "other" / "ledger.db").hardlink_to(tmp_path / "ledger.db")
        for folder in (tmp_path / "other", tmp_path):
            ledger = await opened(folder)
            given += await give(ledger, None, None)
            copy = (folder / "ledger.db-wal").read_bytes()
            await ledger.close()
            (folder / "ledger.db-wal").write_bytes(copy)  # as a kill leaves it
        assert len({*given}) == 5
        assert min(given[1:]) > CLOCK

    asyncio.run(main())


def test_a_file_that_is_gone_is_told_by_what_stands_beside_it(tmp_path: Path) -> None:
    async def main() -> None:
        for suffix in ("-wal", ".mark"):
            folder = tmp_path / suffix
            folder.mkdir()
            (folder / f"ledger.db{suffix}").touch()
            ledger = await opened(folder)
            assert min(await give(ledger, None)) > CLOCK
            await ledger.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_late", [False, True], ids=["in 1970", "a day back"])
def test_a_clock_that_stands_at_the_same_time_again_gives_no_id_again(
    is_late: bool, tmp_path: Path
) -> None:
    now = time.time_ns() - 24 * 3600 * 10**9 if is_late else 0

    async def main() -> None:
        path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
        ledger = await opened(tmp_path)
        given = await give(ledger, None)
        await ledger.close()
        shutil.copy(path, copy)
        for _ in range(3):
            shutil.copy(copy, path)
            _lose_mark(tmp_path)
            ledger = await SqliteLedger.open(url_of(tmp_path), now=lambda: now)
            given += await give(ledger, *[None] * 100)
            await ledger.close()
        assert len({*given}) == 301

    asyncio.run(main())


def test_one_in_memory_goes_on_from_the_clock_when_its_core_is_started_again() -> None:
    async def main() -> None:
        now, given = time.time_ns(), set[int]()
        for again in range(21):
            ledger = await SqliteLedger.open("sqlite://", now=lambda: now, again=again)
            ids = await give(ledger, *[None] * 100)
            assert ids[0] == 1 if again == 0 else ids[0] >= now // 1000
            given.update(ids)
            await ledger.close()
        assert len(given) == 2100, "also if the clock stands at the same time each time"

    asyncio.run(main())


def test_the_mark_is_exact_after_a_stop_and_ahead_while_a_core_runs(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(tmp_path)
        await give(ledger, None, 9, None)
        mark = read_mark(tmp_path / "ledger.db")
        assert mark is not None
        assert mark.following > 100
        assert mark.stated == 9
        await ledger.close()
        mark = read_mark(tmp_path / "ledger.db")
        assert mark is not None
        assert (mark.following, mark.stated) == (3, 9)

    asyncio.run(main())


@pytest.mark.parametrize("umask", [0, 0o777])
def test_all_its_files_are_this_users_alone_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "ledger.db.lock").touch(mode=0o666)
        ledger = await opened(tmp_path)
        left = {f"ledger.db{suffix}": (tmp_path / f"ledger.db{suffix}").read_bytes()
                for suffix in ("", "-wal", "-shm")}  # fmt: skip
        await ledger.close()
        for name, content in left.items():  # as a killed core leaves them
            (tmp_path / name).write_bytes(content)
            (tmp_path / name).chmod(0o666)
        ledger = await opened(tmp_path)
        await give(ledger, None)
        suffixes = ("", "-shm", "-wal", ".lock", ".mark")
        assert modes() == {f"ledger.db{suffix}": "0o600" for suffix in suffixes}
        await ledger.close()

    def modes() -> dict[str, str]:
        return {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}

    old = os.umask(umask)
    try:
        asyncio.run(main())
    finally:
        os.umask(old)


def test_a_lock_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "ledger.db.lock").symlink_to(target)
    with pytest.raises(LedgerError, match="cannot be locked"):
        asyncio.run(opened(tmp_path))
    assert target.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link another user's")
def test_a_link_that_another_user_planted_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "precious", tmp_path / "all" / "ledger.db"
    target.write_text("precious")
    link.parent.mkdir()
    link.parent.chmod(0o1777)
    link.symlink_to(target)
    os.lchown(link, 1234, -1)
    with pytest.raises(LedgerError, match="another user's symbolic link"):
        asyncio.run(opened(link.parent))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["precious"]
    os.lchown(link, 0, -1)
    target.unlink()

    async def main() -> None:
        await (await opened(link.parent)).close()

    asyncio.run(main())


def test_a_file_that_is_gone_or_another_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(tmp_path)
        assert await ledger.is_in_place()
        path = tmp_path / "ledger.db"
        path.rename(tmp_path / "elsewhere.db")
        assert not await ledger.is_in_place()
        path.touch()
        assert not await ledger.is_in_place()
        await ledger.close()

    asyncio.run(main())


def _copy_over(path: Path) -> None:
    path.write_bytes(path.with_name("copy.db").read_bytes())  # the inode stays


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove_the_log(path: Path) -> None:
    path.with_name("ledger.db-wal").unlink()


@pytest.mark.parametrize("change", [_copy_over, _empty, _remove_the_log])
def test_a_file_that_is_written_over_is_noticed_and_not_written_to(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    async def main() -> None:
        path = tmp_path / "ledger.db"
        ledger = await opened(tmp_path)
        shutil.copy(path, tmp_path / "copy.db")
        given = await give(ledger, *[None] * 10)
        await ledger.close()
        ledger = await opened(tmp_path)
        back_up(url_of(tmp_path), tmp_path / "other.db")
        given += await give(ledger, None)
        assert await ledger.is_in_place()
        change(path)
        assert not await ledger.is_in_place()
        with pytest.raises(LedgerError, match="was removed or replaced"):
            await give(ledger, None)
        await ledger.close()
        ledger = await opened(tmp_path)
        given += await give(ledger, None)
        await ledger.close()
        assert len({*given}) == 12

    asyncio.run(main())


def test_a_ledger_that_cannot_be_opened_keeps_its_mark(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(tmp_path)
        await give(ledger, None, None)
        await ledger.close()

    asyncio.run(main())
    before = read_mark(tmp_path / "ledger.db")
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.executescript("update counters set value=99 where name='schema'")
    connection.close()
    with pytest.raises(LedgerError, match="version 99"):
        asyncio.run(opened(tmp_path))
    assert read_mark(tmp_path / "ledger.db") == before


def test_a_file_system_that_fails_just_now_has_not_lost_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await opened(tmp_path)
        path = tmp_path / "ledger.db"
        path.rename(tmp_path / "aside.db")
        path.symlink_to(path)  # a loop: looking at it fails, but it is not gone
        assert await ledger.is_in_place()
        path.unlink()
        assert not await ledger.is_in_place()
        await ledger.close()

    asyncio.run(main())


def test_a_ledger_in_memory_keeps_less_of_the_past_than_a_file(tmp_path: Path) -> None:
    unlimited = HistoryPolicy(most_bytes=1 << 40)

    async def most(url: str) -> int:
        ledger = await SqliteLedger.open(url, policy=unlimited, now=time.time_ns)
        await ledger.close()
        return ledger.policy.most_bytes

    assert asyncio.run(most(f"sqlite:///{tmp_path}/ledger.db")) == 1 << 40
    assert asyncio.run(most("sqlite://")) == MEMORY_BYTES
