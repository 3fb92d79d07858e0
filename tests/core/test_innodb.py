"""InnoDB's transactions as MySQL 8.0 states them: which readings count, and what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.core.sources.support import innodb
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.innodb import InnoDB
from sessiongate.core.sources.support.mysql_cells import integer
from sessiongate.core.sources.support.mysql_dialect import Dialect
from sessiongate.core.sources.support.thread_activity import Transaction, Transactions

NOW = 1_800_000_000.0
OWN = 4
# As documented for MySQL 8.0: a transaction, one that waits for it, one that waits for both, one
# whose client has left, and two that only read and state no id of their own.
ROWS: list[tuple[Cell, ...]] = [
    (b"1828", b"7", b"1799999990", None, None),
    (b"1829", b"8", b"1799999995", b"1799999998", b"140:1829:7"),
    (b"1830", b"9", b"1799999996", b"1799999999", b"140:1830:7"),
    (b"1700", b"0", b"1799990000", None, None),
    (b"0", b"10", b"1799999997", None, None),
    (b"0", b"11", b"1799999997", None, None),
]
PAIRS = [(b"1829", b"1828"), (b"1830", b"1828"), (b"1830", b"1829"), (b"1830", b"1700")]


class Server:
    """Answers as a server would whose clock is ``skew`` seconds ahead.

    If ``copies`` are given, each is the reading whose copy the next query gets.
    """

    def __init__(
        self, rows: Sequence[Sequence[Cell]] = ROWS, skew: float = 0.0, copies: Sequence[int] = ()
    ) -> None:
        self.asked: list[str] = []
        self._rows = rows
        self._now = b"%d" % int((NOW + skew) * 1000)
        self._copies = list(copies)

    async def ask(self, query: str) -> Sequence[Sequence[Cell]]:
        self.asked.append(query)
        if "INNODB_TRX" in query:
            shown = query
            if self._copies:
                shown = query.rpartition(" /*")[0] + f" /* reading {self._copies.pop(0)} */"
            own = (b"0", b"%d" % OWN, b"1800000000", None, None, self._now, shown.encode())
            return [*((*row, self._now, None) for row in self._rows), own]
        return PAIRS if "data_lock_waits" in query else []


def reader(*, may_see: bool = True) -> InnoDB:
    tables = Dialect.of("8.0.36", performance_schema=True).lock_tables
    return InnoDB(tables if may_see else None, OWN, 1000)


def read(server: Server, watched: InnoDB | None = None) -> Transactions | None:
    return asyncio.run((watched or reader()).read(server.ask, lambda: NOW))


def by_thread(found: Transactions | None) -> dict[int, Transaction]:
    assert found is not None
    return dict(found.by_thread)


def test_each_transaction_is_of_its_thread_and_waits_for_those_with_a_thread() -> None:
    server = Server()
    found = by_thread(read(server))
    assert sorted(found) == [7, 8, 9, 10, 11]
    assert found[7] == Transaction((b"1828", b"1799999990", None), NOW - 10)
    assert found[8][1:] == (NOW - 5, "LOCK WAIT", NOW - 2, (7,))
    assert found[9][1:] == (NOW - 4, "LOCK WAIT", NOW - 1, (7, 8))
    assert (server.asked[0], server.asked[-1]) == (innodb._BEGIN, innodb._END)


def test_who_may_not_read_the_locks_sees_who_waits() -> None:
    server = Server()
    found = by_thread(read(server, reader(may_see=False)))
    assert found[9][2:] == ("LOCK WAIT", NOW - 1, ())
    assert not any("performance_schema" in query for query in server.asked)


def test_locks_are_read_only_while_one_waits() -> None:
    server = Server(ROWS[:1])
    assert by_thread(read(server)).keys() == {7}
    assert len(server.asked) == 3


def test_an_old_copy_is_asked_for_once_more_and_then_not_taken() -> None:
    assert read(Server(copies=[0])) is not None
    server = Server(copies=[0, 1])
    assert read(server) is None
    assert [query for query in server.asked if "data_lock_waits" in query] == []
    assert server.asked[-1] == innodb._END


def test_the_server_is_left_alone_after_a_reading() -> None:
    watched = reader()
    assert read(Server(), watched) is not None
    server = Server()
    assert read(server, watched) is None
    assert server.asked == []


@pytest.mark.parametrize("skew", [-1.4, 0.0, 1.4])
def test_a_clock_that_is_about_right_is_taken_as_it_is(skew: float) -> None:
    assert by_thread(read(Server(skew=skew)))[7].started == NOW - 10


def test_a_clock_that_is_wrong_is_corrected_once() -> None:
    watched = reader()
    assert by_thread(read(Server(skew=7200), watched))[7].started == NOW - 7210
    watched._rests_until = 0.0
    assert by_thread(read(Server(skew=-7200), watched))[7].started == NOW - 7210


_CELLS = st.one_of(
    st.none(), st.binary(max_size=24), st.sampled_from([b"-1", b"9" * 20, b"9" * 5000, b"0"])
)


@given(place=st.integers(0, 2), column=st.integers(0, 4), odd=_CELLS)
def test_an_odd_transaction_costs_itself_and_what_names_it(
    place: int, column: int, odd: Cell
) -> None:
    rows = [list(row) for row in ROWS]
    rows[place][column] = odd
    if (place, column) == (0, 4) and odd is not None:
        return  # it waits, too
    found = by_thread(read(Server(rows)))
    whole = by_thread(read(Server()))
    for thread in {7, 8, 9} - {7 + place}:
        if thread in found and odd not in (b"7", b"8", b"9"):
            assert found[thread][:4] == whole[thread][:4]
            assert {*found[thread].blockers} <= {*whole[thread].blockers, integer(odd)}
