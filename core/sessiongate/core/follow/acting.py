"""Acting on sessions through a front: the core that is active for the source does it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.client.cores import DID_NOTHING
from sessiongate.client.errors import CallError
from sessiongate.core.actions.attempt import ActionCaller, Attempt
from sessiongate.core.actions.request import ActionRequest
from sessiongate.core.errors import (
    CoreError,
    SessionChangedError,
    SourceUnreachableError,
)
from sessiongate.core.follow.front import Front
from sessiongate.core.follow.lookup import Lookup
from sessiongate.core.follow.refusals import Refusals
from sessiongate.core.table.draft import unassigned
from sessiongate.core.table.lookup import settle
from sessiongate.core.table.row import Row, Values
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    CancelStatementResponse,
    TerminateSessionRequest,
    TerminateSessionResponse,
)
from sessiongate.v1.session_pb2 import Session

log = logging.getLogger(__name__)

_FOLLOWING = 1.0  # seconds that a front may need to show what a core shows
# The error for a reason that a core gave, or None if it is not known here.
ErrorOf = Callable[[CallError], CoreError | None]
_Request = TypeVar("_Request", TerminateSessionRequest, CancelStatementRequest)
_Response = TypeVar("_Response", TerminateSessionResponse, CancelStatementResponse)


class ForwardedActions:
    """Forwards acts to cores, in the name of the front's caller.

    Revisions are the front's own: the core gets its own revisions of the same session.
    """

    def __init__(
        self,
        table: SessionTable,
        front: Front,
        lookup: Lookup,
        error_of: ErrorOf,
        refusals: Refusals,
    ) -> None:
        self._table = table
        self._front = front
        self._lookup = lookup
        self._error_of = error_of
        self._refusals = refusals

    async def terminate(
        self, request: TerminateSessionRequest, caller: ActionCaller
    ) -> TerminateSessionResponse:
        """Have a session ended. Raises `CoreError`."""
        asked = ActionRequest.terminate(request)
        async with self._audited(asked, caller):
            client, row, forwarded = await self._prepared(asked, request)
            unknown = TerminateSessionResponse()
            response = await self._done(client.terminate_session, forwarded, row, unknown)
        if response.ended:
            await self._shown(response, asked, lambda: row.id not in self._table)
        return response

    async def cancel(
        self, request: CancelStatementRequest, caller: ActionCaller
    ) -> CancelStatementResponse:
        """Have a statement cancelled. Raises `CoreError`."""
        asked = ActionRequest.cancel(request)
        async with self._audited(asked, caller):
            client, row, forwarded = await self._prepared(asked, request)
            unknown = CancelStatementResponse()
            response = await self._done(client.cancel_statement, forwarded, row, unknown)
        if response.ended:
            await self._shown(response, asked, lambda: self._table.row(row.id) is not row)
        return response

    @asynccontextmanager
    async def _audited(self, asked: ActionRequest, caller: ActionCaller) -> AsyncIterator[None]:
        """Let operators act; write down what is refused in the block, unless the core has."""
        attempt = Attempt(asked, caller, self._table.get(asked.id))
        try:
            caller.require_operator()
            yield
        except _RefusedByCoreError as refused:
            raise refused.error from None
        except CoreError as error:
            await self._refusals.tell(attempt, error)
            raise

    async def _prepared(
        self, asked: ActionRequest, request: _Request
    ) -> tuple[AsyncClient, Row, _Request]:
        """Return the core to ask, the session, and the request with the core's revisions."""
        settle(self._table)
        row = self._table.row(asked.id)
        if row is None:
            raise await self._lookup.missing(asked.id)
        asked.require_seen(row)
        source = row.group.values.source
        client = self._front.client_for(source)
        if client is None:
            text = f"the core of the source {source!r} is not heard now, and nothing was done"
            raise SourceUnreachableError(text, source=source, id=str(row.id))
        try:
            found = (await client.get_session(row.id)).session
        except CallError as error:
            raise self._error_of(error) or _nothing_done(row, error) from None
        its, own = (found.identity_revision, found.revision), row.session
        has_changed = asked.revision is not None and _unlinked(found) != _unlinked(own)
        if has_changed or not _is_same(found, own):
            raise SessionChangedError(
                f"session {row.id} is not as you saw it: it has changed; look again",
                id=str(row.id),
            )
        forwarded = type(request)()
        forwarded.CopyFrom(request)
        forwarded.identity_revision = its[0]
        if isinstance(forwarded, CancelStatementRequest) and asked.revision is not None:
            forwarded.revision = its[1]
        return client, row, forwarded

    async def _done(
        self,
        act: Callable[[_Request], Awaitable[_Response]],
        request: _Request,
        row: Row,
        unknown: _Response,
    ) -> _Response:
        """Return what a core says has become of an act; if that is not known, ``unknown``."""
        try:
            return await act(request)
        except CallError as error:
            if (refusal := self._error_of(error)) is not None:
                # Without a reason, the core lets nobody act, and has no audit log.
                raise (_RefusedByCoreError(refusal) if error.reason else refusal) from None
            if error.reason in DID_NOTHING:  # such as of a core that has just begun to stand by
                raise _nothing_done(row, error) from None
            log.warning(
                "what has become of an act on session %d is not known: %s", request.id, error
            )
            return unknown

    async def _shown(
        self,
        response: TerminateSessionResponse | CancelStatementResponse,
        asked: ActionRequest,
        holds: Callable[[], bool],
    ) -> None:
        """Wait until this front shows the end, which a core knows; state its own revision then."""
        response.ended, response.revision = False, 0
        with suppress(TimeoutError):
            async with asyncio.timeout(max(_FOLLOWING, asked.max_wait)):
                while not holds():
                    await self._table.log.wait(self._table.revision, _FOLLOWING)
                response.ended, response.revision = True, self._table.revision


class _RefusedByCoreError(Exception):
    """A core has refused an act, and written that down."""

    def __init__(self, error: CoreError) -> None:
        super().__init__(error)
        self.error = error


def _nothing_done(row: Row, error: CallError) -> SourceUnreachableError:
    source = row.group.values.source
    text = f"the core of the source {source!r} was asked, and nothing was done: {error}"
    return SourceUnreachableError(text, source=source, id=str(row.id))


def _unlinked(session: Session) -> Session:
    """Clear what a front and a core assign by themselves; return the session."""
    session.ClearField("upstream_ids")
    session.ClearField("downstream_ids")
    return unassigned(session)


def _is_same(session: Session, other: Session) -> bool:
    """Return whether two sessions with an id are the same client's."""
    one, two = Values.of(session), Values.of(other)
    return (session.remote, one.user, one.service, one.database) == (
        *(other.remote, two.user, two.service, two.database),
    )
