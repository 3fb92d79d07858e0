"""Rows in order, a part at a time: the same as sorting them all at once."""

from __future__ import annotations

import gc
from itertools import islice
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.gateway.api import order
from sessiongate.gateway.api.order import _RUN, Ordered, sort_key
from sessiongate.gateway.api.request import RenderContext
from sessiongate.gateway.http.work import LIGHT_ROWS
from sessiongate.gateway.jsonapi.sorting import Sort
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.runtime.turns import finished
from sessiongate.v1.session_pb2 import Session

_CONTEXT = RenderContext("http://gateway", 1_800_000_000.0)
_users = st.sampled_from([None, "", "a", "b", "é"])


@settings(max_examples=200)
@given(
    found=st.lists(st.tuples(_users, st.integers(0, 3)), max_size=60),
    sort=st.sampled_from(["user", "-user", "-user,port", "port,-id", "client.cipher", "-id"]),
    most=st.none() | st.integers(1, 30),
    part=st.integers(1, 20),
    skip=st.integers(0, 30),
)
def test_parts_come_in_the_order_of_all(
    found: list[tuple[str | None, int]], sort: str, most: int | None, part: int, skip: int
) -> None:
    rows = [
        SessionRow(Session(id=number + 1, user=user, port=port or None))
        for number, (user, port) in enumerate(found)
    ]
    key = sort_key(Sort.parse(sort), _CONTEXT)
    with patch.object(order, "_RUN", 4):
        ordered = Ordered(key, most)
        for start in range(0, len(rows), part):
            finished(ordered.add(rows[start : start + part]))
        assert finished(ordered.rows(skip)) == sorted(rows, key=key)[:most][skip:]
        finished(ordered.let_go())
        assert not ordered._rows
        assert not any(ordered._runs)


def test_many_rows_are_told_and_let_go_of_in_many_steps() -> None:
    rows = [SessionRow(Session(id=number + 1, user="a")) for number in range(3000)]
    ordered = Ordered(sort_key(Sort.parse("-user"), _CONTEXT), None)
    assert sum(1 for _ in ordered.add(rows)) == len(rows)
    assert sum(1 for _ in ordered.rows()) == len(rows) // LIGHT_ROWS
    # The runs are released, and then the rows.
    assert sum(1 for _ in ordered.let_go()) == len(rows) // _RUN + len(rows) // 500


@pytest.mark.parametrize("most", [None, 2000])
@patch.object(order, "_AGED", 5)
def test_no_large_container_waits_to_be_searched_for_garbage(most: int | None) -> None:
    rows = [SessionRow(Session(id=number + 1, user="a")) for number in range(10_000)]
    ordered = Ordered(sort_key(Sort.parse("-user"), _CONTEXT), most)
    young = []
    gc.collect()
    gc.disable()  # as if nothing but the rows was allocated meanwhile
    try:
        for steps in (ordered.add(rows), ordered.rows(), ordered.let_go()):
            for _ in islice(steps, 0, None, 20):
                objects = gc.get_objects(generation=0)
                objects += gc.get_objects(generation=1)
                young.append(sum(len(one) for one in objects if isinstance(one, (list, dict))))
                del objects
    finally:
        gc.enable()
    assert max(young) < len(rows) // 3


def test_a_row_is_never_searched_for_garbage() -> None:
    assert not gc.is_tracked(SessionRow(Session(id=1, user="a")))
