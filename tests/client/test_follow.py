"""A copy that the client keeps: what it holds, and what it says while the core fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sessiongate.client.reflector
import sessiongate.client.synchronous_channels
from sessiongate.client import AsyncClient, CallError, Client, Reason, SessionCopy, Update
from sessiongate.client.reflector import Began, Lost
from sessiongate.runtime.auth.tokens import LEEWAY
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    SessionFilter,
    SessionRemoval,
    SourceStatus,
    WatchChanges,
    WatchSessionsResponse,
    WatchSnapshot,
    WatchSync,
)
from tests.client.both import Waiting
from tests.credentials import CredentialFiles, bearer
from tests.gateway.programs import LONG, core_process, running_core
from tests.program import DOCUMENT, Forked, Serving
from tests.recorded import show

both = pytest.mark.parametrize("client_of", [Client, Waiting], ids=["synchronous", "asyncio"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "sessions.json"
    show(file, 1, 2)
    return file


@pytest.fixture
def served(file: Path, tmp_path: Path) -> Iterator[Serving]:
    source, ledger = f"document:{file}?interval=0.1", f"sqlite:///{tmp_path / 'ledger.db'}"
    with Forked("--source", source, "--ledger", ledger) as program:
        yield program


@pytest.fixture(scope="module")
def core() -> Iterator[str]:
    """Run a core that these tests leave as it is; yield its address."""
    with running_core(DOCUMENT) as address:
        yield address


def told(update: Update) -> list[tuple[int | None, int | None]]:
    """Return the ids before and after each change."""
    return [
        (None if old is None else old.id, None if new is None else new.id)
        for old, new in update.changes
    ]


def next_change(updates: Iterator[Update]) -> Update:
    return next(update for update in updates if update.changes)


@both
def test_a_copy_goes_on_when_the_core_dies(served: Serving, file: Path, client_of: Any) -> None:
    with client_of(served.grpc, timeout=LONG) as client:
        updates = client.follow()
        update = next_change(updates)
        assert told(update) == [(None, 1), (None, 2)]
        assert [*update.copy.sources] == ["sessions.json"]
        assert update.copy.age is not None
        show(file, 2, 3)
        assert told(next_change(updates)) == [(1, None), (None, 3)]
        served.core().kill()
        show(file, 3)  # before another one reads it
        lost = next(update for update in updates if update.lost)
        assert lost.lost.is_transient
        assert lost.copy.age is None, "nothing proves how old it is"
        assert [*lost.copy.sessions] == [2, 3], "it stays as it was"
        # A core that starts gives the sessions new revisions.
        assert told(next_change(updates)) == [(2, None), (3, 3)], "what went meanwhile is told"
        assert [*update.copy.sessions] == [3]
        updates.close()


@both
def test_a_core_that_says_nothing_is_lost(
    core: str, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sessiongate.client.reflector, sessiongate.client.synchronous_channels):
        monkeypatch.setattr(module, "SILENCE", 2.0)
    with client_of(core, timeout=LONG) as client:
        updates = client.follow()
        next_change(updates)
        process = core_process(core)
        process.suspend()
        try:
            lost = next(update for update in updates if update.lost)
        finally:
            process.resume()
        assert lost.lost.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert next(update for update in updates if not update.lost).copy.age is not None
        updates.close()


@both
def test_what_calling_again_cannot_help_is_raised(core: str, client_of: Any) -> None:
    with client_of(core, timeout=LONG) as client:
        with pytest.raises(CallError) as refused:
            next(client.follow(SessionFilter(remotes=["nowhere"])))
        assert refused.value.reason == Reason.INVALID_REQUEST


@pytest.mark.long
@both
def test_a_token_that_expires_is_followed_by_the_next(tmp_path: Path, client_of: Any) -> None:
    secret = str(CredentialFiles(tmp_path).token_secret)
    with running_core(DOCUMENT, token_secret=secret) as core:

        def tokens() -> Iterator[str]:
            soon = bearer(exp=time.time() + 6 - LEEWAY)  # from when it is first asked for
            yield from (soon, bearer(), soon)

        given = tokens()
        with client_of(
            core, timeout=LONG, token=lambda: next(given).removeprefix("Bearer ")
        ) as client:
            updates = client.follow()
            next_change(updates)
            expired = next(update for update in updates if update.lost)
            assert expired.lost.reason == Reason.CREDENTIALS_EXPIRED
            assert next(updates).lost is None, "with the second token"
            updates.close()
            with pytest.raises(CallError) as refused:
                next(client.follow())
            assert refused.value.reason == Reason.CREDENTIALS_EXPIRED


def test_a_client_that_is_closed_ends_what_it_follows(core: str) -> None:
    client = Client(core, timeout=LONG)
    closing = threading.Timer(0.5, client.close)
    closing.start()
    for update in client.follow():
        assert not update.lost
    closing.join()

    async def main() -> None:
        client = AsyncClient(core, timeout=LONG)
        async for update in client.follow():
            assert not update.lost
            closing = asyncio.create_task(client.close())
        await closing

    asyncio.run(main())


def sessions(idents: set[int], revision: int) -> list[Session]:
    return [Session(id=ident, revision=revision) for ident in sorted(idents)]


ids = st.sets(st.integers(1, 9), max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["snapshot", "changes", "cut", "lost"]), ids, ids)))
def test_a_copy_is_what_it_was_told_and_tells_each_difference(
    steps: list[tuple[str, set[int], set[int]]],
) -> None:
    """Streams that begin over, resume, and end amid a step."""
    copy = SessionCopy()
    held: dict[int, int] = {}  # revisions by id
    for number, (kind, upserts, removals) in enumerate(steps, start=1):
        began = copy.reflector._begin().resume_revision
        assert copy.take(Began(bool(began))) is None
        if kind == "lost":
            update = copy.take(Lost(CallError(grpc.StatusCode.UNAVAILABLE, None, "")))
            assert update is not None
            assert update.lost
            continue
        message = WatchSessionsResponse()
        if kind == "snapshot" or not began:
            assert copy.take(Began(resumed=False)) is None
            message.snapshot.CopyFrom(WatchSnapshot(sessions=sessions(upserts, number)))
            after = dict.fromkeys(upserts, number)
        else:
            gone = [SessionRemoval(id=ident) for ident in removals]
            changed = WatchChanges(upserts=sessions(upserts, number), removals=gone)
            message.changes.CopyFrom(changed)
            after = {ident: at for ident, at in held.items() if ident not in removals}
            after |= dict.fromkeys(upserts, number)
        assert copy.take(message) is None, "the table was not in this state"
        assert {ident: one.revision for ident, one in copy.sessions.items()} == held
        if kind == "cut":
            continue
        mark = WatchSessionsResponse(
            revision=number, sync=WatchSync(sources=[SourceStatus(name="a")])
        )
        mark.as_of.FromSeconds(0)
        update = copy.take(mark)
        assert update is not None
        assert {ident: one.revision for ident, one in copy.sessions.items()} == after
        expected = [
            (held.get(ident), after.get(ident))
            for ident in sorted(held.keys() | after.keys())
            if held.get(ident) != after.get(ident)
        ]
        assert expected == [
            (None if old is None else old.revision, None if new is None else new.revision)
            for old, new in update.changes
        ]
        assert copy.revision == number
        held = after
