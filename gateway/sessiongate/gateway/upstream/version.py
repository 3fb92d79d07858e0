"""The version of a response: the state of the table that it shows."""

from __future__ import annotations

import math
from typing import NamedTuple

from sessiongate.gateway.api.gaps import Gaps, TableResponse
from sessiongate.v1.session_service_pb2 import (
    CountSessionsResponse,
    GetSessionResponse,
    ListSessionsResponse,
)
from sessiongate.v1.times import seconds_of


class Version(NamedTuple):
    """The state of the table that a response shows. Equal versions mean equal responses."""

    revision: int
    # Seconds since the epoch; infinite of a mixture, or while another change may share that second.
    changed: float
    gaps: Gaps = Gaps()
    identity: int | None = None  # of a response to one session, its identity_revision

    def and_older(self, other: Version) -> Version:
        """Return the version of a response made from both: no part of it is older.

        If they differ, no time is right for both: a condition on the later one would take for
        known what had changed until then.
        """
        if self in (other, NO_VERSION):
            return other
        revision = min(self.revision, other.revision)
        return Version(revision, math.inf, self.gaps.union(other.gaps))


# The version of a response that is made from nothing yet.
NO_VERSION = Version(2**64, 0.0)


def version_of(page: ListSessionsResponse | CountSessionsResponse) -> Version:
    """Return the version of a page that the core has read."""
    return Version(page.revision, _changed(page), Gaps.of_response(page))


def version_of_session(found: GetSessionResponse) -> Version:
    """Return the version of a session that the core has read."""
    session = found.session
    gaps = Gaps.of_response(found)
    return Version(session.revision, _changed(found), gaps, session.identity_revision)


def settled(changed: float, read: float) -> float:
    """Return ``changed`` if its second was over on the core's clock at ``read``; else infinity."""
    return changed if math.isinf(read) or changed < int(read) else math.inf


def _changed(response: TableResponse) -> float:
    read = seconds_of(response.read_time) if response.HasField("read_time") else math.inf
    return settled(seconds_of(response.update_time), read)
