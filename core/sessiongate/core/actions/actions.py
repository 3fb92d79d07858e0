"""Acting on sessions: who may, on which session, and what became of it.

An act goes on when the call that asked for it ends, so that its outcome is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sessiongate.core.actions.aftermath import Aftermath
from sessiongate.core.actions.attempt import (
    ABANDONED,
    BEGUN,
    DONE,
    FAILED,
    HIT_ANOTHER,
    UNCERTAIN,
    WAITING,
    ActionCaller,
    Attempt,
    outcome_of,
)
from sessiongate.core.actions.audit import AuditLog
from sessiongate.core.actions.one_by_one import OneByOne
from sessiongate.core.actions.quota import ActionQuota
from sessiongate.core.actions.request import DEFAULT_WAIT, ActionRequest
from sessiongate.core.collect.collector import Collector
from sessiongate.core.collect.runner import Runner
from sessiongate.core.errors import (
    ActionNotAllowedError,
    ActionNotSupportedError,
    ActionRefusedError,
    CoreError,
    InternalError,
    NoStatementError,
    SessionChangedError,
    SessionNotFoundError,
    SourceUnreachableError,
    TooManyActionsError,
)
from sessiongate.core.sources.acting import ActError, ActFault, ActingSource, Action
from sessiongate.core.sources.base import SourceConnectError, SourceError
from sessiongate.core.table.lookup import missing, settle
from sessiongate.core.table.row import Row
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

MAX_IN_GRACE = 1000  # acts whose grace is not over
_TOO_MANY = outcome_of(TooManyActionsError(""))
_TELL_AGAIN = 60.0  # seconds after which the audit log has another line of a caller over its limit
_CLOSE_TIMEOUT = 2.0  # seconds that acts may go on when the core stops
_ERRORS: Mapping[ActFault, type[CoreError]] = {
    ActFault.GONE: SessionNotFoundError,
    ActFault.CHANGED: SessionChangedError,
    ActFault.HIT_ANOTHER: SessionChangedError,
    ActFault.NO_STATEMENT: NoStatementError,
    ActFault.REFUSED: ActionRefusedError,
    ActFault.UNSUPPORTED: ActionNotSupportedError,
}
_CANNOT = {Action.CANCEL: "cannot cancel statements", Action.TERMINATE: "cannot end sessions"}


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action, as far as it is known when its caller is answered."""

    ended: bool  # the session, or its statement, has ended
    revision: int = 0  # of the table, which shows that
    upstream: tuple[int, ...] = ()  # the ids of the sessions that it was linked to
    downstream: tuple[int, ...] = ()


class Actions:
    """Acts on the sessions of a core's sources."""

    def __init__(
        self,
        table: SessionTable,
        collector: Collector,
        audit: AuditLog,
        *,
        per_minute: int,
    ) -> None:
        """Admit at most ``per_minute`` actions of a caller, and on a source."""
        self._table = table
        self._collector = collector
        self._audit = audit
        self._quota = ActionQuota(per_minute)
        self._tasks: set[asyncio.Task[asyncio.Task[int]]] = set()
        self._aftermath = Aftermath(table)
        self._in_grace: set[asyncio.Task[Any]] = set()  # of those, the ones that wait
        self._turns = OneByOne()
        # Callers that were over their limit, and until when that is not told again.
        self._limited: dict[Hashable, float] = {}
        # The number of attempts by source, action and outcome.
        self.outcomes: Counter[tuple[str, str, str]] = Counter()

    async def perform(self, request: ActionRequest, caller: ActionCaller) -> ActionResult:
        """Act on a session; return what is known after ``max_wait`` at most. Raises `CoreError`.

        Whether it was refused is waited for longer, unless there is a grace.
        """
        attempt = Attempt(request, caller, self._table.get(request.id))
        until = elapsed() + request.max_wait
        answered_by = until if request.grace else max(until, elapsed() + DEFAULT_WAIT)
        acting = asyncio.create_task(self._told(attempt, answered_by))
        self._tasks.add(acting)
        acting.add_done_callback(self._over)
        if not await _is_over(acting, attempt, answered_by):
            return _result(attempt, revision=0)
        looking, revision = await asyncio.shield(acting), 0
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - elapsed())):
                revision = await asyncio.shield(looking)
        return _result(attempt, revision)

    async def close(self) -> None:
        """Give up the acts that have not begun, and wait for the others."""
        for task in self._in_grace:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_TIMEOUT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._aftermath.close()

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _told(self, attempt: Attempt, by: float) -> asyncio.Task[int]:
        """Act, and tell what became of it. Return what looks whether the session has ended."""
        try:
            outcome, detail, looking = await self._act(attempt, by)
        except _HitAnotherError as error:
            await self._tell(attempt, HIT_ANOTHER, str(error))
            raise SessionChangedError(str(error), id=str(attempt.request.id)) from None
        except CoreError as error:
            await self._tell(attempt, outcome_of(error), str(error))
            raise
        except asyncio.CancelledError:
            await self._tell(attempt, ABANDONED, "the core was stopped")
            raise
        except Exception:
            log.exception("%s failed", attempt.message(FAILED))
            await self._tell(attempt, FAILED, "")
            raise InternalError from None
        await self._tell(attempt, outcome, detail)
        return looking

    async def _tell(self, attempt: Attempt, outcome: str, detail: str = "") -> None:
        """Write to the audit log what has become of an attempt; if that fails, to the log."""
        request = attempt.request
        self.outcomes[attempt.source, request.action, outcome] += 1
        if outcome == _TOO_MANY and not self._is_first(attempt.caller):
            return
        with suppress(CoreError):
            await self._audit.write(attempt.message(outcome), attempt.members(outcome, detail))

    def _is_first(self, caller: ActionCaller) -> bool:
        """Return whether a caller has not been over its limit for a while."""
        now = elapsed()
        self._limited = {subject: until for subject, until in self._limited.items() if until > now}
        is_first = caller.subject not in self._limited
        if is_first:
            self._limited[caller.subject] = now + _TELL_AGAIN
        return is_first

    async def _note(self, attempt: Attempt, outcome: str) -> None:
        """Write to the audit log what is about to happen. Raises `AuditUnavailableError`."""
        await self._audit.write(attempt.message(outcome), attempt.members(outcome, ""))

    async def _act(self, attempt: Attempt, by: float) -> tuple[str, str, asyncio.Task[int]]:
        """Act if that is allowed; return the outcome, its details, and what looks for the end.

        Do nothing if the source cannot be reached ``by`` a time, on `elapsed`.
        """
        request, caller = attempt.request, attempt.caller
        self._quota.take(caller.subject, "of this caller")
        caller.require_operator()
        row, runner = self._found(request)
        if request.grace:
            await self._wait(attempt)
            # It must be who it was when the grace began.
            request = replace(request, identity_revision=row.identity)
            row, runner = self._found(request)
            by = elapsed() + runner.config.timeout
        async with self._turns.turn(runner.name, by):
            self._found(request)  # it may have changed meanwhile
            self._quota.take(runner.name, f"on the source {runner.name!r}")
            await self._note(attempt, BEGUN)
            row, _ = self._found(request)  # and while that was written: a disk may be slow
            try:
                outcome, detail = await self._strike(attempt, request, runner, by)
            except BaseException:
                runner.hurry()  # what is shown is not what the source has
                raise
            longest = max(request.max_wait, DEFAULT_WAIT)
            looking = self._aftermath.begin(request.action, row, runner, longest)
        return outcome, detail, looking

    async def _wait(self, attempt: Attempt) -> None:
        """Wait until the grace is over."""
        if len(self._in_grace) >= MAX_IN_GRACE:
            text = f"{MAX_IN_GRACE} sessions are already waiting to be ended"
            raise TooManyActionsError(text, retry_after="60")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one
        self._in_grace.add(task)
        try:
            await self._note(attempt, WAITING)
            attempt.goes_on.set()
            await asyncio.sleep(attempt.request.grace)
        finally:
            self._in_grace.discard(task)

    def _found(self, request: ActionRequest) -> tuple[Row, Runner]:
        """Return the session if this may be done to it. Raises `CoreError`."""
        settle(self._table)
        row = self._table.row(request.id)
        if row is None:
            raise missing(self._table, request.id)
        name = row.group.values.source
        runner = self._collector.runner(name)
        possible = runner.source.possible_actions if isinstance(runner.source, ActingSource) else ()
        if request.action not in possible:
            cannot = _CANNOT[request.action] if possible else "only shows sessions"
            raise ActionNotSupportedError(
                f"the source {name!r} is of kind {runner.config.kind}, which {cannot}"
                f"{_elsewhere(row)}",
                source=name,
            )
        if request.action not in runner.config.actions:
            raise ActionNotAllowedError(
                f"the configuration of the source {name!r} does not allow it: its actions lack"
                f" {str(request.action)!r}",
                source=name,
            )
        request.require_seen(row)
        return row, runner

    async def _strike(
        self, attempt: Attempt, request: ActionRequest, runner: Runner, by: float
    ) -> tuple[str, str]:
        """Act; return the outcome and its details. Raises `CoreError` if nothing was done."""
        source, ident = runner.source, request.id
        target = runner.target(ident)
        if target is None or not isinstance(source, ActingSource):
            raise missing(self._table, ident)
        target = replace(target, same_statement=request.names_statement)
        noted, has_begun = self._collector.terminations, False
        timeout = min(runner.config.timeout, by - elapsed())
        try:
            async with (
                asyncio.timeout(timeout) as limit,
                source.aim(request.action, target) as strike,
            ):
                timeout = runner.config.timeout
                limit.reschedule(asyncio.get_running_loop().time() + timeout)
                if request.action is Action.TERMINATE:  # it may be seen to end at once
                    noted.note(ident, attempt.caller.name)
                has_begun = True
                attempt.goes_on.set()
                await strike()
        except ActError as error:
            noted.forget(ident)
            if error.fault is ActFault.HIT_ANOTHER:
                raise _HitAnotherError(str(error)) from None
            raise _ERRORS[error.fault](str(error), source=runner.name, id=str(ident)) from None
        except asyncio.CancelledError:
            if has_begun:
                return UNCERTAIN, "the core was stopped"
            raise
        except (SourceError, TimeoutError) as error:
            late = f"did not respond within {round(max(0.0, timeout), 1):g} s"
            detail = str(error) if isinstance(error, SourceError) else late
            if has_begun and not isinstance(error, SourceConnectError):
                return UNCERTAIN, detail
            noted.forget(ident)
            text = f"the source {runner.name!r} cannot be reached, and nothing was done: {detail}"
            raise SourceUnreachableError(text, source=runner.name, id=str(ident)) from None
        except Exception as error:  # a plugin may raise anything
            if not has_begun:
                raise
            log.exception("%s of source %s failed", request.action, runner.name)
            return UNCERTAIN, f"failed unexpectedly: {type(error).__name__}"
        return DONE, ""


async def _is_over(acting: asyncio.Task[Any], attempt: Attempt, until: float) -> bool:
    """Wait until an act is done or refused, or until a time if it goes on without its caller."""
    waiting = asyncio.create_task(attempt.goes_on.wait())
    try:
        await asyncio.wait({acting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not acting.done():
        await asyncio.wait({acting}, timeout=max(0.0, until - elapsed()))
    return acting.done()


class _HitAnotherError(Exception):
    """Another session was ended in the place of the one that was aimed at."""


def _elsewhere(row: Row) -> str:
    """Return a hint at the sessions behind one that a proxy cannot act on."""
    idents = ", ".join(map(str, row.session.upstream_ids[:3]))
    return f"; the same connection at the next tier is session {idents}" if idents else ""


def _result(attempt: Attempt, revision: int) -> ActionResult:
    session = attempt.session
    if session is None:
        return ActionResult(bool(revision), revision)
    linked = (tuple(session.upstream_ids), tuple(session.downstream_ids))
    return ActionResult(bool(revision), revision, *linked)
