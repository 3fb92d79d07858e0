"""SortedSequence against sorted lists: any changes, any size of change."""

from __future__ import annotations

from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime import sorted_sequence
from sessiongate.runtime.sorted_sequence import SortedSequence

_KEYS = st.integers(0, 120)
_CHANGES = st.lists(
    st.tuples(st.dictionaries(_KEYS, st.text(max_size=2), max_size=60), st.sets(_KEYS)), max_size=8
)


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks so short that few items split and join them."""
    monkeypatch.setattr(sorted_sequence, "_BLOCK", 4)
    monkeypatch.setattr(sorted_sequence, "_LONGEST", 8)
    monkeypatch.setattr(sorted_sequence, "_SHORTEST", 2)


@given(_CHANGES)
def test_any_changes_give_what_a_sorted_list_would(
    changes: list[tuple[dict[int, str], set[int]]],
) -> None:
    naive: dict[int, str] = {}
    sequence: SortedSequence[tuple[int, str]] = SortedSequence(key=itemgetter(0))
    snapshots = []
    for upserts, removals in changes:
        snapshots.append((sequence.snapshot(), sorted(naive.items())))
        naive = {key: item for key, item in naive.items() if key not in removals} | upserts
        sequence.change(upserts.items(), removals)
        expected = sorted(naive.items())
        assert [*sequence] == expected
        assert len(sequence) == len(expected)
        for key in range(-1, 122):
            assert sequence.find(key) == ((key, naive[key]) if key in naive else None)
            assert sequence.rank(key) == sum(one < key for one in naive)
    for snapshot, expected in snapshots:
        assert [*snapshot] == expected


@given(
    st.sets(st.integers()),
    st.slices(40),
    st.sampled_from([None, 3, -2, -1]),
)
def test_indexes_and_slices_are_those_of_a_list(
    keys: set[int], wanted: slice, step: int | None
) -> None:
    expected = sorted(keys)
    sequence: SortedSequence[int] = SortedSequence(expected)
    wanted = slice(wanted.start, wanted.stop, step)
    assert sequence[wanted] == expected[wanted]
    assert [sequence[index] for index in range(-len(keys), len(keys))] == [*expected, *expected]
    with pytest.raises(IndexError):
        sequence[len(keys)]


@given(_CHANGES)
def test_blocks_stay_short_and_are_joined(changes: list[tuple[dict[int, str], set[int]]]) -> None:
    sequence: SortedSequence[int] = SortedSequence()
    for upserts, removals in changes:
        sequence.change(upserts, removals)
        lengths = [*map(len, sequence._blocks)]
        assert all(1 <= length <= 8 for length in lengths)
        assert all(length >= 2 for length in lengths[:-1])


def test_a_snapshot_shares_what_has_not_changed() -> None:
    sequence: SortedSequence[int] = SortedSequence(range(0, 100, 2))
    taken = sequence.snapshot()
    sequence.change([51])
    shared = {*map(id, taken._blocks)} & {*map(id, sequence._blocks)}
    assert len(shared) == len(taken._blocks) - 1


def test_blocks_of_a_snapshot_that_is_gone_are_not_copied() -> None:
    sequence: SortedSequence[int] = SortedSequence(range(0, 100, 2))
    blocks = [*map(id, sequence._blocks)]
    taken = sequence.snapshot()
    del taken
    sequence.change([51])
    assert [*map(id, sequence._blocks)] == blocks


@given(st.lists(st.sets(_KEYS)), _CHANGES)
def test_a_sequence_that_was_appended_to_is_like_another(
    parts: list[set[int]], changes: list[tuple[dict[int, str], set[int]]]
) -> None:
    sequence: SortedSequence[int] = SortedSequence()
    naive: set[int] = set()
    for part in parts:
        following = sorted(key for key in part if key > max(naive, default=-1))
        sequence.change(following)
        naive.update(following)
    assert [*sequence] == sorted(naive)
    for upserts, removals in changes:
        sequence.change(upserts, removals)
        naive = (naive - removals) | upserts.keys()
        assert [*sequence] == sorted(naive)
        assert [sequence.rank(key) for key in sorted(naive)] == [*range(len(naive))]
