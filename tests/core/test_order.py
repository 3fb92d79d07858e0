"""The keys of sessions stay in order, however many come and go."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sessiongate.core.table.order import Order

keys = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 99)), max_size=200)


@settings(max_examples=50)
@given(steps=st.lists(st.tuples(keys, keys, keys), max_size=5))
def test_an_order_holds_what_was_added_and_not_removed(
    steps: list[tuple[set[tuple[int, int]], ...]],
) -> None:
    order = Order()
    live: set[tuple[int, int]] = set()
    for added, removed, left in steps:
        order.add([*(added - live)])
        live |= added
        assert order.keys == sorted(live)
        order.remove([*(removed & live)])
        live -= removed
        assert order.keys == sorted(live)
        gone = {ident for _, ident in left}
        order.keep({ident for _, ident in live} - gone)
        live = {key for key in live if key[1] not in gone}
        assert order.keys == sorted(live)


def test_many_keys_come_before_between_and_behind_others() -> None:
    order = Order()
    low, high = [(0, n) for n in range(100)], [(0, n) for n in range(200, 300)]
    order.add(high)
    order.add(low)
    order.add([(0, n) for n in range(100, 200)])
    order.add([(0, n) for n in range(300, 400)])
    assert order.keys == [(0, n) for n in range(400)]
    order.remove([(0, n) for n in range(399, 50, -2)])
    assert order.keys == [(0, n) for n in range(400) if n < 50 or n % 2 == 0]
    order.remove(order.keys.copy())
    assert order.keys == []
