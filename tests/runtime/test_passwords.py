"""Checking passwords: right, wrong, remembered, concurrently, and too often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import bcrypt
import pytest

from sessiongate.runtime.auth import passwords
from sessiongate.runtime.auth.htpasswd import Users
from sessiongate.runtime.auth.identity import TooManyAttemptsError
from sessiongate.runtime.auth.passwords import MAX_WAITING, REMEMBER, Passwords
from sessiongate.runtime.auth.throttle import BURST, REFILL

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


def hashed(password: str, cost: int = 4) -> bytes:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost))


class House:
    """Users, a clock, and a record of the hashes that bcrypt compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.users: Users = {"alice": hashed("swordfish"), "bob": hashed("tuna")}
        self.compared: list[bytes] = []
        self.passwords = Passwords(lambda: self.users, lambda: self.now)
        compare = bcrypt.checkpw

        def record(password: bytes, against: bytes) -> bool:
            self.compared.append(against)
            return compare(password, against)

        monkeypatch.setattr(bcrypt, "checkpw", record)

    async def check(self, name: str, password: str, address: str = HERE) -> bytes | None:
        return await self.passwords.check(name, password.encode(), address)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    def runner(test: Callable[[House], Awaitable[None]]) -> None:
        async def main() -> None:
            house = House(monkeypatch)
            try:
                await test(house)
            finally:
                house.passwords.close()

        asyncio.run(main())

    return runner


Run = Callable[[Callable[[House], Awaitable[None]]], None]


def test_only_the_users_own_password_is_right(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        assert not await house.check("alice", "tuna")
        assert not await house.check("bob", "swordfish")
        assert not await house.check("", "")
        assert not await house.check("Alice", "swordfish")
        assert not await house.check("alice", "x" * 73)

    run(test)


def test_no_password_is_right_for_nobody(run: Run) -> None:
    async def test(house: House) -> None:
        for name in ("carol", "dave", "eve", "frank"):
            for password in ("swordfish", "tuna"):
                assert not await house.check(name, password)

    run(test)


def test_a_right_password_is_compared_again_after_a_minute_without_use(run: Run) -> None:
    async def test(house: House) -> None:
        for _ in range(5):
            assert await house.check("alice", "swordfish")
            house.now += REMEMBER - 1
        assert len(house.compared) == 1
        house.now += 1
        assert await house.check("alice", "swordfish")
        assert len(house.compared) == 2

    run(test)


def test_a_wrong_password_does_not_extend_how_long_the_right_one_is_remembered(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        house.now += REMEMBER - 1
        assert not await house.check("alice", "sword")
        house.now += 1
        assert await house.check("alice", "swordfish")
        assert len(house.compared) == 3

    run(test)


def test_a_wrong_password_is_not_remembered_as_right(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        assert not await house.check("alice", "swordfisj")
        assert not await house.check("bob", "swordfish")
        assert await house.check("alice", "swordfish")
        assert len(house.compared) == 3

    run(test)


def test_what_is_remembered_stays_when_others_change(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        assert await house.check("bob", "tuna")
        house.users = {"alice": house.users["alice"], "carol": hashed("new")}
        assert await house.check("alice", "swordfish")
        assert len(house.compared) == 2
        assert set(house.passwords._remembered) == {"alice"}

    run(test)


def test_what_is_remembered_goes_when_its_user_changes(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        house.users = {"alice": hashed("new"), "bob": house.users["bob"]}
        assert not await house.check("alice", "swordfish")
        assert await house.check("alice", "new")
        house.users = {"bob": house.users["bob"]}
        assert not await house.check("alice", "new")

    run(test)


def test_a_password_that_was_right_before_a_change_is_not_remembered_after(run: Run) -> None:
    async def test(house: House) -> None:
        with held(house) as let_go:
            check = asyncio.create_task(house.check("alice", "swordfish"))
            await asyncio.sleep(0)
            house.users = {"bob": house.users["bob"]}
            other = asyncio.create_task(house.check("bob", "tuna"))
            await asyncio.sleep(0)
            let_go()
            await asyncio.gather(check, other)
        assert not await house.check("alice", "swordfish")

    run(test)


@pytest.mark.parametrize("after", [{}, {"alice": hashed("new")}])
def test_who_comes_after_a_change_joins_no_check_from_before(run: Run, after: Users) -> None:
    async def test(house: House) -> None:
        before = house.users["alice"]
        with held(house) as let_go:
            first = asyncio.create_task(house.check("alice", "swordfish"))
            await asyncio.sleep(0)
            house.users = {"bob": house.users["bob"], **after}
            second = asyncio.create_task(house.check("alice", "swordfish"))
            await asyncio.sleep(0)
            let_go()
            assert await first in (before, None)
            assert await second is None

    run(test)


def test_nothing_that_is_kept_holds_a_password_or_a_plain_hash_of_it(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        mark = house.passwords._remembered["alice"].mark
        other = Passwords(lambda: house.users, lambda: house.now)
        assert await other.check("alice", b"swordfish", HERE)
        other.close()
        assert other._remembered["alice"].mark != mark  # with another key

    run(test)


def test_equal_checks_at_once_are_made_once(run: Run) -> None:
    async def test(house: House) -> None:
        callers = [house.check("alice", "swordfish") for _ in range(10 * BURST)]
        assert all(await asyncio.gather(*callers))
        assert len(house.compared) == 1

    run(test)


def test_a_caller_that_goes_away_does_not_take_the_others_answer_along(run: Run) -> None:
    async def test(house: House) -> None:
        with held(house) as let_go:
            first = asyncio.create_task(house.check("alice", "swordfish"))
            await asyncio.sleep(0)
            second = asyncio.create_task(house.check("alice", "swordfish"))
            await asyncio.sleep(0)
            first.cancel()
            let_go()
            assert await second
        assert len(house.compared) == 1

    run(test)


def test_failures_of_one_address_hold_up_neither_others_nor_who_is_remembered(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        for number in range(BURST):
            assert not await house.check("alice", f"guess {number}")
        with pytest.raises(TooManyAttemptsError):
            await house.check("alice", "one more guess")
        with pytest.raises(TooManyAttemptsError):  # nor does a right guess differ from a wrong one
            await house.check("bob", "tuna")
        assert await house.check("alice", "swordfish")
        assert await house.check("bob", "tuna", ELSEWHERE)
        house.now += REFILL
        assert not await house.check("alice", "one more guess")

    run(test)


def test_right_passwords_do_not_count_as_failures(run: Run) -> None:
    async def test(house: House) -> None:
        for _ in range(3 * BURST):
            assert await house.check("alice", "swordfish")
            house.now += REMEMBER + 1
        for number in range(BURST):
            assert not await house.check("alice", f"guess {number}")

    run(test)


def test_a_flood_from_everywhere_is_shed_and_who_is_remembered_goes_on(run: Run) -> None:
    async def test(house: House) -> None:
        assert await house.check("alice", "swordfish")
        with held(house) as let_go:
            flood = [
                asyncio.create_task(house.check("alice", f"guess {number}", f"198.51.100.{number}"))
                for number in range(MAX_WAITING)
            ]
            await asyncio.sleep(0)
            with pytest.raises(TooManyAttemptsError) as refused:
                await house.check("bob", "tuna", ELSEWHERE)
            assert refused.value.retry_after == 1
            assert await house.check("alice", "swordfish")
            let_go()
            assert not any(await asyncio.gather(*flood))
        assert await house.check("bob", "tuna", ELSEWHERE)

    run(test)


def test_a_name_that_is_unknown_costs_what_a_users_does(run: Run) -> None:
    async def test(house: House) -> None:
        house.users = {"cheap": hashed("x", 4), "dear": hashed("y", 5)}
        for _ in range(2):
            await house.check("nobody", "guess", HERE)
            await house.check("nobody", "other", HERE)
        assert len(set(house.compared)) == 1, "the same name, the same cost"
        house.compared.clear()
        for number in range(40):
            await house.check(f"nobody{number}", "guess", f"198.51.100.{number}")
        assert set(house.compared) == set(house.users.values())

    run(test)


def test_without_users_there_is_still_something_to_compare(run: Run) -> None:
    async def test(house: House) -> None:
        house.users = {}
        assert not await house.check("alice", "swordfish")
        assert house.compared == [passwords.nobody()]

    run(test)


@contextmanager
def held(house: House) -> Iterator[Callable[[], None]]:
    """Hold the comparing thread until the yielded function is called."""
    gate = threading.Event()
    house.passwords._pool.submit(gate.wait, 20)
    try:
        yield gate.set
    finally:
        gate.set()
