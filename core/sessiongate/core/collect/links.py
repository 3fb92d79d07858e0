"""Links across tiers: a proxy's backend connection is a server's client connection.

Sources state the TCP links over which their sessions arrived, and those that their
services opened. If a proxy's and a server's source state the same TCP link, the
server's session is *upstream* of the proxy's. A missing link is better than a wrong
one. Two sessions are linked only if:

- both ends name the same client address and port, agree on the server's address
  or on its id for the connection, and do not name two different ids; or
- one end does not know the client's address, and both agree on the server's
  address and its id for the connection;
- and exactly one session on either side matches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.base import Observed, TcpLink
from sessiongate.runtime.memory import unsearched, untrack, untracked
from sessiongate.runtime.split_dict import SplitDict

# (the proxy's session, the server's session)
_Pair: TypeAlias = tuple[int, int]
# Ids of the sessions upstream of a session, and downstream.
Linked: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
UNLINKED: Linked = (), ()
Stated: TypeAlias = tuple[int, "SessionTcpLinks"]  # of the session with this id
# In place of an index in the list of opened TCP links: the accepted one.
_ACCEPTED = -1


class SessionTcpLinks(NamedTuple):
    """The TCP links of one session: the one it arrived over, and those opened for it."""

    accepted: TcpLink | None
    opened: tuple[TcpLink, ...]


def stated_by(ident: int, item: Observed) -> list[Stated]:
    """Return the TCP links that a session with this id states, if any."""
    if item.accepted is None and not item.opened:
        return []
    return [(ident, SessionTcpLinks(item.accepted, item.opened))]


class _End(NamedTuple):
    """One end of a TCP link, as one session states it."""

    ident: int
    place: int  # in the session's list of opened links; _ACCEPTED for the accepted one
    link: TcpLink


class _Meeting:
    """The TCP links with the same name: opened ones, accepted ones, and the linked pairs."""

    __slots__ = ("accepted", "opened", "pairs")

    def __init__(self) -> None:
        self.opened: dict[tuple[int, int], TcpLink] = {}  # by session id, place in its list
        self.accepted: dict[int, TcpLink] = {}  # by session id
        self.pairs: set[_Pair] = set()
        untrack(self)

    def add(self, end: _End) -> None:
        if end.place == _ACCEPTED:
            self.accepted[end.ident] = end.link
        else:
            self.opened[end.ident, end.place] = end.link
        for each in (self.opened, self.accepted):
            untrack(each)

    def remove(self, end: _End) -> None:
        if end.place == _ACCEPTED:
            del self.accepted[end.ident]
        else:
            del self.opened[end.ident, end.place]


class Links:
    """The pairs of sessions that are one connection, in sync with what the sources state."""

    def __init__(self) -> None:
        # Most TCP links are stated by one end only and meet no other: they are kept as they are.
        self._alone: SplitDict[Hashable, _End] = SplitDict()
        self._meetings: SplitDict[Hashable, _Meeting] = SplitDict()  # under other names than those
        self._pairs: SplitDict[_Pair, int] = SplitDict()  # in how many meetings each is linked
        self._upstream: SplitDict[int, set[int]] = SplitDict()
        self._downstream: SplitDict[int, set[int]] = SplitDict()
        # By id, the last of those of sessions that have none any longer.
        self._former_upstream: SplitDict[int, int] = SplitDict()
        self._former_downstream: SplitDict[int, int] = SplitDict()
        self.changes = 0  # grows with each change of what sessions are linked to

    def of(self, ident: int) -> Linked:
        """Return the ids of the sessions that a session is linked to, ascending."""
        if ident not in self._upstream and ident not in self._downstream:
            return UNLINKED
        return tuple(self.upstream(ident)), tuple(self.downstream(ident))

    def upstream(self, ident: int) -> list[int]:
        """Return ids of the sessions at the far end of its backend connections, ascending."""
        return sorted(self._upstream.get(ident, ()))

    def downstream(self, ident: int) -> list[int]:
        """Return ids of the sessions that have this one as a backend connection, ascending."""
        return sorted(self._downstream.get(ident, ()))

    def last_of(self, ident: int) -> Linked:
        """Return the same; in a direction in which there are none, the last one that there was."""
        upstream, downstream = self.of(ident)
        former = self._former_upstream.get(ident), self._former_downstream.get(ident)
        up, down = (() if one is None else (one,) for one in former)
        return upstream or up, downstream or down

    def forget(self, ident: int) -> None:
        """Forget to what a session was linked: it has ended."""
        self._former_upstream.pop(ident, None)
        self._former_downstream.pop(ident, None)

    @unsearched()
    def observe(self, withdrawn: Sequence[Stated], added: Sequence[Stated]) -> set[int]:
        """Take over what sources no longer state, and then what they state now.

        Return the ids of all sessions whose links changed.
        """
        if not (withdrawn or added):
            return set()
        names: set[Hashable] = set()
        for ident, links in withdrawn:
            for name, end in _ends(ident, links):
                self._forget(name, end, names)
        for ident, links in added:
            for name, end in _ends(ident, links):
                self._enter(name, end, names)
        touched: Counter[_Pair] = Counter()  # in how many meetings more each is linked
        for name in names:
            self._pair(name, touched)
        changed = [pair for pair, more in touched.items() if self._count(pair, more)]
        self.changes += len(changed)
        for proxy, server in changed:
            is_linked = (proxy, server) in self._pairs
            for neighbours, former, one, other in (
                (self._upstream, self._former_upstream, proxy, server),
                (self._downstream, self._former_downstream, server, proxy),
            ):
                former.pop(one, None)
                if is_linked and one in neighbours:
                    neighbours[one].add(other)
                elif is_linked:
                    neighbours[one] = untracked({other})
                else:
                    neighbours[one].discard(other)
                    if not neighbours[one]:
                        del neighbours[one]
                        former[one] = other
        for each in (self._alone, self._meetings, self._upstream, self._downstream):
            each.untrack()
        return {ident for pair in changed for ident in pair}

    def _enter(self, name: Hashable, end: _End, names: set[Hashable]) -> None:
        """Enter an end of a TCP link under a name; add the name if another end is there."""
        meeting = self._meetings.get(name)
        if meeting is None:
            untrack(end)
            other = self._alone.pop(name, None)
            if other is None:
                self._alone[name] = end
                return
            meeting = self._meetings[name] = _Meeting()
            meeting.add(other)
        meeting.add(end)
        names.add(name)

    def _forget(self, name: Hashable, end: _End, names: set[Hashable]) -> None:
        if (meeting := self._meetings.get(name)) is None:
            del self._alone[name]
            return
        meeting.remove(end)
        names.add(name)

    def _pair(self, name: Hashable, touched: Counter[_Pair]) -> None:
        """Relink the ends under a name; count the change in links of each pair."""
        meeting = self._meetings[name]
        matches = [
            (opened, server)
            for opened, link in meeting.opened.items()
            for server, accepted in meeting.accepted.items()
            if opened[0] != server and _same(link, accepted)
        ]
        openings = Counter(opened for opened, _ in matches)
        servers = Counter(server for _, server in matches)
        pairs = {
            (opened[0], server)
            for opened, server in matches
            if openings[opened] == 1 and servers[server] == 1
        }
        touched.update(pairs - meeting.pairs)
        touched.subtract(meeting.pairs - pairs)
        meeting.pairs = untracked(pairs)
        if not meeting.accepted and not meeting.opened:
            del self._meetings[name]

    def _count(self, pair: _Pair, more: int) -> bool:
        """Count the meetings that link a pair; return whether it became linked or unlinked."""
        before = self._pairs.get(pair, 0)
        if before + more:
            self._pairs[pair] = before + more
        else:
            del self._pairs[pair]
        return bool(before) != bool(before + more)


def _ends(ident: int, links: SessionTcpLinks) -> Iterator[tuple[Hashable, _End]]:
    """Yield the ends of TCP links that a session states, each with a name to meet under."""
    for place, link in enumerate(links.opened):
        for name in _names(link)[:1]:
            yield name, _End(ident, place, link)
    if links.accepted is not None:
        for name in _names(links.accepted):
            yield name, _End(ident, _ACCEPTED, links.accepted)


def _names(link: TcpLink) -> list[Hashable]:
    """Return the names of a TCP link: its client's end, and the server's id for it."""
    names: list[Hashable] = []
    if link.client is not None:
        names.append(link.client)
    if link.server is not None and link.server_id is not None:
        names.append((link.server, link.server_id))
    return names


def _same(opened: TcpLink, accepted: TcpLink) -> bool:
    """Return whether two ends with the same name are of one TCP link."""
    servers_agree = opened.server is not None and opened.server == accepted.server
    if opened.server_id is not None and accepted.server_id is not None:
        return opened.server_id == accepted.server_id and (
            servers_agree or opened.client is not None
        )
    return opened.client is not None and servers_agree
