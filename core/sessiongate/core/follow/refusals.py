"""Writes down the acts that a front itself refuses: no core hears of them."""

from __future__ import annotations

from contextlib import suppress

from sessiongate.core.actions.attempt import Attempt, outcome_of
from sessiongate.core.actions.audit import AuditLog
from sessiongate.core.actions.quota import ActionQuota
from sessiongate.core.errors import CoreError, TooManyActionsError


class Refusals:
    """The refusals of a front, in its audit log."""

    def __init__(self, audit: AuditLog, per_minute: int) -> None:
        """Write at most ``per_minute`` lines of a caller: it must not fill the disk."""
        self._audit = audit
        self._quota = ActionQuota(per_minute)

    async def tell(self, attempt: Attempt, error: CoreError) -> None:
        """Write why nothing was done; if that fails, to the log."""
        try:
            self._quota.take(attempt.caller.subject, "of this caller")
        except TooManyActionsError:
            return
        outcome = outcome_of(error)
        with suppress(CoreError):
            members = attempt.members(outcome, str(error))
            await self._audit.write(attempt.message(outcome), members)
