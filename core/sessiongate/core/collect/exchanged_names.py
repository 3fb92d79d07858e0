"""Checks that no source has taken over the place of another under another name."""

from __future__ import annotations

from collections.abc import Mapping

from sessiongate.core.ledger.lock import LedgerRefusalError


def refuse_exchange(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise `LedgerError` if another name has taken over the place of a name.

    ``before`` and ``now`` are places by source name. Sessions are identified by their
    source's name: under another's they would take over its sessions' ids.
    """
    for name, place in now.items():
        lost = before.get(name)
        if lost is None or lost == place:
            continue
        for other, its in now.items():
            if its == lost and before.get(other) != lost:
                raise LedgerRefusalError(
                    f"the source {name!r} was {lost}, which is {other!r} now, so their sessions"
                    " would exchange ids; if that is its new name, run"
                    f" 'sessiongate ledger rename {name} {other}', else choose another name"
                )
