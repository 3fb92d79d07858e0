"""The documented words for session states: one to one with `SessionState`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import SessionState

STATE_WORDS: Mapping[SessionState, str] = MappingProxyType(
    {
        session_pb2.SESSION_STATE_UNSPECIFIED: "Invalid State",
        session_pb2.SESSION_STATE_ALLOC: "Session Allocated",
        session_pb2.SESSION_STATE_READY: "Session Ready",
        session_pb2.SESSION_STATE_ROUTER_READY: "Session ready for routing",
        session_pb2.SESSION_STATE_LISTENER: "Listener Session",
        session_pb2.SESSION_STATE_LISTENER_STOPPED: "Stopped Listener Session",
        session_pb2.SESSION_STATE_STOPPING: "Stopping session",
        session_pb2.SESSION_STATE_TO_BE_FREED: "Session to be freed",
        session_pb2.SESSION_STATE_FREE: "Freed session",
        session_pb2.SESSION_STATE_DUMMY: "Dummy Session",
        session_pb2.SESSION_STATE_STARTED: "Session started",
    }
)

_STATES = {words: state for state, words in STATE_WORDS.items()} | {
    # MaxScale's words since 2.4 and 2.5; both states had other words before.
    "Session created": session_pb2.SESSION_STATE_ALLOC,
    "Session creation failed": session_pb2.SESSION_STATE_STOPPING,
}


def words_of(state: SessionState) -> str:
    """Return the words for a state; "Invalid State" for one that this version does not know."""
    return STATE_WORDS.get(state, STATE_WORDS[session_pb2.SESSION_STATE_UNSPECIFIED])


def state_of(words: str) -> SessionState:
    """Return the state that words mean in any version; unspecified for any other text."""
    return _STATES.get(words, session_pb2.SESSION_STATE_UNSPECIFIED)
