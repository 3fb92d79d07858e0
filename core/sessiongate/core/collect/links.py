"""Links across tiers: a proxy's backend connection is a server's client connection.

Sources state the wires that their sessions came in by and that their services
opened. If a proxy's and a server's source state the same wire, the server's
session is *upstream* of the proxy's. A missing link is better than a wrong one.
They are linked only if:

- both ends name the same client address and port, agree on the server's address
  or on its id for the connection, and do not name two different ids; or
- one end does not know the client's address, and both agree on the server's
  address and its id;
- and exactly one session on either side matches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.base import TcpLink
from sessiongate.core.sources.support.pacing import Pace, kept

# (the proxy's session, the server's session)
_Pair: TypeAlias = tuple[int, int]
# Ids of the sessions upstream of a session, and downstream.
Linked: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
UNLINKED: Linked = (), ()
_Stated: TypeAlias = tuple[int, "SessionTcpLinks"]  # by the session with this id
_NO_WIRES: Mapping[int, SessionTcpLinks] = {}
# Instead of an index in the list of opened wires: the end that was accepted.
_ACCEPTED = -1


@dataclass(frozen=True, slots=True)
class SessionTcpLinks:
    """The wires of one session: the one it came in by, and those opened for it."""

    accepted: TcpLink | None
    opened: tuple[TcpLink, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a source states, and how it differs from what it stated before."""

    before: Mapping[int, SessionTcpLinks]  # by session id
    wires: Mapping[int, SessionTcpLinks]
    withdrawn: Sequence[_Stated]
    added: Sequence[_Stated]


class _End(NamedTuple):
    """One end of a wire, as one session states it."""

    ident: int
    place: int  # in the session's list of opened wires; _ACCEPTED for the other end
    wire: TcpLink


class _Meeting:
    """The wires that share one name: those opened, those accepted, and what is linked."""

    __slots__ = ("accepted", "opened", "pairs")

    def __init__(self) -> None:
        self.opened: dict[tuple[int, int], TcpLink] = {}  # by session id, place in its list
        self.accepted: dict[int, TcpLink] = {}  # by session id
        self.pairs: set[_Pair] = set()

    def add(self, end: _End) -> None:
        if end.place == _ACCEPTED:
            self.accepted[end.ident] = end.wire
        else:
            self.opened[end.ident, end.place] = end.wire

    def remove(self, end: _End) -> None:
        if end.place == _ACCEPTED:
            del self.accepted[end.ident]
        else:
            del self.opened[end.ident, end.place]


class Links:
    """Which sessions are one connection, kept in step with what each source states."""

    def __init__(self) -> None:
        self._wires: dict[str, Mapping[int, SessionTcpLinks]] = {}  # by source, then session id
        # Most wires are stated by one end only and meet no other: these are kept as they are.
        self._alone: dict[Hashable, _End] = {}
        self._meetings: dict[Hashable, _Meeting] = {}  # under none of those names
        self._pairs: Counter[_Pair] = Counter()  # in how many meetings each is linked
        self._upstream: defaultdict[int, set[int]] = defaultdict(set)
        self._downstream: defaultdict[int, set[int]] = defaultdict(set)

    def of(self, ident: int) -> Linked:
        """Return the ids of the sessions that a session is linked to, ascending."""
        if ident not in self._upstream and ident not in self._downstream:
            return UNLINKED
        return tuple(self.upstream(ident)), tuple(self.downstream(ident))

    def upstream(self, ident: int) -> list[int]:
        """Return ids of the sessions that this session's backend connections are, ascending."""
        return sorted(self._upstream.get(ident, ()))

    def downstream(self, ident: int) -> list[int]:
        """Return ids of the sessions whose backend connections this one is, ascending."""
        return sorted(self._downstream.get(ident, ()))

    async def compared(self, source: str, wires: Mapping[int, SessionTcpLinks]) -> Statement:
        """Compare what a source states with what it stated before, in short steps."""
        before, pace = self._wires.get(source, _NO_WIRES), Pace()
        withdrawn = await kept(_not_in(wires), before.items(), pace)
        added = await kept(_not_in(before), wires.items(), pace)
        return Statement(before, wires, withdrawn, added)

    def observe(self, source: str, stated: Mapping[int, SessionTcpLinks] | Statement) -> set[int]:
        """Replace what a source states; return ids of sessions of any source with changed links."""
        before = self._wires.get(source, _NO_WIRES)
        if isinstance(stated, Statement) and stated.before is not before:
            stated = stated.wires  # the source let go of its sessions since the comparison
        if not isinstance(stated, Statement):
            withdrawn = [*filter(_not_in(stated), before.items())]
            added = [*filter(_not_in(before), stated.items())]
            stated = Statement(before, stated, withdrawn, added)
        self._wires[source] = stated.wires
        names: set[Hashable] = set()
        for ident, wires in stated.withdrawn:
            for name, end in _ends(ident, wires):
                self._forget(name, end, names)
        for ident, wires in stated.added:
            for name, end in _ends(ident, wires):
                self._enter(name, end, names)
        touched: Counter[_Pair] = Counter()  # in how many meetings more each is linked
        for name in names:
            self._pair(name, touched)
        changed = [pair for pair, more in touched.items() if self._count(pair, more)]
        for proxy, server in changed:
            change = set.add if (proxy, server) in self._pairs else set.discard
            for links, one, other in (
                (self._upstream, proxy, server),
                (self._downstream, server, proxy),
            ):
                change(links[one], other)
                if not links[one]:
                    del links[one]
        return {ident for pair in changed for ident in pair}

    def _enter(self, name: Hashable, end: _End, names: set[Hashable]) -> None:
        """Enter an end of a wire under a name; note the name if it meets another end there."""
        meeting = self._meetings.get(name)
        if meeting is None:
            other = self._alone.setdefault(name, end)
            if other is end:
                return
            del self._alone[name]
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
        """Relink what meets under a name; count how much more than before each pair is linked."""
        meeting = self._meetings[name]
        matches = [
            (opened, server)
            for opened, wire in meeting.opened.items()
            for server, accepted in meeting.accepted.items()
            if opened[0] != server and _same(wire, accepted)
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
        meeting.pairs = pairs
        if not meeting.accepted and not meeting.opened:
            del self._meetings[name]

    def _count(self, pair: _Pair, more: int) -> bool:
        """Count the meetings that link a pair; return whether it became linked or unlinked."""
        before = self._pairs[pair]
        if before + more:
            self._pairs[pair] = before + more
        else:
            del self._pairs[pair]
        return bool(before) != bool(before + more)


def _not_in(known: Mapping[int, SessionTcpLinks]) -> Callable[[_Stated], bool]:
    """Return a test of whether a session is not known to state this."""

    def not_in(stated: _Stated) -> bool:
        ident, wires = stated
        before = known.get(ident)
        return before is not wires and before != wires

    return not_in


def _ends(ident: int, wires: SessionTcpLinks) -> Iterator[tuple[Hashable, _End]]:
    """Yield the ends of wires that a session states, each with a name to meet under."""
    for place, wire in enumerate(wires.opened):
        for name in _names(wire)[:1]:
            yield name, _End(ident, place, wire)
    if wires.accepted is not None:
        for name in _names(wires.accepted):
            yield name, _End(ident, _ACCEPTED, wires.accepted)


def _names(wire: TcpLink) -> list[Hashable]:
    """Return what a wire is met under: its client's end, the server's id for it."""
    names: list[Hashable] = []
    if wire.client is not None:
        names.append(wire.client)
    if wire.server is not None and wire.server_id is not None:
        names.append((wire.server, wire.server_id))
    return names


def _same(opened: TcpLink, accepted: TcpLink) -> bool:
    """Return whether two statements that met are of one wire."""
    servers_agree = opened.server is not None and opened.server == accepted.server
    if opened.server_id is not None and accepted.server_id is not None:
        return opened.server_id == accepted.server_id and (
            servers_agree or opened.client is not None
        )
    return opened.client is not None and servers_agree
