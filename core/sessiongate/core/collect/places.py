"""Where each source is read from, and what follows if a name comes to mean another place."""

from __future__ import annotations

from collections.abc import Mapping

from sessiongate.core.ledger.lock import LedgerError


def refuse_exchange(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise `LedgerError` if a name has lost its place to another name.

    ``before`` and ``now`` are places by the names of sources. Sessions are known by
    their source's name: under another's they would take over its sessions' ids.
    """
    for name, place in now.items():
        lost = before.get(name)
        if lost is None or lost == place:
            continue
        for other, its in now.items():
            if its == lost and before.get(other) != lost:
                raise LedgerError(
                    f"the source {name!r} was {lost}, which is {other!r} now, and their sessions"
                    " would exchange ids; if that is its new name, run"
                    f" 'sessiongate ledger rename {name} {other}', else name one of them anew"
                )
