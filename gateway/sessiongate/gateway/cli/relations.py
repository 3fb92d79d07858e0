"""The sessions around one: its chain from client to server, who blocks it, and whom it blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.columns import cut
from sessiongate.gateway.cli.session_fields import session_field
from sessiongate.gateway.cli.texts import plain
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.errors import Reason
from sessiongate.v1.session_pb2 import ACTIVITY_STATE_WAITING, Session
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, SessionFilter

_MOST = 100  # sessions that are asked for around one
# The fields shown of each, after its id, source and service.
_TOLD = ("user", "database", "application", "activity.state", "activity.since")
_BRANCH, _LAST, _DOWN, _NOTHING = "├─ ", "└─ ", "│  ", "   "


class _Trees:
    """Draws trees of sessions, which it asks the core for; ``now`` is in seconds.

    In ``room`` cells of a terminal, no text of a session has more than a quarter of them.
    """

    def __init__(
        self, client: CoreClient, now: float, room: int | None = None, marked: int = 0
    ) -> None:
        self._client = client
        self._now = now
        self._longest = None if room is None else max(8, room // 4)
        self._marked = marked  # the id of the session that all is about, if it is about one
        self._known: dict[int, Session | None] = {}
        self._most = _MOST
        self.gaps = Gaps()  # in what the core has answered about those that wait

    async def _waiting(self, wanted: SessionFilter) -> AsyncIterator[Session]:
        """Yield the sessions that wait for others, among those that match."""
        if not wanted.activities:
            wanted.activities.append(ACTIVITY_STATE_WAITING)
        async for page in self._client.pages(ListSessionsRequest(filter=wanted, page_size=10_000)):
            self.gaps = self.gaps.union(Gaps.of_response(page))
            for each in page.sessions:
                if each.activity.blocked_by_ids:
                    yield each

    async def _tree(
        self,
        idents: Iterable[int],
        below: Callable[[Session], Iterable[int]],
        *,
        names_client: bool = False,
    ) -> AsyncIterator[str]:
        """Yield a line for each of these sessions, followed by those below it."""
        seen: set[int] = set()  # what is below these is shown already
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
        told += [self._cell(session, name) for name in _TOLD]
        if session.id == self._marked:
            told.append("<- this session")
        elif names_client and session.downstream_ids:
            first = (await self._way_to_client(session))[-1]
            told.append(f"through {plain(first.source)} {first.id}")
            told.append(session_field("peer").cell(first))
        return "  ".join(filter(None, told))

    def _cell(self, session: Session, name: str) -> str:
        if self._longest is None:
            return session_field(name).cell(session, self._now)
        return cut(session_field(name).cell(session, self._now, self._longest + 1), self._longest)

    async def _way_to_client(self, session: Session) -> Sequence[Session]:
        """Return the sessions of this one's chain from itself to the one nearest to the client."""
        found = [session]
        while downstream := found[-1].downstream_ids:
            before = await self._get(downstream[0])
            if before is None or before in found:
                break
            found.append(before)
        return found

    async def _get(self, ident: int) -> Session | None:
        """Return a session; None if it has ended, or enough were asked for."""
        if ident not in self._known:
            if len(self._known) >= self._most:
                return None
            try:
                self._known[ident] = await self._ask(ident)
            except CallError as error:
                if error.reason not in (Reason.SESSION_NOT_FOUND, Reason.SOURCE_UNREACHABLE):
                    raise
                self._known[ident] = None
        return self._known[ident]

    async def _ask(self, ident: int) -> Session:
        return (await self._client.get_session(ident)).session


class Surroundings(_Trees):
    """Draws the sessions around one as trees; ``now`` is in seconds since the epoch."""

    def __init__(
        self, client: CoreClient, session: Session, now: float, room: int | None = None
    ) -> None:
        super().__init__(client, now, room, session.id)
        self._session = session
        self._known[session.id] = session

    async def chain(self) -> Sequence[str]:
        """Return the session's chain: each session, and below it those one tier further on."""
        if not (self._session.upstream_ids or self._session.downstream_ids):
            return []
        way = await self._way_to_client(self._session)
        # A session that has ended may have forgotten the one that ended before it.
        above = {after.id: [before.id] for before, after in pairwise(way)}
        client = session_field("peer").cell(way[-1])
        tree = self._tree(
            [way[-1].id],
            lambda each: dict.fromkeys([*each.upstream_ids, *above.get(each.id, ())]),
        )
        return [f"client {client}".rstrip(), *[line async for line in tree]]

    async def blockers(self) -> Sequence[str]:
        """Return the sessions that this one waits for, and below each those that it waits for."""
        idents = self._session.activity.blocked_by_ids
        return await self._related(idents, lambda each: each.activity.blocked_by_ids)

    async def blocked(self) -> Sequence[str]:
        """Return the sessions that wait for this one."""
        if not self._session.HasField("activity"):
            return []
        waiting: list[int] = []
        async for each in self._waiting(SessionFilter(sources=[self._session.source])):
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


class PastSurroundings(Surroundings):
    """Draws the chain of a session that may have ended, as far as its sessions are remembered."""

    async def _ask(self, ident: int) -> Session:
        return (await self._client.get_past_session(ident)).session


class BlockedSessions(_Trees):
    """Draws who blocks whom; ``now`` is in seconds since the epoch."""

    async def trees(self, wanted: SessionFilter) -> Sequence[str]:
        """Return the sessions that block others that match, and below each those that wait.

        A session that waits itself is shown below those that it waits for, but of a queue, in which
        each waits for all before it, only below the head. Of sessions that wait for each other, one
        is shown above the others.
        """
        waiting = [each async for each in self._waiting(wanted)]
        blocked: defaultdict[int, list[int]] = defaultdict(list)  # by the id of who blocks them
        blockers = {each.id: each.activity.blocked_by_ids for each in waiting}
        for each in waiting:
            self._known[each.id] = each
            for blocker in _heads(blockers, each.id):
                blocked[blocker].append(each.id)
        self._most = len(self._known) + _MOST
        waits = {each.id for each in waiting}
        roots = [ident for ident in blocked if ident not in waits]
        reached = _below(roots, blocked)
        for each in waiting:  # those left wait for each other
            if each.id not in reached:
                roots.append(each.id)
                reached |= _below([each.id], blocked)
        tree = self._tree(roots, lambda each: blocked.get(each.id, ()), names_client=True)
        return [line async for line in tree]


def _heads(blockers: Mapping[int, Sequence[int]], ident: int) -> Sequence[int]:
    """Return what a session waits for, except what waits for another of these itself."""
    waited_for = {*blockers[ident]}
    heads = [each for each in blockers[ident] if waited_for.isdisjoint(blockers.get(each, ()))]
    return heads or blockers[ident]


def _below(idents: Iterable[int], blocked: Mapping[int, Iterable[int]]) -> set[int]:
    """Return these ids, and those of all that wait for them, directly or not."""
    found, left = set[int](), [*idents]
    while left:
        ident = left.pop()
        if ident not in found:
            found.add(ident)
            left += blocked.get(ident, ())
    return found
