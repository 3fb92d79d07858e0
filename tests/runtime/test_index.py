"""Index against a naive one: any changes, few sessions of a value and many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiongate.runtime import index as index_module
from sessiongate.runtime.index import Index


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_FEW", 16)


_VALUES = st.sampled_from(["app", "batch", "", None])
_STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(1, 150), _VALUES, max_size=100), st.sets(st.integers(1, 150))
    ),
    max_size=6,
)


@given(_STEPS)
def test_any_changes_give_what_a_naive_index_would(
    steps: list[tuple[dict[int, str | None], set[int]]],
) -> None:
    index = Index()
    naive: dict[int, str | None] = {}
    for upserts, removals in steps:
        gone = [*removals & naive.keys(), *upserts.keys() & (naive.keys() - removals)]
        before = {*naive.values()} - {None}
        altered = index.change(
            [(naive[ident], ident) for ident in gone],
            [(value, ident) for ident, value in upserts.items()],
        )
        naive = {ident: value for ident, value in naive.items() if ident not in removals} | upserts
        for value in ("app", "batch", "", "other"):
            assert [*index.ids(value)] == sorted(i for i, its in naive.items() if its == value)
        after = {*naive.values()} - {None}
        assert {*index} == after
        assert altered == (after - before, before - after)
        assert len(index) == len(after)


@given(st.lists(st.lists(_VALUES | st.integers(1, 40), max_size=40), max_size=8))
def test_columns_give_what_a_naive_index_would(columns: list[list[str | int | None]]) -> None:
    index = Index()
    naive: dict[int, str | int | None] = {}
    for column in columns:
        ids = [*range(len(naive), len(naive) + len(column))]
        index.add(column, ids)
        naive |= zip(ids, column, strict=True)
    assert {*index} == {*naive.values()} - {None}
    for value in {*naive.values()} - {None}:
        assert [*index.ids(value)] == [ident for ident, its in naive.items() if its == value]
