"""How a caller of WatchSessions applies the messages, as the contract requires."""

from __future__ import annotations

from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import WatchSessionsResponse


class Copy:
    """A copy of the sessions that match a filter, which checks what the stream promises."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        self.sources: dict[str, bool] = {}
        self.revision = 0  # 0 until there is a revision to resume from

    def resume(self) -> int:
        """Return the resume_revision to continue from; without one the copy starts over."""
        if not self.revision:
            self.__init__()  # type: ignore[misc] # this very class
        return self.revision

    def apply(self, message: WatchSessionsResponse) -> None:
        kind = message.WhichOneof("event")
        synced = bool(self.revision) or kind == "sync"
        assert (message.revision > 0) == synced, "a revision from the sync on"
        assert message.HasField("update_time") == synced
        assert synced or not message.HasField("as_of"), "no proof of a part"
        assert message.revision >= self.revision, "a stream never goes back"
        assert kind != "progress" or message.HasField("as_of")
        if kind in ("snapshot", "sync"):
            assert not self.revision, "one snapshot, with one end"
        ids = [session.id for session in message.snapshot.sessions]
        assert ids == sorted(set(ids))
        assert not ids or ids[0] > max(self.sessions, default=0), "parts go up"
        changes = message.changes
        for changed in (changes.removals, changes.upserts):
            revisions = [one.revision for one in changed]
            assert revisions == sorted(set(revisions))
            assert all(self.revision < revision for revision in revisions)
            assert not synced or all(revision <= message.revision for revision in revisions)
        for removal in changes.removals:
            self.sessions.pop(removal.id, None)
        for session in (*message.snapshot.sessions, *changes.upserts):
            self.sessions[session.id] = session
        for status in (*message.sync.sources, *changes.sources):
            assert not (status.error and status.reachable)
            self.sources[status.name] = status.reachable
        for name in changes.removed_sources:
            del self.sources[name]
        self.revision = message.revision
