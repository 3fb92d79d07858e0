"""The sessions around one: its chain from client to server, who blocks it, and whom it blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from sessiongate.client.errors import CallError
from sessiongate.gateway.cli.session_fields import session_field
from sessiongate.gateway.cli.texts import plain
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_WAITING, Session
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

_MOST = 100  # sessions that are asked for around one
# What is told of each, after its id, source and service.
_TOLD = ("user", "database", "application", "activity.state", "activity.since")
_BRANCH, _LAST, _DOWN, _NOTHING = "├─ ", "└─ ", "│  ", "   "


class Surroundings:
    """Draws the sessions around one as trees; ``now`` is in seconds since the epoch."""

    def __init__(self, client: CoreClient, session: Session, now: float) -> None:
        self._client = client
        self._session = session
        self._now = now
        self._known: dict[int, Session | None] = {session.id: session}

    async def chain(self) -> Sequence[str]:
        """Return the session's chain: each session, and below it those one tier further on."""
        if not (self._session.upstream_ids or self._session.downstream_ids):
            return []
        first = await self._nearest_client(self._session)
        client = session_field("peer").cell(first)
        tree = self._tree([first.id], lambda each: each.upstream_ids)
        return [f"client {client}".rstrip(), *[line async for line in tree]]

    async def blockers(self) -> Sequence[str]:
        """Return the sessions that this one waits for, and below each those that it waits for."""
        idents = self._session.activity.blocked_by_ids
        return await self._related(idents, lambda each: each.activity.blocked_by_ids)

    async def blocked(self) -> Sequence[str]:
        """Return the sessions that wait for this one."""
        if not self._session.HasField("activity"):
            return []
        wanted = SessionFilter(sources=[self._session.source], activities=[ACTIVITY_STATE_WAITING])
        waiting: list[int] = []
        async for page in self._client.pages(ListSessionsRequest(filter=wanted, page_size=10_000)):
            for each in page.sessions:
                if self._session.id in each.activity.blocked_by_ids and len(waiting) < _MOST:
                    self._known[each.id] = each
                    waiting.append(each.id)
        return await self._related(waiting, lambda _: ())

    async def _related(
        self, idents: Iterable[int], below: Callable[[Session], Iterable[int]]
    ) -> Sequence[str]:
        """Return the tree of sessions that this one waits for, or that wait for it."""
        tree = self._tree(idents, below, names_client=True)
        return [line async for line in tree]

    async def _tree(
        self,
        idents: Iterable[int],
        below: Callable[[Session], Iterable[int]],
        *,
        names_client: bool = False,
    ) -> AsyncIterator[str]:
        """Yield a line for each of these sessions, followed by those below it."""
        seen: set[int] = set()  # below these stands already what is below them
        open_branches = [("", [*idents])]
        while open_branches:
            indent, siblings = open_branches.pop()
            if not siblings:
                continue
            ident, *others = siblings
            open_branches.append((indent, others))
            session = await self._get(ident)
            line = await self._described(ident, session, names_client=names_client)
            yield indent + (_BRANCH if others else _LAST) + line
            if session is not None and ident not in seen:
                seen.add(ident)
                more = indent + (_DOWN if others else _NOTHING)
                open_branches.append((more, [*below(session)]))

    async def _described(self, ident: int, session: Session | None, *, names_client: bool) -> str:
        if session is None:
            return f"{ident}  (not known)"
        told = [str(ident), plain(session.source)]
        if session.service != session.source:
            told.append(plain(session.service))
        told += [session_field(name).cell(session, self._now) for name in _TOLD]
        if session.id == self._session.id:
            told.append("<- this session")
        elif names_client and session.downstream_ids:
            first = await self._nearest_client(session)
            told.append(f"through {plain(first.source)} {first.id}")
            told.append(session_field("peer").cell(first))
        return "  ".join(filter(None, told))

    async def _nearest_client(self, session: Session) -> Session:
        """Return the session of this one's chain that is nearest to the client."""
        found = [session]
        while downstream := found[-1].downstream_ids:
            before = await self._get(downstream[0])
            if before is None or before in found:
                break
            found.append(before)
        return found[-1]

    async def _get(self, ident: int) -> Session | None:
        """Return a session; None if it has ended, or enough were asked for."""
        if ident not in self._known:
            if len(self._known) >= _MOST:
                return None
            try:
                self._known[ident] = (await self._client.get_session(ident)).session
            except CallError as error:
                if error.reason not in (Reason.SESSION_NOT_FOUND, Reason.SOURCE_UNREACHABLE):
                    raise
                self._known[ident] = None
        return self._known[ident]
