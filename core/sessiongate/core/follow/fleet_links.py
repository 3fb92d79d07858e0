"""Links between sessions of different cores, found by the TCP links that the cores state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sessiongate.core.collect.links import UNLINKED, Linked, Links, SessionTcpLinks, Stated
from sessiongate.core.collect.truncation import link
from sessiongate.core.sources.base import TcpLink
from sessiongate.core.table.draft import Draft, unassigned
from sessiongate.core.table.encoding import holds
from sessiongate.core.table.row import Row
from sessiongate.runtime.memory import unsearched, untrack, untracked
from sessiongate.runtime.split_dict import SplitDict
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session

_PORT_DIGITS = 5
_NO_ENDS = SessionTcpLinks(None, ())


class CoreLinks(NamedTuple):
    """The links of a session as a core states them: TCP links, and sessions of its own."""

    ends: SessionTcpLinks
    linked: Linked

    @classmethod
    def of(cls, session: Session) -> CoreLinks:
        """Return what a session states."""
        ends, linked = _NO_ENDS, UNLINKED
        if session.HasField("tcp_links"):
            stated = session.tcp_links
            accepted = _read(stated.accepted) if stated.HasField("accepted") else None
            opened = tuple(map(_read, stated.opened))
            ends = untracked(SessionTcpLinks(accepted, opened))
            if opened:
                untrack(opened)
        if session.upstream_ids or session.downstream_ids:
            linked = tuple(session.upstream_ids), tuple(session.downstream_ids)
        if ends is _NO_ENDS and linked is UNLINKED:
            return NO_LINKS
        return untracked(cls(ends, linked))


NO_LINKS = CoreLinks(_NO_ENDS, UNLINKED)


class Prepared(NamedTuple):
    """A session that a core states, prepared to be shown."""

    draft: Draft
    stated: CoreLinks
    linked: Linked  # as the draft has it


class FleetLinks:
    """The links of all sessions that a front shows: those that cores state, and those between."""

    def __init__(self, max_session: int) -> None:
        """Let no session grow beyond ``max_session`` bytes by links."""
        self._links = Links()
        self._stated: SplitDict[int, CoreLinks] = SplitDict()  # of sessions that state any
        self._max_session = max_session

    def prepare(self, session: Session) -> Prepared:
        """Prepare a session that a core states."""
        stated = CoreLinks.of(session)
        linked = self._complete(session, stated)
        return Prepared(Draft.of(session), stated, linked)

    def shows(self, row: Row, session: Session) -> bool:
        """Return whether a row shows, to the byte, what a core states of the session.

        To compare takes less time than to prepare, and most sessions of a core that takes over
        are as the one before stated them. The session's revisions and update_time are cleared.
        """
        stated = self.stated(row.id)  # by what the row was made of
        linked = self.of(row.id, stated)
        if linked is not UNLINKED:
            if (tuple(session.upstream_ids), tuple(session.downstream_ids)) != stated.linked:
                return False
            if linked != stated.linked:
                complete = Session()
                complete.CopyFrom(session)
                link(complete, *linked, self._max_session)
                session = complete
        return holds(row.piece, unassigned(session).SerializeToString())

    def prepare_again(self, row: Row) -> Prepared:
        """Prepare a session as it is, or was, shown, with its links of now."""
        session, stated = row.session, self.stated(row.id)
        linked = self._complete(session, stated)
        return Prepared(Draft.of(session), stated, linked)

    def draft(self, prepared: Prepared) -> Draft:
        """Return what to show of a session now."""
        ident = prepared.draft.id
        if self.of(ident, prepared.stated) == prepared.linked:
            return prepared.draft
        session = Session.FromString(prepared.draft.body)
        self._complete(session, prepared.stated)
        return Draft.of(session)

    def stated(self, ident: int) -> CoreLinks:
        """Return what a core states of a session that is shown."""
        return self._stated.get(ident, NO_LINKS)

    def of(self, ident: int, stated: CoreLinks) -> Linked:
        """Return the links of a session of which a core states ``stated``: also to others."""
        found = self._links.of(ident)
        if found is UNLINKED:
            return stated.linked
        up, down = (
            tuple(sorted({*own, *more})) for own, more in zip(stated.linked, found, strict=True)
        )
        return up, down

    def _complete(self, session: Session, stated: CoreLinks) -> Linked:
        """Set the links of a session of which a core states ``stated``; return them."""
        linked = self.of(session.id, stated)
        if linked != (tuple(session.upstream_ids), tuple(session.downstream_ids)):
            link(session, *linked, self._max_session)
        return linked

    @unsearched()
    def change(self, upserts: Mapping[int, CoreLinks], removals: Iterable[int]) -> set[int]:
        """Take over what is stated of sessions; return those whose links to others changed."""
        withdrawn: list[Stated] = []
        added: list[Stated] = []
        ended = {*removals}
        for ident in ended:
            withdrawn += _ends(ident, self._stated.pop(ident, NO_LINKS))
        for ident, stated in upserts.items():
            before = self.stated(ident)
            if before.ends != stated.ends:
                withdrawn += _ends(ident, before)
                added += _ends(ident, stated)
            if stated is NO_LINKS:
                self._stated.pop(ident, None)
            else:
                self._stated[ident] = stated
        self._stated.untrack()
        changed = self._links.observe(withdrawn, added)
        for ident in ended.union(ident for ident, _ in withdrawn):
            if ident not in self._stated:
                self._links.forget(ident)
        return changed


def _ends(ident: int, stated: CoreLinks) -> list[Stated]:
    return [] if stated.ends is _NO_ENDS else [(ident, stated.ends)]


def _read(stated: session_pb2.TcpLink) -> TcpLink:
    """Return a TCP link whose addresses have their scopes, and so are those of one host."""
    return TcpLink(
        _end(stated.client),
        _end(stated.server),
        stated.server_id if stated.HasField("server_id") else None,
    )


def _end(stated: str) -> tuple[str, int] | None:
    address, _, port = stated.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS
    return (address, int(port)) if address and is_port else None
