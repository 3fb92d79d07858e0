"""The caller of an action, as its call names it."""

from __future__ import annotations

from sessiongate.core.actions.attempt import ActionCaller
from sessiongate.core.grpc.authentication import peer_address
from sessiongate.core.grpc.interceptor import CallContext
from sessiongate.runtime.auth.identity import caller, caller_address
from sessiongate.runtime.telemetry.correlation import current

_LONGEST_NAME = 255  # characters of a caller's name that are kept


def action_caller(context: CallContext, *, insecure: bool) -> ActionCaller:
    """Return the caller: an operator if none has to authenticate and it is ``insecure``."""
    identity, correlation = caller.get(), current.get()
    return ActionCaller(
        name=identity.name[:_LONGEST_NAME] if identity else "",
        proof=identity.proof if identity else "",
        address=caller_address.get() or peer_address(context),
        is_operator=identity.is_operator if identity else insecure,
        request_id=correlation.request_id if correlation else "",
    )
