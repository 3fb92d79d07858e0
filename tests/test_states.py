"""The words for states are MaxScale's, one to one."""

from __future__ import annotations

from typing import cast

import pytest

from sessiongate.v1.session_pb2 import SessionState
from sessiongate.v1.states import STATE_WORDS, state_of, words_of

DOCUMENTED = {
    "SESSION_STATE_UNSPECIFIED": "Invalid State",
    "SESSION_STATE_ALLOC": "Session Allocated",
    "SESSION_STATE_READY": "Session Ready",
    "SESSION_STATE_ROUTER_READY": "Session ready for routing",
    "SESSION_STATE_LISTENER": "Listener Session",
    "SESSION_STATE_LISTENER_STOPPED": "Stopped Listener Session",
    "SESSION_STATE_STOPPING": "Stopping session",
    "SESSION_STATE_TO_BE_FREED": "Session to be freed",
    "SESSION_STATE_FREE": "Freed session",
    "SESSION_STATE_DUMMY": "Dummy Session",
    "SESSION_STATE_STARTED": "Session started",
}


def test_every_state_has_its_documented_words() -> None:
    assert {SessionState.Name(state): words for state, words in STATE_WORDS.items()} == DOCUMENTED
    assert set(SessionState.keys()) == set(DOCUMENTED)


@pytest.mark.parametrize("state", STATE_WORDS)
def test_words_lead_back_to_their_state(state: SessionState) -> None:
    assert words_of(state) == STATE_WORDS[state]
    assert state_of(STATE_WORDS[state]) == state


def test_what_is_not_known_is_invalid() -> None:
    assert words_of(cast(SessionState, 99)) == "Invalid State"
    assert state_of("session started") == SessionState.SESSION_STATE_UNSPECIFIED
