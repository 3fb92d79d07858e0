"""SplitDict against a dict: any changes; none of its entries are searched for garbage."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime.memory import unsearched
from sessiongate.runtime.split_dict import SplitDict
from tests.garbage import visited

_KEYS = st.integers(-70, 70) | st.integers(2**61 - 70, 2**61 + 70) | st.text(max_size=1)
# What becomes of a key: None removes it.
_CHANGES = st.lists(st.tuples(_KEYS, st.none() | st.lists(st.integers(), max_size=1)), max_size=80)


@given(_CHANGES)
def test_any_changes_give_what_a_dict_would(
    changes: Sequence[tuple[Hashable, list[int] | None]],
) -> None:
    naive: dict[Hashable, list[int]] = {}
    entries: SplitDict[Hashable, list[int]] = SplitDict()
    for key, value in changes:
        assert entries.get(key) == naive.get(key)
        if value is not None:
            entries[key] = naive[key] = value
        else:
            assert entries.pop(key, [0]) == naive.pop(key, [0])
        assert (key in entries) == (key in naive)
        assert entries == naive
        assert len(entries) == len(naive)
        assert bool(entries) == bool(naive)
        assert [*entries.items()] == [*zip(entries, entries.values(), strict=True)]
        assert all(entries[each] == value for each, value in naive.items())
    copy = SplitDict(naive.items())
    assert dict([copy.popitem() for _ in naive]) == naive
    assert not copy


def test_a_key_that_is_not_there_is_an_error() -> None:
    entries = SplitDict([("a", 1)])
    for missing in (
        lambda: entries["b"],
        lambda: entries.pop("b"),
        lambda: entries.__delitem__("b"),
        lambda: SplitDict[str, int]().popitem(),
    ):
        with pytest.raises(KeyError):
            missing()
    del entries["a"]
    assert not entries


def test_a_search_for_garbage_visits_no_entries() -> None:
    before, value = visited(), [0]
    entries = SplitDict((number, value) for number in range(5_000))
    with unsearched():
        entries[1] = entries.pop(2)
        entries.untrack()
    assert visited() - before < 500
    assert len(entries) == 4_999


def test_no_change_takes_much_memory_at_once() -> None:
    count = 20_000
    entries = SplitDict((number, number) for number in range(count))
    tracemalloc.start()
    for number in range(count, 2 * count):  # over which a dict would be copied once
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        entries[number] = entries.pop(number - count)
        assert tracemalloc.get_traced_memory()[1] - before < 1 << 17  # of over 1 << 20
    tracemalloc.stop()
