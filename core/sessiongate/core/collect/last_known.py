"""Last known values of session members that currently cannot be read."""

from __future__ import annotations

from collections.abc import Set

from sessiongate.core.sources.base import Observed
from sessiongate.v1.session_pb2 import Session

_NAMING = ("known_empty", "truncated")  # fields that name others


class LastKnown:
    """Fills in the missing members of one source's sessions."""

    def __init__(self) -> None:
        # By session key: fields that have not been fully read since the session was first shown.
        self._unknown: dict[str, Set[str]] = {}

    def forget(self, key: str) -> None:
        """Forget a session that has ended, or all of whose members could be read."""
        self._unknown.pop(key, None)

    def fill_in(self, key: str, item: Observed, known: Session | None) -> None:
        """Set unreadable members of a session to their last known values."""
        fields = {field for part in item.unreadable for field in part.fields}
        # Of a list that was never fully read, show what can be read now.
        unknown = self._unknown.get(key, frozenset()) & fields if known else fields
        self._unknown[key] = unknown
        if known is None:
            return
        last = Session()
        last.CopyFrom(known)
        for descriptor, _ in known.ListFields():
            if descriptor.name not in fields - unknown or descriptor.name in _NAMING:
                last.ClearField(descriptor.name)
        for field in fields - unknown:
            item.session.ClearField(field)
        item.session.MergeFrom(last)
        for names in _NAMING:
            kept = (name for name in getattr(known, names) if name in fields - unknown)
            getattr(item.session, names).extend(kept)
