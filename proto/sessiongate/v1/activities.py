"""The words for what a session is doing: one to one with `ActivityState`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import ActivityState

ACTIVITY_WORDS: Mapping[ActivityState, str] = MappingProxyType(
    {
        session_pb2.ACTIVITY_STATE_ACTIVE: "active",
        session_pb2.ACTIVITY_STATE_IDLE: "idle",
        session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION: "idle in transaction",
        session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED: "idle in transaction (aborted)",
        session_pb2.ACTIVITY_STATE_WAITING: "waiting",
        session_pb2.ACTIVITY_STATE_CONNECTING: "connecting",
    }
)

_STATES = {word: state for state, word in ACTIVITY_WORDS.items()}

# In these a session waits for something other than its client: it is not idle, however long
# ago it last sent or received anything.
WORKING = frozenset(
    (
        session_pb2.ACTIVITY_STATE_ACTIVE,
        session_pb2.ACTIVITY_STATE_WAITING,
        session_pb2.ACTIVITY_STATE_CONNECTING,
    )
)


def activity_of(word: str) -> ActivityState | None:
    """Return what a word means; None for any other text."""
    return _STATES.get(word)
