"""Acting on sessions: which ones, whether to go on, and what has become of each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import grpc
import typer

from sessiongate.client.errors import CallError
from sessiongate.gateway.cli.acting import ActionChoice, EndingChoice
from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.outputs import SESSIONS, output_in
from sessiongate.gateway.cli.questions import LOCAL_URL, Question, require_sources
from sessiongate.gateway.cli.reporting import fail, report
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_pb2 import Session

_Response = TerminateSessionResponse | CancelStatementResponse
_Act = Callable[[CoreClient, Session], Awaitable[_Response]]

_MOST_TIERS = 16  # that a chain may have
# How often, and after how many seconds, to try again what was beyond the limit of actions.
_TRIES, _PAUSE = 60, 2.0
_WITHOUT = (
    "the core at this address cannot act on sessions: no source allows it (actions), nobody is an"
    " operator (--operators), or it is of an earlier version"
)


class _Words(NamedTuple):
    """The words of a command for its action."""

    verb: str  # of what it is about to do
    done: str
    begun: str  # if its end is not known yet
    is_later: bool = False  # to have begun is all that was asked for


_TERMINATE = _Words("End", "ended", "was asked to end, but is still there")
_CANCEL = _Words("Cancel what is run by", "cancelled", "was asked to cancel, but still runs")


def terminating(
    idents: Sequence[int], choice: SessionChoice, how: ActionChoice, ending: EndingChoice
) -> Question:
    """End the sessions that are chosen."""
    grace = ending.grace

    async def terminate(client: CoreClient, session: Session) -> _Response:
        request = TerminateSessionRequest(
            id=session.id, identity_revision=session.identity_revision
        )
        if grace:
            request.grace.FromNanoseconds(round(grace * 1e9))
            request.max_wait.FromSeconds(0)
        return await client.terminate_session(request)

    words = _TERMINATE
    if grace:
        words = words._replace(begun=f"will be ended in {grace:g} s", is_later=True)
    return _acting(words, terminate, idents, choice, how, ending)


def cancelling(idents: Sequence[int], choice: SessionChoice, how: ActionChoice) -> Question:
    """Cancel the statements of the sessions that are chosen."""

    async def cancel(client: CoreClient, session: Session) -> _Response:
        request = CancelStatementRequest(id=session.id, identity_revision=session.identity_revision)
        if session.activity.HasField("since_time"):
            request.activity_since_time.CopyFrom(session.activity.since_time)
        else:  # only everything that is known of it says what it does
            request.revision = session.revision
        return await client.cancel_statement(request)

    return _acting(_CANCEL, cancel, idents, choice, how)


def _acting(
    words: _Words,
    act: _Act,
    idents: Sequence[int],
    choice: SessionChoice,
    how: ActionChoice,
    ending: EndingChoice | None = None,
) -> Question:
    is_chain = ending is not None and ending.chain

    async def ask(client: CoreClient) -> None:
        await require_sources(client, choice)
        chosen = await _named(client, idents) if idents else await _matching(client, choice, how)
        if is_chain:
            chosen = await _chains(client, chosen)
        output = output_in("table", SESSIONS, (), LOCAL_URL)
        output.write(chosen)
        output.end({}, ())
        if not how.yes and not _goes_on(words, len(chosen)):
            fail("nothing was done", 1)
        if undone := await _undone(client, words, act, chosen, is_chain=is_chain):
            fail(f"{undone} of {len(chosen)} not {words.done}", 1)

    return ask


def _goes_on(words: _Words, count: int) -> bool:
    """Ask whether to go on."""
    what = "this session" if count == 1 else f"these {count} sessions"
    return typer.confirm(f"{words.verb} {what}?", err=True)


async def _named(client: CoreClient, idents: Sequence[int]) -> Sequence[Session]:
    """Return the sessions with these ids; end the command if one does not exist."""
    return [(await client.get_session(ident)).session for ident in dict.fromkeys(idents)]


async def _matching(
    client: CoreClient, choice: SessionChoice, how: ActionChoice
) -> Sequence[Session]:
    """Return the sessions that match; end the command if there are not as many as expected."""
    found = [session async for session in client.sessions(choice.filter())]
    if len(found) != how.expect:
        number = "1 session matches" if len(found) == 1 else f"{len(found)} sessions match"
        fail(f"{number}, not {how.expect}; nothing was done", 1)
    return found


async def _chains(client: CoreClient, chosen: Iterable[Session]) -> Sequence[Session]:
    """Return sessions with the other ends of their connections, clients' ends first."""
    ordered: dict[int, Session] = {}
    for session in chosen:
        above = await _tiers(client, session, "downstream_ids")
        below = await _tiers(client, session, "upstream_ids")
        for each in (*reversed(above), session, *below):
            ordered.setdefault(each.id, each)
    return [*ordered.values()]


async def _tiers(client: CoreClient, session: Session, links: str) -> Sequence[Session]:
    """Return the sessions that one is linked to in a direction, the nearest first."""
    found: dict[int, Session] = {}
    tier = [session]
    for _ in range(_MOST_TIERS):
        idents = [ident for each in tier for ident in getattr(each, links)]
        tier = []
        for ident in idents:
            if ident in found or ident == session.id:
                continue
            try:
                found[ident] = (await client.get_session(ident)).session
            except CallError as error:
                if error.reason != Reason.SESSION_NOT_FOUND:
                    raise
            else:
                tier.append(found[ident])
        if not tier:
            break
    return [*found.values()]


async def _undone(
    client: CoreClient, words: _Words, act: _Act, chosen: Sequence[Session], *, is_chain: bool
) -> int:
    """Act on each session and print what has become of it; return for how many that is not done."""
    idents = {session.id for session in chosen}
    undone, left = 0, dict[int, None]()
    for session in chosen:
        try:
            if is_chain and (others := await _served(client, session.id) - idents):
                named = ", ".join(map(str, sorted(others)))
                print(f"session {session.id}: left alone, because it serves {named} now")
                undone += 1
                continue
            response = await _patiently(client, act, session)
        except CallError as error:
            if error.reason is None and error.code is grpc.StatusCode.UNIMPLEMENTED:
                fail(_WITHOUT, 1)
            if error.code is grpc.StatusCode.UNAUTHENTICATED:
                raise
            if error.reason == Reason.SESSION_NOT_FOUND:  # perhaps because of the one before
                print(f"session {session.id}: has ended by itself", flush=True)
                continue
            undone += 1
            report(f"session {session.id}: {error_of(error).detail}")
            continue
        undone += not (response.ended or words.is_later)
        print(f"session {session.id}: {words.done if response.ended else words.begun}", flush=True)
        left.update(dict.fromkeys((*response.downstream_ids, *response.upstream_ids)))
    remaining = [str(ident) for ident in left if ident not in idents]
    if remaining and words is not _CANCEL:
        text = f"the same connections at other tiers are left: {', '.join(remaining)}"
        print(f"{text}; --chain includes them", file=sys.stderr)
    return undone


async def _served(client: CoreClient, ident: int) -> set[int]:
    """Return the client of a session: a pool may have given it to another one by now."""
    return {*(await client.get_session(ident)).session.downstream_ids}


async def _patiently(client: CoreClient, act: _Act, session: Session) -> _Response:
    """Act on a session; while there were too many actions, wait and try again."""
    for _ in range(_TRIES):
        try:
            return await act(client, session)
        except CallError as error:
            if error.reason != Reason.TOO_MANY_ACTIONS:
                raise
            await asyncio.sleep(_PAUSE)
    return await act(client, session)
