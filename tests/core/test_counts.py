"""Counts of sessions by their values, beside what tests/core/test_table_model.py compares."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.table import counts
from sessiongate.core.table.count_query import CountQuery
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime import sorted_sequence, value_counts
from sessiongate.runtime.turns import finished
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    COUNT_BY_APPLICATION,
    COUNT_BY_REMOTE,
    COUNT_BY_USER,
    CountBy,
    CountSessionsRequest,
    CountSessionsResponse,
    SessionFilter,
    SessionGroup,
)

USER, APPLICATION, REMOTE = COUNT_BY_USER, COUNT_BY_APPLICATION, COUNT_BY_REMOTE
LARGE = 60_000  # bytes of a value


def groups_of(table: SessionTable, by: CountBy) -> list[SessionGroup]:
    """Return all groups, page by page; no page is larger than promised."""
    request = CountSessionsRequest(by=[by])
    found: list[SessionGroup] = []
    while True:
        encoded = finished(table.count(CountQuery.parse(request)))
        assert len(encoded) < 3 * 1024 * 1024
        page = CountSessionsResponse.FromString(encoded)
        assert page.groups
        found += page.groups
        if not page.next_page_token:
            assert page.total_groups == len(found)
            assert page.total_size == sum(group.count for group in found)
            return found
        request.page_token = page.next_page_token


def test_a_page_of_large_values_is_short() -> None:
    table = SessionTable(["s"], 1, Timestamp)
    names = [f"{number:0{LARGE}}" for number in range(120)]
    table.apply((Session(id=i, application=name) for i, name in enumerate(names, 1)), ())
    assert [group.values[0].text for group in groups_of(table, APPLICATION)] == names


def test_an_address_counts_once_however_it_is_written() -> None:
    table = SessionTable(["s"], 1, Timestamp)
    remotes = [
        *("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201"),
        *("2001:db8::1", "2001:DB8:0::1"),
        *("/run/db.sock", "", "no.address"),
    ]
    sessions = [Session(id=i, remote=remote) for i, remote in enumerate(remotes, 1)]
    table.apply([*sessions, Session(id=99)], ())
    found = [(group.values[0], group.count) for group in groups_of(table, REMOTE)]
    assert [(value.text, count) for value, count in found] == [
        ("192.0.2.1", 3),
        ("2001:db8::1", 2),
        ("", 1),
        ("/run/db.sock", 1),
        ("no.address", 1),
        ("", 1),
    ]
    assert [value.WhichOneof("value") for value, _ in found] == ["text"] * 5 + [None]


def session(ident: int, user: str) -> Session:
    """Return a session whose other values follow from its id; some are not set."""
    application = f"a{ident % 4}" if ident % 5 else None
    remote = f"10.0.0.{ident % 6}" if ident % 3 else None
    return Session(id=ident, source="s", user=user, application=application, remote=remote)


def plain_count(
    sessions: Iterable[Session], by: Sequence[CountBy], wanted: SessionFilter
) -> Counter[tuple[str, ...]]:
    """Count sessions; a value that is not set is an empty text."""
    names = [CountBy.Name(one).removeprefix("COUNT_BY_").lower() for one in by]
    return Counter(
        tuple(getattr(one, name) for name in names)
        for one in sessions
        if (not wanted.users or one.user in wanted.users)
        and (not wanted.remotes or one.remote in wanted.remotes)
    )


@pytest.mark.parametrize("by", [[APPLICATION, USER], [REMOTE], [REMOTE, USER]], ids=str)
@pytest.mark.parametrize(
    "wanted",
    [SessionFilter(), SessionFilter(users=["u1", "new"]), SessionFilter(remotes=["10.0.0.1"])],
    ids=["all", "by user", "by remote"],
)
@pytest.mark.parametrize("most", [1000, 3])
def test_what_changes_while_sessions_are_counted_is_not_mixed(
    monkeypatch: pytest.MonkeyPatch, by: list[CountBy], wanted: SessionFilter, most: int
) -> None:
    for module, name, value in (
        (counts, "_AT_ONCE", 2),
        (value_counts, "_DICTS", 2),
        (counts, "_MANY", most),
        (counts, "_FEW", most - 3),
        (sorted_sequence, "_BLOCK", 4),
        (sorted_sequence, "_LONGEST", 8),
    ):
        monkeypatch.setattr(module, name, value)
    before = {ident: session(ident, f"u{ident % 3}") for ident in range(1, 31)}
    after = {ident: one for ident, one in before.items() if ident > 3}
    after |= {ident: session(ident, "new") for ident in (10, 20, 28, 29, 30, 40)}
    query = CountQuery.parse(CountSessionsRequest(by=by, filter=wanted))
    for rests in itertools.count():
        table = SessionTable(["s"], 1, Timestamp)
        table.apply(before.values(), ())
        states = {table.revision: before}
        steps = table.count(query)
        for _ in range(rests):
            try:
                next(steps)
            except StopIteration as done:
                found = CountSessionsResponse.FromString(done.value)
                break
        else:
            table.apply((one for one in after.values() if one.user == "new"), (1, 2, 3))
            states[table.revision] = after
            found = CountSessionsResponse.FromString(finished(steps))
        expected = plain_count(states[found.revision].values(), by, wanted)
        assert {
            tuple(value.text for value in group.values): group.count for group in found.groups
        } == expected
        assert found.total_size == expected.total()
        if after not in states.values():  # all was counted before it changed
            assert rests > 0
            return
