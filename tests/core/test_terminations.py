"""How long it is known who had a session terminated."""

from __future__ import annotations

from sessiongate.core.collect.terminations import WITHIN, Terminations


def test_who_had_a_session_terminated_is_known_until_its_end_is_written() -> None:
    now = 0.0
    terminations = Terminations(lambda: now)
    terminations.note(1, "an operator")
    terminations.note(2, "another one")
    for _ in range(3):  # the ledger refuses it
        now += 0.9 * WITHIN
        assert terminations.by(1) == "an operator"
        terminations.note(3, "a third one")
    assert terminations.by(2) is None, "it ended by itself"
    now += WITHIN
    assert terminations.by(1) is None
