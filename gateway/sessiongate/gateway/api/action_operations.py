"""The actions on sessions, as operations of the API; only for gateways that allow it."""

from __future__ import annotations

from sessiongate.gateway.api.actions import TTL, cancel_statement, terminate_session
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.jsonapi.query import AllowedParameters

ACTIONS = (
    Operation(
        "terminateSession",
        "/v1/sessions/{id}",
        terminate_session,
        "End a session",
        "End a session: disconnect its client. What becomes of the other ends of the same"
        " connection depends on their tier; `Link` names them.",
        "",
        "sessions",
        AllowedParameters(texts=(TTL,)),
        live=False,
        method="DELETE",
    ),
    Operation(
        "cancelStatement",
        "/v1/sessions/{id}/cancel",
        cancel_statement,
        "Cancel a statement",
        "Cancel the statement that a session runs, and leave the session connected. Send"
        " `Content-Type: application/vnd.api+json` and no body: no form on another page can.",
        "",
        "sessions",
        live=False,
        method="POST",
    ),
)
