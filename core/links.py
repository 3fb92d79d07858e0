"""Links across tiers: a proxy's backend connection is a server's client connection.

Sources state the wires that their sessions came in by and that their services
opened. Where a proxy's and a server's source state the same wire, the server's
session is *upstream* of the proxy's. No link beats a wrong link:

- both ends name the same client address and port, and agree on the server's
  address or on its id for the connection, and name no two different ids; or
- one end does not know the client's address, and both agree on the server's
  address and its id;
- and exactly one session on either side answers to that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from core.sources.base import Wire

# (the proxy's session, the server's session)
_Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Wires:
    """The wires of one session: the one it came in by, and those opened for it."""

    accepted: Wire | None
    opened: tuple[Wire, ...]


class _Meeting:
    """The wires that share one name: those opened, those accepted, and what is linked."""

    __slots__ = ("accepted", "opened", "pairs")

    def __init__(self) -> None:
        self.opened: dict[tuple[int, int], Wire] = {}  # by session id, place in its list
        self.accepted: dict[int, Wire] = {}  # by session id
        self.pairs: set[_Pair] = set()


class Links:
    """Which sessions are one connection, kept in step with what each source states."""

    def __init__(self) -> None:
        self._wires: dict[str, Mapping[int, Wires]] = {}  # by source, then session id
        self._meetings: defaultdict[Hashable, _Meeting] = defaultdict(_Meeting)
        self._pairs: Counter[_Pair] = Counter()  # in how many meetings each is linked
        self._upstream: defaultdict[int, set[int]] = defaultdict(set)
        self._downstream: defaultdict[int, set[int]] = defaultdict(set)

    def of(self, ident: int) -> bool:
        """Return whether a session is linked to any other."""
        return ident in self._upstream or ident in self._downstream

    def upstream(self, ident: int) -> list[int]:
        """Ids of the sessions that this session's backend connections are, ascending."""
        return sorted(self._upstream.get(ident, ()))

    def downstream(self, ident: int) -> list[int]:
        """Ids of the sessions whose backend connections this one is, ascending."""
        return sorted(self._downstream.get(ident, ()))

    def observe(self, source: str, wires: Mapping[int, Wires]) -> set[int]:
        """Replace what a source states; ids of the sessions, of any source, linked anew."""
        old = self._wires.get(source, {})
        if wires == old:
            return set()
        self._wires[source] = wires
        names: set[Hashable] = set()
        for ident, known in old.items():
            if wires.get(ident) != known:
                names.update(self._forget(ident, known))
        for ident, stated in wires.items():
            if old.get(ident) != stated:
                names.update(self._enter(ident, stated))
        before = self._pairs.copy()
        for name in names:
            self._pair(name)
        changed = (before.keys() ^ self._pairs.keys()) if names else set()
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

    def _enter(self, ident: int, wires: Wires) -> Iterator[Hashable]:
        for place, wire in enumerate(wires.opened):
            for name in _names(wire)[:1]:
                self._meetings[name].opened[ident, place] = wire
                yield name
        if wires.accepted is not None:
            for name in _names(wires.accepted):
                self._meetings[name].accepted[ident] = wires.accepted
                yield name

    def _forget(self, ident: int, wires: Wires) -> Iterator[Hashable]:
        for place, wire in enumerate(wires.opened):
            for name in _names(wire)[:1]:
                del self._meetings[name].opened[ident, place]
                yield name
        if wires.accepted is not None:
            for name in _names(wires.accepted):
                del self._meetings[name].accepted[ident]
                yield name

    def _pair(self, name: Hashable) -> None:
        """Link anew what meets under a name."""
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
        self._pairs.update(pairs - meeting.pairs)
        for pair in meeting.pairs - pairs:
            self._pairs[pair] -= 1
            if not self._pairs[pair]:
                del self._pairs[pair]
        meeting.pairs = pairs
        if not meeting.accepted and not meeting.opened:
            del self._meetings[name]


def _names(wire: Wire) -> list[Hashable]:
    """What a wire is met under: its client's end, the server's id for it."""
    names: list[Hashable] = []
    if wire.client is not None:
        names.append(wire.client)
    if wire.server is not None and wire.server_id is not None:
        names.append((wire.server, wire.server_id))
    return names


def _same(opened: Wire, accepted: Wire) -> bool:
    """Whether two statements that met are of one wire."""
    servers_agree = opened.server is not None and opened.server == accepted.server
    if opened.server_id is not None and accepted.server_id is not None:
        return opened.server_id == accepted.server_id and (
            servers_agree or opened.client is not None
        )
    return opened.client is not None and servers_agree
